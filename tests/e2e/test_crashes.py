"""kill -9, and what is still true afterwards."""

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest

from interlock.client import AsyncInterlock, Decision, InterlockCallError, Outcome
from interlock.core.record import RecordType
from tests.e2e.processes import Server, wait_until
from tests.e2e.world import World
from tests.waiting import until

CALLERS = 16
ENOUGH = 300


@dataclass
class Load:
    """Agents that propose without end. `asked` has every request_id that was sent, with its amount."""

    client: AsyncInterlock
    asked: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, Decision] = field(default_factory=dict)

    async def propose(self, caller: int) -> None:
        """Propose call after call, until one gets no answer."""
        for number in itertools.count():
            name = f"request-{caller}-{number}"
            self.asked[name] = number
            self.acknowledged[name] = await self.ask(name)

    async def ask(self, name: str) -> Decision:
        return await self.client.decide("echo", {"amount": self.asked[name]}, request_id=name)

    async def until_killed(self, server: Server) -> None:
        """Kill the server when enough was decided, with calls in flight from every caller."""
        callers = [asyncio.create_task(self.propose(caller)) for caller in range(CALLERS)]
        await until(lambda: len(self.acknowledged) >= ENOUGH)
        server.kill()
        ends = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(end, InterlockCallError) for end in ends), ends


async def test_a_killed_service_keeps_every_decision_that_it_gave(breakable_world: World) -> None:
    """After kill -9 all that was acknowledged is on record, and told again the same (case 15, invariants 2 and 9)."""
    world = breakable_world
    credential = world.credential("agent", "loader", "tester")
    async with world.async_client(credential, session_id="session-1", timeout=2.0) as client:
        load = Load(client)
        await load.until_killed(world.service)
    world.start_service()

    recorded = {record["request_id"]: record for record in world.records(RecordType.DECISION)}
    for name, decision in load.acknowledged.items():
        assert recorded[name]["decision_id"] == decision.decision_id
        assert recorded[name]["log_index"] == decision.log_index
    verified = world.interlock("log", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    unanswered = load.asked.keys() - load.acknowledged.keys()
    assert unanswered
    async with world.async_client(credential, session_id="session-1") as client:
        load.client = client
        for name in [*sorted(load.acknowledged)[-50:], *unanswered]:
            again = await load.ask(name)
            assert again == load.acknowledged.get(name, again)
            assert again.execution_token
    made = [record["once"] for record in world.records(RecordType.DECISION)]
    assert len(made) == len(set(made))


async def test_a_killed_gateway_never_runs_a_call_again(breakable_world: World) -> None:
    """What ran at kill -9 is `unknown`, listed, reported, and not run by itself again (case 25, invariant 8)."""
    world, before = breakable_world, len(breakable_world.runs())
    agent = world.agent()
    decision = agent.decide("hang", {})
    async with world.async_client(world.credential("agent", "coder", "tester")) as client:
        running = asyncio.create_task(client.execute(decision, "hang", {}))
        await until(lambda: world.runs()[before:] == ["hang"])
        world.gateway.kill()
        with pytest.raises(InterlockCallError) as caught:
            await running
    assert caught.value.may_have_run

    world.start_gateway()
    listed = world.interlock("executions", "list", "--outcome", "unknown", "--json")
    assert listed.returncode == 0, listed.stderr
    assert decision.decision_id in listed.stdout
    wait_until(lambda: world.outcomes_of(decision.decision_id) == ["unknown"])
    with pytest.raises(InterlockCallError) as refused:
        agent.execute(decision, "hang", {})
    assert refused.value.reason == "TOKEN_ALREADY_REDEEMED"
    assert world.runs()[before:] == ["hang"]


async def test_a_caller_that_leaves_does_not_stop_what_it_began(breakable_world: World) -> None:
    """A call whose caller is gone runs to its end, and its outcome comes on record (invariant 8)."""
    world, before = breakable_world, len(breakable_world.runs())
    decision = world.agent().decide("hang", {})
    async with world.async_client(world.credential("agent", "coder", "tester")) as client:
        running = asyncio.create_task(client.execute(decision, "hang", {}))
        await until(lambda: world.runs()[before:] == ["hang"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    wait_until(lambda: world.outcomes_of(decision.decision_id) == ["unknown"])
    assert world.runs()[before:] == ["hang"]


async def test_fifty_callers_of_one_token_run_the_tool_once(world: World) -> None:
    """Of fifty that present one token at once, one runs the tool and the others are told so (case 23, invariant 3)."""
    before = len(world.runs())
    credential = world.credential("agent", "coder", "tester")
    decision = world.agent().decide("echo", {"one": 1})
    clients = [world.async_client(credential) for _ in range(5)]
    try:
        ends = await asyncio.gather(
            *(clients[number % 5].execute(decision, "echo", {"one": 1}) for number in range(50)),
            return_exceptions=True,
        )
    finally:
        for client in clients:
            await client.close()
    lost = [end for end in ends if isinstance(end, InterlockCallError)]
    [won] = [end for end in ends if not isinstance(end, BaseException)]
    assert won.outcome == Outcome.SUCCEEDED
    assert [(error.code, error.reason) for error in lost] == [
        ("FAILED_PRECONDITION", "TOKEN_ALREADY_REDEEMED")
    ] * 49
    assert world.runs()[before:] == ["echo"]
