"""Waiting for approvals, withdrawing and expiring, on fakes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from interlock.core import record as records
from interlock.core.approval import Resolution
from interlock.core.approval_binding import Asked
from interlock.core.canonical import canonicalize
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.plan import RawPlan, RawStep
from interlock.core.record import Head, RecordType
from interlock.flows import expire as expiring
from interlock.flows.decide import decide
from interlock.flows.expire import expire
from interlock.flows.wait import Waiting, wait_decision
from interlock.flows.waiters import MostWaiting, Waiters
from interlock.flows.withdraw import withdraw_decision
from tests.approvals import ALICE, BOB, answer, approving, known
from tests.deciders import a_decider
from tests.fakes import (
    ONE_APPROVES,
    CountingIdentifiers,
    MemoryDecisionLog,
    OneKeyPair,
    ScriptedEngine,
    SettableClock,
)
from tests.proposals import AGENT, NO_CONTEXT, a_proposal, an_answer
from tests.unit.flows.approval_world import escalates_until_approved

LONG = 60.0
SHORT = 0.02
"""Seconds: the first never pass in a test, the second in any."""

OTHERS = (
    replace(AGENT, name="agent-2"),
    replace(AGENT, tenant="umbrella"),
)


class FailingLog(MemoryDecisionLog):
    """A log that fails when it is asked where it ends, once for each that waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self._failing: list[asyncio.Event] = []

    async def fail_next_look(self) -> None:
        failed = asyncio.Event()
        self._failing.append(failed)
        await failed.wait()

    async def head(self) -> Head:
        if self._failing:
            self._failing.pop().set()
            raise InterlockError(reason=ErrorReason.DECISION_LOG_UNAVAILABLE, message="the log is away")
        return await super().head()


@dataclass
class World:
    """A log, and what replicas of the service share."""

    log: FailingLog = field(default_factory=FailingLog)
    clock: SettableClock = field(default_factory=SettableClock)
    keys: OneKeyPair = field(default_factory=OneKeyPair)
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(escalates_until_approved))
    replicas: int = 0

    def replica(self, most: MostWaiting | None = None) -> "Replica":
        self.replicas += 1
        return Replica(self, most)

    def changes(self) -> list[str]:
        """What happened to approvals, as the log has it."""
        return [
            records.fields(each)["change"] for each in self.log.records if each.type is RecordType.APPROVAL
        ]


class Replica:
    """One process of the decision service."""

    def __init__(self, world: World, most: MostWaiting | None = None) -> None:
        self.world = world
        self.waiters = Waiters(world.log, most)
        self.decider = a_decider(
            log=world.log,
            state=world.log.state,
            engine=world.engine,
            signer=world.keys,
            clock=world.clock,
            identifiers=CountingIdentifiers(f"id-{world.replicas}"),
            credentials=known(ALICE, BOB),
            woken=self.waiters.wake,
        )
        self.waiting = Waiting(decider=self.decider, ask=self._ask, waiters=self.waiters)
        self.changing = self.decider.following.changing

    async def _ask(self, asked: Asked, seconds: float) -> Decision:
        return await self.decide(asked)

    async def decide(self, proposal: Asked) -> Decision:
        [decision] = await decide([proposal], self.decider, limit_seconds=LONG)
        if isinstance(decision, InterlockError):
            raise decision
        return decision

    async def wait(
        self, decision: Decision | str, seconds: float = SHORT, caller: Caller = AGENT
    ) -> Decision:
        name = decision if isinstance(decision, str) else decision.decision_id
        return await wait_decision(name, caller, self.waiting, limit_seconds=seconds)

    async def begin(self, *decisions: Decision, caller: Caller = AGENT) -> list[asyncio.Task[Decision]]:
        """Calls that wait, each in its place."""
        wanted = self.waiters.count + len(decisions)
        tasks = [asyncio.create_task(self.wait(each, LONG, caller)) for each in decisions]
        while self.waiters.count < wanted:  # noqa: ASYNC110 - a few turns of the loop, and no time
            await asyncio.sleep(0)
        return tasks

    async def withdraw(self, decision: Decision | str, caller: Caller = AGENT) -> str:
        name = decision if isinstance(decision, str) else decision.decision_id
        return await withdraw_decision(name, caller, self.changing, self.world.log)

    async def answer(
        self, decision: Decision, resolution: Resolution, edit: bytes = b"", caller: Caller = ALICE
    ) -> None:
        parts = approving(self.decider, self.world.log.state)
        await answer(parts, decision.approval_id, resolution, caller, edited_arguments_json=edit)


async def reason_of(refused: Awaitable[object]) -> ErrorReason:
    with pytest.raises(InterlockError) as error:
        await refused
    return error.value.reason


async def test_who_waits_hears_of_an_approve_at_once_and_gets_the_one_token() -> None:
    """Waiting, asking again and waiting again give the same decision and the same token (invariant 9)."""
    world = World()
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    [waits] = await replica.begin(escalated)
    await replica.answer(escalated, Resolution.APPROVE)
    decision = await waits
    assert decision.verdict is Verdict.ALLOW
    assert decision.execution_token
    asked_again = [
        await replica.decide(a_proposal()),
        await replica.wait(escalated),
        await replica.wait(decision),
        await world.replica().wait(escalated),
    ]
    assert asked_again == [decision] * 4
    assert world.changes() == ["approve"]


async def test_who_waits_hears_of_a_deny() -> None:
    """A deny is an answer as well: the proposal is decided again, and denied."""
    replica = World().replica()
    escalated = await replica.decide(a_proposal())
    [waits] = await replica.begin(escalated)
    await replica.answer(escalated, Resolution.DENY)
    decision = await waits
    assert (decision.verdict, decision.execution_token) == (Verdict.DENY, "")


async def test_edited_arguments_come_with_the_decision_however_it_is_asked_for() -> None:
    """What an approver wrote stands in the decision, for it is what the token is for (invariant 3)."""
    replica = World().replica()
    escalated = await replica.decide(a_proposal())
    edited = canonicalize({"repo_path": "elsewhere"})
    [waits] = await replica.begin(escalated)
    await replica.answer(escalated, Resolution.APPROVE, edited)
    decision = await waits
    assert (decision.verdict, decision.edited_arguments_json) == (Verdict.ALLOW, edited)
    assert await replica.wait(decision) == decision == await replica.wait(escalated)


@pytest.mark.parametrize("verdict", ["allow", "deny"])
async def test_a_decision_that_waits_for_nobody_is_answered_at_once(verdict: str) -> None:
    """It is what Decide gave, with its token (invariant 9)."""
    world = World(engine=ScriptedEngine(lambda document: an_answer(verdict)))
    replica = world.replica()
    decision = await replica.decide(a_proposal())
    assert await replica.wait(decision, LONG) == decision


async def test_a_plan_is_waited_for_as_a_whole() -> None:
    """An approved plan comes with the tokens of its steps, however it is asked for (invariant 9)."""
    replica = World().replica()
    steps = tuple(
        RawStep(step_id=name, tool="git_log", arguments_json=b'{"repo_path":"."}', after=())
        for name in ("first", "second")
    )
    plan = RawPlan(
        caller=AGENT,
        request_id="plan-1",
        session_id="session-1",
        parent_decision_id="",
        goal="look twice",
        context=NO_CONTEXT,
        steps=steps,
    )
    asked = replica.decider.following.normalize(plan)
    escalated = await replica.decide(asked)
    [waits] = await replica.begin(escalated)
    await replica.answer(escalated, Resolution.APPROVE)
    decision = await waits
    assert decision.verdict is Verdict.ALLOW
    assert all(step.execution_token for step in decision.steps)
    assert await replica.wait(decision) == decision == await replica.decide(asked)


async def test_shortly_before_the_deadline_the_decision_is_told_as_it_stands() -> None:
    """What nobody has answered can be waited for again, and nothing is left of who waited."""
    replica = World().replica()
    escalated = await replica.decide(a_proposal())
    assert await replica.wait(escalated) == escalated
    assert await replica.wait(escalated) == escalated
    assert replica.waiters.count == 0


async def test_one_approve_of_two_that_are_needed_ends_no_wait() -> None:
    """Whoever is woken looks, and waits on where nothing is decided yet."""
    world = World()
    world.engine.terms = lambda document: ONE_APPROVES.model_copy(update={"quorum": 2})
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    [waits] = await replica.begin(escalated)
    await replica.answer(escalated, Resolution.APPROVE)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waits.done()
    await replica.answer(escalated, Resolution.APPROVE, caller=BOB)
    assert (await waits).verdict is Verdict.ALLOW
    assert world.changes() == ["answer", "approve"]


async def test_a_change_of_another_replica_wakes_too() -> None:
    """The log's end tells of what others did; that costs one look for all who wait."""
    world = World()
    here, there = world.replica(), world.replica()
    escalated = await here.decide(a_proposal())
    [waits] = await here.begin(escalated)
    await there.answer(escalated, Resolution.APPROVE)
    assert (await waits).verdict is Verdict.ALLOW


async def test_a_store_that_is_away_for_a_while_ends_no_wait() -> None:
    """The look at the log is tried again, and nothing is missed meanwhile."""
    world = World()
    here, there = world.replica(), world.replica()
    escalated = await here.decide(a_proposal())
    [waits] = await here.begin(escalated)
    await world.log.fail_next_look()
    await there.answer(escalated, Resolution.APPROVE)
    assert (await waits).verdict is Verdict.ALLOW


async def test_who_joined_an_approval_waits_for_it() -> None:
    """Of two requests that wait for one answer it lets one through; of the other, people are asked anew (case 49)."""
    world = World()
    replica = world.replica()
    first, second = await replica.decide(a_proposal("r-1")), await replica.decide(a_proposal("r-2"))
    assert first.approval_id == second.approval_id
    waits = await replica.begin(first, second)
    await replica.answer(first, Resolution.APPROVE)
    decided = await asyncio.gather(*waits)
    assert sorted(each.verdict for each in decided) == [Verdict.ALLOW, Verdict.ESCALATE]
    assert {each.approval_id for each in decided} - {"", first.approval_id}


async def test_an_approval_that_is_over_wakes_whoever_waits_for_it() -> None:
    """Expiry always means deny, and is on record."""
    world = World()
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    [waits] = await replica.begin(escalated)
    assert await expire(world.log.state, replica.changing) == 0
    world.clock.move(timedelta(hours=1, seconds=1))
    assert await expire(world.log.state, replica.changing) == 1
    assert (await waits).verdict is Verdict.DENY
    assert await expire(world.log.state, replica.changing) == 0
    assert world.changes() == ["expire"]


async def test_two_replicas_expire_an_approval_once() -> None:
    """Of two that look at once, one puts it on record, and the other is not disturbed (case 49)."""
    world = World()
    here, there = world.replica(), world.replica()
    await here.decide(a_proposal())
    world.clock.move(timedelta(hours=2))
    done = await asyncio.gather(
        expire(world.log.state, here.changing), expire(world.log.state, there.changing)
    )
    assert sorted(done) == [0, 1]
    assert world.changes() == ["expire"]


async def test_of_many_that_are_over_a_bounded_number_expires_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood of expired approvals delays nobody: the rest has its turn in the next round (case 53)."""
    monkeypatch.setattr(expiring, "AT_ONCE", 2)
    world = World()
    replica = world.replica()
    for number in range(3):
        await replica.decide(a_proposal(f"r-{number}", arguments={"repo_path": f"{number}"}))
    world.clock.move(timedelta(hours=2))
    assert [await expire(world.log.state, replica.changing) for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize("caller", OTHERS, ids=["another agent", "another tenant"])
async def test_a_decision_of_another_is_not_found(caller: Caller) -> None:
    """Nobody learns that another's decision exists, nor waits for it, nor takes it back (case 54)."""
    world = World()
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    told = []
    for name in (escalated.decision_id, "no-such-decision"):
        for asked in (replica.wait(name, caller=caller), replica.withdraw(name, caller)):
            with pytest.raises(InterlockError) as error:
                await asked
            told.append((error.value.reason, error.value.message, dict(error.value.metadata)))
    assert {each[0] for each in told} == {ErrorReason.DECISION_NOT_FOUND}
    assert len({str(each) for each in told}) == 1
    assert world.changes() == []


async def test_who_goes_away_leaves_nothing() -> None:
    """A client that is gone costs nothing, and the log is looked at no more."""
    replica = World().replica()
    escalated = await replica.decide(a_proposal())
    before = len(asyncio.all_tasks())
    [waits] = await replica.begin(escalated)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    await asyncio.sleep(0)
    assert (replica.waiters.count, len(asyncio.all_tasks())) == (0, before)


async def test_at_the_end_all_who_wait_are_answered() -> None:
    """A service that ends leaves nobody waiting: the decision as it stands, also for whoever comes yet."""
    replica = World().replica()
    escalated = await replica.decide(a_proposal())
    waits = await replica.begin(escalated, escalated)
    replica.waiters.end()
    assert await asyncio.gather(*waits) == [escalated, escalated]
    assert await replica.wait(escalated, LONG) == escalated


async def test_who_waits_is_bounded_by_agent_and_tenant() -> None:
    """One agent's waiting calls leave room for others; beyond the bounds it hears when to come again (case 53)."""
    world = World()
    replica = world.replica(MostWaiting(agent=2, tenant=3))
    other = replace(AGENT, name="agent-2")
    mine = await replica.decide(a_proposal())
    theirs = await replica.decide(a_proposal(caller=other))
    waits = await replica.begin(mine, mine)
    assert await reason_of(replica.wait(mine)) is ErrorReason.OVERLOADED
    waits += await replica.begin(theirs, caller=other)
    assert await reason_of(replica.wait(theirs, caller=other)) is ErrorReason.OVERLOADED
    replica.waiters.end()
    await asyncio.gather(*waits)
    assert await replica.wait(mine) == mine


async def test_many_wait_with_one_task_that_looks() -> None:
    """Many waiting calls are as many calls and one watcher, and each wakes at its own approval's change only."""
    world = World()
    replica = world.replica()
    decisions = [
        await replica.decide(a_proposal(f"r-{number}", arguments={"repo_path": f"{number}"}))
        for number in range(20)
    ]
    before = len(asyncio.all_tasks())
    waits = await replica.begin(*decisions * 10)
    assert len(asyncio.all_tasks()) - before == 200 + 1
    world.engine.batches.clear()
    await replica.answer(decisions[0], Resolution.DENY)
    told = await asyncio.gather(*waits[::20])
    assert {each.verdict for each in told} == {Verdict.DENY}
    assert sum(task.done() for task in waits) == 10
    assert {document["arguments"]["repo_path"] for [document] in world.engine.batches} == {"0"}
    replica.waiters.end()
    await asyncio.gather(*waits)
    assert replica.waiters.count == 0


async def test_a_request_that_is_no_longer_kept_is_closed() -> None:
    """Long after its end nothing is left that could be decided again, and the agent hears so."""
    world = World()
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    world.clock.move(timedelta(days=3))
    await world.log.state.prune(world.clock.now(), limit=1_000)
    assert await reason_of(replica.wait(escalated)) is ErrorReason.APPROVAL_CLOSED


async def test_a_withdrawn_proposal_asks_nobody_and_is_denied() -> None:
    """Whoever proposed may take it back; it is on record, and again it is the same answer."""
    world = World()
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    [waits] = await replica.begin(escalated)
    assert await replica.withdraw(escalated) == escalated.approval_id
    assert (await waits).verdict is Verdict.DENY
    assert await replica.withdraw(escalated) == escalated.approval_id
    assert world.changes() == ["withdraw"]


async def test_an_approval_that_was_not_used_yet_can_be_withdrawn() -> None:
    """Between the approve and the token the agent may change its mind: no token comes of it any more."""
    world = World()
    replica = world.replica()
    escalated = await replica.decide(a_proposal())
    await replica.answer(escalated, Resolution.APPROVE)
    assert await replica.withdraw(escalated) == escalated.approval_id
    assert (await replica.wait(escalated)).verdict is Verdict.DENY
    assert world.changes() == ["approve", "withdraw"]


async def test_who_only_joined_withdraws_nothing_of_others() -> None:
    """The approval belongs to the decision that opened it; a joined one's withdrawal changes nothing."""
    world = World()
    replica = world.replica()
    first, second = await replica.decide(a_proposal("r-1")), await replica.decide(a_proposal("r-2"))
    assert await replica.withdraw(second) == ""
    assert world.changes() == []
    assert await replica.withdraw(first) == first.approval_id


async def approve_and_use(replica: Replica, decision: Decision) -> None:
    await replica.answer(decision, Resolution.APPROVE)
    await replica.wait(decision)


async def deny(replica: Replica, decision: Decision) -> None:
    await replica.answer(decision, Resolution.DENY)


async def let_expire(replica: Replica, decision: Decision) -> None:
    replica.world.clock.move(timedelta(hours=2))


@pytest.mark.parametrize(
    ("how", "state"),
    [(approve_and_use, "approved"), (deny, "denied"), (let_expire, "expired")],
    ids=["used", "denied", "expired"],
)
async def test_what_has_ended_cannot_be_withdrawn(
    how: Callable[[Replica, Decision], Awaitable[None]], state: str
) -> None:
    """The answer names what became of it."""
    replica = World().replica()
    escalated = await replica.decide(a_proposal())
    await how(replica, escalated)
    with pytest.raises(InterlockError) as error:
        await replica.withdraw(escalated)
    assert (error.value.reason, error.value.metadata["state"]) == (ErrorReason.APPROVAL_CLOSED, state)


async def test_a_decision_that_was_never_escalated_cannot_be_withdrawn() -> None:
    """There is no approval of it."""
    replica = World(engine=ScriptedEngine(lambda document: an_answer("allow"))).replica()
    decision = await replica.decide(a_proposal())
    assert await reason_of(replica.withdraw(decision)) is ErrorReason.APPROVAL_CLOSED
