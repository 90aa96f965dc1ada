"""The story of a webhook's outbox: whatever it is to hear reaches it, at least once, or is given up after days.

Each webhook has a flow of its own, so that one that is slow or dead delays no other, and no decision.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from interlock.core.announcing import GIVE_UP, Announcement, Claim, End, PutOff, due_by, outbox
from interlock.core.cells import Change
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.webhook_bodies import AnnouncedCall, Form, body_of, call_of
from interlock.flows.kept import escalated_fields
from interlock.ports import Clock, Listings, NotDelivered, RecordReader, SessionState, WebhookSender

AT_ONCE = 4
"""So many announcements are under way to one webhook."""

CLAIMED = timedelta(seconds=60)
"""For so long nobody else delivers what one has claimed: longer than a sender takes."""


class Delivery(StrEnum):
    """What came of an attempt."""

    DELIVERED = "delivered"
    PUT_OFF = "put_off"
    GIVEN_UP = "given_up"


Told = Callable[[Announcement, Delivery, str], None]
"""Hears what came of each attempt, and why it is not delivered; empty where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcing:
    """What telling one webhook needs of the world.

    `delays` gives the seconds to wait after so many failures in a row.
    """

    webhook: str
    form: Form
    include_arguments: bool
    state: SessionState
    listings: Listings
    reader: RecordReader
    sender: WebhookSender
    clock: Clock
    delays: Callable[[int], float]
    told: Told


async def announce_until(ended: asyncio.Event, announcing: Announcing, *, every_seconds: float) -> None:
    """Deliver what is due, and look again so often, until told to end; what is under way by then is ended first.

    To be cancelled loses nothing: what was claimed is due again soon.
    """
    failures = 0
    while not ended.is_set():
        try:
            found = await deliver_due(announcing)
        except InterlockError:
            await _pause(ended, announcing.delays(failures))
            failures += 1
        else:
            failures = 0
            await _pause(ended, 0.0 if found else every_seconds)


async def deliver_due(announcing: Announcing) -> int:
    """Deliver a few of those that are due: how many there were. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
    claimed = await _claim(announcing)
    failures = await asyncio.gather(*[_attempt(each, announcing) for each in claimed])
    now = announcing.clock.now()
    ended = [_ended(each, failure, now, announcing) for each, failure in zip(claimed, failures, strict=True)]
    if ended:
        await announcing.state.apply(ended, durable=False)
    return len(claimed)


async def _claim(announcing: Announcing) -> list[Announcement]:
    now = announcing.clock.now()
    due = await announcing.listings.page(outbox(announcing.webhook), before=due_by(now), limit=AT_ONCE)
    claims = [Claim(key=line.key, place=line.place, until=now + CLAIMED) for line in due]
    claimed = await announcing.state.apply(claims, durable=False) if claims else []
    return [each for each in claimed if each is not None]


async def _attempt(announcement: Announcement, announcing: Announcing) -> NotDelivered | None:
    """Send it once: None where it arrived."""
    try:
        calls = await _calls(announcement, announcing.reader) if announcing.include_arguments else ()
        body = body_of(announcement, announcing.form, calls)
        await announcing.sender.send(announcement.webhook, announcement.delivery_id, body)
    except NotDelivered as failure:
        return failure
    except InterlockError as error:
        return NotDelivered(error.reason.value)
    return None


async def _calls(announcement: Announcement, reader: RecordReader) -> Sequence[AnnouncedCall]:
    """The proposed calls, as the record has them; none where it is not there, or is not as it was (case 20)."""
    try:
        _, calls = await escalated_fields(announcement.told["decision_id"], reader)
    except InterlockError as error:
        if error.reason is not ErrorReason.INTERNAL:
            raise
        return ()
    return [call_of(fields, step) for step, fields in calls]


def _ended(
    announcement: Announcement, failure: NotDelivered | None, now: datetime, announcing: Announcing
) -> Change[None]:
    """What is to be done with an announcement after an attempt."""
    if failure is None:
        announcing.told(announcement, Delivery.DELIVERED, "")
        return End(claimed=announcement, at=now)
    if now - announcement.begun >= GIVE_UP:
        announcing.told(announcement, Delivery.GIVEN_UP, str(failure))
        return End(claimed=announcement, at=now)
    announcing.told(announcement, Delivery.PUT_OFF, str(failure))
    delay = timedelta(seconds=announcing.delays(announcement.attempts - 1))
    return PutOff(claimed=announcement, due=now + delay)


async def _pause(ended: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds)
