"""Between protobuf messages and core types, for sessions and their steps; nothing here decides anything."""

from dataclasses import asdict
from typing import Any

import orjson

from interlock.core.errors import invalid_field
from interlock.core.outcome import Usage
from interlock.core.session import GoalSetBy
from interlock.core.session_changes import SessionView
from interlock.core.steps import Step, StepKind
from interlock.core.timeline import ApprovalChanged, AttemptFailed, DecisionMade, Entry, OutcomeReported
from interlock.flows.sessions import StepBatch
from interlock.rpc import wire
from interlock.v1 import decision_service_pb2, outcome_pb2, proposal_pb2, session_pb2

_GOAL_SET_BY: dict[GoalSetBy, session_pb2.GoalSetBy.ValueType] = {
    "none": session_pb2.GOAL_SET_BY_UNSPECIFIED,
    "proposal": session_pb2.GOAL_SET_BY_PROPOSAL,
    "user": session_pb2.GOAL_SET_BY_USER,
}


def session(view: SessionView) -> session_pb2.Session:
    """The session as it is told."""
    return session_pb2.Session(
        session_id=view.key.session_id,
        agent=view.key.agent,
        user=view.user,
        goal=view.goal,
        goal_set_by=_GOAL_SET_BY[view.goal_set_by],
        start_time=wire.timestamp(view.start_time),
        last_time=wire.timestamp(view.last_time),
        ended=view.ended,
        state_digest=view.state_digest,
        steps=view.steps,
        last_step_number=view.last_step_number,
        facts_json=orjson.dumps(view.facts),
    )


def timeline_entry(entry: Entry) -> session_pb2.TimelineEntry:
    """What happened, as it is told."""
    message = session_pb2.TimelineEntry(time=wire.timestamp(entry.time), number=entry.number)
    match entry.event:
        case Step() as event:
            message.step.CopyFrom(_step(event))
        case DecisionMade() as event:
            message.decision.CopyFrom(_decision(event))
        case ApprovalChanged() as event:
            message.approval.CopyFrom(session_pb2.ApprovalEntry(**asdict(event)))
        case OutcomeReported() as event:
            message.outcome.CopyFrom(_outcome(event))
        case AttemptFailed() as event:
            message.failure.CopyFrom(session_pb2.FailureEntry(reason=event.reason, tool=event.tool))
    return message


def step_batch(request: decision_service_pb2.RecordStepsRequest) -> StepBatch:
    """The steps of a message. Raises InterlockError: INVALID_FIELD."""
    steps = tuple(_read_step(position, step) for position, step in enumerate(request.steps))
    return StepBatch(session_id=request.session_id, steps=steps)


def _read_step(position: int, message: session_pb2.Step) -> Step:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise invalid_field(f"steps[{position}]", "must be of a kind")
    if message.usage.HasField("compute_milliseconds"):
        raise invalid_field(
            f"steps[{position}].usage.compute_milliseconds", "must be absent: only a gateway measures it"
        )
    content = getattr(message, kind)
    stated: dict[str, Any] = {field.name: getattr(content, field.name) for field in content.DESCRIPTOR.fields}
    return Step(
        number=message.number,
        kind=StepKind(kind),
        cost=message.usage.cost,
        model_tokens=message.usage.model_tokens,
        **stated,
    )


def _step(step: Step) -> session_pb2.Step:
    message = session_pb2.Step(number=step.number)
    match step.kind:
        case StepKind.PLANNING:
            message.planning.CopyFrom(session_pb2.PlanningStep(summary=step.summary))
        case StepKind.MEMORY_READ:
            message.memory_read.CopyFrom(
                proposal_pb2.MemoryRead(key=step.key, version=step.version, digest=step.digest)
            )
        case StepKind.MEMORY_WRITE:
            message.memory_write.CopyFrom(
                outcome_pb2.MemoryWrite(key=step.key, version=step.version, digest=step.digest)
            )
        case StepKind.STATE_TRANSITION:
            message.state_transition.CopyFrom(
                session_pb2.StateTransition(
                    name=step.name, from_state=step.from_state, to_state=step.to_state
                )
            )
    if step.cost or step.model_tokens:
        used = Usage(cost=step.cost, model_tokens=step.model_tokens)
        message.usage.CopyFrom(wire.usage(used))
    return message


def _decision(event: DecisionMade) -> session_pb2.DecisionEntry:
    return session_pb2.DecisionEntry(
        decision_id=event.decision_id,
        log_index=event.log_index,
        verdict=wire.verdict(event.verdict),
        tool=event.tool,
        arguments_digest=event.arguments_digest,
        reason_codes=event.reason_codes,
        same_call=event.same_call,
        cycle_length=event.cycle_length,
        cycle_count=event.cycle_count,
        approval_id=event.approval_id,
        follows=event.follows,
    )


def _outcome(event: OutcomeReported) -> session_pb2.OutcomeEntry:
    return session_pb2.OutcomeEntry(
        decision_id=event.decision_id,
        execution_id=event.execution_id,
        outcome=wire.outcome_kind(event.kind),
        result_digest=event.result_digest,
    )
