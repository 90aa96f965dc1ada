"""What gathers callers into batches: order, bounds, and that each caller hears of its own item."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from interlock.core.errors import ErrorReason, InterlockError
from interlock.flows.coalesce import Bounds, Coalescer

LIMIT = 10.0


class Batches:
    """What a coalescer runs: each batch waits until the test answers it."""

    def __init__(self) -> None:
        self.taken: list[Sequence[str]] = []
        self.limits: list[float] = []
        self._answers: list[asyncio.Future[Sequence[Any]]] = []

    async def run(self, items: Sequence[str], limit_seconds: float) -> Sequence[Any]:
        self.taken.append(items)
        self.limits.append(limit_seconds)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    async def answer(self, number: int, results: Sequence[Any] | None = None) -> None:
        """Answer batch `number`, each item in capitals unless told otherwise."""
        given = [item.upper() for item in self.taken[number]] if results is None else results
        self._answers[number].set_result(given)
        await settle()

    async def fail(self, number: int, error: Exception) -> None:
        self._answers[number].set_exception(error)
        await settle()

    async def cancel(self, number: int) -> None:
        self._answers[number].cancel()
        await settle()


async def settle() -> None:
    """Let the event loop do all that it can do by now."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def batches() -> Batches:
    return Batches()


@pytest.fixture
def coalescer(batches: Batches) -> Coalescer[str, str]:
    return Coalescer(batches.run, Bounds(batch=3, in_flight=1, waiting=6))


async def test_an_idle_service_adds_no_wait(batches: Batches, coalescer: Coalescer[str, str]) -> None:
    """The first to arrive is in a batch of its own before the loop turns to anybody else."""
    [future] = coalescer.submit(["a"], limit_seconds=LIMIT)
    await asyncio.sleep(0)
    assert batches.taken == [["a"]]
    await batches.answer(0)
    assert await future == "A"


async def test_what_arrives_meanwhile_is_one_batch_in_order(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """Whatever waited while a batch was in flight goes together, in the order of arrival, each with its result."""
    futures = [*coalescer.submit(["a"], limit_seconds=LIMIT)]
    futures += coalescer.submit(["b", "c"], limit_seconds=LIMIT)
    futures += coalescer.submit(["d"], limit_seconds=LIMIT)
    await settle()
    await batches.answer(0)
    assert batches.taken == [["a"], ["b", "c", "d"]]
    await batches.answer(1)
    assert await asyncio.gather(*futures) == ["A", "B", "C", "D"]


async def test_a_batch_is_bounded(batches: Batches, coalescer: Coalescer[str, str]) -> None:
    """No batch holds more than its bound; what is left goes in the next."""
    futures = coalescer.submit(list("abcde"), limit_seconds=LIMIT)
    await settle()
    assert batches.taken == [["a", "b", "c"]]
    await batches.answer(0)
    assert batches.taken == [["a", "b", "c"], ["d", "e"]]
    await batches.answer(1)
    assert await asyncio.gather(*futures) == list("ABCDE")


async def test_no_more_batches_are_in_flight_than_bounded(batches: Batches) -> None:
    """`in_flight` batches run at the same time, and the next begins only when one of them ends."""
    coalescer = Coalescer(batches.run, Bounds(batch=1, in_flight=2, waiting=6))
    futures = coalescer.submit(list("abc"), limit_seconds=LIMIT)
    await settle()
    assert batches.taken == [["a"], ["b"]]
    await batches.answer(1)
    assert batches.taken == [["a"], ["b"], ["c"]]
    assert [future.done() for future in futures] == [False, True, False]
    await batches.answer(0)
    await batches.answer(2)
    assert await asyncio.gather(*futures) == ["A", "B", "C"]


async def test_too_many_are_refused_and_none_of_them_is_taken(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """OVERLOADED is all or none and says when to come back; those who wait already are not harmed (case 57)."""
    futures = [*coalescer.submit(["a"], limit_seconds=LIMIT)]
    futures += coalescer.submit(list("bcdef"), limit_seconds=LIMIT)
    with pytest.raises(InterlockError) as raised:
        coalescer.submit(["g", "h"], limit_seconds=LIMIT)
    assert raised.value.reason is ErrorReason.OVERLOADED
    assert raised.value.retry_after is not None
    futures += coalescer.submit(["i"], limit_seconds=LIMIT)
    await settle()
    for number in range(3):
        await batches.answer(number)
    assert await asyncio.gather(*futures) == list("ABCDEFI")


async def test_a_caller_that_went_away_is_dropped_before_its_batch(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """Nothing is decided for a caller that is gone, and it takes no place in the batch (case 2)."""
    futures = coalescer.submit(list("abcdef"), limit_seconds=LIMIT)
    futures[4].cancel()
    await settle()
    await batches.answer(0)
    assert batches.taken[1] == ["d", "f"]
    await batches.answer(1)
    assert [await futures[3], await futures[5]] == ["D", "F"]


async def test_a_batch_of_nobody_is_not_run(batches: Batches, coalescer: Coalescer[str, str]) -> None:
    """Where all that waited went away, no empty batch is run, and the next caller is served."""
    coalescer.submit(list("abc"), limit_seconds=LIMIT)
    for future in coalescer.submit(list("def"), limit_seconds=LIMIT):
        future.cancel()
    await settle()
    await batches.answer(0)
    assert batches.taken == [["a", "b", "c"]]
    coalescer.submit(["g"], limit_seconds=LIMIT)
    await settle()
    assert batches.taken[1:] == [["g"]]


async def test_a_caller_that_goes_away_in_flight_harms_nobody(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """The batch goes on for the others when one of its callers is cancelled."""
    gone, stays = coalescer.submit(["a", "b"], limit_seconds=LIMIT)
    await settle()
    gone.cancel()
    await batches.answer(0)
    assert gone.cancelled()
    assert await stays == "B"


async def test_each_caller_has_its_own_error(batches: Batches, coalescer: Coalescer[str, str]) -> None:
    """An error of one item reaches its own caller only (invariant 10)."""
    good, bad = coalescer.submit(["a", "b"], limit_seconds=LIMIT)
    await settle()
    error = InterlockError(reason=ErrorReason.POLICY_CONFLICT, message="two rules conflict")
    await batches.answer(0, ["A", error])
    assert await good == "A"
    with pytest.raises(InterlockError) as raised:
        await bad
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        InterlockError(reason=ErrorReason.DECISION_LOG_UNAVAILABLE, message="the log is away"),
        KeyError("broken inside"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_of_the_batch_reaches_every_caller(
    batches: Batches, coalescer: Coalescer[str, str], error: Exception
) -> None:
    """Where the whole batch fails nobody is left waiting, and the next batch is run."""
    futures = coalescer.submit(["a", "b", "c", "d"], limit_seconds=LIMIT)
    await settle()
    await batches.fail(0, error)
    assert await asyncio.gather(*futures[:3], return_exceptions=True) == [error] * 3
    assert batches.taken[1] == ["d"]
    await batches.answer(1)
    assert await futures[3] == "D"


@pytest.mark.parametrize("results", [[], ["A"], ["A", "B", "C"]], ids=len)
async def test_a_batch_of_another_length_answers_nobody(
    batches: Batches, coalescer: Coalescer[str, str], results: list[str]
) -> None:
    """Results that do not match their items one to one are nobody's: every caller has an error."""
    futures = coalescer.submit(["a", "b"], limit_seconds=LIMIT)
    await settle()
    await batches.answer(0, results)
    assert all(isinstance(future.exception(), ValueError) for future in futures)


async def test_a_batch_that_is_given_up_leaves_nobody_waiting(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """Where the batch itself is cancelled, each caller has an error, not silence."""
    futures = coalescer.submit(["a", "b"], limit_seconds=LIMIT)
    await settle()
    await batches.cancel(0)
    errors = [future.exception() for future in futures if future.done()]
    assert [getattr(error, "reason", None) for error in errors] == [ErrorReason.INTERNAL] * 2
    assert await _answered(coalescer, batches, "c") == "C"


async def _answered(coalescer: Coalescer[str, str], batches: Batches, item: str) -> str:
    [future] = coalescer.submit([item], limit_seconds=LIMIT)
    await settle()
    await batches.answer(len(batches.taken) - 1)
    return await future


async def test_a_batch_lasts_as_long_as_its_most_patient_caller(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """A hasty caller does not take the time of the others, and none gets more than was asked for."""
    for item, limit in (("a", 1.0), ("b", 2.0), ("c", 30.0), ("d", 3.0)):
        coalescer.submit([item], limit_seconds=limit)
    await settle()
    await batches.answer(0)
    assert batches.taken[1] == ["b", "c", "d"]
    assert batches.limits[0] <= 1.0
    assert 3.0 < batches.limits[1] <= 30.0


async def test_draining_answers_everything_that_was_taken(
    batches: Batches, coalescer: Coalescer[str, str]
) -> None:
    """Drain returns when the last waiting item is answered, not before."""
    futures = coalescer.submit(list("abcd"), limit_seconds=LIMIT)
    await settle()
    drained = asyncio.create_task(coalescer.drain())
    await batches.answer(0)
    assert not drained.done()
    await batches.answer(1)
    await drained
    assert [future.result() for future in futures] == list("ABCD")


async def test_draining_an_idle_service_returns_at_once(coalescer: Coalescer[str, str]) -> None:
    """There is nothing to wait for when nothing was taken."""
    await coalescer.drain()


async def test_a_batch_is_as_heavy_as_its_items(batches: Batches) -> None:
    """What counts for several takes their room; what is heavier than a batch goes alone, and in its turn (case 59)."""
    coalescer = Coalescer(batches.run, Bounds(batch=3, in_flight=1, waiting=20), weigh=len)
    coalescer.submit(["first"], limit_seconds=LIMIT)
    futures = coalescer.submit(["a", "bb", "c", "heavy", "d"], limit_seconds=LIMIT)
    await settle()
    for number in range(5):
        await batches.answer(number)
    assert batches.taken == [["first"], ["a", "bb"], ["c"], ["heavy"], ["d"]]
    assert await asyncio.gather(*futures) == ["A", "BB", "C", "HEAVY", "D"]


async def test_a_result_that_nobody_hears_is_told(batches: Batches) -> None:
    """What was done for a caller that had left meanwhile is told, so that it can be undone."""
    unheard: list[tuple[str, str]] = []
    coalescer: Coalescer[str, str] = Coalescer(
        batches.run, Bounds(batch=3), unheard=lambda item, result: unheard.append((item, result))
    )
    [first] = coalescer.submit(["first"], limit_seconds=LIMIT)
    await settle()
    first.cancel()
    await batches.answer(0)
    assert unheard == [("first", "FIRST")]
