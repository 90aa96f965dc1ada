"""A session's timeline: records and steps in one order, page by page, none lost and none twice."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.decision import Verdict
from interlock.core.outcome import OutcomeKind
from interlock.core.record import EMPTY, Draft, Head, Record, RecordType, seal
from interlock.core.steps import Step, StepKind
from interlock.core.timeline import (
    ApprovalChanged,
    AttemptFailed,
    DecisionMade,
    Entry,
    OutcomeReported,
    Place,
    page,
)
from tests.fakes import NOON

LONG_AGO = NOON - timedelta(days=365)
INPUT = {"tool": {"name": "git_log"}, "arguments_digest": "digest", "facts": {}}
CALLS = {"steps": 5, "same_call": 3, "cycle": {"length": 2, "count": 4}}
DECISION: dict[str, Any] = {
    "input": INPUT | {"facts": {"loops": {"session": CALLS}}},
    "verdict": "deny",
    "lacking": [],
    "result": {"verdict": "deny", "reasons": [{"code": "loops.no_progress"}, {"code": "a.b"}]},
}
OUTCOME: dict[str, Any] = {"execution_id": "e-1", "outcome": "failed", "result_digest": "r"}
FAILURE: dict[str, Any] = {"input": INPUT, "error": {"code": "POLICY_CONFLICT", "message": "m"}}


def a_record(type: RecordType, fields: dict[str, Any], *, at: datetime = NOON, log_index: int = 7) -> Record:
    draft = Draft(
        type=type,
        tenant="acme",
        once="",
        decision_id="decision-1",
        timestamp=at,
        fields=fields,
        session="agent-1/session-1",
    )
    return seal(draft, Head(size=log_index, chain_hash=EMPTY.chain_hash))


def event(record: Record) -> Entry:
    [entry], following = page([record], (), begin=Place(), not_before=LONG_AGO, size=9, more=False)
    assert following is None
    return entry


def test_a_decision_says_how_its_call_repeats() -> None:
    """Verdict, reasons, and the session's counts of repeats are those of the record."""
    assert event(a_record(RecordType.DECISION, DECISION)) == Entry(
        time=NOON,
        number=5,
        event=DecisionMade(
            decision_id="decision-1",
            log_index=7,
            verdict=Verdict.DENY,
            tool="git_log",
            arguments_digest="digest",
            reason_codes=("loops.no_progress", "a.b"),
            same_call=3,
            cycle_length=2,
            cycle_count=4,
        ),
    )


def test_a_decision_that_lacked_something_says_what() -> None:
    """Where an allow became a deny, the codes are those of what was lacking, as the caller heard them."""
    lacked = DECISION | {"lacking": [{"code": "quota.budget"}]}
    told = event(a_record(RecordType.DECISION, lacked)).event
    assert isinstance(told, DecisionMade)
    assert told.reason_codes == ("quota.budget",)


def test_what_became_of_an_approval_is_told() -> None:
    """A change of an approval stands between the decision that waited for it and the one that follows."""
    changed = {
        "approval_id": "approval-1",
        "change": "approve",
        "state": "approved",
        "requested_by": "approver/alice",
        "comment": "fine",
    }
    assert event(a_record(RecordType.APPROVAL, changed)).event == ApprovalChanged(
        approval_id="approval-1",
        decision_id="decision-1",
        change="approve",
        state="approved",
        requested_by="approver/alice",
    )
    for more, names in (
        ({"approval_id": "approval-1"}, ("approval-1", "")),
        ({"follows": "approval-1"}, ("", "approval-1")),
    ):
        told = event(a_record(RecordType.DECISION, DECISION | more)).event
        assert isinstance(told, DecisionMade)
        assert (told.approval_id, told.follows) == names


def test_outcomes_and_failures_are_told() -> None:
    """What a gateway did, and an attempt that ended in an error, are part of what happened."""
    assert event(a_record(RecordType.OUTCOME, OUTCOME)).event == OutcomeReported(
        decision_id="decision-1", execution_id="e-1", kind=OutcomeKind.FAILED, result_digest="r"
    )
    failed = event(a_record(RecordType.FAILURE, FAILURE))
    assert (failed.number, failed.event) == (0, AttemptFailed(reason="POLICY_CONFLICT", tool="git_log"))


def all_pages(
    records: Sequence[Record], steps: Sequence[tuple[datetime, Step]], size: int, not_before: datetime
) -> list[list[int]]:
    """The pages as a service would give them: log_index of a record, minus the number of a step."""
    pages, begin = [], Place()
    while begin is not None:
        found = [record for record in records if record.log_index >= begin.log_index][: size + 1]
        entries, following = page(
            found, steps, begin=begin, not_before=not_before, size=size, more=len(found) > size
        )
        assert len(entries) <= size
        pages.append([_name(entry) for entry in entries])
        assert following != begin
        begin = following  # type: ignore[assignment]
    return pages


def _name(entry: Entry) -> int:
    if isinstance(entry.event, Step):
        return -entry.event.number
    assert isinstance(entry.event, DecisionMade)
    return entry.event.log_index


moments = st.lists(st.integers(-5, 60), max_size=25)


@given(moments, moments, st.integers(1, 7))
def test_pages_hold_everything_once_and_in_order(told: list[int], recorded: list[int], size: int) -> None:
    """Whatever the times and the page size, each record and each step of the session comes once, in its order.

    Records may be out of order where a clock was set back (case 22); steps of one session never are.
    """
    records = [
        a_record(RecordType.DECISION, DECISION, at=NOON + timedelta(seconds=at), log_index=3 * index)
        for index, at in enumerate(told)
    ]
    steps = [
        (NOON + timedelta(seconds=at), Step(number=2 * number, kind=StepKind.PLANNING))
        for number, at in enumerate(sorted(recorded), start=1)
    ]
    names = [name for each in all_pages(records, steps, size, NOON) for name in each]
    assert [name for name in names if name >= 0] == [
        record.log_index for record in records if record.timestamp >= NOON
    ]
    assert [-name for name in names if name < 0] == [step.number for _, step in steps]


@given(moments, moments, st.integers(1, 7))
def test_where_no_clock_was_set_back_the_order_is_that_of_time(
    told: list[int], recorded: list[int], size: int
) -> None:
    """Over all pages, what happened first comes first."""
    times = {3 * index: at for index, at in enumerate(sorted(told))}
    records = [
        a_record(RecordType.DECISION, DECISION, at=NOON + timedelta(seconds=at), log_index=index)
        for index, at in times.items()
    ]
    steps = [
        (NOON + timedelta(seconds=at), Step(number=number, kind=StepKind.PLANNING))
        for number, at in enumerate(sorted(recorded), start=1)
    ]
    times |= {-number: at for number, at in enumerate(sorted(recorded), start=1)}
    names = [name for each in all_pages(records, steps, size, LONG_AGO) for name in each]
    assert [times[name] for name in names] == sorted(times.values())


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_earlier_session_of_the_name_is_not_shown(size: int) -> None:
    """Records of before the session began are passed over, however many, without an endless page."""
    old = [a_record(RecordType.DECISION, DECISION, at=LONG_AGO, log_index=index) for index in range(9)]
    new = a_record(RecordType.DECISION, DECISION, log_index=20)
    pages = all_pages([*old, new], [], size, NOON - timedelta(minutes=5))
    assert [name for each in pages for name in each] == [20]
