"""What goes on record of tools that are no longer those of the catalog."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from interlock.core.tool_drifts import AT_MOST_EVERY, Digests, DriftChange, Drifts
from tests.fakes import NOON
from tests.freezes import MOMENTS

ONE, OTHER = Digests("pinned", "one"), Digests("pinned", "other")
DIGESTS = st.builds(Digests, st.text(max_size=43), st.text(max_size=43))


def changes(
    drifts: Drifts, told: dict[str, Digests], after: timedelta = timedelta(0)
) -> list[tuple[str, str]]:
    return [(each.change, each.tool) for each in drifts.due(told, NOON + after)]


@given(noted=st.dictionaries(st.text(max_size=128), st.tuples(DIGESTS, MOMENTS), max_size=8))
def test_a_cell_keeps_what_was_noted(noted: dict[str, tuple[Digests, datetime]]) -> None:
    """What was encoded is decoded the same."""
    drifts = Drifts(7, noted)
    again = Drifts.decode(drifts.encode())
    assert (again.changes, again.noted) == (7, noted)


def test_a_drift_is_noted_at_once_and_once() -> None:
    """A tool that drifts is due when it is first told of, and no more while it is told the same (case 60)."""
    assert changes(Drifts(), {"b": ONE, "a": ONE}) == [("drifted", "a"), ("drifted", "b")]
    noted = Drifts(1, {"a": (ONE, NOON)})
    assert changes(noted, {"a": ONE}) == []
    assert changes(noted, {"a": ONE}, timedelta(days=30)) == []


def test_what_was_noted_changes_once_a_minute() -> None:
    """Another digest, or none any more, is due a minute later: no server fills the log (case 60)."""
    noted = Drifts(1, {"a": (ONE, NOON)})
    for told, due in (({"a": OTHER}, "drifted"), ({}, "cleared")):
        assert changes(noted, told, AT_MOST_EVERY - timedelta(microseconds=1)) == []
        assert changes(noted, told, AT_MOST_EVERY) == [(due, "a")]
    assert noted.due({}, NOON + AT_MOST_EVERY) == [DriftChange(change="cleared", tool="a", digests=ONE)]
