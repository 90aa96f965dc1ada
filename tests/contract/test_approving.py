"""Approvals on every store: opened, answered and used by replicas at once, and as they were after a restart."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from interlock.core import record as records
from interlock.core.approval import ApprovalState, Resolution
from interlock.core.approval_view import ListQuery
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.proposal import Proposal
from interlock.core.record import RecordType
from interlock.flows.approving import Approving
from interlock.flows.decide import Decider, decide
from interlock.flows.show_approvals import list_approvals
from tests.approvals import ALICE, BOB, answer, approving, known
from tests.contract.stores import EVERY, STORED, AnyStore, Place
from tests.deciders import a_decider
from tests.fakes import CountingIdentifiers, MemoryCredentials, OneKeyPair, ScriptedEngine, SettableClock
from tests.proposals import AGENT, a_proposal
from tests.unit.flows.approval_world import escalates_until_approved

LIMIT_SECONDS = 30.0
LOST = {ErrorReason.APPROVAL_CHANGED, ErrorReason.APPROVAL_CLOSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One of several decision services on one store, with what they all share."""

    store: AnyStore
    keys: OneKeyPair
    clock: SettableClock
    credentials: MemoryCredentials
    identifiers: CountingIdentifiers

    @property
    def decider(self) -> Decider:
        """The flow of decisions."""
        return a_decider(
            log=self.store.log,
            state=self.store.state,
            engine=ScriptedEngine(escalates_until_approved),
            signer=self.keys,
            clock=self.clock,
            identifiers=self.identifiers,
            credentials=self.credentials,
        )

    @property
    def parts(self) -> Approving:
        """What approvers' flows need."""
        return approving(self.decider, self.store.state)

    async def decide(self, *proposals: Proposal) -> list[Decision | InterlockError]:
        """A batch."""
        return await decide(proposals, self.decider, limit_seconds=LIMIT_SECONDS)

    async def decide_one(self, proposal: Proposal) -> Decision:
        """One decision."""
        [decision] = await self.decide(proposal)
        assert isinstance(decision, Decision)
        return decision

    def answers(self, approval_id: str, resolution: Resolution, caller: Caller) -> Coroutine[Any, Any, Any]:
        """An answer to what was first seen."""
        return answer(self.parts, approval_id, resolution, caller, version=1)


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "store.db", request)


@contextlib.asynccontextmanager
async def replicas(place: Place) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two services; where one process has the store for itself, they share it as two batches of one service do."""
    shared: dict[str, Any] = {
        "keys": OneKeyPair(),
        "clock": SettableClock(),
        "credentials": known(ALICE, BOB),
    }
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(place.open())
        second = await stack.enter_async_context(place.open()) if place.kind == "postgres" else first
        yield (
            Replica(store=first, identifiers=CountingIdentifiers("one"), **shared),
            Replica(store=second, identifiers=CountingIdentifiers("two"), **shared),
        )


async def at_once(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """What comes of each; an error as a value."""
    return list(await asyncio.gather(*coroutines, return_exceptions=True))


async def changes(replica: Replica) -> list[str]:
    """What happened to approvals, as the log has it."""
    found = await replica.store.log.list_records(
        tenants=[AGENT.tenant], type=RecordType.APPROVAL, decision_id="", start=0, limit=1_000
    )
    return [records.fields(each)["change"] for each in found]


async def test_the_same_call_at_two_replicas_opens_one_approval(place: Place) -> None:
    """However many propose the same at once, people are asked once (case 53)."""
    async with replicas(place) as (one, two):
        told = await at_once(
            *(replica.decide_one(a_proposal(f"r-{n}")) for n, replica in enumerate([one, two] * 3))
        )
        assert {each.verdict for each in told} == {Verdict.ESCALATE}
        assert len({each.approval_id for each in told}) == 1
        query = ListQuery(state=ApprovalState.PENDING, page_size=0, page_token="")
        [waiting], _ = await list_approvals(query, ALICE, two.parts)
        assert waiting.joined == 5


async def test_two_approve_and_one_is_first(place: Place) -> None:
    """Two approvers, and one of them twice, at two replicas: one answer stands, the others hear of it (case 49)."""
    async with replicas(place) as (one, two):
        asked = await one.decide_one(a_proposal("r-1"))
        told = await at_once(
            one.answers(asked.approval_id, Resolution.APPROVE, ALICE),
            two.answers(asked.approval_id, Resolution.APPROVE, BOB),
            two.answers(asked.approval_id, Resolution.APPROVE, ALICE),
        )
        assert await changes(one) == ["approve"]
        lost = [each.reason for each in told if isinstance(each, InterlockError)]
        assert set(lost) <= LOST
        allowed = await two.decide_one(a_proposal("r-1"))
        assert allowed.verdict is Verdict.ALLOW
        assert await one.decide_one(a_proposal("r-1")) == allowed


async def test_a_deny_wins_over_an_approve_at_once(place: Place) -> None:
    """Approve at one replica and deny at the other, while the agent asks again: no token, or a deny came too late."""
    async with replicas(place) as (one, two):
        asked = await one.decide_one(a_proposal("r-1"))
        await at_once(
            one.answers(asked.approval_id, Resolution.APPROVE, ALICE),
            two.answers(asked.approval_id, Resolution.DENY, BOB),
        )
        told = await two.decide_one(a_proposal("r-1"))
        assert (told.verdict, told.execution_token) == (Verdict.DENY, "")
        assert (await changes(one))[-1] == "deny"


async def test_an_approval_is_used_by_one_of_those_who_joined(place: Place) -> None:
    """Several that joined ask at once, at two replicas: one token, whatever the others hear (case 49)."""
    async with replicas(place) as (one, two):
        requests = [a_proposal(f"r-{n}") for n in range(4)]
        [asked, *_] = [await one.decide_one(each) for each in requests]
        await one.answers(asked.approval_id, Resolution.APPROVE, ALICE)
        told = await at_once(
            *(replica.decide_one(each) for replica, each in zip([one, two] * 2, requests, strict=True))
        )
        assert Counter(bool(each.execution_token) for each in told) == {True: 1, False: 3}


async def test_the_same_request_at_two_replicas_is_decided_again_once(place: Place) -> None:
    """An approved request that is asked for at both at once gives one decision with one token (invariant 9)."""
    async with replicas(place) as (one, two):
        asked = await one.decide_one(a_proposal("r-1"))
        await two.answers(asked.approval_id, Resolution.APPROVE, ALICE)
        told = await at_once(*(each.decide_one(a_proposal("r-1")) for each in (one, two, one, two)))
        assert all(each == told[0] for each in told)
        assert told[0].verdict is Verdict.ALLOW


async def test_one_agents_flood_delays_no_other(place: Place) -> None:
    """An agent that is at its cap is denied, in one batch with others, whose calls people are asked about (case 53)."""
    async with replicas(place) as (one, _):
        other = replace(AGENT, name="agent-2")
        flood = [a_proposal(f"f-{n}", arguments={"repo_path": f"/srv/{n}"}) for n in range(30)]
        told = await one.decide(*flood, a_proposal("r-1", caller=other))
        assert all(isinstance(each, Decision) for each in told)
        verdicts = [each.verdict for each in told if isinstance(each, Decision)]
        assert verdicts == [Verdict.ESCALATE] * 20 + [Verdict.DENY] * 10 + [Verdict.ESCALATE]


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_approvals_survive_a_restart(place: Place) -> None:
    """What waits, what was answered and what was asked are there after a restart, and lead to the same decision."""
    keys, clock, credentials = OneKeyPair(), SettableClock(), known(ALICE)
    told: list[Decision] = []
    for name, step in (("ask", None), ("answer", Resolution.APPROVE), ("again", None), ("once more", None)):
        async with place.open() as store:
            replica = Replica(
                store=store,
                keys=keys,
                clock=clock,
                credentials=credentials,
                identifiers=CountingIdentifiers(name.replace(" ", "-")),
            )
            if step:
                await replica.answers(told[0].approval_id, step, ALICE)
            else:
                told.append(await replica.decide_one(a_proposal("r-1")))
    assert [each.verdict for each in told] == [Verdict.ESCALATE, Verdict.ALLOW, Verdict.ALLOW]
    assert told[1] == told[2]
