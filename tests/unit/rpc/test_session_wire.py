"""Between messages and core types, for sessions."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from interlock.core.decision import Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import OutcomeKind
from interlock.core.session import SessionKey
from interlock.core.session_changes import SessionView
from interlock.core.steps import Step, StepKind
from interlock.core.timeline import ApprovalChanged, AttemptFailed, DecisionMade, Entry, OutcomeReported
from interlock.rpc import session_wire
from interlock.v1 import decision_service_pb2, outcome_pb2, session_pb2
from tests.fakes import NOON

STEPS = [
    Step(number=1, kind=StepKind.PLANNING, summary="look", cost=3),
    Step(number=2, kind=StepKind.MEMORY_READ, key="plan", version=3, digest="d"),
    Step(number=3, kind=StepKind.MEMORY_WRITE, key="plan", version=4, digest="e", model_tokens=9),
    Step(number=9, kind=StepKind.STATE_TRANSITION, name="phase", from_state="plan", to_state="act"),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind.value)
def test_a_step_is_shown_as_it_was_recorded(step: Step) -> None:
    """What is told of a step reads as the very step."""
    told = session_wire.timeline_entry(Entry(time=NOON, number=step.number, event=step))
    request = decision_service_pb2.RecordStepsRequest(session_id="session-1", steps=[told.step])
    batch = session_wire.step_batch(request)
    assert (batch.session_id, batch.steps) == ("session-1", (step,))


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (session_pb2.Step(number=1), "steps[0]"),
        (
            session_pb2.Step(
                planning=session_pb2.PlanningStep(), usage=outcome_pb2.Usage(compute_milliseconds=0)
            ),
            "steps[0].usage.compute_milliseconds",
        ),
    ],
)
def test_a_step_that_is_none_is_told(message: session_pb2.Step, field: str) -> None:
    """A step of no kind, and one that says what only a gateway measures, are INVALID_FIELD."""
    with pytest.raises(InterlockError) as caught:
        session_wire.step_batch(decision_service_pb2.RecordStepsRequest(steps=[message]))
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    assert caught.value.violations[0].field == field


def test_what_became_of_an_approval_is_told() -> None:
    """All that a timeline knows of an approval's change is in the message."""
    changed = ApprovalChanged(
        approval_id="approval-1",
        decision_id="d-1",
        change="deny",
        state="denied",
        requested_by="approver/alice",
    )
    told = session_wire.timeline_entry(Entry(time=NOON, number=0, event=changed))
    assert told.approval == session_pb2.ApprovalEntry(**asdict(changed))


def test_a_decision_an_outcome_and_a_failure_are_told() -> None:
    """All that a timeline knows of what happened is in the message."""
    decision = session_wire.timeline_entry(
        Entry(
            time=NOON,
            number=5,
            event=DecisionMade(
                decision_id="d-1",
                log_index=7,
                verdict=Verdict.DENY,
                tool="t",
                arguments_digest="digest",
                reason_codes=("a.b", "c.d"),
                same_call=3,
                cycle_length=2,
                cycle_count=4,
            ),
        )
    )
    assert (decision.number, decision.time.ToSeconds()) == (5, int(NOON.timestamp()))
    told = decision.decision
    assert (told.decision_id, told.log_index, told.verdict, told.tool) == ("d-1", 7, 2, "t")
    assert (told.arguments_digest, list(told.reason_codes)) == ("digest", ["a.b", "c.d"])
    assert (told.same_call, told.cycle_length, told.cycle_count) == (3, 2, 4)
    reported = OutcomeReported(
        decision_id="d-1", execution_id="e-1", kind=OutcomeKind.UNKNOWN, result_digest="r"
    )
    outcome = session_wire.timeline_entry(Entry(time=NOON, number=0, event=reported)).outcome
    assert (outcome.decision_id, outcome.execution_id, outcome.outcome, outcome.result_digest) == (
        "d-1",
        "e-1",
        outcome_pb2.OUTCOME_UNKNOWN,
        "r",
    )
    failed = Entry(time=NOON, number=0, event=AttemptFailed(reason="POLICY_CONFLICT", tool="t"))
    assert session_wire.timeline_entry(failed).failure == session_pb2.FailureEntry(
        reason="POLICY_CONFLICT", tool="t"
    )


@pytest.mark.parametrize(
    ("goal_set_by", "number"),
    [
        ("none", session_pb2.GOAL_SET_BY_UNSPECIFIED),
        ("proposal", session_pb2.GOAL_SET_BY_PROPOSAL),
        ("user", session_pb2.GOAL_SET_BY_USER),
    ],
)
def test_a_session_is_told(goal_set_by: Any, number: int) -> None:
    """All that is known of a session is in the message, its facts as JSON."""
    message = session_wire.session(
        SessionView(
            key=SessionKey(tenant="acme", agent="coder", session_id="s-1"),
            user="ann",
            goal="pay",
            goal_set_by=goal_set_by,
            start_time=NOON,
            last_time=NOON + timedelta(seconds=2),
            ended=True,
            state_digest="s",
            steps=4,
            last_step_number=9,
            facts={"spend": {"calls": 2}},
            recorded_steps=(),
        )
    )
    assert message.goal_set_by == number
    assert (message.session_id, message.agent, message.user, message.goal) == ("s-1", "coder", "ann", "pay")
    assert message.last_time.ToSeconds() - message.start_time.ToSeconds() == 2
    assert (message.ended, message.state_digest, message.steps, message.last_step_number) == (True, "s", 4, 9)
    assert message.facts_json == b'{"spend":{"calls":2}}'
