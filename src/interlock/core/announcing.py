"""Announcements of approvals, for webhooks: kept with what they tell of, in the same transaction, until delivered.

Each webhook has an outbox, a list of its announcements by the time when they are due, so that one that is slow or dead
delays no other. Whoever delivers claims an announcement first: its due time moves on, and another looks for it only if
nothing came of that claim.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from interlock.core.approval import Approval
from interlock.core.approval_cells import end_place
from interlock.core.cells import CellKind, Cells, Entry, cell_key
from interlock.core.holds import check_version
from interlock.core.moments import from_microseconds, to_microseconds
from interlock.core.record import rfc3339

GIVE_UP = timedelta(days=3)
"""An announcement that was not delivered for so long is given up."""

Topic = Literal["opened", "answered", "ended"]

_VERSION = 1
_KEPT = GIVE_UP + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearer:
    """A webhook by its name, and what it hears of: these topics, of these tenants; empty for all."""

    name: str
    topics: frozenset[Topic]
    tenants: frozenset[str] = frozenset()

    def hears(self, topic: Topic, tenant: str) -> bool:
        """Whether it is to hear of this."""
        return topic in self.topics and (not self.tenants or tenant in self.tenants)


def announcement_key(approval: Approval, webhook: str) -> bytes:
    """The cell of what this webhook hears of this version of an approval."""
    return cell_key(
        CellKind.ANNOUNCEMENT, approval.tenant, approval.approval_id, str(approval.version), webhook
    )


def outbox(webhook: str) -> bytes:
    """The list of what this webhook is to hear, by due time."""
    return cell_key(CellKind.ANNOUNCEMENT, "", "outbox", webhook)


def due_by(moment: datetime) -> bytes:
    """Before this place in an outbox stands what is due by then."""
    return end_place(moment + timedelta(microseconds=1))


@dataclass(slots=True)
class AnnouncementCell:
    """What an ANNOUNCEMENT cell holds. `told` is empty once the announcement is over.

    `due` is the time, in microseconds, under which it stands in the outbox, and `attempts` how often it was claimed.
    """

    webhook: str = ""
    told: dict[str, Any] = field(default_factory=dict, repr=False)
    begun: int = 0
    due: int = 0
    attempts: int = 0

    @classmethod
    def decode(cls, data: bytes) -> "AnnouncementCell":
        """What `encode` wrote. Raises ValueError for what is of a newer version."""
        if not data:
            return cls()
        version, webhook, told, begun, due, attempts = orjson.loads(data)
        check_version(version, _VERSION)
        return cls(webhook, told, begun, due, attempts)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, self.webhook, self.told, self.begun, self.due, self.attempts])

    def entry(self, key: bytes) -> Entry:
        """Its line in the outbox."""
        return Entry(outbox(self.webhook), end_place(from_microseconds(self.due)) + key, key)

    def move(self, key: bytes, due: datetime, cells: Cells) -> None:
        """Let it be due at another time."""
        cells.delist(self.entry(key))
        self.due = to_microseconds(due)
        ends = max(due, from_microseconds(self.begun)) + _KEPT
        cells.enlist(self.entry(key), expire_time=ends)
        cells.keep(key, self, expire_time=ends)

    def end(self, key: bytes, at: datetime, cells: Cells) -> None:
        """Let it be over, and forgotten."""
        cells.delist(self.entry(key))
        self.told = {}
        cells.keep(key, self, expire_time=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a webhook is to hear, claimed by one who delivers it.

    `delivery_id` is the same in each attempt, 30 hexadecimal digits. `told` is what `_told` says of an approval; `due`
    is until when nobody else claims it.
    """

    key: bytes
    webhook: str
    told: Mapping[str, Any] = field(repr=False)
    begun: datetime
    due: datetime
    attempts: int

    @property
    def delivery_id(self) -> str:
        """What tells deliveries apart, whoever makes them and how often."""
        return self.key[1:].hex()


def heard_of(
    before: Approval | None, after: Approval, hearers: Iterable[Hearer]
) -> list[tuple[Hearer, bytes]]:
    """Who is to hear of this change, each with the cell of its announcement."""
    topic = _topic(before, after)
    return [
        (hearer, announcement_key(after, hearer.name))
        for hearer in hearers
        if hearer.hears(topic, after.tenant)
    ]


def announcement_keys(
    before: Approval | None, after: Approval, hearers: Iterable[Hearer]
) -> tuple[bytes, ...]:
    """The cells that `announce` writes."""
    return tuple(key for _, key in heard_of(before, after, hearers))


def announce(
    before: Approval | None, after: Approval, hearers: Iterable[Hearer], cells: Cells, at: datetime
) -> None:
    """Keep for each that hears of this change what it is to hear; `before` is None for one that was just opened."""
    told = _told(before, after, at)
    begun = to_microseconds(at)
    for hearer, key in heard_of(before, after, hearers):
        AnnouncementCell(webhook=hearer.name, told=told, begun=begun, due=begun).move(key, at, cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The Change that claims an announcement until `until`; None where it is not due any more.

    `place` is where it was found in the outbox: one that stands elsewhere by now was claimed by another.
    """

    key: bytes
    place: bytes
    until: datetime

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The announcement's cell."""
        return (self.key,)

    def run(self, cells: Cells) -> Announcement | None:
        """Claim it."""
        kept = cells.open(self.key, AnnouncementCell)
        if not kept.told or kept.entry(self.key).place != self.place:
            return None
        kept.attempts += 1
        kept.move(self.key, self.until, cells)
        return Announcement(
            key=self.key,
            webhook=kept.webhook,
            told=kept.told,
            begun=from_microseconds(kept.begun),
            due=self.until,
            attempts=kept.attempts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOff:
    """The Change that lets a claimed announcement be due again at `due`, if its claim still counts."""

    claimed: Announcement
    due: datetime

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The announcement's cell."""
        return (self.claimed.key,)

    def run(self, cells: Cells) -> None:
        """Put it off."""
        kept = cells.open(self.claimed.key, AnnouncementCell)
        if kept.told and kept.due == to_microseconds(self.claimed.due):
            kept.move(self.claimed.key, self.due, cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The Change that ends an announcement: it was delivered, by whomever, or is given up."""

    claimed: Announcement
    at: datetime

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The announcement's cell."""
        return (self.claimed.key,)

    def run(self, cells: Cells) -> None:
        """End it."""
        kept = cells.open(self.claimed.key, AnnouncementCell)
        if kept.told:
            kept.end(self.claimed.key, self.at, cells)


def _topic(before: Approval | None, after: Approval) -> Topic:
    if before is None:
        return "opened"
    return "answered" if before.state is after.state else "ended"


def _event(before: Approval | None, after: Approval) -> str:
    """What happened, in one word: `opened`, the new state, or, where it still waits, `edited` or `answered`."""
    if before is None:
        return "opened"
    if before.state is not after.state:
        return after.state.value
    return "answered" if before.binding == after.binding else "edited"


def _told(before: Approval | None, after: Approval, at: datetime) -> dict[str, Any]:
    """What may be told of an approval: no arguments, none of the agent's words, and no approver's."""
    return {
        "event": _event(before, after),
        "time": rfc3339(at),
        "approval_id": after.approval_id,
        "version": after.version,
        "state": after.state.value,
        "tenant": after.tenant,
        "agent": after.agent,
        "user": after.user,
        "tool": after.tool,
        "priority": after.priority,
        "codes": sorted({reason.code for reason in after.reasons}),
        "binding_digest": after.binding.digest,
        "edited": after.edited,
        "decision_id": after.decision_id,
        "open_time": rfc3339(after.open_time),
        "expire_time": rfc3339(after.expire_time),
        "roles": list(after.roles),
        "quorum": after.quorum,
        "answers": len(after.answers),
    }
