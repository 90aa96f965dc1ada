"""Waiting and expiring on each store: two replicas of the service, of which one hears what the other did."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.adapters.clock import RandomIdentifiers
from interlock.core import record as records
from interlock.core.approval import Resolution
from interlock.core.approval_binding import Asked
from interlock.core.decision import Decision, Verdict
from interlock.core.record import RecordType
from interlock.flows.decide import decide
from interlock.flows.expire import expire
from interlock.flows.wait import Waiting, wait_decision
from interlock.flows.waiters import Waiters
from tests.approvals import ALICE, answer, approving, known
from tests.contract.stores import STORED, AnyStore, Place
from tests.deciders import a_decider
from tests.fakes import OneKeyPair, ScriptedEngine, SettableClock
from tests.proposals import AGENT, a_proposal
from tests.standing import answers_standing
from tests.waiting import PATIENCE_SECONDS, until


class Replica:
    """A decision service on a store."""

    def __init__(self, store: AnyStore, clock: SettableClock, keys: OneKeyPair) -> None:
        self.store = store
        self.waiters = Waiters(store.log)
        self.decider = a_decider(
            log=store.log,
            state=store.state,
            engine=ScriptedEngine(answers_standing),
            signer=keys,
            clock=clock,
            identifiers=RandomIdentifiers(),
            credentials=known(ALICE),
            woken=self.waiters.wake,
        )
        self._waiting = Waiting(decider=self.decider, ask=self.decide, waiters=self.waiters)

    async def decide(self, asked: Asked, seconds: float = PATIENCE_SECONDS) -> Decision:
        [decision] = await decide([asked], self.decider, limit_seconds=seconds)
        assert isinstance(decision, Decision), decision
        return decision

    async def begin_to_wait(self, decision: Decision) -> asyncio.Task[Decision]:
        """A call that waits, in its place."""
        waiting = wait_decision(decision.decision_id, AGENT, self._waiting, limit_seconds=PATIENCE_SECONDS)
        task = asyncio.create_task(waiting)
        await until(lambda: self.waiters.count == 1)
        return task

    async def approve(self, decision: Decision) -> None:
        await answer(approving(self.decider, self.store.state), decision.approval_id, Resolution.APPROVE)

    async def expire(self) -> int:
        return await expire(self.store.state, self.decider.following.changing)

    async def changes(self) -> list[str]:
        """What happened to approvals, as the log has it."""
        found = await self.store.log.list_records(
            tenants=[AGENT.tenant], type=RecordType.APPROVAL, decision_id="", start=0, limit=100
        )
        return [records.fields(each)["change"] for each in found]


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(params=STORED)
async def replicas(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two services: on PostgreSQL each with connections of its own; SQLite has one process, and so one writer."""
    place, keys = Place(request.param, tmp_path / "store.db", request), OneKeyPair()
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(place.open())]
        stores += [await stack.enter_async_context(place.open())] if place.kind == "postgres" else stores
        here, there = (Replica(store, clock, keys) for store in stores)
        yield here, there


async def test_an_answer_that_another_replica_takes_lets_go_on_who_waits_here(
    replicas: tuple[Replica, Replica],
) -> None:
    """The end of the log tells of it, and both replicas give the one decision and token (invariant 9)."""
    here, there = replicas
    escalated = await here.decide(a_proposal())
    waits = await here.begin_to_wait(escalated)
    await there.approve(escalated)
    decision = await waits
    assert decision.verdict is Verdict.ALLOW
    assert await there.decide(a_proposal()) == decision == await here.decide(a_proposal())


async def test_an_approval_expires_once_over_all_replicas(
    replicas: tuple[Replica, Replica], clock: SettableClock
) -> None:
    """Who waits hears a deny, the record says it once, and what has not ended stays (case 49)."""
    here, there = replicas
    escalated = await here.decide(a_proposal())
    waits = await here.begin_to_wait(escalated)
    clock.move(timedelta(minutes=30))
    later = await here.decide(a_proposal("r-2", arguments={"repo_path": "elsewhere"}))
    clock.move(timedelta(minutes=31))
    assert sorted(await asyncio.gather(here.expire(), there.expire())) == [0, 1]
    assert (await waits).verdict is Verdict.DENY
    assert await there.changes() == ["expire"]
    assert await here.decide(a_proposal("r-2", arguments={"repo_path": "elsewhere"})) == later
