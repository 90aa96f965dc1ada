"""Gathers what arrives while earlier batches are in flight.

So one query, one transaction and one fsync serve many callers. An idle service adds no wait: the first to
arrive goes at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from interlock.core.errors import ErrorReason, InterlockError

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRY_AFTER_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`batch`: items taken at once; `in_flight`: batches at a time; `waiting`: items that may wait."""

    batch: int = 64
    in_flight: int = 2
    waiting: int = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry(Generic[Item, Result]):
    """An item that waits; its caller's patience `ends` at this time of the event loop."""

    item: Item
    ends: float
    future: asyncio.Future[Result]


class Coalescer(Generic[Item, Result]):
    """Runs items in batches; each caller gets its own item's result, or its own error."""

    def __init__(
        self,
        run: Callable[[Sequence[Item], float], Awaitable[Sequence[Result | InterlockError]]],
        bounds: Bounds,
        weigh: Callable[[Item], int] = lambda _: 1,
        unheard: Callable[[Item, Result], None] | None = None,
    ) -> None:
        """`run` takes items and the seconds that the most patient of their callers still waits.

        `weigh` tells for how many an item counts in a batch; one that is heavier than a batch goes in one of its own.
        `unheard` is told of each result whose caller was gone when it came.
        """
        self._run = run
        self._unheard = unheard
        self._bounds = bounds
        self._weigh = weigh
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._batches: dict[asyncio.Task[None], int] = {}

    def submit(self, items: Sequence[Item], *, limit_seconds: float) -> list[asyncio.Future[Result]]:
        """A future for each item. Raises InterlockError: OVERLOADED, and then none of them was taken."""
        if len(self._waiting) + len(items) > self._bounds.waiting:
            raise InterlockError(
                reason=ErrorReason.OVERLOADED,
                message="too many proposals wait",
                retry_after=RETRY_AFTER_SECONDS,
            )
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        ends = loop.time() + limit_seconds
        self._waiting.extend(
            _Entry(item=item, ends=ends, future=future) for item, future in zip(items, futures, strict=True)
        )
        self._start_batches()
        return futures

    async def drain(self) -> None:
        """Return when everything that was taken is answered."""
        while self._batches:
            await asyncio.wait(set(self._batches))

    def _start_batches(self) -> None:
        while self._may_start():
            if taken := self._take():
                task = asyncio.ensure_future(self._answer(taken))
                self._batches[task] = len(taken)
                task.add_done_callback(self._end_batch)

    def _may_start(self) -> bool:
        """A batch beside others waits until it is as large as they are: many small ones would cost more."""
        enough = max(1, min(sum(self._batches.values()), self._bounds.batch))
        return len(self._waiting) >= enough and len(self._batches) < self._bounds.in_flight

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        self._start_batches()

    def _take(self) -> list[_Entry[Item, Result]]:
        """The next items whose callers still wait."""
        taken: list[_Entry[Item, Result]] = []
        weight = 0
        while self._waiting and weight < self._bounds.batch:
            entry = self._waiting.popleft()
            if entry.future.done():
                continue
            weight += self._weigh(entry.item)
            if taken and weight > self._bounds.batch:
                self._waiting.appendleft(entry)
                break
            taken.append(entry)
        return taken

    async def _answer(self, taken: Sequence[_Entry[Item, Result]]) -> None:
        patience = max(entry.ends for entry in taken) - asyncio.get_running_loop().time()
        answers: list[tuple[_Entry[Item, Result], Result | Exception]]
        try:
            results = await self._run([entry.item for entry in taken], patience)
            answers = list(zip(taken, results, strict=True))
        except Exception as error:  # noqa: BLE001 - each caller hears of it; none is left waiting
            answers = [(entry, error) for entry in taken]
        except asyncio.CancelledError:
            self._tell((entry, _given_up()) for entry in taken)
            raise
        self._tell(answers)

    def _tell(self, answers: Iterable[tuple[_Entry[Item, Result], Result | Exception]]) -> None:
        for entry, answer in answers:
            if entry.future.done():
                if self._unheard and not isinstance(answer, Exception):
                    self._unheard(entry.item, answer)
            elif isinstance(answer, Exception):
                entry.future.set_exception(answer)
            else:
                entry.future.set_result(answer)


def _given_up() -> InterlockError:
    return InterlockError(reason=ErrorReason.INTERNAL, message="the batch was given up before its end")
