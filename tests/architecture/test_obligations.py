"""The obligations that a gateway meets, those that policies may state, and those that are documented are the same."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from interlock.core.obligation_kinds import ABILITIES, KINDS, PatternSet, type_of

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "policies" / "rules" / "obligations" / "obligations.rego").read_text()
PAGE = (ROOT / "docs" / "obligations.md").read_text()

_STATED = re.compile(
    r'^\t"(?P<type>\w+)": \{"needed": (?P<needed>.+), "allowed": (?P<allowed>.+)\},$', re.MULTILINE
)
_ROW = re.compile(r"^\| `(?P<type>\w+)` \| (?P<parameters>[^|]+) \|", re.MULTILINE)
_NAME = re.compile(r'"(\w+)"')


def test_policies_may_state_what_gateways_meet() -> None:
    """Types, needed and further parameters are those of the gateway's own kinds."""
    stated = {
        found["type"]: (set(_NAME.findall(found["needed"])), set(_NAME.findall(found["allowed"])))
        for found in _STATED.finditer(RULES)
    }
    assert stated == {
        type_of(kind): (
            {name for name, field in kind.model_fields.items() if field.is_required()} - {"type"},
            {name for name, field in kind.model_fields.items() if not field.is_required()},
        )
        for kind in KINDS
    }


def test_the_page_lists_what_gateways_meet() -> None:
    """Each type has a row, in alphabetical order, and there is no other."""
    assert tuple(row["type"] for row in _ROW.finditer(PAGE)) == ABILITIES


@pytest.mark.parametrize("kind", KINDS, ids=type_of)
def test_the_page_names_every_parameter(kind: type[BaseModel]) -> None:
    """A row names each parameter, and each set of patterns."""
    [row] = [row for row in _ROW.finditer(PAGE) if row["type"] == type_of(kind)]
    names = kind.model_fields.keys() - {"type"}
    told = set(re.findall(r"`(\w+)`", row["parameters"]))
    assert told == names | (set(get_args(PatternSet)) if "patterns" in names else set())
