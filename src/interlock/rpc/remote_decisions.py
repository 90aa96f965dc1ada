"""ports.Decisions: a gateway's front asks the decision service over gRPC, with the agent's credential."""

from collections.abc import Sequence

import grpc
import orjson
from pydantic import ValidationError

from interlock.core.decision import Decision, Obligation, Reason, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.ports import ProposedCall
from interlock.rpc import wire
from interlock.rpc.told_errors import told
from interlock.v1 import decision_pb2, decision_service_pb2, proposal_pb2
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub

LIMIT_SECONDS = 10.0

_VERDICTS = {
    decision_pb2.VERDICT_ALLOW: Verdict.ALLOW,
    decision_pb2.VERDICT_DENY: Verdict.DENY,
    decision_pb2.VERDICT_ESCALATE: Verdict.ESCALATE,
}


class RemoteDecisions:
    """Asks in the name of whoever is connected: each call carries the credential of its agent, and no other."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        stub = DecisionServiceStub(channel)
        self._decide = stub.Decide
        self._wait = stub.WaitDecision
        self._withdraw = stub.WithdrawDecision
        self._list_tools = stub.ListTools

    async def decide(self, call: ProposedCall, credential: str) -> Decision:
        """As ports.Decisions. Raises InterlockError as the service does; INTERNAL for an answer out of contract."""
        request = decision_service_pb2.DecideRequest(
            request_id=call.request_id,
            proposal=proposal_pb2.Proposal(
                session_id=call.session_id,
                goal=call.goal,
                tool_call=proposal_pb2.ToolCall(tool=call.tool, arguments_json=call.arguments_json),
            ),
        )
        try:
            answer = await self._decide(request, metadata=_bearer(credential), timeout=LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise told(error) from error
        return _understood(answer.decision, call.request_id)

    async def wait(self, decision: Decision, credential: str, *, limit_seconds: float) -> Decision:
        """As ports.Decisions. Raises InterlockError as `decide`."""
        request = decision_service_pb2.WaitDecisionRequest(decision_id=decision.decision_id)
        try:
            answer = await self._wait(request, metadata=_bearer(credential), timeout=limit_seconds)
        except grpc.aio.AioRpcError as error:
            raise told(error) from error
        return _understood(answer.decision, decision.request_id)

    async def withdraw(self, decision: Decision, credential: str) -> None:
        """As ports.Decisions. Raises InterlockError as the service does."""
        request = decision_service_pb2.WithdrawDecisionRequest(decision_id=decision.decision_id)
        try:
            await self._withdraw(request, metadata=_bearer(credential), timeout=LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise told(error) from error

    async def list_tools(self, gateway: str, credential: str) -> Sequence[str]:
        """As ports.Decisions. Raises InterlockError as the service does."""
        request = decision_service_pb2.ListToolsRequest(gateway=gateway)
        try:
            answer = await self._list_tools(request, metadata=_bearer(credential), timeout=LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise told(error) from error
        return tuple(answer.tools)


def _bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


def _understood(message: decision_pb2.Decision, request_id: str) -> Decision:
    """The decision; whatever is not one on this request, and whole, is an error and no allow (invariant 1)."""
    verdict = _VERDICTS.get(message.verdict)
    if verdict is None or message.request_id != request_id:
        raise _out_of_contract()
    if (verdict is Verdict.ALLOW) != bool(message.execution_token):
        raise _out_of_contract()
    try:
        return _decision(message, verdict)
    except (ValidationError, ValueError, TypeError) as error:
        raise _out_of_contract() from error


def _decision(message: decision_pb2.Decision, verdict: Verdict) -> Decision:
    expires = message.token_expire_time
    return Decision(
        decision_id=message.decision_id,
        request_id=message.request_id,
        verdict=verdict,
        reasons=tuple(map(_reason, message.reasons)),
        obligations=tuple(map(_obligation, message.obligations)),
        policy_revision=message.policy_revision,
        arguments_digest=message.arguments_digest,
        log_index=message.log_index,
        execution_token=message.execution_token,
        token_expire_time=wire.moment(expires) if message.HasField("token_expire_time") else None,
        retry_after=message.retry_after.ToNanoseconds() / 1e9 if message.HasField("retry_after") else None,
        state_digest=message.state_digest,
        approval_id=message.approval_id,
        edited_arguments_json=message.edited_arguments_json,
    )


def _reason(message: decision_pb2.Reason) -> Reason:
    metadata = orjson.loads(message.metadata_json) if message.metadata_json else {}
    return Reason(code=message.code, message=message.message, metadata=metadata, path=message.path)


def _obligation(message: decision_pb2.Obligation) -> Obligation:
    parameters = orjson.loads(message.parameters_json) if message.parameters_json else {}
    return Obligation.model_validate({"type": message.type, **parameters})


def _out_of_contract() -> InterlockError:
    return InterlockError(
        reason=ErrorReason.INTERNAL,
        message="the decision service answered out of contract; is it of another version than this gateway",
    )
