"""kill -9 in the middle of counting and reserving: nothing is lost, nothing is doubled."""

import asyncio
from pathlib import Path
from typing import Any

import yaml

from interlock.client import AsyncInterlock, Decision, InterlockCallError
from interlock.core.record import RecordType
from tests.e2e.world import World
from tests.waiting import until

CALLERS = 8
BUDGET = 60
ENOUGH = 20
NEWCOMERS: dict[str, Any] = {
    "loops": {"session": {"similar_call": 10_000, "similar_call_denied": 10_000}},
    "budgets": {"session": {"calls": BUDGET}},
}


def limit_newcomers(limits: Path) -> None:
    """A newcomer may make so many calls in a session, though they are all alike."""
    stated = yaml.safe_load(limits.read_text())
    stated["overrides"]["roles"]["newcomer"] = NEWCOMERS
    for scope in ("session", "agent"):
        for name in ("similar_call", "similar_call_denied"):
            stated["loops"][scope][name] = 10_000
    limits.write_text(yaml.safe_dump(stated))


async def propose(client: AsyncInterlock, caller: int, made: dict[str, Decision], asked: set[str]) -> None:
    """Propose call after call, until one gets no answer."""
    for number in range(BUDGET):
        name = f"request-{caller}-{number}"
        asked.add(name)
        made[name] = await ask(client, name)


async def ask(client: AsyncInterlock, name: str) -> Decision:
    return await client.decide("echo", {"text": name}, request_id=name)


async def test_a_killed_service_loses_no_reservation_and_doubles_none(own_world: World) -> None:
    """Killed under load, a budget admits exactly its limit, and each request is counted once (cases 15 and 56)."""
    limit_newcomers(own_world.folder / "policies" / "limits" / "data.yaml")
    own_world.start_service()
    credential = own_world.credential("agent", "newcomer", "newcomer")
    made: dict[str, Decision] = {}
    asked: set[str] = set()
    async with own_world.async_client(credential, session_id="session-1", timeout=2.0) as client:
        callers = [asyncio.create_task(propose(client, caller, made, asked)) for caller in range(CALLERS)]
        await until(lambda: len(made) >= ENOUGH)
        own_world.service.kill()
        ends = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(end, InterlockCallError) for end in ends), ends

    own_world.start_service()
    async with own_world.async_client(credential, session_id="session-1") as client:
        again = {name: await ask(client, name) for name in sorted(asked)}
        assert {name: again[name] for name in made} == made
        names = [f"later-{number}" for number in range(BUDGET)]
        later = dict(zip(names, await asyncio.gather(*(ask(client, name) for name in names)), strict=True))

    answers = [*again.values(), *later.values()]
    assert sum(1 for answer in answers if answer.allowed) == BUDGET
    refused = {reason.code for answer in answers if not answer.allowed for reason in answer.reasons}
    assert refused == {"quota.budget"}
    listed = own_world.interlock("log", "list", "--type", "decision")
    assert listed.stdout.count("quota.budget") == len(answers) - BUDGET
    steps = [
        record["input"]["facts"]["loops"]["session"]["steps"]
        for record in own_world.records(RecordType.DECISION)
    ]
    assert sorted(steps) == list(range(1, len(answers) + 1))


async def test_a_loop_of_real_calls_is_stopped(own_world: World) -> None:
    """The third identical call through a real gateway, whose results were identical, is denied (case 58)."""
    own_world.start()
    client = own_world.agent("newcomer", name="newcomer")
    first, second = (client.run("echo", {"text": "again"}) for _ in range(2))
    assert first.execution
    assert second.execution
    await until(lambda: len(own_world.records(RecordType.OUTCOME)) == 2)
    third = client.decide("echo", {"text": "again"})
    assert not third.allowed
    assert [reason.code for reason in third.reasons] == ["loops.no_progress"]
    other = client.decide("echo", {"text": "something else"})
    assert other.allowed
