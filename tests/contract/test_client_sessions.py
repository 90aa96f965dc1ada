"""Sessions through both clients, against one real gRPC server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from interlock.client import (
    AsyncInterlock,
    DecisionEntry,
    GoalSetBy,
    MemoryRead,
    MemoryWrite,
    PlanningStep,
    StateTransition,
    Step,
    StepsRecorded,
)
from interlock.core.errors import ErrorReason
from interlock.v1 import (
    decision_pb2,
    decision_service_pb2,
    session_pb2,
)
from tests.contract.scripted_services import (
    CREDENTIAL,
    Asker,
    Server,
    gives,
    raises,
    records_all,
)


async def test_starts_a_session(ask: Asker, server: Server) -> None:
    """A user's goal reaches the service for the agent's session; the session comes back as it began."""
    session = session_pb2.Session(
        session_id="s-1", agent="coder", user="ann", goal="pay", goal_set_by=session_pb2.GOAL_SET_BY_USER
    )
    server.decisions.start_session.steps.append(
        gives(decision_service_pb2.StartSessionResponse(session=session))
    )
    started = await ask("start_session", "pay", agent="coder")
    [asked] = server.decisions.start_session.asked
    assert (asked.session_id, asked.agent, asked.goal) == ("s-1", "coder", "pay")
    assert (started.user, started.goal, started.goal_set_by) == ("ann", "pay", GoalSetBy.USER)


def a_page(*decision_ids: str, following: str, steps: int) -> decision_service_pb2.GetSessionResponse:
    entries = [
        session_pb2.TimelineEntry(
            decision=session_pb2.DecisionEntry(decision_id=name, verdict=decision_pb2.VERDICT_ALLOW)
        )
        for name in decision_ids
    ]
    session = session_pb2.Session(session_id="s-1", steps=steps, facts_json=b'{"spend":{"calls":2}}')
    return decision_service_pb2.GetSessionResponse(
        session=session, timeline=entries, next_page_token=following
    )


async def test_a_session_comes_with_all_of_its_timeline(ask: Asker, server: Server) -> None:
    """All pages are read, also an empty one, and the session is as the last of them has it."""
    pages = [a_page("d-1", following="a", steps=2), a_page(following="b", steps=2)]
    pages.append(a_page("d-2", "d-3", following="", steps=3))
    server.decisions.get_session.steps.extend(map(gives, pages))
    session = await ask("get_session", agent="coder")
    entries = [each.entry for each in session.timeline]
    assert [each.decision_id for each in entries if isinstance(each, DecisionEntry)] == ["d-1", "d-2", "d-3"]
    assert (session.steps, session.facts) == (3, {"spend": {"calls": 2}})
    asked = server.decisions.get_session.asked
    assert [(each.session_id, each.agent, each.page_token) for each in asked] == [
        ("s-1", "coder", ""),
        ("s-1", "coder", "a"),
        ("s-1", "coder", "b"),
    ]


async def test_a_session_without_its_timeline_is_one_call(ask: Asker, server: Server) -> None:
    """Where the timeline is not wanted, no more of it is asked for than must be, and none is given."""
    server.decisions.get_session.steps.append(gives(a_page("d-1", following="a", steps=9)))
    session = await ask("get_session", "s-2", timeline=False)
    [asked] = server.decisions.get_session.asked
    assert (asked.session_id, asked.page_size) == ("s-2", 1)
    assert (session.steps, session.timeline) == (9, ())


async def test_steps_reach_the_service_as_they_are(ask: Asker, server: Server) -> None:
    """Each kind of step arrives with all that it says, in one message; nothing unsaid is said."""
    steps = [
        Step(number=1, kind=PlanningStep(summary="first look"), model_tokens=90),
        Step(number=2, kind=MemoryRead(key="plan", version=3, digest="d")),
        Step(number=3, kind=MemoryWrite(key="plan", version=4), cost=0),
        Step(number=7, kind=StateTransition(name="phase", from_state="plan", to_state="act")),
    ]
    assert await ask("record_steps", steps) == StepsRecorded(recorded=4, last_number=7)
    [[message]] = server.decisions.record_steps.asked
    planning, read, write, moved = message.steps
    assert message.session_id == "s-1"
    assert (planning.planning.summary, planning.usage.model_tokens) == ("first look", 90)
    assert not planning.usage.HasField("cost")
    assert (read.memory_read.key, read.memory_read.version, read.memory_read.digest) == ("plan", 3, "d")
    assert (write.memory_write.version, write.usage.HasField("cost"), read.HasField("usage")) == (
        4,
        True,
        False,
    )
    assert (moved.state_transition.from_state, moved.state_transition.to_state) == ("plan", "act")


async def test_many_steps_are_sent_a_part_at_a_time(ask: Asker, server: Server) -> None:
    """Steps go 256 in a call, and a part that fails for a moment is sent again as it was, the others not."""
    away = raises(ErrorReason.DECISION_LOG_UNAVAILABLE)
    server.decisions.record_steps.steps.extend([records_all, away, away])
    steps = (Step(number=number, kind=PlanningStep(summary="")) for number in range(1, 601))
    assert await ask("record_steps", steps) == StepsRecorded(recorded=600, last_number=600)
    asked = [message for [message] in server.decisions.record_steps.asked]
    assert [len(message.steps) for message in asked] == [256, 256, 256, 256, 88]
    assert asked[1] == asked[2] == asked[3]


async def test_steps_end_where_their_numbers_go_back(ask: Asker, server: Server) -> None:
    """A refused part is told of at once, and no step after it is taken."""
    taken: list[int] = []

    def steps() -> Iterator[Step]:
        for number in range(1, 601):
            taken.append(number)
            yield Step(number=number, kind=PlanningStep(summary=""))

    refusal = raises(ErrorReason.STEP_NUMBER_WENT_BACK, metadata={"last_number": "9"})
    server.decisions.record_steps.steps.append(refusal)
    error = await ask.error("record_steps", steps())
    assert (error.method, error.code, error.metadata["last_number"]) == (
        "RecordSteps",
        "FAILED_PRECONDITION",
        "9",
    )
    assert len(taken) == 256


async def test_steps_may_come_one_after_the_other(server: Server) -> None:
    """The asynchronous client takes steps that are made while it waits for them."""

    async def steps() -> AsyncIterator[Step]:
        for number in range(1, 259):
            await asyncio.sleep(0)
            yield Step(number=number, kind=PlanningStep(summary=""))

    async with AsyncInterlock(server.address, credential=CREDENTIAL) as client:
        assert await client.record_steps(steps()) == StepsRecorded(recorded=258, last_number=258)
    assert [len(message.steps) for [message] in server.decisions.record_steps.asked] == [256, 2]
