"""The story of an agent that waits for what people say to its escalated proposal (decision 0027)."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from interlock.core.approval_binding import Asked
from interlock.core.decision import Decision
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.flows.decide import Decider, decision_of
from interlock.flows.kept import kept_proposal
from interlock.flows.own_decision import own_decision
from interlock.flows.waiters import Waiter, Waiters

LAST_SECONDS = 0.25
LAST_PART = 0.1
"""So long before its deadline a call is answered, whatever became of the approval: the answer has to arrive, too."""

SPREAD_PART = 0.1
SPREAD_SECONDS = 3.0
"""And up to so much earlier, each at another time: calls that began together would come back together, all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waiting needs of the world. `ask` decides a proposal within so many seconds, as `Decide` does."""

    decider: Decider
    ask: Callable[[Asked, float], Awaitable[Decision]]
    waiters: Waiters


async def wait_decision(
    decision_id: str, caller: Caller, waiting: Waiting, *, limit_seconds: float
) -> Decision:
    """What the decision has come to: at once where it waits for nobody, else when its approval has changed it.

    Shortly before the limit it is the escalated decision as it stands, to be waited for again. What is answered is
    what `Decide` answers to the same request, with the same token (invariant 9). Raises InterlockError:
    DECISION_NOT_FOUND, alike for what is another's; APPROVAL_CLOSED where nothing is kept any more that could be
    decided again; OVERLOADED where too many wait; what deciding raises.
    """
    now = asyncio.get_running_loop().time
    ends = now() + _patience(decision_id, limit_seconds)
    decider = waiting.decider
    stated = await own_decision(decision_id, caller, decider.log, decider.reader)
    if not stated.waits:
        return await decision_of(stated, decider)
    escalated = stated.concluded
    asked = await kept_proposal(escalated.decision_id, caller, decider.following)
    if asked is None:
        raise _closed(escalated.approval_id)
    async with waiting.waiters.waiting(caller, escalated.approval_id) as waiter:
        decision = await _ask(asked, waiter, waiting, ends)
        while decision.decision_id == escalated.decision_id and await waiter.woken(until=ends):
            decision = await _ask(asked, waiter, waiting, ends)
    return decision


def _patience(decision_id: str, limit_seconds: float) -> float:
    """Seconds to wait, for a call that has so many: always the same for one decision."""
    last = min(LAST_SECONDS, limit_seconds * LAST_PART)
    spread = min(SPREAD_SECONDS, limit_seconds * SPREAD_PART)
    return limit_seconds - last - spread * (zlib.crc32(decision_id.encode()) / 2**32)


async def _ask(asked: Asked, waiter: Waiter, waiting: Waiting, ends: float) -> Decision:
    """Of all that wait for one approval, one after the other: the first uses it, and the next sees that it is used."""
    async with waiter.turn:
        seconds = ends - asyncio.get_running_loop().time()
        return await waiting.ask(asked, max(seconds, LAST_SECONDS))


def _closed(approval_id: str) -> InterlockError:
    return InterlockError(
        reason=ErrorReason.APPROVAL_CLOSED,
        message="the approval ended long ago, and what was proposed is no longer kept",
        metadata={"approval_id": approval_id},
    )
