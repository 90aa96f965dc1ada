"""The cells of budgets, rates, places and leases: what is lacking, taking, and settling.

Each is a Content of a cell. `lacking` changes nothing, so that all of a decision's cells can be asked before
one of them is changed. Times are microseconds since the epoch; `latest` is the newest that the cell has seen.
"""

import struct
from collections.abc import Iterable

import orjson
from pydantic import JsonValue
from typing_extensions import override  # in typing from Python 3.12 on

from interlock.core.holds import Ending, Pending, Quota, Settling, Taking, check_version, tag
from interlock.core.moments import SECOND
from interlock.core.outcome import OutcomeKind
from interlock.core.reservation import (
    SHORTFALL_CODES,
    Budget,
    Concurrency,
    Lease,
    Rate,
    Shortfall,
    Unit,
    waiting,
)
from interlock.core.windows import WHOLE, Span, Window, sliding, tumbling

WHOLE_KEPT = 30 * 24 * 3_600 * SECOND
"""How long a session's whole budget is remembered after its last use: longer than a session may be idle."""

LASTED_KEPT = 600 * SECOND
"""How long it is remembered how long calls held a place or a resource."""

_VERSION = 1
_RATE = struct.Struct("<Bqq")
_LEASE = struct.Struct("<Bq8sqqqq")
_NOBODY = bytes(8)

Counts = list[list[int]] | None
_NANOSECONDS = 1_000


class BudgetCell(Quota):
    """What was used in the window, and what is held. Both count against the limit."""

    __slots__ = ("latest", "pending", "used")

    def __init__(self, latest: int = 0, used: Counts = None, pending: Counts = None) -> None:
        self.latest = latest
        self.used = Window(used)
        self.pending = Pending(pending)

    @classmethod
    def decode(cls, data: bytes) -> "BudgetCell":
        """What `encode` wrote; an unused budget of empty bytes."""
        if not data:
            return cls()
        version, latest, used, pending = orjson.loads(data)
        check_version(version)
        return cls(latest, used, pending)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, self.latest, self.used.buckets, self.pending.entries])

    @override
    def lacking(self, terms: Budget, taking: Taking) -> Shortfall | None:
        """What is lacking, if the limit does not leave so much."""
        now, span = max(taking.at, self.latest), _span(terms)
        used, held = self.used.total(span, now), self.pending.total(now)
        missing = used + held + terms.amount - terms.limit
        if missing <= 0:
            return None
        free = _when(missing, (*self.used.frees(span, now), *self.pending.frees(now)))
        return _shortfall(
            "quota.budget",
            f"The {terms.scope}'s budget of {_UNITS[terms.unit]} does not cover the call",
            None if free is None else free - taking.at,
            scope=terms.scope,
            unit=terms.unit,
            limit=terms.limit,
            window=terms.window,
            window_seconds=terms.window_seconds,
            name=terms.name,
            amount=terms.amount,
            used=used,
            held=held,
        )

    @override
    def take(self, terms: Budget, taking: Taking) -> None:
        """Hold the amount."""
        self.latest = max(taking.at, self.latest)
        self.pending.add(self.latest, taking.ends, terms.amount)

    @override
    def settle(self, terms: Budget, settling: Settling) -> None:
        """Give the hold back or let it end sooner, and count what was really used, be it over the limit."""
        self.latest = max(settling.at, self.latest)
        _settle_hold(self.pending, self.latest, terms.amount, settling)
        if settling.effect.uses:
            self.used.add(_span(terms), self.latest, _used(terms, settling))

    @override
    def forgettable(self, terms: Budget) -> int:
        """When the cell no longer matters."""
        if terms.window == "whole":
            return self.latest + WHOLE_KEPT
        return max(self.used.ends(_span(terms)), self.pending.ends())


class RateCell(Quota):
    """The generic cell rate algorithm (ITU-T I.371): one number, the theoretical arrival time of the next call.

    In any stretch of the length of a period, no more than `burst` plus `limit` calls pass, and in the long run
    `limit` a period.
    """

    __slots__ = ("arrival", "latest")

    def __init__(self) -> None:
        self.latest = 0
        self.arrival = (
            0  # nanoseconds since the epoch, since many calls a second are less than microseconds apart
        )

    @classmethod
    def decode(cls, data: bytes) -> "RateCell":
        """What `encode` wrote; a rate that nothing was taken of, of empty bytes."""
        cell = cls()
        if data:
            version, cell.latest, cell.arrival = _RATE.unpack(data)
            check_version(version)
        return cell

    def encode(self) -> bytes:
        """As 17 bytes."""
        return _RATE.pack(_VERSION, self.latest, self.arrival)

    @override
    def lacking(self, terms: Rate, taking: Taking) -> Shortfall | None:
        """What is lacking, if the call comes too soon."""
        now = max(taking.at, self.latest)
        allowed = self.arrival - (terms.burst - 1) * _interval(terms)
        if now * _NANOSECONDS >= allowed:
            return None
        return _shortfall(
            "quota.rate",
            f"The {terms.scope}'s calls come faster than its rate allows",
            -(-allowed // _NANOSECONDS) - taking.at,
            scope=terms.scope,
            limit=terms.limit,
            period_seconds=terms.period_seconds,
            burst=terms.burst,
            name=terms.name,
        )

    @override
    def take(self, terms: Rate, taking: Taking) -> None:
        """One call more."""
        self.latest = max(taking.at, self.latest)
        self.arrival = max(self.latest * _NANOSECONDS, self.arrival) + _interval(terms)

    @override
    def settle(self, terms: Rate, settling: Settling) -> None:
        """A rate is not given back."""

    @override
    def forgettable(self, terms: Rate) -> int:
        """When the cell no longer matters."""
        return -(-self.arrival // _NANOSECONDS)


class ConcurrencyCell(Quota):
    """Places that calls hold. `lasted` is how long they did lately, a moving average (as RFC 6298 2.3)."""

    __slots__ = ("lasted", "latest", "pending")

    def __init__(self, latest: int = 0, lasted: int = 0, pending: Counts = None) -> None:
        self.latest = latest
        self.lasted = lasted
        self.pending = Pending(pending)

    @classmethod
    def decode(cls, data: bytes) -> "ConcurrencyCell":
        """What `encode` wrote; all places free of empty bytes."""
        if not data:
            return cls()
        version, latest, lasted, pending = orjson.loads(data)
        check_version(version)
        return cls(latest, lasted, pending)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, self.latest, self.lasted, self.pending.entries])

    @override
    def lacking(self, terms: Concurrency, taking: Taking) -> Shortfall | None:
        """What is lacking, if every place is held."""
        now = max(taking.at, self.latest)
        held = self.pending.total(now)
        if held < terms.limit:
            return None
        free = _when(held + 1 - terms.limit, self.pending.frees(now))
        return _shortfall(
            "quota.concurrency",
            f"As many of the {terms.scope}'s calls as may run at the same time do already",
            None if free is None else _likely(self.lasted, free - taking.at),
            scope=terms.scope,
            limit=terms.limit,
            name=terms.name,
            held=held,
        )

    @override
    def take(self, terms: Concurrency, taking: Taking) -> None:
        """Hold one place."""
        self.latest = max(taking.at, self.latest)
        self.pending.add(self.latest, taking.ends, 1)

    @override
    def settle(self, terms: Concurrency, settling: Settling) -> None:
        """Give the place back, or let its hold end sooner."""
        self.latest = max(settling.at, self.latest)
        _settle_hold(self.pending, self.latest, 1, settling)
        if settling.effect.gives_back and settling.ending is Ending.RAN:
            self.lasted = _average(self.lasted, self.latest - settling.began)

    @override
    def forgettable(self, terms: Concurrency) -> int:
        """When the cell no longer matters."""
        return max(self.pending.ends(), self.latest + LASTED_KEPT)


class LeaseCell(Quota):
    """Who holds the resource and until when. `lasted` is how long leases of it did lately."""

    __slots__ = ("begin", "ends", "lasted", "latest", "redeemable_until", "tag")

    def __init__(self) -> None:
        self.latest = 0
        self.tag = _NOBODY
        self.begin = 0
        self.ends = 0
        self.redeemable_until = 0
        self.lasted = 0

    @classmethod
    def decode(cls, data: bytes) -> "LeaseCell":
        """What `encode` wrote; a free resource of empty bytes."""
        cell = cls()
        if data:
            version, *state = _LEASE.unpack(data)
            check_version(version)
            cell.latest, cell.tag, cell.begin, cell.ends, cell.redeemable_until, cell.lasted = state
        return cell

    def encode(self) -> bytes:
        """As 49 bytes."""
        return _LEASE.pack(
            _VERSION, self.latest, self.tag, self.begin, self.ends, self.redeemable_until, self.lasted
        )

    @override
    def lacking(self, terms: Lease, taking: Taking) -> Shortfall | None:
        """What is lacking, if another decision holds the resource."""
        now = max(taking.at, self.latest)
        if now >= self.ends or self.tag in (_NOBODY, tag(taking.decision_id)):
            return None
        return _shortfall(
            "lease.held",
            SHORTFALL_CODES["lease.held"],
            _likely(self.lasted, self.ends - taking.at),
            resource=terms.resource,
        )

    @override
    def take(self, terms: Lease, taking: Taking) -> None:
        """Hold the resource; who holds it already goes on as it is."""
        self.latest = max(taking.at, self.latest)
        holder = tag(taking.decision_id)
        if self.tag == holder and self.latest < self.ends:
            return
        self.tag = holder
        self.begin, self.ends = taking.begin, taking.ends
        self.redeemable_until = taking.redeemable_until

    @override
    def settle(self, terms: Lease, settling: Settling) -> None:
        """The holder's outcome gives the resource back, or lets its hold end sooner."""
        self.latest = max(settling.at, self.latest)
        if self.tag != tag(settling.decision_id):
            return
        match settling.ending:
            case Ending.REFUSED:
                self.ends = min(self.ends, self.redeemable_until)
            case Ending.EXPIRED:
                self.tag = _NOBODY
            case Ending.RAN:
                self.tag = _NOBODY
                self.lasted = _average(self.lasted, self.latest - self.begin)

    @override
    def forgettable(self, terms: Lease) -> int:
        """When the cell no longer matters."""
        return max(self.ends, self.latest + LASTED_KEPT)


_UNITS: dict[Unit, str] = {
    "calls": "calls",
    "cost": "cost",
    "model_tokens": "model tokens",
    "compute_milliseconds": "compute time",
}


def _span(terms: Budget) -> Span:
    match terms.window:
        case "sliding":
            return sliding(terms.window_seconds)
        case "tumbling":
            return tumbling(terms.window_seconds)
        case "whole":
            return WHOLE


def _used(terms: Budget, settling: Settling) -> int:
    """What the call really used: as told, else as measured, else what was reserved for it."""
    usage, told = settling.usage, None
    match terms.unit:
        case "calls":
            told = 1
        case "cost":
            told = usage.cost
        case "model_tokens":
            told = usage.model_tokens
        case "compute_milliseconds":
            told = usage.compute_milliseconds
            # When a call that nobody heard of again ended, nobody measured.
            if told is None and settling.kind is not OutcomeKind.UNKNOWN:
                told = settling.elapsed // 1_000
    return terms.amount if told is None else told


def _settle_hold(pending: Pending, now: int, amount: int, settling: Settling) -> None:
    effect = settling.effect
    if effect.gives_back or effect.shortens:
        pending.remove(now, settling.ends, amount)
    if effect.shortens:
        pending.add(now, settling.redeemable_until, amount)


def _when(missing: int, frees: Iterable[tuple[int, int]]) -> int | None:
    """The time at which so much will have become free if nothing else happens; None if it never will."""
    for moment, amount in sorted(frees):
        missing -= amount
        if missing <= 0:
            return moment
    return None


def _interval(terms: Rate) -> int:
    """Nanoseconds from one call to the next, rounded up so that a rate is never exceeded."""
    return -(-terms.period_seconds * SECOND * _NANOSECONDS // terms.limit)


def _likely(lasted: int, longest: int) -> int:
    """When an outcome is likely to give something back: as soon as others did, and no later than its end."""
    return min(lasted, longest) if lasted else longest


def _average(average: int, sample: int) -> int:
    return average + (sample - average) // 8 if average else sample


def _shortfall(code: str, message: str, wait: int | None, **metadata: JsonValue) -> Shortfall:
    return Shortfall(code=code, message=message, metadata={**metadata, **waiting(wait)})
