"""What a scope may use: the budgets, rates and places of a session, an agent, a user or a tenant.

All of a scope's counters stand in one cell, so that a store reads and writes few rows for a decision; those with
a name stand in a cell of that name, so that none grows with the number of names. Times are microseconds since
the epoch; `latest` is the newest that the cell has seen.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import orjson
from typing_extensions import override  # in typing from Python 3.12 on

from interlock.core.holds import (
    Counter,
    Ending,
    Pending,
    Quota,
    Settling,
    Taking,
    check_version,
    lasting,
    likely_wait,
)
from interlock.core.moments import SECOND
from interlock.core.outcome import OutcomeKind
from interlock.core.reservation import Budget, Concurrency, Counted, Rate, Shortfall, Unit, shortfall
from interlock.core.windows import WHOLE, Span, Window, sliding, tumbling

WHOLE_KEPT = 30 * 24 * 3_600 * SECOND
"""How long a session's whole budget is remembered after its last use: longer than a session may be idle."""

LASTED_KEPT = 600 * SECOND
"""How long it is remembered how long calls held a place."""

_VERSION = 1
_NANOSECONDS = 1_000


class _Stored(Counter, Protocol):
    """A counter of a QuotaCell. `until` is when it no longer matters."""

    __slots__ = ()

    until: int

    def stored(self) -> list[Any]:
        """What it is made from again; `until` comes first."""
        ...


class BudgetCounter(_Stored):
    """What was used in the window, and what is held. Both count against the limit."""

    __slots__ = ("pending", "until", "used")

    def __init__(
        self, until: int = 0, used: list[list[int]] | None = None, pending: list[list[int]] | None = None
    ) -> None:
        self.until = until
        self.used = Window(used)
        self.pending = Pending(pending)

    @override
    def stored(self) -> list[Any]:
        return [self.until, self.used.buckets, self.pending.entries]

    @override
    def lacking(self, terms: Budget, taking: Taking, now: int) -> Shortfall | None:
        span = _span(terms)
        used, held = self.used.total(span, now), self.pending.total(now)
        missing = used + held + terms.amount - terms.limit
        if missing <= 0:
            return None
        free = _when(missing, (*self.used.frees(span, now), *self.pending.frees(now)))
        return shortfall(
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
    def take(self, terms: Budget, taking: Taking, now: int) -> None:
        self.pending.add(now, taking.ends, terms.amount)
        self._set_until(terms, now)

    @override
    def settle(self, terms: Budget, settling: Settling, now: int) -> None:
        """Give the hold back, and count what was really used, be it over the limit."""
        _give_back(self.pending, now, terms.amount, settling)
        if settling.effect.uses:
            self.used.add(_span(terms), now, _used(terms, settling))
        self._set_until(terms, now)

    def _set_until(self, terms: Budget, now: int) -> None:
        if terms.window == "whole":
            self.until = now + WHOLE_KEPT
        else:
            self.until = max(self.used.ends(_span(terms)), self.pending.ends())


class RateCounter(_Stored):
    """The generic cell rate algorithm (ITU-T I.371): one number, the theoretical arrival time of the next call.

    In any stretch of the length of a period, no more than `burst` plus `limit` calls pass, and in the long run
    `limit` a period.
    """

    __slots__ = ("arrival", "until")

    def __init__(self, until: int = 0, arrival: int = 0) -> None:
        self.until = until
        self.arrival = arrival  # nanoseconds, since many calls a second are less than microseconds apart

    @override
    def stored(self) -> list[Any]:
        return [self.until, self.arrival]

    @override
    def lacking(self, terms: Rate, taking: Taking, now: int) -> Shortfall | None:
        allowed = self.arrival - (terms.burst - 1) * _interval(terms)
        if now * _NANOSECONDS >= allowed:
            return None
        return shortfall(
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
    def take(self, terms: Rate, taking: Taking, now: int) -> None:
        self.arrival = max(now * _NANOSECONDS, self.arrival) + _interval(terms)
        self.until = -(-self.arrival // _NANOSECONDS)

    @override
    def settle(self, terms: Rate, settling: Settling, now: int) -> None:
        """A rate is not given back."""


class PlacesCounter(_Stored):
    """Places that calls hold. `lasted` is how long they did lately."""

    __slots__ = ("lasted", "pending", "until")

    def __init__(self, until: int = 0, lasted: int = 0, pending: list[list[int]] | None = None) -> None:
        self.until = until
        self.lasted = lasted
        self.pending = Pending(pending)

    @override
    def stored(self) -> list[Any]:
        return [self.until, self.lasted, self.pending.entries]

    @override
    def lacking(self, terms: Concurrency, taking: Taking, now: int) -> Shortfall | None:
        held = self.pending.total(now)
        if held < terms.limit:
            return None
        free = _when(held + 1 - terms.limit, self.pending.frees(now))
        return shortfall(
            "quota.concurrency",
            f"As many of the {terms.scope}'s calls as may run at the same time do already",
            None if free is None else likely_wait(self.lasted, free - taking.at),
            scope=terms.scope,
            limit=terms.limit,
            name=terms.name,
            held=held,
        )

    @override
    def take(self, terms: Concurrency, taking: Taking, now: int) -> None:
        self.pending.add(now, taking.ends, 1)
        self.until = max(self.pending.ends(), now + LASTED_KEPT)

    @override
    def settle(self, terms: Concurrency, settling: Settling, now: int) -> None:
        """Give the place back."""
        _give_back(self.pending, now, 1, settling)
        if settling.effect.gives_back and settling.ending is Ending.RAN:
            self.lasted = lasting(self.lasted, now - settling.began)
        self.until = max(self.pending.ends(), now + LASTED_KEPT)


_COUNTERS: Mapping[str, type[_Stored]] = {
    "budget": BudgetCounter,
    "rate": RateCounter,
    "concurrency": PlacesCounter,
}


class QuotaCell(Quota):
    """The counters of a scope, by what tells them apart; those that no longer matter are not kept."""

    __slots__ = ("_opened", "_stored", "latest")

    def __init__(self, latest: int = 0, stored: dict[str, list[Any]] | None = None) -> None:
        self.latest = latest
        self._stored = stored or {}
        self._opened: dict[str, _Stored] = {}

    @classmethod
    def decode(cls, data: bytes) -> "QuotaCell":
        """What `encode` wrote; without counters of empty bytes."""
        if not data:
            return cls()
        version, latest, stored = orjson.loads(data)
        check_version(version)
        return cls(latest, stored)

    def encode(self) -> bytes:
        """As JSON: what each counter that still matters is made from again."""
        for name, counter in self._opened.items():
            self._stored[name] = counter.stored()
        latest = self.latest
        kept = {name: counter for name, counter in self._stored.items() if counter[0] > latest}
        return orjson.dumps([_VERSION, latest, kept])

    @override
    def counter(self, terms: Counted) -> _Stored:
        name = terms.counter
        counter = self._opened.get(name)
        if counter is None:
            counter = self._opened[name] = _COUNTERS[terms.type](*self._stored.get(name, ()))
        return counter

    @override
    def forgettable(self) -> int:
        """Of a counter that was given back, what was stored before may tell too late a time, which does no harm."""
        opened = [counter.until for counter in self._opened.values()]
        stored: list[int] = [counter[0] for counter in self._stored.values()]
        return max([*opened, *stored])


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


def _give_back(pending: Pending, now: int, amount: int, settling: Settling) -> None:
    if settling.effect.gives_back:
        pending.remove(now, settling.ends, amount)


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
