"""The pin of a tool's listing (case 60)."""

from typing import Any

import pytest

from interlock.core.canonical import UnencodableError
from interlock.core.catalog_import import import_tool
from interlock.core.tool_listing import (
    UNPINNABLE,
    as_pinned,
    digests_by_name,
    listed_as,
    listed_digest,
    pin_of,
)
from tests.tool_calls import a_tool

LISTED: dict[str, Any] = {
    "name": "read",
    "description": "Read a file.",
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string", "default": None}}},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Read"},
        {"description": "Read a file. "},
        {"description": None},
        {"inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}},
        {"inputSchema": {}},
    ],
    ids=["name", "description", "no-description", "a-default-less", "another-schema"],
)
def test_whatever_a_model_reads_is_pinned(changes: dict[str, Any]) -> None:
    """Name, description and schema are all of the pin: any of them changed is another tool (case 60)."""
    assert listed_digest(LISTED | changes) != listed_digest(LISTED)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Reading"},
        {"annotations": {"readOnlyHint": True}},
        {"inputSchema": dict(reversed(LISTED["inputSchema"].items()))},
    ],
    ids=["title", "hints", "order-of-keys"],
)
def test_what_nothing_is_decided_by_is_not_pinned(changes: dict[str, Any]) -> None:
    """Titles, hints and the order of keys may change without a person."""
    assert listed_digest(LISTED | changes) == listed_digest(LISTED)


def test_no_description_and_an_empty_one_are_the_same() -> None:
    """A server that leaves an empty description out has changed nothing."""
    without = {key: value for key, value in LISTED.items() if key != "description"}
    assert listed_digest(without) == listed_digest(LISTED | {"description": ""})


def test_an_imported_entry_has_the_pin_of_its_listing() -> None:
    """The import pins what was listed, and the pin is the same where an older entry states it itself."""
    entry = import_tool(LISTED)
    assert entry.listed_digest == listed_digest(LISTED)
    assert pin_of(entry) == pin_of(entry.model_copy(update={"listed_digest": None}))


def test_a_listing_without_a_canonical_form_has_no_pin() -> None:
    """A schema that cannot be hashed is never taken for one that was."""
    listed = LISTED | {"inputSchema": {"maximum": 2**60}}
    with pytest.raises(UnencodableError):
        listed_digest(listed)
    assert digests_by_name([listed]) == {"read": frozenset({UNPINNABLE})}


def test_a_tool_is_as_pinned_only_if_it_is_listed_in_no_other_way() -> None:
    """A server that lists a tool twice, once as pinned, has it otherwise all the same (case 60)."""
    tool = a_tool("files", "read", description=LISTED["description"], arguments=LISTED["inputSchema"])
    other = LISTED | {"description": "Read every file."}
    assert as_pinned(tool, digests_by_name([LISTED, LISTED]))
    assert not as_pinned(tool, digests_by_name([LISTED, other]))
    assert not as_pinned(tool, {})
    assert listed_as(tool, digests_by_name([LISTED, other])) == listed_digest(other)
    assert listed_as(tool, {}) == ""
