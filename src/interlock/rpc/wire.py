"""Between protobuf messages and core types; nothing here decides anything."""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.core.decision import Decision, Obligation, Reason, StepDecision, Verdict
from interlock.core.errors import invalid_field
from interlock.core.field_checks import check_count, check_number
from interlock.core.identity import Caller
from interlock.core.outcome import (
    MAX_COMMENT,
    MAX_FOUND_BY,
    MAX_MEMORY_WRITES,
    MAX_OBLIGATION_DETAIL,
    MAX_OBLIGATION_RESULTS,
    MAX_OBLIGATION_TYPE,
    MAX_RESULT_KEPT_BYTES,
    Finding,
    MemoryWrite,
    ObligationResult,
    Outcome,
    OutcomeKind,
    Reconciliation,
    Usage,
)
from interlock.core.plan import MAX_STEPS, RawPlan, RawStep
from interlock.core.plan_step import StepReference
from interlock.core.proposal import Context, MemoryRead, RawProposal, Source, SourceTrust
from interlock.core.record import Record, RecordType
from interlock.core.steps import check_memory_entry
from interlock.v1 import (
    decision_pb2,
    decision_service_pb2,
    gateway_service_pb2,
    outcome_pb2,
    proposal_pb2,
    record_pb2,
)

_VERDICTS = {
    Verdict.ALLOW: decision_pb2.VERDICT_ALLOW,
    Verdict.DENY: decision_pb2.VERDICT_DENY,
    Verdict.ESCALATE: decision_pb2.VERDICT_ESCALATE,
}
_TRUSTS = {
    proposal_pb2.SOURCE_TRUST_UNSPECIFIED: SourceTrust.UNSPECIFIED,
    proposal_pb2.SOURCE_TRUST_TRUSTED: SourceTrust.TRUSTED,
    proposal_pb2.SOURCE_TRUST_UNTRUSTED: SourceTrust.UNTRUSTED,
}
_OUTCOMES = {
    OutcomeKind.SUCCEEDED: outcome_pb2.OUTCOME_SUCCEEDED,
    OutcomeKind.FAILED: outcome_pb2.OUTCOME_FAILED,
    OutcomeKind.REFUSED: outcome_pb2.OUTCOME_REFUSED,
    OutcomeKind.UNKNOWN: outcome_pb2.OUTCOME_UNKNOWN,
}
_FINDING_NUMBERS = {
    Finding.SUCCEEDED: outcome_pb2.FINDING_SUCCEEDED,
    Finding.FAILED: outcome_pb2.FINDING_FAILED,
    Finding.NOT_RUN: outcome_pb2.FINDING_NOT_RUN,
}
_FINDINGS = {number: finding for finding, number in _FINDING_NUMBERS.items()}
_OUTCOME_KINDS = {number: kind for kind, number in _OUTCOMES.items()}
_RECORD_TYPES = {
    RecordType.DECISION: record_pb2.RECORD_TYPE_DECISION,
    RecordType.FAILURE: record_pb2.RECORD_TYPE_FAILURE,
    RecordType.OUTCOME: record_pb2.RECORD_TYPE_OUTCOME,
    RecordType.POLICY_ACTIVATION: record_pb2.RECORD_TYPE_POLICY_ACTIVATION,
    RecordType.FREEZE: record_pb2.RECORD_TYPE_FREEZE,
    RecordType.TOOL_DRIFT: record_pb2.RECORD_TYPE_TOOL_DRIFT,
    RecordType.RECONCILIATION: record_pb2.RECORD_TYPE_RECONCILIATION,
    RecordType.APPROVAL: record_pb2.RECORD_TYPE_APPROVAL,
}
_TYPES_OF_RECORD = {number: kind for kind, number in _RECORD_TYPES.items()}

_NO_CONTEXT = Context()
_LONGEST_SECONDS = 315_576_000_000  # of google.protobuf.Duration


def raw_request(caller: Caller, request: decision_service_pb2.DecideRequest) -> RawProposal | RawPlan:
    """The request with its caller. Raises InterlockError: INVALID_FIELD."""
    if request.proposal.WhichOneof("kind") == "plan":
        return _raw_plan(caller, request)
    return raw_proposal(caller, request)


def raw_proposal(caller: Caller, request: decision_service_pb2.DecideRequest) -> RawProposal:
    """The request of one call, with its caller. Raises InterlockError: INVALID_FIELD."""
    proposal = request.proposal
    if proposal.WhichOneof("kind") != "tool_call":
        raise invalid_field("proposal.tool_call", "must be set, or `proposal.plan`")
    return RawProposal(
        caller=caller,
        request_id=request.request_id,
        session_id=proposal.session_id,
        parent_decision_id=proposal.parent_decision_id,
        goal=proposal.goal,
        tool=proposal.tool_call.tool,
        arguments_json=proposal.tool_call.arguments_json,
        context=_context(proposal.context) if proposal.HasField("context") else _NO_CONTEXT,
        operation=proposal.operation,
        plan_step=_plan_step(proposal),
    )


def _plan_step(proposal: proposal_pb2.Proposal) -> StepReference | None:
    if not proposal.HasField("plan_step"):
        return None
    return StepReference(decision_id=proposal.plan_step.decision_id, step_id=proposal.plan_step.step_id)


def _raw_plan(caller: Caller, request: decision_service_pb2.DecideRequest) -> RawPlan:
    proposal = request.proposal
    if proposal.HasField("plan_step"):
        raise invalid_field("proposal.plan_step", "must not be set with a plan")
    # Before anything is made of them: nobody gets so many looked at (case 59).
    check_count("proposal.plan.steps", len(proposal.plan.steps), MAX_STEPS, least=1)
    return RawPlan(
        caller=caller,
        request_id=request.request_id,
        session_id=proposal.session_id,
        parent_decision_id=proposal.parent_decision_id,
        goal=proposal.goal,
        steps=tuple(
            RawStep(
                step_id=step.step_id,
                tool=step.tool_call.tool,
                arguments_json=step.tool_call.arguments_json,
                after=tuple(step.after),
            )
            for step in proposal.plan.steps
        ),
        context=_context(proposal.context) if proposal.HasField("context") else _NO_CONTEXT,
        operation=proposal.operation,
    )


def _context(message: proposal_pb2.Context) -> Context:
    return Context(
        sources=tuple(
            Source(kind=source.kind, reference=source.reference, trust=_trust(position, source.trust))
            for position, source in enumerate(message.sources)
        ),
        memory_reads=tuple(
            MemoryRead(key=read.key, version=read.version, digest=read.digest)
            for read in message.memory_reads
        ),
        state_digest=message.state_digest,
    )


def _trust(position: int, number: proposal_pb2.SourceTrust.ValueType) -> SourceTrust:
    trust = _TRUSTS.get(number)
    if trust is None:
        raise invalid_field(f"proposal.context.sources[{position}].trust", "is not a value of SourceTrust")
    return trust


def decision(decided: Decision) -> decision_pb2.Decision:
    """The decision as it is told."""
    message = decision_pb2.Decision(
        decision_id=decided.decision_id,
        request_id=decided.request_id,
        verdict=_VERDICTS[decided.verdict],
        reasons=map(reason, decided.reasons),
        obligations=map(_obligation, decided.obligations),
        execution_token=decided.execution_token,
        policy_revision=decided.policy_revision,
        arguments_digest=decided.arguments_digest,
        log_index=decided.log_index,
        state_digest=decided.state_digest,
        steps=map(_step, decided.steps),
        approval_id=decided.approval_id,
        edited_arguments_json=decided.edited_arguments_json,
    )
    if decided.token_expire_time is not None:
        message.token_expire_time.CopyFrom(timestamp(decided.token_expire_time))
    if decided.retry_after is not None:
        message.retry_after.CopyFrom(duration(decided.retry_after))
    return message


def _step(decided: StepDecision) -> decision_pb2.StepDecision:
    return decision_pb2.StepDecision(
        step_id=decided.step_id,
        decision_id=decided.decision_id,
        verdict=_VERDICTS[decided.verdict],
        reasons=map(reason, decided.reasons),
        obligations=map(_obligation, decided.obligations),
        execution_token=decided.execution_token,
        arguments_digest=decided.arguments_digest,
    )


def reason(given: Reason) -> decision_pb2.Reason:
    """The reason as it is told."""
    return decision_pb2.Reason(
        code=given.code,
        message=given.message,
        metadata_json=orjson.dumps(given.metadata),
        path=given.path,
    )


def _obligation(obligation: Obligation) -> decision_pb2.Obligation:
    return decision_pb2.Obligation(type=obligation.type, parameters_json=orjson.dumps(obligation.parameters))


def verdict(given: Verdict) -> decision_pb2.Verdict.ValueType:
    """The verdict as it is told."""
    return _VERDICTS[given]


def outcome_kind(kind: OutcomeKind) -> outcome_pb2.Outcome.ValueType:
    """The outcome as it is told."""
    return _OUTCOMES[kind]


def reported_outcome(request: decision_service_pb2.ReportOutcomeRequest) -> Outcome:
    """What a gateway reports. Raises InterlockError: INVALID_FIELD.

    A result that is longer than what is kept is cut, and the outcome recorded: what ran must come on record.
    """
    kind = _OUTCOME_KINDS.get(request.outcome)
    if kind is None:
        raise invalid_field("outcome", "must be a value of Outcome other than OUTCOME_UNSPECIFIED")
    if request.HasField("reconciliation") and kind is not OutcomeKind.UNKNOWN:
        raise invalid_field("reconciliation", "is only for an outcome that is unknown")
    return Outcome(
        execution_id=_bounded("execution_id", request.execution_id, 64),
        decision_id=_bounded("decision_id", request.decision_id, 64),
        token_id=_bounded("token_id", request.token_id, 64),
        kind=kind,
        result_digest=_bounded("result_digest", request.result_digest, 64, may_be_empty=True),
        refusal=_bounded("refusal", request.refusal, 64, may_be_empty=True),
        start_time=moment(request.start_time),
        end_time=moment(request.end_time),
        result=request.result_json[:MAX_RESULT_KEPT_BYTES],
        result_truncated=request.result_truncated or len(request.result_json) > MAX_RESULT_KEPT_BYTES,
        usage=_usage(request.usage) if request.HasField("usage") else None,
        memory_writes=_memory_writes(request.memory_writes),
        obligation_results=_obligation_results(request.obligation_results),
        reconciliation=_reconciliation(request.reconciliation)
        if request.HasField("reconciliation")
        else None,
    )


def _obligation_results(
    messages: Sequence[gateway_service_pb2.ObligationResult],
) -> tuple[ObligationResult, ...]:
    """As they are told, the more so as no length of theirs keeps an outcome off the record."""
    return tuple(
        ObligationResult(type=each.type[:MAX_OBLIGATION_TYPE], detail=each.detail[:MAX_OBLIGATION_DETAIL])
        for each in messages[:MAX_OBLIGATION_RESULTS]
    )


def _reconciliation(message: outcome_pb2.Reconciliation) -> Reconciliation:
    finding = _FINDINGS.get(message.finding)
    if finding is None:
        raise invalid_field(
            "reconciliation.finding", "must be a value of Finding other than FINDING_UNSPECIFIED"
        )
    return Reconciliation(
        finding=finding,
        comment=_bounded("reconciliation.comment", message.comment, MAX_COMMENT),
        found_by=_bounded("reconciliation.found_by", message.found_by, MAX_FOUND_BY, may_be_empty=True),
        time=moment(message.find_time),
    )


def _usage(message: outcome_pb2.Usage) -> Usage:
    stated = {field.name: value for field, value in message.ListFields()}
    for name, value in stated.items():
        check_number(f"usage.{name}", value)
    return Usage(**stated)


def _memory_writes(messages: Sequence[outcome_pb2.MemoryWrite]) -> tuple[MemoryWrite, ...]:
    check_count("memory_writes", len(messages), MAX_MEMORY_WRITES)
    for position, each in enumerate(messages):
        check_memory_entry(f"memory_writes[{position}]", each.key, each.version, each.digest)
    return tuple(MemoryWrite(key=each.key, version=each.version, digest=each.digest) for each in messages)


def outcome_report(outcome: Outcome) -> decision_service_pb2.ReportOutcomeRequest:
    """What a gateway sends of an outcome."""
    message = decision_service_pb2.ReportOutcomeRequest(
        execution_id=outcome.execution_id,
        decision_id=outcome.decision_id,
        token_id=outcome.token_id,
        outcome=_OUTCOMES[outcome.kind],
        result_digest=outcome.result_digest,
        refusal=outcome.refusal,
        start_time=timestamp(outcome.start_time),
        end_time=timestamp(outcome.end_time),
        result_json=outcome.result,
        result_truncated=outcome.result_truncated,
        memory_writes=[
            outcome_pb2.MemoryWrite(key=each.key, version=each.version, digest=each.digest)
            for each in outcome.memory_writes
        ],
        obligation_results=[
            gateway_service_pb2.ObligationResult(type=each.type, detail=each.detail)
            for each in outcome.obligation_results
        ],
    )
    if outcome.usage is not None:
        message.usage.CopyFrom(usage(outcome.usage))
    if (found := outcome.reconciliation) is not None:
        message.reconciliation.CopyFrom(
            outcome_pb2.Reconciliation(
                finding=_FINDING_NUMBERS[found.finding],
                comment=found.comment,
                found_by=found.found_by,
                find_time=timestamp(found.time),
            )
        )
    return message


def usage(used: Usage) -> outcome_pb2.Usage:
    """What was used, as far as it is known."""
    return outcome_pb2.Usage(
        cost=used.cost, model_tokens=used.model_tokens, compute_milliseconds=used.compute_milliseconds
    )


def record_type(number: record_pb2.RecordType.ValueType) -> RecordType | None:
    """The type to filter by; None for all. Raises InterlockError: INVALID_FIELD."""
    if number == record_pb2.RECORD_TYPE_UNSPECIFIED:
        return None
    kind = _TYPES_OF_RECORD.get(number)
    if kind is None:
        raise invalid_field("type", "is not a value of RecordType")
    return kind


def record(found: Record) -> record_pb2.Record:
    """The record with the exact bytes that its hashes cover."""
    return record_pb2.Record(
        log_index=found.log_index,
        type=_RECORD_TYPES[found.type],
        tenant=found.tenant,
        decision_id=found.decision_id,
        create_time=timestamp(found.timestamp),
        record_json=found.content,
        leaf_hash=found.leaf_hash,
        chain_hash=found.chain_hash,
    )


def timestamp(value: datetime) -> Timestamp:
    """The time as protobuf has it."""
    message = Timestamp()
    message.FromDatetime(value)
    return message


def duration(seconds: float) -> Duration:
    """The time span as protobuf has it, to the millisecond; what it cannot hold is the longest that it can."""
    message = Duration()
    message.FromMilliseconds(round(min(seconds, _LONGEST_SECONDS) * 1_000))
    return message


def moment(message: Timestamp) -> datetime:
    """The time in UTC. Raises InterlockError: INVALID_FIELD outside of the years 1 to 9999."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise invalid_field("timestamp", "is not a time") from error


def _bounded(name: str, value: str, limit: int, *, may_be_empty: bool = False) -> str:
    if len(value) > limit or not (value or may_be_empty):
        raise invalid_field(
            name, f"must be {0 if may_be_empty else 1} to {limit} characters, got {len(value)}"
        )
    return value
