"""The story of the outbox: every outcome reaches the decision service, at least once, oldest first."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import Outcome
from interlock.ports import Outbox, OutcomeSink

AT_ONCE = 64

NEVER_TAKEN = frozenset(
    {ErrorReason.DECISION_NOT_FOUND, ErrorReason.INVALID_FIELD, ErrorReason.MALFORMED_REQUEST}
)
"""Refusals that trying again does not change. All others end one day: a credential is mended, too."""


class Deliverer:
    """Delivers when there is something to deliver, and waits longer and longer while it cannot."""

    def __init__(self, outbox: Outbox, sink: OutcomeSink, delays: Callable[[int], float]) -> None:
        """`delays` gives the seconds to wait after so many failures in a row."""
        self._outbox = outbox
        self._sink = sink
        self._delays = delays
        self._news = asyncio.Event()
        self._news.set()

    def wake(self) -> None:
        """There is one more to deliver."""
        self._news.set()

    async def run(self) -> NoReturn:
        """Deliver until cancelled, which loses nothing: what was not delivered is still in the outbox."""
        failures = 0
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await deliver(self._outbox, self._sink)
            except InterlockError:
                self._news.set()
                await asyncio.sleep(self._delays(failures))
                failures += 1
            else:
                failures = 0


async def deliver(outbox: Outbox, sink: OutcomeSink) -> None:
    """Deliver all that waits. Raises InterlockError: what is left has to wait longer."""
    while waiting := await outbox.undelivered(AT_ONCE):
        for outcome in waiting:
            await _deliver(outcome, outbox, sink)


async def _deliver(outcome: Outcome, outbox: Outbox, sink: OutcomeSink) -> None:
    try:
        await sink.deliver(outcome)
    except InterlockError as refusal:
        if refusal.reason not in NEVER_TAKEN:
            raise
        await outbox.undeliverable(outcome, refusal)
    else:
        await outbox.delivered(outcome)
