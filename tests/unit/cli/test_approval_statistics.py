"""What counts as an answer, and what is suggested where people always answer alike."""

from datetime import timedelta

import pytest

from interlock.cli.approval_statistics import question_of, questions, suggestion_lines
from interlock.client import Approval, ApprovalState, Resolution
from interlock.core.approval_statistics import Fate, Question, Tendency, statistics_by_code
from tests.unit.cli.shown_approvals import NOW, an_answer, an_approval

YES, NO = an_answer(minutes=6), an_answer(Resolution.DENY, minutes=9)


@pytest.mark.parametrize(
    ("approval", "fate", "minutes"),
    [
        (an_approval(), Fate.PENDING, None),
        (an_approval(answers=(YES,), quorum=2), Fate.PENDING, None),
        (an_approval(answers=(YES,), state=ApprovalState.APPROVED), Fate.APPROVED, 6),
        (an_approval(answers=(YES, NO), state=ApprovalState.DENIED), Fate.DENIED, 9),
        (an_approval(state=ApprovalState.EXPIRED), Fate.EXPIRED, None),
        (an_approval(answers=(YES,), state=ApprovalState.EXPIRED), Fate.APPROVED, 6),
        (an_approval(answers=(YES,), state=ApprovalState.EXPIRED, quorum=2), Fate.EXPIRED, None),
        (an_approval(answers=(YES, YES), state=ApprovalState.EXPIRED, quorum=2), Fate.EXPIRED, None),
        (an_approval(state=ApprovalState.WITHDRAWN), Fate.WITHDRAWN, None),
        (an_approval(state=ApprovalState.SUPERSEDED), Fate.WITHDRAWN, None),
    ],
    ids=[
        *("waits", "half", "approved", "denied-after-yes", "expired", "approved-unused", "half-expired"),
        *("one-person-twice", "withdrawn", "superseded"),
    ],
)
def test_what_counts_as_an_answer(approval: Approval, fate: Fate, minutes: int | None) -> None:
    """People's answer counts, and how it ended only where they gave none; the wait is until the one that settled it."""
    found = question_of(approval)
    assert (found.codes, found.fate) == (("effects.needs_person",), fate)
    assert found.wait_seconds == (None if minutes is None else minutes * 60)


def test_only_what_was_opened_since_counts() -> None:
    """The list is newest first, and what is before the first moment that counts is not read on."""
    opened = [an_approval(open_time=NOW - timedelta(days=days)) for days in (1, 2, 3)]
    assert len(list(questions(iter(opened), NOW - timedelta(days=2)))) == 2
    assert len(list(questions(iter(opened), None))) == 3


def test_a_change_is_suggested_where_the_answer_is_always_the_same() -> None:
    """Each such rule has the change that its METADATA names, or says that it names none, and how to try it."""
    counted = statistics_by_code(
        Question(codes=(code,), fate=fate, edited=False, wait_seconds=1)
        for code, fate in (("a.yes", Fate.APPROVED), ("b.no", Fate.DENIED), ("c.mixed", Fate.APPROVED))
    )
    always = {"a.yes": Tendency.ALWAYS_APPROVED, "b.no": Tendency.ALWAYS_DENIED}
    suggested = {"a.yes": "loops:\n  session: {steps: 1000}", "b.no": ""}
    lines = list(suggestion_lines(counted, always, suggested))
    assert [line for line in lines if line.startswith(("a.", "b.", "c."))] == [
        "a.yes: 1 of 1 always approved, as it was asked: it may ask too early, or of what could be allowed. To try:",
        "b.no: 1 of 1 always denied: it may as well be a deny, which asks nobody. To try:",
    ]
    assert lines[2:4] == ["    loops:", "      session: {steps: 1000}"]
    assert "names no change" in lines[6]
    assert "interlock policy test COPY" in lines[-1]
    assert list(suggestion_lines(counted, {}, {})) == []
