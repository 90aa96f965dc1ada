"""The page on approvals against the program."""

import re
from pathlib import Path

from interlock.core.approval import TRANSITIONS

PAGE = Path(__file__).parents[2] / "docs" / "approvals.md"
_TRANSITION = re.compile(r"^\| `([a-z]+)` \| `([a-z]+)` \| `([a-z]+)` \|", re.MULTILINE)


def test_the_page_has_the_table_of_transitions() -> None:
    """What may happen to an approval is what people read that may happen (case 49)."""
    stated = _TRANSITION.findall(PAGE.read_text(encoding="utf-8"))
    assert sorted(stated) == sorted((before, event, after) for (before, event), after in TRANSITIONS.items())
