"""Between values of sessions and protobuf messages."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import assert_never

from interlock.client import session_values as values
from interlock.client.messages import OUTCOMES, VERDICTS, json_object, moment, understood
from interlock.client.values import MemoryRead
from interlock.v1 import decision_service_pb2 as pb
from interlock.v1 import outcome_pb2, proposal_pb2, session_pb2

STEPS_AT_ONCE = 256
"""Steps are sent so many at a time, each time in a call of its own: one that is made again repeats no more."""

PAGE_SIZE = 1_000

_GOAL_SET_BY = {
    session_pb2.GOAL_SET_BY_UNSPECIFIED: values.GoalSetBy.NONE,
    session_pb2.GOAL_SET_BY_PROPOSAL: values.GoalSetBy.PROPOSAL,
    session_pb2.GOAL_SET_BY_USER: values.GoalSetBy.USER,
}


def get_session_request(session_id: str, agent: str, *, timeline: bool) -> pb.GetSessionRequest:
    """The request for a session and the first page of its timeline, of one entry where it is not asked for."""
    return pb.GetSessionRequest(session_id=session_id, agent=agent, page_size=PAGE_SIZE if timeline else 1)


def following(request: pb.GetSessionRequest, page_token: str) -> pb.GetSessionRequest:
    """The request for the page of the timeline that `page_token` names."""
    return pb.GetSessionRequest(
        session_id=request.session_id,
        agent=request.agent,
        page_size=request.page_size,
        page_token=page_token,
    )


def steps_requests(session_id: str, steps: Iterable[values.Step]) -> Iterator[pb.RecordStepsRequest]:
    """Messages with the steps; each takes its own from `steps` when it is asked for."""
    remaining = iter(steps)
    while taken := list(islice(remaining, STEPS_AT_ONCE)):
        yield _steps_request(session_id, taken)


async def steps_requests_async(
    session_id: str, steps: Iterable[values.Step] | AsyncIterable[values.Step]
) -> AsyncIterator[pb.RecordStepsRequest]:
    """As `steps_requests`."""
    if isinstance(steps, Iterable):
        for request in steps_requests(session_id, steps):
            yield request
        return
    taken: list[values.Step] = []
    async for step in steps:
        taken.append(step)
        if len(taken) == STEPS_AT_ONCE:
            yield _steps_request(session_id, taken)
            taken = []
    if taken:
        yield _steps_request(session_id, taken)


@understood("StartSession")
def read_started(response: pb.StartSessionResponse) -> values.Session:
    """The session as it began."""
    return _session(response.session, ())


@understood("GetSession")
def read_session(
    response: pb.GetSessionResponse, before: tuple[values.TimelineEntry, ...]
) -> tuple[values.Session, str]:
    """The session with its timeline, of which `before` came on earlier pages, and the next page's token."""
    page = tuple(map(_entry, response.timeline))
    return _session(response.session, (*before, *page)), response.next_page_token


@understood("RecordSteps")
def read_recorded(response: pb.RecordStepsResponse) -> values.StepsRecorded:
    """What was recorded."""
    return values.StepsRecorded(recorded=response.recorded, last_number=response.last_number)


def _steps_request(session_id: str, steps: Iterable[values.Step]) -> pb.RecordStepsRequest:
    return pb.RecordStepsRequest(session_id=session_id, steps=map(_step_message, steps))


def _step_message(step: values.Step) -> session_pb2.Step:
    message = session_pb2.Step(number=step.number)
    match step.kind:
        case values.PlanningStep(summary=summary):
            message.planning.CopyFrom(session_pb2.PlanningStep(summary=summary))
        case MemoryRead(key=key, version=version, digest=digest):
            message.memory_read.CopyFrom(proposal_pb2.MemoryRead(key=key, version=version, digest=digest))
        case values.MemoryWrite(key=key, version=version, digest=digest):
            message.memory_write.CopyFrom(outcome_pb2.MemoryWrite(key=key, version=version, digest=digest))
        case values.StateTransition(name=name, from_state=before, to_state=after):
            message.state_transition.CopyFrom(
                session_pb2.StateTransition(name=name, from_state=before, to_state=after)
            )
        case _:
            assert_never(step.kind)
    if step.cost is not None or step.model_tokens is not None:
        message.usage.CopyFrom(outcome_pb2.Usage(cost=step.cost, model_tokens=step.model_tokens))
    return message


def _session(message: session_pb2.Session, timeline: tuple[values.TimelineEntry, ...]) -> values.Session:
    goal_set_by = _GOAL_SET_BY.get(message.goal_set_by)
    if goal_set_by is None:
        raise ValueError(f"goal_set_by `{message.goal_set_by}` is not known")
    return values.Session(
        session_id=message.session_id,
        agent=message.agent,
        user=message.user,
        goal=message.goal,
        goal_set_by=goal_set_by,
        start_time=moment(message.start_time),
        last_time=moment(message.last_time),
        ended=message.ended,
        state_digest=message.state_digest,
        steps=message.steps,
        last_step_number=message.last_step_number,
        facts=json_object(message.facts_json, "facts_json"),
        timeline=timeline,
    )


def _entry(message: session_pb2.TimelineEntry) -> values.TimelineEntry:
    return values.TimelineEntry(time=moment(message.time), number=message.number, entry=_happened(message))


def _happened(
    message: session_pb2.TimelineEntry,
) -> (
    values.Step
    | values.DecisionEntry
    | values.ApprovalEntry
    | values.OutcomeEntry
    | values.FailureEntry
    | None
):
    match message.WhichOneof("entry"):
        case "step":
            return _step(message.step)
        case "decision":
            return _decision(message.decision)
        case "approval":
            return _approval(message.approval)
        case "outcome":
            return _outcome(message.outcome)
        case "failure":
            return values.FailureEntry(reason=message.failure.reason, tool=message.failure.tool)
    return None


def _step(message: session_pb2.Step) -> values.Step | None:
    kind = _step_kind(message)
    if kind is None:
        return None
    usage = message.usage
    return values.Step(
        number=message.number,
        kind=kind,
        cost=usage.cost if usage.HasField("cost") else None,
        model_tokens=usage.model_tokens if usage.HasField("model_tokens") else None,
    )


def _step_kind(message: session_pb2.Step) -> values.StepKind | None:
    match message.WhichOneof("kind"):
        case "planning":
            return values.PlanningStep(summary=message.planning.summary)
        case "memory_read":
            read = message.memory_read
            return MemoryRead(key=read.key, version=read.version, digest=read.digest)
        case "memory_write":
            write = message.memory_write
            return values.MemoryWrite(key=write.key, version=write.version, digest=write.digest)
        case "state_transition":
            moved = message.state_transition
            return values.StateTransition(
                name=moved.name, from_state=moved.from_state, to_state=moved.to_state
            )
    return None


def _decision(message: session_pb2.DecisionEntry) -> values.DecisionEntry:
    verdict = VERDICTS.get(message.verdict)
    if verdict is None:
        raise ValueError(f"verdict `{message.verdict}` is not known")
    return values.DecisionEntry(
        decision_id=message.decision_id,
        log_index=message.log_index,
        verdict=verdict,
        tool=message.tool,
        arguments_digest=message.arguments_digest,
        reason_codes=tuple(message.reason_codes),
        same_call=message.same_call,
        cycle_length=message.cycle_length,
        cycle_count=message.cycle_count,
        approval_id=message.approval_id,
        follows=message.follows,
    )


def _approval(message: session_pb2.ApprovalEntry) -> values.ApprovalEntry:
    return values.ApprovalEntry(
        approval_id=message.approval_id,
        decision_id=message.decision_id,
        change=message.change,
        state=message.state,
        requested_by=message.requested_by,
    )


def _outcome(message: session_pb2.OutcomeEntry) -> values.OutcomeEntry:
    outcome = OUTCOMES.get(message.outcome)
    if outcome is None:
        raise ValueError(f"outcome `{message.outcome}` is not known")
    return values.OutcomeEntry(
        decision_id=message.decision_id,
        execution_id=message.execution_id,
        outcome=outcome,
        result_digest=message.result_digest,
    )
