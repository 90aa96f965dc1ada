"""Between values and protobuf messages. An answer that is not well-formed is an error, never a yes."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Unpack

from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from interlock.client import values
from interlock.client.errors import InterlockCallError, from_status, not_understood
from interlock.client.plan_values import PlanStep, Reference
from interlock.v1 import (
    audit_service_pb2,
    decision_pb2,
    decision_service_pb2,
    gateway_service_pb2,
    outcome_pb2,
    proposal_pb2,
    record_pb2,
)

_TRUSTS = {
    values.SourceTrust.UNSPECIFIED: proposal_pb2.SOURCE_TRUST_UNSPECIFIED,
    values.SourceTrust.TRUSTED: proposal_pb2.SOURCE_TRUST_TRUSTED,
    values.SourceTrust.UNTRUSTED: proposal_pb2.SOURCE_TRUST_UNTRUSTED,
}
VERDICTS = {
    decision_pb2.VERDICT_ALLOW: values.Verdict.ALLOW,
    decision_pb2.VERDICT_DENY: values.Verdict.DENY,
    decision_pb2.VERDICT_ESCALATE: values.Verdict.ESCALATE,
}
OUTCOMES = {
    outcome_pb2.OUTCOME_SUCCEEDED: values.Outcome.SUCCEEDED,
    outcome_pb2.OUTCOME_FAILED: values.Outcome.FAILED,
    outcome_pb2.OUTCOME_REFUSED: values.Outcome.REFUSED,
    outcome_pb2.OUTCOME_UNKNOWN: values.Outcome.UNKNOWN,
}
_RECORD_TYPES = {
    record_pb2.RECORD_TYPE_DECISION: values.RecordType.DECISION,
    record_pb2.RECORD_TYPE_FAILURE: values.RecordType.FAILURE,
    record_pb2.RECORD_TYPE_OUTCOME: values.RecordType.OUTCOME,
    record_pb2.RECORD_TYPE_POLICY_ACTIVATION: values.RecordType.POLICY_ACTIVATION,
    record_pb2.RECORD_TYPE_FREEZE: values.RecordType.FREEZE,
    record_pb2.RECORD_TYPE_TOOL_DRIFT: values.RecordType.TOOL_DRIFT,
    record_pb2.RECORD_TYPE_RECONCILIATION: values.RecordType.RECONCILIATION,
    record_pb2.RECORD_TYPE_APPROVAL: values.RecordType.APPROVAL,
}
_RECORD_TYPE_NUMBERS = {kind: number for number, kind in _RECORD_TYPES.items()}


def encode_arguments(arguments: Mapping[str, Any]) -> bytes:
    """The arguments as JSON in UTF-8, with nothing in it that JSON does not have.

    Raises TypeError or ValueError with the JSON Pointer of what is no JSON, and never with its value.
    """
    if not isinstance(arguments, Mapping):
        raise TypeError(f"`arguments` must be a mapping, got `{type(arguments).__name__}`")
    try:
        plain = _plain(arguments, "")
        return json.dumps(plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # Its attributes hold all of the arguments.
        raise ValueError("`arguments` hold a lone surrogate, expected Unicode text") from None
    except RecursionError:
        raise ValueError("`arguments` are nested too deep, or hold themselves") from None


def decide_request(
    call: values.ToolCall, *, session_id: str, **fields: Unpack[values.ProposalFields]
) -> decision_service_pb2.DecideRequest:
    """The request to decide one call. Raises TypeError and ValueError as `encode_arguments`."""
    return decision_service_pb2.DecideRequest(
        request_id=call.request_id,
        proposal=proposal_pb2.Proposal(
            session_id=session_id,
            tool_call=proposal_pb2.ToolCall(tool=call.tool, arguments_json=encode_arguments(call.arguments)),
            goal=fields.get("goal", ""),
            parent_decision_id=fields.get("parent_decision_id", ""),
            operation=fields.get("operation", ""),
            context=_context(fields),
        ),
    )


def plan_request(
    steps: Sequence[PlanStep], *, request_id: str, session_id: str, **fields: Unpack[values.ProposalFields]
) -> decision_service_pb2.DecideRequest:
    """The request to decide a plan. Raises TypeError and ValueError as `encode_arguments`."""
    return decision_service_pb2.DecideRequest(
        request_id=request_id,
        proposal=proposal_pb2.Proposal(
            session_id=session_id,
            plan=proposal_pb2.Plan(
                steps=[
                    proposal_pb2.PlanStep(
                        step_id=step.step_id,
                        tool_call=proposal_pb2.ToolCall(
                            tool=step.tool, arguments_json=encode_arguments(step.arguments)
                        ),
                        after=step.after,
                    )
                    for step in steps
                ]
            ),
            goal=fields.get("goal", ""),
            parent_decision_id=fields.get("parent_decision_id", ""),
            operation=fields.get("operation", ""),
            context=_context(fields),
        ),
    )


def step_request(
    call: values.ToolCall,
    plan: str,
    step_id: str,
    *,
    session_id: str,
    **fields: Unpack[values.ProposalFields],
) -> decision_service_pb2.DecideRequest:
    """The request to decide a step of the plan of this decision_id again."""
    request = decide_request(call, session_id=session_id, **fields)
    request.proposal.plan_step.decision_id = plan
    request.proposal.plan_step.step_id = step_id
    return request


def execute_request(
    decision: values.Decision | values.StepDecision | str, tool: str, arguments: Mapping[str, Any]
) -> gateway_service_pb2.ExecuteRequest:
    """The request to execute a call. Raises ValueError where there is no token; else as `encode_arguments`."""
    return gateway_service_pb2.ExecuteRequest(
        execution_token=_token(decision), tool=tool, arguments_json=encode_arguments(arguments)
    )


def list_records_request(
    type: values.RecordType | None, decision_id: str, page_size: int
) -> audit_service_pb2.ListRecordsRequest:
    """The request for the first page. Raises ValueError for a type that cannot be asked for."""
    number = record_pb2.RECORD_TYPE_UNSPECIFIED
    if type is not None:
        if type not in _RECORD_TYPE_NUMBERS:
            raise ValueError(f"`type` must be one of {', '.join(_RECORD_TYPE_NUMBERS)}, got `{type}`")
        number = _RECORD_TYPE_NUMBERS[type]
    return audit_service_pb2.ListRecordsRequest(page_size=page_size, type=number, decision_id=decision_id)


def following(
    request: audit_service_pb2.ListRecordsRequest, page_token: str
) -> audit_service_pb2.ListRecordsRequest:
    """The request for the page that `page_token` names, with the same filter."""
    return audit_service_pb2.ListRecordsRequest(
        page_size=request.page_size, type=request.type, decision_id=request.decision_id, page_token=page_token
    )


@contextlib.contextmanager
def understood(method: str) -> Iterator[None]:
    """Whatever is wrong with an answer is an InterlockCallError."""
    try:
        yield
    except (ValueError, OverflowError, RecursionError) as error:
        raise not_understood(error, method=method) from None


@understood("Decide")
def read_decision(
    response: decision_service_pb2.DecideResponse, request: decision_service_pb2.DecideRequest
) -> values.Decision:
    """The decision on this request."""
    return _decision(response.decision, request)


@understood("DecideBatch")
def read_batch(
    response: decision_service_pb2.DecideBatchResponse, requests: Sequence[decision_service_pb2.DecideRequest]
) -> list[values.Decision | InterlockCallError]:
    """For each request its decision, or why there is none."""
    if len(response.results) != len(requests):
        raise ValueError(f"{len(response.results)} results came for {len(requests)} requests")
    return [_item(result, request) for result, request in zip(response.results, requests, strict=True)]


@understood("WaitDecision")
def read_waited(
    response: decision_service_pb2.WaitDecisionResponse, waited_for: values.Decision | str
) -> values.Decision:
    """What the decision has come to."""
    told = _told(response.decision)
    if isinstance(waited_for, values.Decision):
        if told.request_id != waited_for.request_id:
            raise ValueError("the decision is one on another request")
        if {each.step_id for each in told.steps} != {each.step_id for each in waited_for.steps}:
            raise ValueError("the decision is one on other steps")
    return told


@understood("WithdrawDecision")
def read_withdrawn(response: decision_service_pb2.WithdrawDecisionResponse) -> str:
    """The approval that was withdrawn; empty where none was."""
    return response.approval_id


@understood("Execute")
def read_execution(response: gateway_service_pb2.ExecuteResponse) -> values.Execution:
    """What happened at the gateway."""
    outcome = OUTCOMES.get(response.outcome)
    if outcome is None:
        raise ValueError(f"outcome `{response.outcome}` is not known")
    return values.Execution(
        execution_id=response.execution_id,
        outcome=outcome,
        result=_json(response.result_json, "result_json") if response.result_json else None,
        obligation_results=tuple(
            values.ObligationResult(type=each.type, detail=each.detail)
            for each in response.obligation_results
        ),
    )


@understood("ListRecords")
def read_page(response: audit_service_pb2.ListRecordsResponse) -> tuple[list[values.Record], str]:
    """The records of a page, and the token of the next one, empty on the last page."""
    return [_record(each) for each in response.records], response.next_page_token


@understood("GetRecord")
def read_record(response: audit_service_pb2.GetRecordResponse) -> values.Record:
    """The record."""
    return _record(response.record)


@understood("ListTools")
def read_tools(response: decision_service_pb2.ListToolsResponse) -> list[str]:
    """The names of the tools."""
    return list(response.tools)


def read_health(response: health_pb2.HealthCheckResponse, address: str) -> None:
    """Raises InterlockCallError: UNAVAILABLE, unless the service at this address can do its work."""
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        message = f"`{address}` answers, and is not ready for work"
        raise InterlockCallError(method="HealthCheck", code="UNAVAILABLE", message=message)


def _plain(value: Any, pointer: str) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"`arguments#{pointer}` is not a finite number, which JSON does not have")
            return value
        case Reference():
            return value.as_json()
        case Mapping():
            return {_key(key, pointer): _plain(item, _below(pointer, key)) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, _below(pointer, index)) for index, item in enumerate(value)]
    raise TypeError(f"`arguments#{pointer}` must be a JSON value, got `{type(value).__name__}`")


def _key(key: object, pointer: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"`arguments#{pointer}` has a key of type `{type(key).__name__}`, expected `str`")
    return key


def _below(pointer: str, token: object) -> str:
    return f"{pointer}/{str(token).replace('~', '~0').replace('/', '~1')}"  # RFC 6901 3


def _context(fields: values.ProposalFields) -> proposal_pb2.Context:
    return proposal_pb2.Context(
        sources=[
            proposal_pb2.Source(kind=each.kind, reference=each.reference, trust=_TRUSTS[each.trust])
            for each in fields.get("sources", ())
        ],
        memory_reads=[
            proposal_pb2.MemoryRead(key=each.key, version=each.version, digest=each.digest)
            for each in fields.get("memory_reads", ())
        ],
        state_digest=fields.get("state_digest", ""),
    )


def _token(decision: values.Decision | values.StepDecision | str) -> str:
    if isinstance(decision, str):
        if not decision or not decision.isascii():
            raise ValueError("the execution token must be given as it came with the decision, which is ASCII")
        return decision
    if not decision.allowed:
        raise ValueError(f"decision `{decision.decision_id}` is `{decision.verdict}`, expected `allow`")
    if not decision.execution_token:
        raise ValueError(
            f"decision `{decision.decision_id}` has no token; propose the step again, by `decide_step`"
        )
    return decision.execution_token


def _item(
    result: decision_service_pb2.DecideResult, request: decision_service_pb2.DecideRequest
) -> values.Decision | InterlockCallError:
    try:
        return _read_item(result, request)
    except InterlockCallError as error:
        return error


@understood("DecideBatch")
def _read_item(
    result: decision_service_pb2.DecideResult, request: decision_service_pb2.DecideRequest
) -> values.Decision:
    match result.WhichOneof("result"):
        case "decision":
            return _decision(result.decision, request)
        case "status":
            raise from_status(result.status, method="DecideBatch")
    raise ValueError("a result is neither a decision nor a status")


def _decision(message: decision_pb2.Decision, request: decision_service_pb2.DecideRequest) -> values.Decision:
    told = _told(message)
    if told.request_id != request.request_id:
        raise ValueError("the decision is one on another request")
    if {each.step_id for each in told.steps} != {each.step_id for each in request.proposal.plan.steps}:
        raise ValueError("the decision is one on other steps")
    return told


def _told(message: decision_pb2.Decision) -> values.Decision:
    verdict = VERDICTS.get(message.verdict)
    if verdict is None:
        raise ValueError(f"verdict `{message.verdict}` is not known")
    edited = message.edited_arguments_json
    expires = moment(message.token_expire_time) if message.HasField("token_expire_time") else None
    return values.Decision(
        decision_id=message.decision_id,
        request_id=message.request_id,
        verdict=verdict,
        reasons=tuple(map(reason, message.reasons)),
        obligations=tuple(map(_obligation, message.obligations)),
        execution_token=message.execution_token,
        token_expire_time=expires,
        policy_revision=message.policy_revision,
        arguments_digest=message.arguments_digest,
        log_index=message.log_index,
        retry_after=_retry_after(message),
        state_digest=message.state_digest,
        approval_id=message.approval_id,
        edited_arguments=json_object(edited, "edited_arguments_json") if edited else None,
        steps=tuple(map(_step, message.steps)),
    )


def _retry_after(message: decision_pb2.Decision) -> float | None:
    if not message.HasField("retry_after"):
        return None
    return max(0.0, message.retry_after.ToNanoseconds() / 1e9)


def _step(message: decision_pb2.StepDecision) -> values.StepDecision:
    verdict = VERDICTS.get(message.verdict)
    if verdict is None:
        raise ValueError(f"verdict `{message.verdict}` is not known")
    return values.StepDecision(
        step_id=message.step_id,
        decision_id=message.decision_id,
        verdict=verdict,
        reasons=tuple(map(reason, message.reasons)),
        obligations=tuple(map(_obligation, message.obligations)),
        execution_token=message.execution_token,
        arguments_digest=message.arguments_digest,
    )


def reason(message: decision_pb2.Reason) -> values.Reason:
    """The reason. Raises ValueError."""
    metadata = json_object(message.metadata_json, "metadata_json")
    return values.Reason(code=message.code, message=message.message, metadata=metadata, path=message.path)


def _obligation(message: decision_pb2.Obligation) -> values.Obligation:
    parameters = json_object(message.parameters_json, "parameters_json")
    return values.Obligation(type=message.type, parameters=parameters)


def _record(message: record_pb2.Record) -> values.Record:
    return values.Record(
        log_index=message.log_index,
        type=_RECORD_TYPES.get(message.type, values.RecordType.UNRECOGNIZED),
        tenant=message.tenant,
        decision_id=message.decision_id,
        create_time=moment(message.create_time),
        content=json_object(message.record_json, "record_json"),
        record_json=message.record_json,
        leaf_hash=message.leaf_hash,
        chain_hash=message.chain_hash,
    )


def json_object(data: bytes, field: str) -> dict[str, Any]:
    """The JSON object that a field holds, an empty one for no bytes. Raises ValueError."""
    value = _json(data, field) if data else {}
    if not isinstance(value, dict):
        raise ValueError(f"`{field}` is not a JSON object")  # noqa: TRY004 - of an answer, not of an argument
    return value


def _json(data: bytes, field: str) -> Any:
    try:
        return json.loads(data.decode())
    except ValueError:
        raise ValueError(f"`{field}` is not JSON in UTF-8") from None


def moment(message: Timestamp) -> datetime:
    """The time in UTC. Raises ValueError outside of the years 1 to 9999."""
    return message.ToDatetime(tzinfo=UTC)
