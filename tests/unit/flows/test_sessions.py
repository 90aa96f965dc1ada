"""Sessions from outside: who may begin, see and feed which, and what each is told."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.adapters.keyed_digest import KeyedDigest
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.record import Draft, RecordType, session_name
from interlock.core.session_changes import SessionView, StepsRecorded
from interlock.core.steps import Step, StepKind
from interlock.core.timeline import Entry
from interlock.flows.sessions import (
    Opening,
    Query,
    Sessions,
    Shown,
    StepBatch,
    get_session,
    record_steps,
    start_session,
)
from tests.fakes import MemoryDecisionLog, SettableClock
from tests.proposals import AGENT, AUDITOR, GATEWAY, MEASURING

USER = replace(AGENT, kind=CallerKind.USER, name="ann", roles=())
OTHER_USER = replace(USER, name="bob")
OTHER_AGENT = replace(AGENT, name="agent-2")
OPENING = Opening(session_id="session-1", agent=AGENT.name, goal="pay the bill")
QUERY = Query(session_id="session-1", agent=AGENT.name, page_size=0, page_token="")
OWN = replace(QUERY, agent="")
FAILURE = {
    "input": {"tool": {"name": "git_log"}, "facts": {}},
    "error": {"code": "POLICY_CONFLICT", "message": "m"},
}


@dataclass
class World:
    """The decision service's side of sessions, on fakes."""

    log: MemoryDecisionLog
    clock: SettableClock
    sessions: Sessions

    async def start(self, caller: Caller = USER, **changes: Any) -> SessionView:
        return await start_session(replace(OPENING, **changes), caller, self.sessions)

    async def show(self, caller: Caller, query: Query = QUERY) -> Shown:
        return await get_session(query, caller, self.sessions)

    async def record(self, *batches: StepBatch, caller: Caller = AGENT) -> StepsRecorded:
        async def given() -> AsyncIterator[StepBatch]:
            for batch in batches:
                yield batch

        return await record_steps(given(), caller, self.sessions)

    async def happens(self, times: int = 1, *, tenant: str = AGENT.tenant) -> None:
        draft = Draft(
            type=RecordType.FAILURE,
            tenant=tenant,
            once="",
            decision_id="",
            timestamp=self.clock.now(),
            fields=FAILURE,
            session=session_name(AGENT.name, "session-1"),
        )
        await self.log.append([draft] * times)


@pytest.fixture
def world() -> World:
    log, clock = MemoryDecisionLog(), SettableClock()
    sessions = Sessions(
        state=log.state,
        reader=log,
        clock=clock,
        measuring=MEASURING,
        seal=KeyedDigest(bytes(32), "page-tokens"),
    )
    return World(log=log, clock=clock, sessions=sessions)


def planning(*numbers: int, session_id: str = "session-1", summary: str = "look") -> StepBatch:
    steps = tuple(Step(number=each, kind=StepKind.PLANNING, summary=summary) for each in numbers)
    return StepBatch(session_id=session_id, steps=steps)


async def refused(awaited: Any) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await awaited
    return caught.value


async def test_a_user_sets_the_goal_of_an_agents_session(world: World) -> None:
    """The goal is the user's, the session the agent's, and the user stands behind it."""
    view = await world.start()
    assert (view.key.tenant, view.key.agent, view.key.session_id) == ("acme", AGENT.name, "session-1")
    assert (view.user, view.goal, view.goal_set_by) == ("ann", "pay the bill", "user")


async def test_the_same_start_again_is_the_same_session(world: World) -> None:
    """A start whose reply was lost can be made again (invariant 9)."""
    first = await world.start()
    world.clock.move(timedelta(seconds=5))
    assert (await world.start()).start_time == first.start_time


@pytest.mark.parametrize(
    ("caller", "changes"),
    [(USER, {"goal": "another goal"}), (OTHER_USER, {}), (AGENT, {"agent": "", "goal": ""})],
    ids=["another-goal", "another-user", "the-agent"],
)
async def test_a_session_that_began_otherwise_cannot_be_started(
    world: World, caller: Caller, changes: dict[str, Any]
) -> None:
    """Neither goal nor user of a session ever change, whoever asks."""
    await world.start()
    error = await refused(world.start(caller, **changes))
    assert error.reason is ErrorReason.SESSION_ALREADY_STARTED
    assert (await world.show(USER)).session.goal == "pay the bill"


async def test_an_agent_starts_its_own_session_without_a_goal(world: World) -> None:
    """An agent may begin a session, with its own name or none; what it is for it cannot say here."""
    view = await world.start(AGENT, agent="", goal="")
    assert (view.key.agent, view.user, view.goal_set_by) == (AGENT.name, "", "none")
    assert await world.start(AGENT, goal="") == view


@pytest.mark.parametrize(
    ("caller", "changes", "field"),
    [
        (USER, {"agent": ""}, "agent"),
        (USER, {"agent": "Agent One"}, "agent"),
        (USER, {"goal": ""}, "goal"),
        (USER, {"goal": "g" * 8_193}, "goal"),
        (USER, {"goal": "nul \0"}, "goal"),
        (USER, {"session_id": "Session"}, "session_id"),
        (AGENT, {"goal": "mine"}, "goal"),
        (AGENT, {"goal": "", "agent": "agent-2"}, "agent"),
    ],
)
async def test_a_start_that_breaks_a_rule_is_told_which(
    world: World, caller: Caller, changes: dict[str, Any], field: str
) -> None:
    """The field that is wrong is named, and no session begins."""
    error = await refused(world.start(caller, **changes))
    assert (error.reason, error.violations[0].field) == (ErrorReason.INVALID_FIELD, field)
    assert not world.log.state.cells


@pytest.mark.parametrize(("caller", "query"), [(AGENT, OWN), (AGENT, QUERY), (USER, QUERY), (AUDITOR, QUERY)])
async def test_a_session_is_shown_to_whom_it_concerns(world: World, caller: Caller, query: Query) -> None:
    """The agent, the user who started it, and the tenant's auditors see the session and what happened."""
    await world.start()
    await world.happens()
    shown = await world.show(caller, query)
    assert (shown.session.goal, len(shown.timeline), shown.next_page_token) == ("pay the bill", 1, "")


@pytest.mark.parametrize(
    ("caller", "query"),
    [
        (OTHER_AGENT, OWN),
        (OTHER_AGENT, QUERY),
        (OTHER_USER, QUERY),
        (replace(USER, tenant="other"), QUERY),
        (replace(AUDITOR, tenant="other"), QUERY),
        (replace(AGENT, tenant="other"), OWN),
        (AUDITOR, replace(QUERY, agent="agent-2")),
        (AUDITOR, replace(QUERY, session_id="session-2")),
        (GATEWAY, QUERY),
    ],
)
async def test_to_all_others_it_is_not_there(world: World, caller: Caller, query: Query) -> None:
    """Another agent, user or tenant is told just what it would be told of a session that never was (case 54)."""
    nothing = await refused(world.show(caller, query))
    await world.start()
    await world.happens()
    error = await refused(world.show(caller, query))
    assert error.reason is ErrorReason.SESSION_NOT_FOUND
    assert error == nothing


@pytest.mark.parametrize("caller", [USER, AUDITOR])
async def test_who_is_no_agent_names_the_agent(world: World, caller: Caller) -> None:
    """A session's name alone names nothing: it is the agent's."""
    error = await refused(world.show(caller, OWN))
    assert (error.reason, error.violations[0].field) == (ErrorReason.INVALID_FIELD, "agent")


async def test_records_of_another_tenant_are_in_no_timeline(world: World) -> None:
    """Another tenant's session of the same agent and name leaves nothing here (case 54)."""
    await world.start()
    await world.happens(tenant="other")
    assert (await world.show(AUDITOR)).timeline == ()


async def test_a_timeline_comes_in_pages(world: World) -> None:
    """Records and steps come once each, a page at a time, with a token that goes on where the last ended."""
    await world.start()
    for number in range(1, 4):
        await world.happens(2)
        await world.record(planning(number))
        world.clock.move(timedelta(seconds=1))
    query, entries = replace(QUERY, page_size=2), list[Entry]()
    while True:
        shown = await world.show(USER, query)
        entries.extend(shown.timeline)
        if not shown.next_page_token:
            break
        query = replace(query, page_token=shown.next_page_token)
    assert len(entries) == 9
    assert [entry.number for entry in entries if isinstance(entry.event, Step)] == [1, 2, 3]
    assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)


async def test_a_page_token_is_good_for_its_session_only(world: World) -> None:
    """A token of another session, tenant or of nobody is refused (case 54)."""
    await world.start()
    await world.happens(3)
    token = (await world.show(AUDITOR, replace(QUERY, page_size=1))).next_page_token
    for query, caller in (
        (replace(QUERY, session_id="session-2", page_token=token), AUDITOR),
        (replace(QUERY, page_token=token), replace(AUDITOR, tenant="other")),
        (replace(QUERY, page_token=token.replace("1", "2", 1)), AUDITOR),
        (replace(QUERY, page_token="0.0.x"), AUDITOR),
        (replace(QUERY, page_token="x"), AUDITOR),
        (replace(QUERY, page_token="0"), AUDITOR),
    ):
        error = await refused(world.show(caller, query))
        assert (error.reason, error.violations[0].field) == (ErrorReason.INVALID_FIELD, "page_token")


@pytest.mark.parametrize("size", [-1, 1_001])
async def test_a_page_is_not_too_large(world: World, size: int) -> None:
    """A page size out of bounds is refused."""
    error = await refused(world.show(AGENT, replace(OWN, page_size=size)))
    assert error.violations[0].field == "page_size"


async def test_what_an_earlier_session_of_the_name_left_is_not_shown(world: World) -> None:
    """A user who takes the name of a session that was forgotten sees nothing of the one before (case 54)."""
    await world.start()
    await world.happens(3)
    world.clock.move(timedelta(days=400))
    await world.log.state.prune(world.clock.now(), limit=1_000)
    await world.start(OTHER_USER, goal="have a look")
    await world.happens(1)
    shown = await world.show(OTHER_USER)
    assert [entry.time for entry in shown.timeline] == [world.clock.now()]


async def test_steps_are_recorded(world: World) -> None:
    """All new steps of a call are counted, over all of its messages, and stand in the timeline."""
    assert await world.record(planning(1, 2), planning(5)) == StepsRecorded(recorded=3, last_number=5)
    shown = await world.show(AGENT, OWN)
    assert [entry.number for entry in shown.timeline] == [1, 2, 5]
    assert shown.session.last_step_number == 5


async def test_a_step_that_comes_again_is_ignored(world: World) -> None:
    """A call that is made again, for its reply was lost, records nothing twice."""
    await world.record(planning(1))
    assert await world.record(planning(1)) == StepsRecorded(recorded=0, last_number=1)
    assert len((await world.show(AGENT, OWN)).timeline) == 1


async def test_numbers_that_go_back_end_the_call_and_lose_nothing(world: World) -> None:
    """What was recorded before is told of and stays; of the message that goes back, nothing is recorded."""
    error = await refused(
        world.record(planning(1, 2), planning(3), planning(4, 2, summary="another"), planning(6))
    )
    assert error.reason is ErrorReason.STEP_NUMBER_WENT_BACK
    assert error.metadata["recorded"] == "3"
    shown = await world.show(AGENT, OWN)
    assert [entry.number for entry in shown.timeline] == [1, 2, 3]


@pytest.mark.parametrize(
    ("batches", "field"),
    [
        ([planning(session_id="Session")], "session_id"),
        ([planning()], "steps"),
        ([], "steps"),
        ([planning(*range(1, 258))], "steps"),
        ([planning(0)], "steps[0].number"),
        ([planning(1, summary="s" * 1_025)], "steps[0].planning.summary"),
        ([planning(1), planning(2, session_id="session-2")], "session_id"),
    ],
    ids=["session-id", "no-steps", "no-message", "too-many", "number", "summary", "two-sessions"],
)
async def test_steps_that_break_a_rule_are_told_which(
    world: World, batches: Sequence[StepBatch], field: str
) -> None:
    """The field that is wrong is named, and what came before it stays."""
    error = await refused(world.record(*batches))
    assert (error.reason, error.violations[0].field) == (ErrorReason.INVALID_FIELD, field)
    assert error.metadata["recorded"] == str(len(batches[:-1]))


async def test_a_call_records_no_more_than_ten_thousand_steps(world: World) -> None:
    """A stream without end is ended, and what it brought by then stays."""
    batches = [planning(*range(first, first + 250)) for first in range(1, 10_502, 250)]
    error = await refused(world.record(*batches))
    assert (error.reason, error.metadata["recorded"]) == (ErrorReason.INVALID_FIELD, "10000")


async def test_each_batch_is_kept_before_the_next_is_asked_for(world: World) -> None:
    """An agent whose connection breaks has lost nothing of what was taken from it."""
    seen: list[int] = []

    async def given() -> AsyncIterator[StepBatch]:
        for number in (1, 2, 3):
            yield planning(number)
            seen.append((await world.show(AGENT, OWN)).session.last_step_number)

    await record_steps(given(), AGENT, world.sessions)
    assert seen == [1, 2, 3]


async def test_a_store_that_is_away_is_told_with_what_was_recorded(world: World) -> None:
    """Where the store fails in the midst of a call, the caller hears how far it came."""

    async def given() -> AsyncIterator[StepBatch]:
        yield planning(1)
        world.log.state.away = True
        yield planning(2)

    error = await refused(record_steps(given(), AGENT, world.sessions))
    assert (error.reason, error.metadata["recorded"]) == (ErrorReason.DECISION_LOG_UNAVAILABLE, "1")


async def test_another_agents_session_of_the_name_is_another_session(world: World) -> None:
    """Steps go into the calling agent's own session, whatever its name (case 54)."""
    await world.record(planning(1, 2, 3))
    assert await world.record(planning(1), caller=OTHER_AGENT) == StepsRecorded(recorded=1, last_number=1)
    assert (await world.show(AGENT, OWN)).session.last_step_number == 3
