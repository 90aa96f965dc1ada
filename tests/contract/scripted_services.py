"""A real gRPC server whose answers each test scripts, and either client, asked in one way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interlock.client import (
    AsyncInterlock,
    Interlock,
    InterlockCallError,
)
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.rpc.endpoint import Call, Deadlines, service_handler
from interlock.v1 import (
    approval_service_pb2,
    audit_service_pb2,
    control_service_pb2,
    decision_pb2,
    decision_service_pb2,
    gateway_service_pb2,
    outcome_pb2,
)

CREDENTIAL = "ilk_0123456789abcdef_" + "c" * 43
TOKEN = "header.payload-of-the-token.signature"
OUT_OF_TIME = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""How a call may end that was made again and again: before the last attempt, or in it."""

ARGUMENTS = {"amount": 5, "to": "a-secret-account"}

Client: TypeAlias = Interlock | AsyncInterlock
Answer: TypeAlias = Callable[[Any], Awaitable[Message]]


class Told:
    """Counts nothing."""

    def decided(self, verdict: str) -> None:
        pass

    def answered(self, method: str, code: str, seconds: float) -> None:
        pass

    def executed(self, outcome: str) -> None:
        pass

    def failed(self, reason: str) -> None:
        pass


@dataclass
class Script:
    """Answers a call by the next of `steps`, or by `otherwise` when there are none left."""

    otherwise: Answer
    steps: deque[Answer] = field(default_factory=deque)
    asked: list[Any] = field(default_factory=list)

    async def __call__(self, request: Any, call: Call) -> Message:
        return await self._answer(request)

    async def _answer(self, request: Any) -> Message:
        self.asked.append(request)
        step = self.steps.popleft() if self.steps else self.otherwise
        return await step(request)


def raises(reason: ErrorReason, **details: Any) -> Answer:
    async def step(_: Message) -> Message:
        raise InterlockError(reason=reason, message="it went wrong", **details)

    return step


def gives(answer: Message) -> Answer:
    async def step(_: Message) -> Message:
        return answer

    return step


async def hangs(_: Message) -> Message:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def decision(request: decision_service_pb2.DecideRequest, **changes: Any) -> decision_pb2.Decision:
    fields = {
        "decision_id": "d-1",
        "request_id": request.request_id,
        "verdict": decision_pb2.VERDICT_ALLOW,
        "execution_token": TOKEN,
    }
    return decision_pb2.Decision(**{**fields, **changes})


def decides(**changes: Any) -> Answer:
    async def step(request: decision_service_pb2.DecideRequest) -> Message:
        return decision_service_pb2.DecideResponse(decision=decision(request, **changes))

    return step


async def allows_all(batch: decision_service_pb2.DecideBatchRequest) -> Message:
    results = [decision_service_pb2.DecideResult(decision=decision(each)) for each in batch.requests]
    return decision_service_pb2.DecideBatchResponse(results=results)


succeeds = gives(
    gateway_service_pb2.ExecuteResponse(
        execution_id="e-1", outcome=outcome_pb2.OUTCOME_SUCCEEDED, result_json=b'{"done":true}'
    )
)


@dataclass
class StreamScript(Script):
    """Reads all messages of a call, then answers as a Script does."""

    async def __call__(self, requests: Any, call: Call) -> Message:
        return await self._answer([request async for request in requests])


async def records_all(requests: Any) -> Message:
    steps = [step for request in requests for step in request.steps]
    return decision_service_pb2.RecordStepsResponse(recorded=len(steps), last_number=steps[-1].number)


class Decisions:
    service = decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"]

    def __init__(self) -> None:
        self.decide = Script(decides())
        self.decide_batch = Script(allows_all)
        self.wait_decision = Script(hangs)
        self.withdraw_decision = Script(hangs)
        self.report_outcome = Script(hangs)
        self.start_session = Script(hangs)
        self.get_session = Script(hangs)
        self.record_steps = StreamScript(records_all)
        self.list_tools = Script(gives(decision_service_pb2.ListToolsResponse(tools=["echo", "fail"])))


class Gateway:
    service = gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"]

    def __init__(self) -> None:
        self.execute = Script(succeeds)


class Audit:
    service = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]

    def __init__(self) -> None:
        self.list_records = Script(gives(audit_service_pb2.ListRecordsResponse()))
        self.get_record = Script(hangs)


class Control:
    service = control_service_pb2.DESCRIPTOR.services_by_name["ControlService"]

    def __init__(self) -> None:
        self.attend = Script(gives(control_service_pb2.AttendResponse()))
        self.freeze = Script(hangs)
        self.unfreeze = Script(hangs)
        self.list_freezes = Script(gives(control_service_pb2.ListFreezesResponse()))


class Approvals:
    service = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]

    def __init__(self) -> None:
        self.list_approvals = Script(gives(approval_service_pb2.ListApprovalsResponse()))
        self.get_approval = Script(hangs)
        self.resolve_approval = Script(hangs)
        self.list_standing_approvals = Script(gives(approval_service_pb2.ListStandingApprovalsResponse()))
        self.revoke_standing_approval = Script(hangs)


class HealthScript(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Gives each status once, and the last for ever."""

    def __init__(self) -> None:
        self.statuses = ["SERVING"]

    async def Check(  # noqa: N802 - the name of the RPC
        self, request: health_pb2.HealthCheckRequest, context: object
    ) -> health_pb2.HealthCheckResponse:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return health_pb2.HealthCheckResponse(status=status)


@dataclass
class Server:
    """One server for all of the services; `authorizations` are what the calls of each service carried."""

    decisions: Decisions = field(default_factory=Decisions)
    gateway: Gateway = field(default_factory=Gateway)
    audit: Audit = field(default_factory=Audit)
    control: Control = field(default_factory=Control)
    approvals: Approvals = field(default_factory=Approvals)
    health: HealthScript = field(default_factory=HealthScript)
    authorizations: dict[str, list[str | None]] = field(default_factory=dict)
    listener: grpc.aio.Server = field(default_factory=grpc.aio.server)
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(
        self, credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1:0"
    ) -> None:
        for servicer in (self.decisions, self.gateway, self.audit, self.control, self.approvals):
            _, handler = service_handler(
                servicer,
                meter=Told(),
                deadlines=Deadlines(),
                authenticate=self._remember(servicer.service.name),
            )
            self.listener.add_generic_rpc_handlers([handler])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.listener)
        if credentials is None:
            self.port = self.listener.add_insecure_port(address)
        else:
            self.port = self.listener.add_secure_port(address, credentials)
        await self.listener.start()

    def _remember(self, service: str) -> Callable[[str | None], Awaitable[Caller]]:
        async def authenticate(authorization: str | None) -> Caller:
            self.authorizations.setdefault(service, []).append(authorization)
            return Caller(kind=CallerKind.AGENT, tenant="acme", name="agent", roles=(), credential_id="c")

        return authenticate


class Asker:
    """Either client, asked in one way: the synchronous one in a thread of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        call = attrgetter(method)(self.client)
        if isinstance(self.client, AsyncInterlock):
            return await call(*args, **kwargs)
        return await asyncio.to_thread(call, *args, **kwargs)

    async def records(self, *args: Any, **kwargs: Any) -> list[Any]:
        return await self.all("records", *args, **kwargs)

    async def all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        call = attrgetter(method)(self.client)
        if isinstance(self.client, AsyncInterlock):
            return [each async for each in call(*args, **kwargs)]
        return await asyncio.to_thread(lambda: list(call(*args, **kwargs)))

    async def error(self, method: str, *args: Any, **kwargs: Any) -> InterlockCallError:
        with pytest.raises(InterlockCallError) as caught:
            await self(method, *args, **kwargs)
        return caught.value
