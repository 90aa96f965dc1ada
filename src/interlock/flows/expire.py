"""Approvals whose time is over are put on record as expired, so that nobody waits for them in vain."""

import asyncio
import contextlib
from typing import NoReturn

from interlock.core.approval import Approval, Event
from interlock.core.approval_cells import ApprovalCell, end_place, ending_list
from interlock.core.errors import InterlockError
from interlock.flows.change_approval import Changing, change_if_first
from interlock.ports import Listings

EVERY_SECONDS = 1.0
AT_ONCE = 200
"""The rest has its turn a second later. Nobody can approve it: who looks at one sees that its time is over."""


async def expire_regularly(listings: Listings, changing: Changing, *, every_seconds: float) -> NoReturn:
    """Expire what is over, again and again, until cancelled. A store that is away is asked the next time."""
    while True:
        await asyncio.sleep(every_seconds)
        with contextlib.suppress(InterlockError):
            await expire(listings, changing)


async def expire(listings: Listings, changing: Changing) -> int:
    """Expire what is over now, the oldest AT_ONCE of it. How many this replica expired.

    Raises InterlockError: DECISION_LOG_UNAVAILABLE.
    """
    due = await listings.page(ending_list(), before=end_place(changing.clock.now()), limit=AT_ONCE)
    approvals = [_approval(line.data) for line in due]
    done = [await _expire(approval, changing) for approval in approvals if approval]
    return sum(done)


def _approval(data: bytes) -> Approval | None:
    """None for one that a newer version of the service wrote, which expires it."""
    try:
        return ApprovalCell.decode(data).approval
    except ValueError:
        return None


async def _expire(approval: Approval, changing: Changing) -> bool:
    """Whether it was this replica that did; another, or an answer of the last moment, may have been faster."""
    now = changing.clock.now()
    if not approval.is_over(now):
        return False
    return await change_if_first(approval, Event.EXPIRE, changing, at=now) is not None
