"""The decision service's session methods over a real gRPC server: bytes in, one form of error out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest

from interlock.adapters.keyed_digest import KeyedDigest
from interlock.client import AsyncInterlock, InterlockCallError, PlanningStep, Step, StepsRecorded
from interlock.client.errors import from_rpc
from interlock.core.identity import Caller, CallerKind, Credential, credential_text, hash_secret
from interlock.flows.authenticate import authenticate
from interlock.flows.coalesce import Bounds, Coalescer
from interlock.flows.list_tools import Offering
from interlock.flows.sessions import Sessions
from interlock.rpc.decision_servicer import DecisionServicer
from interlock.rpc.endpoint import Deadlines, service_handler
from interlock.v1 import decision_service_pb2 as pb
from interlock.v1 import session_pb2
from tests.contract.scripted_services import Told
from tests.e2e.wire import field
from tests.fakes import NOON, MemoryCredentials, MemoryDecisionLog, ScriptedEngine, SettableClock
from tests.proposals import AGENT, AUDITOR, CATALOG, GATEWAY, MEASURING, always, an_answer

ALLOW = an_answer("allow")
USER = replace(AGENT, kind=CallerKind.USER, name="ann", roles=())
OPERATOR = replace(AGENT, kind=CallerKind.OPERATOR, name="olga", roles=())
APPROVER = replace(AGENT, kind=CallerKind.APPROVER, name="alice", roles=("approver",))
SECRET = "s" * 43
CALLERS = {
    caller.kind: replace(caller, credential_id=f"{number:016x}")
    for number, caller in enumerate((AGENT, USER, AUDITOR, GATEWAY, OPERATOR, APPROVER))
}
GOOD = pb.RecordStepsRequest(
    session_id="session-1", steps=[session_pb2.Step(number=1, planning=session_pb2.PlanningStep(summary="s"))]
).SerializeToString()


def credential_of(kind: CallerKind) -> str:
    return credential_text(CALLERS[kind].credential_id, SECRET)


def kept(caller: Caller) -> Credential:
    return Credential(caller=caller, secret_hash=hash_secret(SECRET), create_time=NOON)


async def unexpected(*_: Any) -> Any:
    raise AssertionError("not asked for here")


@dataclass
class Service:
    """A running service, and the store that it is on."""

    address: str
    log: MemoryDecisionLog
    channel: grpc.aio.Channel

    def client(self, kind: CallerKind) -> AsyncInterlock:
        return AsyncInterlock(self.address, credential=credential_of(kind), session_id="session-1")

    async def stream(
        self,
        messages: Iterable[bytes] | AsyncIterator[bytes],
        kind: CallerKind | None = CallerKind.AGENT,
        seconds: float = 10.0,
    ) -> pb.RecordStepsResponse:
        call: Callable[..., Awaitable[bytes]] = self.channel.stream_unary(
            "/interlock.v1.DecisionService/RecordSteps"
        )
        metadata = () if kind is None else (("authorization", f"Bearer {credential_of(kind)}"),)
        return pb.RecordStepsResponse.FromString(await call(messages, metadata=metadata, timeout=seconds))

    async def refused(self, messages: Any, *args: Any, **options: Any) -> InterlockCallError:
        with pytest.raises(grpc.RpcError) as caught:
            await self.stream(messages, *args, **options)
        return from_rpc(caught.value, method="RecordSteps")

    async def last_step(self) -> int:
        async with self.client(CallerKind.AGENT) as agent:
            return (await agent.get_session(timeline=False)).last_step_number


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    log, clock = MemoryDecisionLog(), SettableClock()
    credentials = MemoryCredentials(*map(kept, CALLERS.values()))
    servicer = DecisionServicer(
        normalize=unexpected,  # type: ignore[arg-type]
        coalescer=Coalescer(unexpected, Bounds()),
        wait=unexpected,
        withdraw=unexpected,
        report=unexpected,
        sessions=Sessions(
            state=log.state, reader=log, clock=clock, measuring=MEASURING, seal=KeyedDigest(bytes(32), "p")
        ),
        offering=Offering(
            catalog=CATALOG, engine=ScriptedEngine(always(ALLOW)), clock=clock, measuring=MEASURING
        ),
        meter=Told(),
    )
    _, handler = service_handler(
        servicer,
        meter=Told(),
        deadlines=Deadlines(),
        authenticate=lambda authorization: authenticate(authorization, credentials),
    )
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 8 * 2**20)])
    server.add_generic_rpc_handlers([handler])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield Service(address=address, log=log, channel=channel)
    await server.stop(None)


async def test_a_user_an_agent_and_an_auditor_share_a_session(service: Service) -> None:
    """A user sets the goal, the agent records what it did, and all who may see it see both."""
    async with service.client(CallerKind.USER) as user:
        await user.start_session("pay the bill", agent=AGENT.name)
    async with service.client(CallerKind.AGENT) as agent:
        step = Step(number=1, kind=PlanningStep(summary="look \x1b[31mred"))
        assert await agent.record_steps([step]) == StepsRecorded(recorded=1, last_number=1)
    for kind in (CallerKind.AGENT, CallerKind.USER, CallerKind.AUDITOR):
        async with service.client(kind) as client:
            session = await client.get_session(agent=AGENT.name)
            assert (session.goal, session.user) == ("pay the bill", "ann")
            assert [each.entry for each in session.timeline] == [step]


@pytest.mark.parametrize(
    ("method", "kinds"),
    [
        ("start_session", {CallerKind.USER, CallerKind.AGENT}),
        ("get_session", {CallerKind.USER, CallerKind.AGENT, CallerKind.AUDITOR}),
        ("record_steps", {CallerKind.AGENT}),
    ],
)
async def test_each_method_is_for_its_callers(service: Service, method: str, kinds: set[CallerKind]) -> None:
    """Whoever is of another kind is refused, whatever is asked."""
    arguments = {"record_steps": [[Step(number=1, kind=PlanningStep(summary=""))]]}.get(method, [])
    refused = set()
    for kind in CallerKind:
        async with service.client(kind) as client:
            try:
                await getattr(client, method)(*arguments)
            except InterlockCallError as error:
                if error.reason == "CALLER_NOT_PERMITTED":
                    refused.add(kind)
    assert refused == set(CallerKind) - kinds


MALFORMED = {
    "garbage": b"\xff\xff\xff garbage",
    "cut off": GOOD[:-2],
    "bad UTF-8 in session_id": field(1, b"\xff\xfe"),
    "bad UTF-8 in a summary": field(1, b"session-1") + field(2, field(2, field(1, b"\xc0\xaf"))),
    "an unknown field": GOOD + field(15, b"from the future"),
    "an unknown field in a step": field(1, b"session-1") + field(2, field(15, b"from the future")),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_message_of_a_stream_is_read_as_strictly(service: Service, data: bytes) -> None:
    """Garbage, bad UTF-8 and unknown fields are INVALID_ARGUMENT in a stream too; what came before stays (case 33)."""
    error = await service.refused([GOOD, data])
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert error.metadata == {"recorded": "1"}
    assert await service.last_step() == 1


async def test_a_stream_needs_a_credential(service: Service) -> None:
    """Without a credential nothing of a stream is read."""
    error = await service.refused([GOOD], None)
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")
    assert not service.log.state.cells


async def test_a_stream_ends_by_its_deadline(service: Service) -> None:
    """A client that sends and then falls silent holds nothing open past its time, and loses nothing."""

    async def falls_silent() -> AsyncIterator[bytes]:
        yield GOOD
        while await service.last_step() < 1:
            pass
        await asyncio.Event().wait()

    error = await service.refused(falls_silent(), seconds=1.0)
    assert error.code == "DEADLINE_EXCEEDED"
    assert await service.last_step() == 1


async def test_a_stream_without_a_message_is_refused(service: Service) -> None:
    """A call that records nothing says so."""
    assert (await service.refused([])).reason == "INVALID_FIELD"


async def test_a_huge_summary_is_refused_with_its_place(service: Service) -> None:
    """A step of megabytes is one that is too long, and is told without its text."""
    huge = pb.RecordStepsRequest(
        session_id="session-1",
        steps=[session_pb2.Step(number=1, planning=session_pb2.PlanningStep(summary="s" * 5_000_000))],
    )
    error = await service.refused([huge.SerializeToString()])
    assert (error.reason, error.violations[0].field) == ("INVALID_FIELD", "steps[0].planning.summary")
    assert len(str(error)) < 500


async def test_a_message_that_is_too_large_is_refused(service: Service) -> None:
    """A message above the server's limit ends the stream, and is not held in memory (case 32)."""
    error = await service.refused([GOOD, b"\x0a" + b"x" * 9_000_000])
    assert error.code == "RESOURCE_EXHAUSTED"
