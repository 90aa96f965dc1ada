"""The circuit breaker of a tool, per tenant: it opens when the tool fails or is slow, and one probe closes it.

The service moves the breaker and tells its state; whether a call may pass is the policy's to say, and on which
terms the breaker opens stands in each call's reservation.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, IntEnum, auto
from typing import Literal

import orjson
from typing_extensions import override  # in typing from Python 3.12 on

from interlock.core.cells import CellKind, common_cell_key
from interlock.core.facts import BreakerInput
from interlock.core.holds import Counter, Ending, Quota, Settling, Taking, check_version, tag
from interlock.core.moments import SECOND, to_microseconds
from interlock.core.outcome import OutcomeKind
from interlock.core.reservation import SHORTFALL_CODES, Breaker, Shortfall, shortfall
from interlock.core.windows import Span, Window, sliding

MOST_DOUBLINGS = 5
"""Each opening in a row doubles the open time, at most so often: 1, 2, 4 … 32 times `open_seconds`."""

KEPT = 24 * 3_600 * SECOND
"""How long a breaker that nobody probes is remembered after its open time; then it counts anew, closed."""

_VERSION = 1

CALLS, FAILED, SLOW = range(3)


class State(IntEnum):
    """Where a breaker stands. A number that was released keeps its meaning."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2
    PROBING = 3  # half open, while its one probe is under way


class Event(Enum):
    """What moves a breaker."""

    FAILING = auto()  # of the calls in the window, too many failed or were slow
    WAITED = auto()  # the open time is over
    PROBE_TAKEN = auto()
    PROBE_SUCCEEDED = auto()
    PROBE_FAILED = auto()
    PROBE_LOST = auto()  # its hold is over, or its token has expired


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.CLOSED, Event.FAILING): State.OPEN,
    (State.OPEN, Event.WAITED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_TAKEN): State.PROBING,
    (State.PROBING, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.PROBING, Event.PROBE_FAILED): State.OPEN,
    (State.PROBING, Event.PROBE_LOST): State.HALF_OPEN,
}
"""All that moves a breaker; any other event in a state raises KeyError."""

_TIME_OVER: Mapping[State, Event] = {State.OPEN: Event.WAITED, State.PROBING: Event.PROBE_LOST}

_TOLD: Mapping[State, Literal["closed", "open", "half_open"]] = {
    State.CLOSED: "closed",
    State.OPEN: "open",
    State.HALF_OPEN: "half_open",
    State.PROBING: "half_open",
}


class BreakerCell(Quota, Counter):
    """A breaker's cell. Times are microseconds since the epoch, and `latest` is the newest that it has seen.

    `until` is when the open time is over, or the hold of the last `probe`. `closed_at` is when it last closed:
    what began before tells nothing of the tool as it is since. `kept` is the length of the window that it counts
    in.
    """

    __slots__ = (
        "closed_at",
        "counts",
        "kept",
        "latest",
        "opened",
        "probe",
        "state",
        "until",
    )

    def __init__(self) -> None:
        self.latest = 0
        self.state = State.CLOSED
        self.opened = 0
        self.until = 0
        self.probe = ""
        self.closed_at = 0
        self.kept = 0
        self.counts = Window()

    @classmethod
    def decode(cls, data: bytes) -> "BreakerCell":
        """What `encode` wrote; a breaker that was always closed of empty bytes."""
        cell = cls()
        if data:
            version, cell.latest, state, cell.opened, cell.until, *more = orjson.loads(data)
            check_version(version)
            cell.state = State(state)
            cell.probe, cell.closed_at, cell.kept, cell.counts.buckets = more
        return cell

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(
            [
                _VERSION,
                self.latest,
                self.state,
                self.opened,
                self.until,
                self.probe,
                self.closed_at,
                self.kept,
                self.counts.buckets,
            ]
        )

    def told(self, at: int) -> BreakerInput:
        """As the policy sees it at this time of the clock."""
        now = max(at, self.latest)
        state, span = self._state_at(now), Span(0, self.kept)
        return {
            "state": _TOLD[state],
            "calls": self.counts.total(span, now, CALLS),
            "failed": self.counts.total(span, now, FAILED),
            "slow": self.counts.total(span, now, SLOW),
            "opened": self.opened,
            "seconds_until_half_open": -(-(self.until - at) // SECOND) if state is State.OPEN else 0,
        }

    @override
    def counter(self, terms: Breaker) -> "BreakerCell":
        return self

    @override
    def lacking(self, terms: Breaker, taking: Taking, now: int) -> Shortfall | None:
        """What is lacking for the call to be the probe; none but a probe is asked."""
        wait = self.until - taking.at
        match self._state_at(now):
            case State.CLOSED | State.HALF_OPEN:
                return None
            case State.PROBING if self.probe == tag(taking.decision_id).hex():
                return None
            case State.PROBING:
                # A probe most likely ends long before its hold does.
                wait = min(wait, terms.open_seconds * SECOND)
        return shortfall("breakers.probing", SHORTFALL_CODES["breakers.probing"], wait)

    @override
    def take(self, terms: Breaker, taking: Taking, now: int) -> None:
        """Let the call be the probe where one is due; where the breaker has closed, it is as any other."""
        self._turn(now)
        if self.state is State.HALF_OPEN:
            self._move(Event.PROBE_TAKEN)
            self.probe = tag(taking.decision_id).hex()
            self.until = taking.ends

    @override
    def settle(self, terms: Breaker, settling: Settling, now: int) -> None:
        """Count the outcome of a call, or conclude from that of the probe."""
        self._turn(now)
        if self.state is State.PROBING and self.probe == tag(settling.decision_id).hex():
            self._settle_probe(terms, settling, now)
        elif self.state is State.CLOSED and settling.ending is Ending.RAN:
            self._count(terms, settling, now)

    @override
    def forgettable(self) -> int:
        if self.state is State.CLOSED:
            return max(self.counts.ends(Span(0, self.kept)), self.closed_at + self.kept)
        return self.until + KEPT

    def _state_at(self, now: int) -> State:
        event = _TIME_OVER.get(self.state)
        return self.state if event is None or now < self.until else TRANSITIONS[self.state, event]

    def _turn(self, now: int) -> None:
        """Let time pass."""
        self.state = self._state_at(now)

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]

    def _settle_probe(self, terms: Breaker, settling: Settling, now: int) -> None:
        match settling.ending:
            case Ending.EXPIRED:
                self._move(Event.PROBE_LOST)
            case Ending.RAN if _failed(settling) or _slow(terms, settling):
                self._open(Event.PROBE_FAILED, terms, now)
            case Ending.RAN:
                self._close(now)

    def _count(self, terms: Breaker, settling: Settling, now: int) -> None:
        span = sliding(terms.window_seconds)
        # A call that hung since before the breaker closed must not open it again.
        if now - settling.elapsed < self.closed_at:
            return
        self.kept = span.kept
        self.counts.add(span, now, 1, _failed(settling), _slow(terms, settling))
        if self._is_failing(terms, span, now):
            self._open(Event.FAILING, terms, now)

    def _is_failing(self, terms: Breaker, span: Span, now: int) -> bool:
        calls, failed, slow = (self.counts.total(span, now, column) for column in (CALLS, FAILED, SLOW))
        return calls >= terms.minimum_calls and (
            failed * 100 >= terms.failure_percent * calls
            or (terms.slow_milliseconds > 0 and slow * 100 >= terms.slow_percent * calls)
        )

    def _open(self, event: Event, terms: Breaker, now: int) -> None:
        self._move(event)
        self.until = now + (terms.open_seconds * SECOND << min(self.opened, MOST_DOUBLINGS))
        self.opened += 1

    def _close(self, now: int) -> None:
        self._move(Event.PROBE_SUCCEEDED)
        self.opened = 0
        self.closed_at = now
        self.counts = Window()


def breaker_key(tenant: str, tool: str) -> bytes:
    """The key of the cell of a tool's breaker."""
    return common_cell_key(CellKind.BREAKER, tenant, tool)


def breaker_facts(data: bytes, *, at: datetime) -> BreakerInput:
    """What the policy is told of the breaker whose cell holds `data`."""
    return BreakerCell.decode(data).told(to_microseconds(at))


def _failed(settling: Settling) -> int:
    """1 where the call failed, or nobody knows that it did not."""
    return int(settling.kind is not OutcomeKind.SUCCEEDED)


def _slow(terms: Breaker, settling: Settling) -> int:
    """1 where the call was slow. When a call that nobody heard of again ended, nobody measured."""
    limit = terms.slow_milliseconds * 1_000
    return int(limit > 0 and settling.elapsed >= limit and settling.kind is not OutcomeKind.UNKNOWN)
