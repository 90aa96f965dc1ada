"""The outbox's story: every outcome gets to the decision service, at least once, oldest first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.flows.deliver import AT_ONCE, Deliverer
from tests.fakes import NOON, MemoryLedger, MemorySink
from tests.waiting import until


def an_outcome(number: int) -> Outcome:
    return Outcome(
        execution_id=f"execution-{number}",
        decision_id=f"decision-{number}",
        token_id=f"token-{number}",
        kind=OutcomeKind.REFUSED,
        result_digest="",
        refusal=ErrorReason.CALL_MISMATCH,
        start_time=NOON,
        end_time=NOON,
    )


def unavailable(_: Outcome) -> InterlockError:
    return InterlockError(reason=ErrorReason.DECISION_LOG_UNAVAILABLE, message="the decision service is away")


class World:
    """A deliverer at work between fakes; `waits` holds how many failures each delay followed."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.sink = MemorySink()
        self.waits: list[int] = []
        self.deliverer = Deliverer(self.ledger, self.sink, self._delay)

    def _delay(self, failures: int) -> float:
        self.waits.append(failures)
        return 0.0

    async def keep(self, *numbers: int) -> None:
        for number in numbers:
            await self.ledger.refuse(an_outcome(number))

    async def emptied(self) -> bool:
        return not await self.ledger.undelivered(1)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.deliverer.run())
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_what_waited_before_the_start_is_delivered_oldest_first() -> None:
    """Outcomes of an earlier run go out without anybody waking the deliverer, in order of age."""
    world, numbers = World(), range(AT_ONCE + 3)
    await world.keep(*numbers)
    async with world.at_work():
        await until(world.emptied)
    assert world.sink.taken == [an_outcome(number) for number in numbers]


async def test_a_new_outcome_is_delivered_when_it_wakes() -> None:
    """An idle deliverer asks for nothing until it is woken, and then delivers."""
    world = World()
    async with world.at_work():
        for number in range(3):
            await world.keep(number)
            world.deliverer.wake()
            await until(world.emptied)
    assert world.sink.taken == [an_outcome(number) for number in range(3)]


async def test_a_service_that_is_away_is_tried_again_with_growing_delay() -> None:
    """While the decision service is away nothing is lost and delays grow; then they start anew."""
    world = World()
    world.sink.refuse_with = unavailable
    await world.keep(1, 2)
    async with world.at_work():
        await until(lambda: len(world.waits) >= 4)
        assert world.waits[:4] == [0, 1, 2, 3]
        assert world.sink.taken == []
        world.sink.refuse_with = lambda outcome: None
        await until(world.emptied)
        world.waits.clear()
        world.sink.refuse_with = unavailable
        await world.keep(3)
        world.deliverer.wake()
        await until(lambda: len(world.waits) >= 2)
        assert world.waits[:2] == [0, 1]
    assert world.sink.taken == [an_outcome(1), an_outcome(2)]


async def test_a_ledger_that_is_away_is_tried_again() -> None:
    """A ledger that cannot be read ends no delivery for good."""
    world = World()
    await world.keep(1)
    world.ledger.away = True
    async with world.at_work():
        await until(lambda: len(world.waits) >= 2)
        world.ledger.away = False
        await until(world.emptied)
    assert world.sink.taken == [an_outcome(1)]


@pytest.mark.parametrize(
    "reason", [ErrorReason.DECISION_NOT_FOUND, ErrorReason.INVALID_FIELD, ErrorReason.MALFORMED_REQUEST]
)
async def test_what_will_never_be_taken_is_set_aside(reason: ErrorReason) -> None:
    """An outcome that is refused for good holds no other up, and is kept as undeliverable."""
    world = World()
    world.sink.refuse_with = lambda outcome: (
        InterlockError(reason=reason, message="no") if outcome == an_outcome(1) else None
    )
    await world.keep(1, 2)
    async with world.at_work():
        await until(world.emptied)
    assert world.sink.taken == [an_outcome(2)]
    assert [execution.delivery for execution in world.ledger.executions] == ["undeliverable", "delivered"]
    assert world.sink.attempts == 2


@pytest.mark.parametrize(
    "reason", [ErrorReason.CREDENTIAL_INVALID, ErrorReason.OVERLOADED, ErrorReason.INTERNAL]
)
async def test_what_can_be_mended_is_not_set_aside(reason: ErrorReason) -> None:
    """A refusal that a person or time can mend keeps the outcome waiting."""
    world = World()
    world.sink.refuse_with = lambda outcome: InterlockError(reason=reason, message="not now")
    await world.keep(1)
    async with world.at_work():
        await until(lambda: len(world.waits) >= 3)
    assert [execution.delivery for execution in world.ledger.executions] == ["waiting"]


async def test_stopping_in_the_middle_loses_nothing() -> None:
    """An outcome whose delivery was cut off is delivered again: at least once, never less."""
    world, begun = World(), asyncio.Event()

    class HangingSink(MemorySink):
        async def deliver(self, outcome: Outcome) -> None:
            await super().deliver(outcome)
            begun.set()
            await asyncio.Event().wait()

    world.deliverer = Deliverer(world.ledger, HangingSink(), lambda failures: 0.0)
    await world.keep(1)
    async with world.at_work():
        await begun.wait()
    world.deliverer = Deliverer(world.ledger, world.sink, lambda failures: 0.0)
    async with world.at_work():
        await until(world.emptied)
    assert world.sink.taken == [an_outcome(1)]
