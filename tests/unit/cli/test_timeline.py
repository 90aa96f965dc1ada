"""The drawing of a timeline: a line for each thing that happened, loops marked, and nothing that acts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.timeline import draw_timeline
from interlock.client import (
    ApprovalEntry,
    DecisionEntry,
    FailureEntry,
    MemoryRead,
    MemoryWrite,
    Outcome,
    OutcomeEntry,
    PlanningStep,
    StateTransition,
    Step,
    TimelineEntry,
    Verdict,
)

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_entry(entry: Any, *, number: int = 0, seconds: int = 0) -> TimelineEntry:
    return TimelineEntry(time=BEGIN + timedelta(seconds=seconds), number=number, entry=entry)


def a_decision(number: int, tool: str = "git_log", **changes: Any) -> TimelineEntry:
    made = {
        "decision_id": f"decision-{number}",
        "log_index": number,
        "verdict": Verdict.ALLOW,
        "tool": tool,
        "arguments_digest": "digest",
        "reason_codes": ("effects.granted",),
        "same_call": 1,
        "cycle_length": 0,
        "cycle_count": 0,
    }
    return an_entry(DecisionEntry(**(made | changes)), number=number, seconds=number)  # type: ignore[arg-type]


def an_outcome(number: int, **changes: Any) -> TimelineEntry:
    outcome = {
        "decision_id": f"decision-{number}",
        "execution_id": "e",
        "outcome": Outcome.SUCCEEDED,
        "result_digest": "r" * 43,
    }
    return an_entry(OutcomeEntry(**(outcome | changes)), seconds=number)


def drawn(*entries: TimelineEntry) -> list[str]:
    """The lines, with an x for each sign of multiplication."""
    plain = (line.plain.rstrip() for line in draw_timeline(entries))
    return [line.replace("\N{MULTIPLICATION SIGN}", "x") for line in plain]


def test_an_approval_is_seen_from_the_question_to_the_answer() -> None:
    """Which approval a decision waits for, what became of it, and which decision came of it, stand one a line."""
    approved = ApprovalEntry(
        approval_id="a-1",
        decision_id="decision-1",
        change="approve",
        state="approved",
        requested_by="approver/alice",
    )
    assert drawn(
        a_decision(1, verdict=Verdict.ESCALATE, reason_codes=("a.b",), approval_id="a-1"),
        an_entry(approved, seconds=1),
        a_decision(2, follows="a-1"),
    )[1:] == [
        "  12:00:01    1 ESCALATE  git_log  a.b  waits for approval a-1",
        "  12:00:01      approve   of 1  approval a-1 is approved, by approver/alice",
        "  12:00:02    2 ALLOW     git_log  effects.granted  after approval a-1",
    ]


def test_each_thing_that_happened_has_its_line() -> None:
    """Decisions, outcomes, failures and steps of each kind stand one a line, under their day."""
    steps = [
        Step(number=7, kind=PlanningStep(summary="look first"), cost=3, model_tokens=90),
        Step(number=8, kind=MemoryRead(key="plan", version=3)),
        Step(number=9, kind=MemoryWrite(key="plan", version=4)),
        Step(number=10, kind=StateTransition(name="phase", from_state="plan", to_state="act")),
    ]
    assert drawn(
        a_decision(1),
        an_outcome(1),
        a_decision(2, verdict=Verdict.DENY, reason_codes=("loops.no_progress", "a.b"), same_call=3),
        an_outcome(9, result_digest=""),
        an_entry(FailureEntry(reason="POLICY_CONFLICT", tool="git_log"), seconds=3),
        *(an_entry(step, number=step.number, seconds=4) for step in steps),
        an_entry(None, seconds=86_400),
    ) == [
        "  2026-03-01",
        "  12:00:01    1 ALLOW     git_log  effects.granted",
        "  12:00:01      succeeded of 1  result rrrrrrrrrrrr",
        "  12:00:02    2 DENY      x3 git_log  loops.no_progress, a.b",
        "  12:00:09      succeeded of decision decision-9",
        "  12:00:03      ERROR     git_log  POLICY_CONFLICT",
        "  12:00:04      step 7    plan: look first  (cost 3, 90 model tokens)",
        "  12:00:04      step 8    read plan, version 3",
        "  12:00:04      step 9    wrote plan, version 4",
        "  12:00:04      step 10   phase: plan → act",
        "  2026-03-02",
        "  12:00:00      ?         something that only a newer version of this command knows",
    ]


def test_a_cycle_is_held_together_by_a_bracket() -> None:
    """From the first call of the first repeat to the last of the last, whatever lies between."""
    assert [
        line[:16]
        for line in drawn(
            a_decision(1, "c"),
            a_decision(2, "a"),
            a_decision(3, "b"),
            an_outcome(3),
            a_decision(4, "a", same_call=2),
            a_decision(5, "b", same_call=2, cycle_length=2, cycle_count=2),
            a_decision(6, "a", same_call=3, cycle_length=2, cycle_count=2),
            a_decision(7, "b", same_call=3, cycle_length=2, cycle_count=3),
            a_decision(8, "d"),
        )
    ][1:] == [
        "  12:00:01    1 ",
        "┌ 12:00:02    2 ",
        "│ 12:00:03    3 ",
        "│ 12:00:03      ",
        "│ 12:00:04    4 ",
        "│ 12:00:05    5 ",
        "│ 12:00:06    6 ",
        "└ 12:00:07    7 ",
        "  12:00:08    8 ",
    ]


def test_a_cycle_says_its_length_and_its_count() -> None:
    """Behind the verdict stands what repeats."""
    line = drawn(a_decision(6, same_call=3, cycle_length=2, cycle_count=3))[-1]
    assert line == "  12:00:06    6 ALLOW     x3 cycle of 2 x3 git_log  effects.granted"


def test_two_cycles_have_two_brackets() -> None:
    """Cycles that do not overlap are not drawn as one, also where calls of the first are not at hand."""
    entries = [a_decision(number) for number in range(3, 11)]
    entries[1] = a_decision(4, cycle_length=2, cycle_count=2)
    entries[6] = a_decision(9, cycle_length=2, cycle_count=2)
    assert [line[0] for line in drawn(*entries)[1:]] == list("┌└ ┌││└ ")


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "\u202eevil", "\u200bhidden", "\x9b2J", "\u2028"])
def test_nothing_that_somebody_wrote_acts_on_a_terminal(text: str) -> None:
    """Control, bidirectional and zero-width characters are shown by their code points (case 43)."""
    entries = [
        an_entry(Step(number=1, kind=PlanningStep(summary=text))),
        an_entry(Step(number=2, kind=MemoryRead(key=text, version=1))),
        an_entry(Step(number=3, kind=StateTransition(name=text, from_state=text, to_state=text))),
        a_decision(4, text, reason_codes=(text,)),
        an_entry(FailureEntry(reason=text, tool=text)),
        an_outcome(9, decision_id=text, result_digest=text),
    ]
    lines = drawn(*entries)
    assert len(lines) == len(entries) + 1
    for line in lines:
        assert all(character.isprintable() for character in line)
    assert "\\u" in lines[1]


counts = st.integers(0, 40)


@given(st.lists(st.tuples(counts, counts, counts, counts), max_size=30))
def test_every_timeline_can_be_drawn(told: list[tuple[int, int, int, int]]) -> None:
    """Whatever the counts say, each entry has its line, and each bracket that opens closes."""
    entries = [
        a_decision(number, same_call=same, cycle_length=length, cycle_count=count)
        for number, same, length, count in told
    ]
    lines = [line for line in drawn(*entries) if ":" in line]
    assert len(lines) == len(entries)
    margins = [line[0] for line in lines]
    assert margins.count("┌") == margins.count("└")
