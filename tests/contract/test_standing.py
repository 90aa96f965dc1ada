"""Standing approvals on each store: the last call is one call, whoever takes it (case 51)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interlock.adapters.clock import RandomIdentifiers
from interlock.core.approval import Resolution
from interlock.core.decision import Decision, Verdict
from interlock.core.standing import StandingApproval
from interlock.flows.approving import Approving
from interlock.flows.decide import Decider, decide
from interlock.flows.standing import list_standing, revoke_standing
from tests.approvals import ALICE, BOB, answer, approving, known
from tests.contract.stores import EVERY, STORED, AnyStore, Place
from tests.deciders import a_decider
from tests.fakes import OneKeyPair, ScriptedEngine, SettableClock
from tests.proposals import a_proposal
from tests.standing import EVERY_ONE, answers_standing, terms


@dataclass(frozen=True, slots=True)
class Replica:
    """A decision service on a store."""

    store: AnyStore
    clock: SettableClock = field(default_factory=SettableClock)
    keys: OneKeyPair = field(default_factory=OneKeyPair)

    @property
    def decider(self) -> Decider:
        return a_decider(
            log=self.store.log,
            state=self.store.state,
            engine=ScriptedEngine(answers_standing),
            signer=self.keys,
            clock=self.clock,
            identifiers=RandomIdentifiers(),
            credentials=known(ALICE, BOB),
        )

    @property
    def parts(self) -> Approving:
        return approving(self.decider, self.store.state)

    async def decide(self, request_id: str, repo_path: str = "docs/api") -> Decision:
        proposal = a_proposal(request_id, arguments={"repo_path": repo_path})
        [decision] = await decide([proposal], self.decider, limit_seconds=30.0)
        assert isinstance(decision, Decision), decision
        return decision

    async def give(self, count: int) -> StandingApproval:
        first = await self.decide("r-first")
        resolved = await answer(
            self.parts, first.approval_id, Resolution.APPROVE, standing=terms(count=count)
        )
        assert resolved.standing is not None
        return resolved.standing

    async def remaining(self) -> list[int]:
        found, _ = await list_standing(EVERY_ONE, ALICE, self.parts)
        return [each.remaining for each in found]


@pytest.fixture(params=EVERY)
async def replica(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replica]:
    """A decision service on each store."""
    async with Place(request.param, tmp_path / "store.db", request).open() as store:
        yield Replica(store)


async def test_it_is_given_used_listed_and_taken_back(replica: Replica) -> None:
    """Each store keeps what holds, with what remains of it, in the list that people see."""
    standing = await replica.give(count=3)
    assert (await replica.decide("r-1")).verdict is Verdict.ALLOW
    assert await replica.remaining() == [2]
    await revoke_standing(standing.standing_id, "", BOB, replica.parts)
    assert await replica.remaining() == []
    assert (await replica.decide("r-2")).verdict is Verdict.ESCALATE


@pytest.mark.parametrize("kind", STORED)
async def test_of_two_replicas_one_gets_the_last_call(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Case 51: two replicas that let calls through at once share what remains, to the last call exactly."""
    place = Place(kind, tmp_path / "store.db", request)
    async with place.open() as here, place.open() as there:
        replicas = Replica(here), Replica(there)
        await replicas[0].give(count=3)
        decided = await asyncio.gather(
            *(replicas[number % 2].decide(f"r-{number}", f"docs/{'abcdefgh'[number]}") for number in range(8))
        )
        assert sum(each.verdict is Verdict.ALLOW for each in decided) == 3
        assert sum(bool(each.execution_token) for each in decided) == 3
        assert await replicas[1].remaining() == []


@pytest.mark.parametrize("kind", STORED)
async def test_a_restart_forgets_nothing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What was given holds after a restart, with what remained."""
    place = Place(kind, tmp_path / "store.db", request)
    async with place.open() as store:
        await Replica(store).give(count=2)
        assert (await Replica(store).decide("r-1")).verdict is Verdict.ALLOW
    async with place.open() as store:
        again = Replica(store)
        assert await again.remaining() == [1]
        assert (await again.decide("r-2")).verdict is Verdict.ALLOW
        assert (await again.decide("r-3")).verdict is Verdict.ESCALATE
