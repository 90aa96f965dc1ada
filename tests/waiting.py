"""Waiting in tests: for a condition, never for a time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 30.0
"""Long, for a busy machine; a test that waits this long fails."""


async def until(holds: Callable[[], bool | Awaitable[bool]], *, poll_seconds: float = 0.0) -> None:
    """Return when `holds` does. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await _told(holds):  # noqa: ASYNC110 - any condition, which has no event
            await asyncio.sleep(poll_seconds)


async def _told(holds: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = holds()
    return await answer if inspect.isawaitable(answer) else answer
