"""Calls that wait for approvals on a real gRPC server on loopback, on fakes: thousands, and how they end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest

from interlock.core.approval_binding import Asked
from interlock.core.decision import Decision, Evaluated
from interlock.core.identity import Caller, CallerKind
from interlock.flows.authenticate import require
from interlock.flows.coalesce import Bounds, Coalescer
from interlock.flows.decide import Decider, decide
from interlock.flows.wait import Waiting, wait_decision
from interlock.flows.waiters import Waiters
from interlock.flows.withdraw import withdraw_decision
from interlock.rpc.decision_servicer import DecisionServicer
from interlock.rpc.endpoint import Deadlines, service_handler
from interlock.v1 import decision_pb2
from interlock.v1 import decision_service_pb2 as pb
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub
from tests.contract.scripted_services import Told
from tests.deciders import a_decider
from tests.fakes import MemoryDecisionLog, OneKeyPair, ScriptedEngine, SettableClock
from tests.proposals import AGENT, a_proposal, an_answer
from tests.waiting import until

AGENTS = [replace(AGENT, name=f"agent-{number}") for number in range(4)]
OF_EACH = 500
SECONDS = 300.0


def escalates_until_answered(document: Any) -> Evaluated:
    return an_answer("escalate" if document["approval"] is None else "deny")


async def unexpected(*_: object) -> Any:
    raise AssertionError("no test calls this")


@dataclass
class Service:
    """A decision service on fakes, which listens."""

    decider: Decider
    waiters: Waiters
    server: grpc.aio.Server
    address: str
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    async def decide(self, caller: Caller) -> Decision:
        [decision] = await decide([a_proposal(caller=caller)], self.decider, limit_seconds=5.0)
        assert isinstance(decision, Decision)
        return decision

    def stub(self, caller: Caller) -> "Agent":
        """On a connection of its own, as another client's."""
        channel = grpc.aio.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        self.channels.append(channel)
        return Agent(DecisionServiceStub(channel), (("authorization", caller.name),))

    async def until_waiting(self, count: int) -> None:
        await until(lambda: self.waiters.count == count)


@dataclass
class Agent:
    """The calls of one agent."""

    decisions: Any
    metadata: tuple[tuple[str, str], ...]

    def wait(self, decision: Decision) -> Any:
        request = pb.WaitDecisionRequest(decision_id=decision.decision_id)
        return self.decisions.WaitDecision(request, metadata=self.metadata, timeout=SECONDS)

    async def withdraw(self, decision: Decision) -> str:
        request = pb.WithdrawDecisionRequest(decision_id=decision.decision_id)
        answer = await self.decisions.WithdrawDecision(request, metadata=self.metadata, timeout=SECONDS)
        return str(answer.approval_id)


async def by_name(authorization: str | None) -> Caller:
    caller = next(each for each in AGENTS if each.name == authorization)
    require(caller, CallerKind.AGENT)
    return caller


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    log = MemoryDecisionLog()
    waiters = Waiters(log)
    decider = a_decider(
        log=log,
        state=log.state,
        engine=ScriptedEngine(escalates_until_answered),
        signer=OneKeyPair(),
        clock=SettableClock(),
        woken=waiters.wake,
    )
    coalescer: Coalescer[Asked, Decision] = Coalescer(
        lambda batch, limit: decide(batch, decider, limit_seconds=limit), Bounds()
    )

    async def ask(asked: Asked, seconds: float) -> Decision:
        [future] = coalescer.submit([asked], limit_seconds=seconds)
        return await future

    waiting = Waiting(decider=decider, ask=ask, waiters=waiters)
    servicer = DecisionServicer(
        normalize=unexpected,  # type: ignore[arg-type]
        coalescer=coalescer,
        wait=lambda name, caller, limit: wait_decision(name, caller, waiting, limit_seconds=limit),
        withdraw=lambda name, caller: withdraw_decision(name, caller, decider.following.changing, log),
        report=unexpected,
        sessions=unexpected,  # type: ignore[arg-type]
        offering=unexpected,  # type: ignore[arg-type]
        meter=Told(),
    )
    _, handler = service_handler(
        servicer, meter=Told(), deadlines=Deadlines(longest=SECONDS), authenticate=by_name
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([handler])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    made = Service(decider=decider, waiters=waiters, server=server, address=address)
    yield made
    for channel in made.channels:
        await channel.close()
    await server.stop(None)


async def test_thousands_wait_in_one_process_and_each_hears_of_its_own(service: Service) -> None:
    """2,000 calls of four agents are held open; one agent's change answers its calls, and the end all others."""
    decisions = [await service.decide(caller) for caller in AGENTS]
    agents = [service.stub(caller) for caller in AGENTS]
    calls = []
    for agent, decision in zip(agents, decisions, strict=True):
        # One agent after the other: a gRPC server turns calls away that come faster than it takes them.
        calls.append([agent.wait(decision) for _ in range(OF_EACH)])
        await service.until_waiting(len(calls) * OF_EACH)
    assert await agents[0].withdraw(decisions[0]) == decisions[0].approval_id
    told = await asyncio.gather(*calls[0])
    assert {answer.decision.verdict for answer in told} == {decision_pb2.VERDICT_DENY}
    assert len({answer.decision.decision_id for answer in told}) == 1
    await service.until_waiting((len(AGENTS) - 1) * OF_EACH)
    service.waiters.end()
    for mine, decision in zip(calls[1:], decisions[1:], strict=True):
        stands = {(each.decision.decision_id, each.decision.verdict) for each in await asyncio.gather(*mine)}
        assert stands == {(decision.decision_id, decision_pb2.VERDICT_ESCALATE)}
    await service.until_waiting(0)


async def test_a_client_that_goes_away_leaves_nothing(service: Service) -> None:
    """A call whose client cancels it, or whose connection ends, waits no more (case 41)."""
    decision = await service.decide(AGENTS[0])
    agents = [service.stub(AGENTS[0]) for _ in range(2)]
    calls = [agent.wait(decision) for agent in agents]
    await service.until_waiting(2)
    calls[0].cancel()
    await service.until_waiting(1)
    await service.channels[1].close()
    await service.until_waiting(0)
    for call in calls:
        with contextlib.suppress(asyncio.CancelledError, grpc.RpcError):
            await call


async def test_another_agents_decision_is_not_found(service: Service) -> None:
    """Over the wire, too, it is as if there were none (case 54)."""
    decision = await service.decide(AGENTS[0])
    other = service.stub(AGENTS[1])
    for call in (other.wait(decision), other.withdraw(decision)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
