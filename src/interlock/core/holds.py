"""Holds: what a decision has taken until its outcome settles it, or its life is over.

Times and durations are in microseconds. A cell's time never goes back (case 22): its now is the clock's, or the
newest that it has seen.
"""

import hashlib
import struct
from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Any, NamedTuple, Protocol

from interlock.core.cells import Content
from interlock.core.moments import SECOND
from interlock.core.outcome import OutcomeKind, Usage
from interlock.core.reservation import Shortfall

MOST_ENDS = 32
"""So many different ends a cell tells apart; more of them are rounded up."""

LATE_KEPT = 600 * SECOND
"""How long it is remembered that an outcome came after its hold was over."""

_VERSION = 1
_HELD = struct.Struct("<BBqq")


class Pending:
    """Amounts that are held, as `[end, amount]`, the earliest end first.

    A cell that many calls hold something of stays small: where it has more than MOST_ENDS ends, they are
    rounded up, by 2 seconds or an eighth of the longest hold's life. So a hold that nobody settles may count for
    that much too long, and none ever counts too short.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: list[list[int]] | None = None) -> None:
        self.entries = entries or []

    def total(self, now: int) -> int:
        """What is held now."""
        return sum([amount for end, amount in self.entries if end > now]) if self.entries else 0

    def frees(self, now: int) -> list[tuple[int, int]]:
        """When holds end if nobody settles them, and how much each end gives back."""
        return [(end, amount) for end, amount in self.entries if end > now]

    def ends(self) -> int:
        """When the last hold ends; 0 where there is none."""
        return self.entries[-1][0] if self.entries else 0

    def add(self, now: int, end: int, amount: int) -> None:
        """Hold so much until its end."""
        self._forget(now)
        if end <= now or amount == 0:
            return
        for entry in reversed(self.entries):
            if entry[0] == end:
                entry[1] += amount
                return
            if entry[0] < end:
                break
        insort(self.entries, [end, amount])
        if len(self.entries) > MOST_ENDS:
            self._round_up()

    def remove(self, now: int, end: int, amount: int) -> None:
        """Give back what was held until `end`: from that end on, since ends are only ever moved up."""
        self._forget(now)
        if end <= now:
            return
        for entry in self.entries:
            if entry[0] >= end and amount:
                given_back = min(amount, entry[1])
                entry[1] -= given_back
                amount -= given_back
        self.entries = [entry for entry in self.entries if entry[1]]

    def _forget(self, now: int) -> None:
        if self.entries and self.entries[0][0] <= now:
            self.entries = [entry for entry in self.entries if entry[0] > now]

    def _round_up(self) -> None:
        # Widths are powers of two of one grid, so that an end rounded again is not moved on and on.
        width = SECOND
        while len(self.entries) > MOST_ENDS // 2:
            width *= 2
            rounded: dict[int, int] = {}
            for end, amount in self.entries:
                later = -(-end // width) * width
                rounded[later] = rounded.get(later, 0) + amount
            self.entries = [[end, amount] for end, amount in rounded.items()]


class Standing(IntEnum):
    """How a decision stands to what it took. A number that was released keeps its meaning."""

    NOTHING = 0
    HELD = 1
    RELEASED = 2
    SETTLED = 3


class Ending(Enum):
    """What an outcome says of the call for good: it ran, or may have, or its token has expired."""

    RAN = auto()
    EXPIRED = auto()


class Effect(NamedTuple):
    """What an outcome does: how the decision stands then, and what becomes of hold and amount."""

    standing: Standing
    gives_back: bool = False
    uses: bool = False


EFFECTS: Mapping[tuple[Standing, Ending], Effect] = {
    (Standing.NOTHING, Ending.RAN): Effect(Standing.SETTLED, uses=True),
    (Standing.HELD, Ending.RAN): Effect(Standing.SETTLED, gives_back=True, uses=True),
    (Standing.HELD, Ending.EXPIRED): Effect(Standing.RELEASED, gives_back=True),
    # Of two gateways' clocks, one may take a token for expired that the other's runs.
    (Standing.RELEASED, Ending.RAN): Effect(Standing.SETTLED, uses=True),
}
"""What is not listed changes nothing: what is settled stays so, however often it is told (case 56)."""


@dataclass(slots=True, kw_only=True)
class Taking:
    """An allow that takes: the clock's time, and when its hold begins and ends."""

    decision_id: str
    at: int
    begin: int
    ends: int


@dataclass(slots=True, kw_only=True)
class Settling:
    """An outcome that settles what the decision holds since it `began`."""

    decision_id: str
    at: int
    kind: OutcomeKind
    ending: Ending
    effect: Effect
    usage: Usage
    elapsed: int
    began: int
    ends: int


class Held:
    """A decision's cell: whether it still holds what it took of budgets and places, and since and until when.

    It may be forgotten when the hold is over; what an outcome tells after that is used without a hold.
    """

    __slots__ = ("begin", "ends", "standing")

    def __init__(self) -> None:
        self.standing = Standing.NOTHING
        self.begin = 0
        self.ends = 0

    @classmethod
    def decode(cls, data: bytes) -> "Held":
        """What `encode` wrote; nothing of empty bytes."""
        held = cls()
        if data:
            version, standing, held.begin, held.ends = _HELD.unpack(data)
            check_version(version)
            held.standing = Standing(standing)
        return held

    def encode(self) -> bytes:
        """As 18 bytes."""
        return _HELD.pack(_VERSION, self.standing, self.begin, self.ends)

    def hold(self, taking: Taking) -> None:
        """The decision has taken."""
        self.standing = Standing.HELD
        self.begin, self.ends = taking.begin, taking.ends

    def settle(self, settling: Settling) -> None:
        """An outcome has had its effect."""
        self.standing = settling.effect.standing
        self.ends = self.ends or settling.at + LATE_KEPT


class Counter(Protocol):
    """What one reservation is taken of. `now` is its cell's time, which does not go back (case 22)."""

    __slots__ = ()

    def lacking(self, terms: Any, taking: Taking, now: int) -> Shortfall | None:
        """What is lacking; changes nothing, so that all that a decision wants can be asked before any is taken."""
        ...

    def take(self, terms: Any, taking: Taking, now: int) -> None:
        """Hold what the terms reserve, of which nothing is lacking."""
        ...

    def settle(self, terms: Any, settling: Settling, now: int) -> None:
        """Let an outcome have its effect."""
        ...


class Quota(Content, Protocol):
    """A cell of counters. `latest` is the newest time that it has seen."""

    __slots__ = ()

    latest: int

    def counter(self, terms: Any) -> Counter:
        """What the terms are taken of."""
        ...

    def forgettable(self) -> int:
        """When the cell no longer matters: forgotten, it is as if it were kept."""
        ...


def lasting(average: int, sample: int) -> int:
    """How long holds last, one more counted: a moving average (as RFC 6298 2.3); 0 where none was seen."""
    return average + (sample - average) // 8 if average else sample


def likely_wait(lasted: int, longest: int) -> int:
    """When an outcome is likely to give something back: as soon as others did, and no later than its end."""
    return min(lasted, longest) if lasted else longest


def tag(decision_id: str) -> bytes:
    """Names a decision among those that may hold the same: 8 bytes of SHA-256."""
    return hashlib.sha256(decision_id.encode()).digest()[:8]


def check_version(version: int, expected: int = _VERSION) -> None:
    """Raises ValueError for a cell that a newer release wrote."""
    if version != expected:
        raise ValueError(f"a cell is of version {version}, expected {expected}")
