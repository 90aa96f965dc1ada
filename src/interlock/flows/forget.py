"""State that is over is forgotten, a little at a time, so that nobody waits for it."""

import asyncio
from typing import NoReturn

from interlock.core.errors import InterlockError
from interlock.ports import Clock, SessionState

EVERY_SECONDS = 30.0
AT_ONCE = 1_000


async def forget_regularly(state: SessionState, clock: Clock, *, every_seconds: float) -> NoReturn:
    """Forget what is over, again and again, until cancelled. A store that is away is asked the next time."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await forget(state, clock)
        except InterlockError:
            continue


async def forget(state: SessionState, clock: Clock) -> int:
    """Forget all that is over now. How many cells and lines were forgotten. Raises InterlockError."""
    forgotten = 0
    while count := await state.prune(clock.now(), limit=AT_ONCE):
        forgotten += count
    return forgotten
