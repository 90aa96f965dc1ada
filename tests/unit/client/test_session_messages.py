"""Sessions come back as the service told them, and where that is not well-formed, not at all."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.client import session_messages, values
from interlock.client import session_values as sessions
from interlock.client.errors import InterlockCallError
from interlock.core import outcome as core_outcome
from interlock.core import steps as core_steps
from interlock.flows.sessions import MAX_STEPS_AT_ONCE
from interlock.v1 import decision_pb2, decision_service_pb2, outcome_pb2, proposal_pb2, session_pb2

NO_OUTCOME: Any = 99
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at_noon() -> Timestamp:
    message = Timestamp()
    message.FromDatetime(NOON)
    return message


def read(*entries: session_pb2.TimelineEntry, **changes: Any) -> sessions.Session:
    fields: dict[str, Any] = {
        "session_id": "s-1",
        "start_time": at_noon(),
        "last_time": at_noon(),
        "facts_json": b"{}",
    }
    response = decision_service_pb2.GetSessionResponse(
        session=session_pb2.Session(**(fields | changes)), timeline=entries
    )
    session, _ = session_messages.read_session(response, ())
    return session


def entry(**happened: Any) -> session_pb2.TimelineEntry:
    return session_pb2.TimelineEntry(time=at_noon(), number=4, **happened)


DECISION: dict[str, Any] = {
    "decision_id": "d-1",
    "log_index": 7,
    "tool": "t",
    "arguments_digest": "digest",
    "reason_codes": ["loops.no_progress", "a.b"],
    "same_call": 3,
    "cycle_length": 2,
    "cycle_count": 4,
}
TIMELINE: list[tuple[session_pb2.TimelineEntry, Any]] = [
    (
        entry(decision=session_pb2.DecisionEntry(**DECISION, verdict=decision_pb2.VERDICT_DENY)),
        sessions.DecisionEntry(
            **(DECISION | {"verdict": values.Verdict.DENY, "reason_codes": ("loops.no_progress", "a.b")})
        ),
    ),
    (
        entry(
            outcome=session_pb2.OutcomeEntry(
                decision_id="d-1",
                execution_id="e-1",
                outcome=outcome_pb2.OUTCOME_FAILED,
                result_digest="r",
            )
        ),
        sessions.OutcomeEntry(
            decision_id="d-1", execution_id="e-1", outcome=values.Outcome.FAILED, result_digest="r"
        ),
    ),
    (
        entry(
            approval=session_pb2.ApprovalEntry(
                approval_id="a-1",
                decision_id="d-1",
                change="expire",
                state="expired",
                requested_by="service",
            )
        ),
        sessions.ApprovalEntry(
            approval_id="a-1", decision_id="d-1", change="expire", state="expired", requested_by="service"
        ),
    ),
    (
        entry(failure=session_pb2.FailureEntry(reason="POLICY_CONFLICT", tool="t")),
        sessions.FailureEntry(reason="POLICY_CONFLICT", tool="t"),
    ),
    (
        entry(
            step=session_pb2.Step(
                number=4,
                planning=session_pb2.PlanningStep(summary="look"),
                usage=outcome_pb2.Usage(cost=0),
            )
        ),
        sessions.Step(number=4, kind=sessions.PlanningStep(summary="look"), cost=0),
    ),
    (
        entry(step=session_pb2.Step(memory_read=proposal_pb2.MemoryRead(key="k", version=2, digest="d"))),
        sessions.Step(number=0, kind=values.MemoryRead(key="k", version=2, digest="d")),
    ),
    (
        entry(step=session_pb2.Step(memory_write=outcome_pb2.MemoryWrite(key="k", version=3))),
        sessions.Step(number=0, kind=sessions.MemoryWrite(key="k", version=3)),
    ),
    (
        entry(
            step=session_pb2.Step(
                state_transition=session_pb2.StateTransition(name="n", from_state="a", to_state="b")
            )
        ),
        sessions.Step(number=0, kind=sessions.StateTransition(name="n", from_state="a", to_state="b")),
    ),
    (entry(), None),
    (entry(step=session_pb2.Step(number=4)), None),
]


@pytest.mark.parametrize(("message", "expected"), TIMELINE)
def test_an_entry_is_what_happened(message: session_pb2.TimelineEntry, expected: Any) -> None:
    """Each kind of entry comes with all of its fields; one that a newer service knows comes as None."""
    assert read(message).timeline == (sessions.TimelineEntry(time=NOON, number=4, entry=expected),)


@pytest.mark.parametrize(
    ("entries", "changes"),
    [
        ([entry(decision=session_pb2.DecisionEntry(decision_id="d-1"))], {}),
        ([entry(outcome=session_pb2.OutcomeEntry(outcome=NO_OUTCOME))], {}),
        ([], {"goal_set_by": 99}),
        ([], {"facts_json": b"[]"}),
        ([], {"facts_json": b"{"}),
        ([], {"start_time": Timestamp(seconds=10**12)}),
    ],
    ids=["verdict", "outcome", "goal-set-by", "facts-are-a-list", "facts-are-no-json", "time"],
)
def test_an_answer_that_is_not_well_formed_is_none(
    entries: list[session_pb2.TimelineEntry], changes: dict[str, Any]
) -> None:
    """What this client cannot understand of a session is an error, not a guess."""
    with pytest.raises(InterlockCallError) as caught:
        read(*entries, **changes)
    assert (caught.value.code, caught.value.method) == ("INTERNAL", "GetSession")


def test_a_session_comes_as_it_was_told() -> None:
    """All that the service says of a session is there, a goal that nobody set as empty."""
    session = read(agent="coder", state_digest="s-9", steps=3, last_step_number=8, ended=True)
    assert (session.agent, session.state_digest, session.steps) == ("coder", "s-9", 3)
    assert (session.last_step_number, session.ended) == (8, True)
    assert (session.goal, session.goal_set_by) == ("", sessions.GoalSetBy.NONE)
    assert session.start_time == session.last_time == NOON


def test_a_part_of_the_steps_fits_a_message() -> None:
    """The client sends no more at a time than the service takes, and knows the kinds that it knows."""
    assert session_messages.STEPS_AT_ONCE <= MAX_STEPS_AT_ONCE
    kinds = {field.name for field in session_pb2.Step.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert kinds == {kind.value for kind in core_steps.StepKind}
    assert {write.name for write in outcome_pb2.MemoryWrite.DESCRIPTOR.fields} == set(
        core_outcome.MemoryWrite.__slots__
    )
