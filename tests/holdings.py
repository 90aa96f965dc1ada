"""Reservations that tests take, and a store that is only cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from interlock.core import holding
from interlock.core.cells import Cells
from interlock.core.holding import Holder, reservation_keys, settle, take
from interlock.core.outcome import OutcomeKind, Usage
from interlock.core.quota import BudgetCounter, QuotaCell
from interlock.core.reservation import (
    RETRY_AFTER,
    Breaker,
    Budget,
    Concurrency,
    Lease,
    Rate,
    Reservation,
    Shortfall,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFE = timedelta(seconds=150)
HOUR = timedelta(hours=1)
AGENT = Holder(tenant="acme", agent="agent-7", user="", session_id="s-1", tool="send_mail", decision_id="d-1")

CALLS = Budget(
    type="budget", scope="session", unit="calls", amount=1, limit=3, window="whole", window_seconds=0
)
COST = Budget(
    type="budget", scope="tenant", unit="cost", amount=4, limit=10, window="sliding", window_seconds=60
)
DAILY = Budget(
    type="budget",
    scope="agent",
    unit="model_tokens",
    amount=40,
    limit=100,
    window="tumbling",
    window_seconds=86_400,
)
COMPUTE = Budget(
    type="budget",
    scope="user",
    unit="compute_milliseconds",
    amount=500,
    limit=1_000,
    window="tumbling",
    window_seconds=60,
)
RATE = Rate(type="rate", scope="agent", limit=2, period_seconds=1, burst=3)
PLACES = Concurrency(type="concurrency", scope="tenant", limit=2)
LEASE = Lease(type="lease", resource="database/orders")
PROBE = Breaker(
    type="breaker",
    probe=True,
    failure_percent=50,
    minimum_calls=2,
    window_seconds=60,
    slow_milliseconds=0,
    slow_percent=100,
    open_seconds=30,
)


@dataclass
class Store:
    """Cells between transactions, each of which sees and leaves them as a real store does."""

    cells: dict[bytes, tuple[bytes, datetime]] = field(default_factory=dict)

    def take(
        self,
        reservations: Sequence[Reservation],
        decision_id: str = "d-1",
        *,
        at: datetime = NOON,
        life: timedelta = LIFE,
        holder: Holder = AGENT,
    ) -> tuple[Shortfall, ...]:
        holder = replace(holder, decision_id=decision_id)
        cells = self._locked(reservations, holder)
        lacking = take(reservations, holder, cells, at=at, ends=at + life)
        changed = cells.changed()
        assert not (lacking and changed), "what is lacking changes nothing"
        self.cells.update(changed)
        return lacking

    def settle(
        self,
        reservations: Sequence[Reservation],
        decision_id: str = "d-1",
        *,
        at: datetime = NOON,
        kind: OutcomeKind = OutcomeKind.SUCCEEDED,
        refusal: str = "",
        usage: Usage | None = None,
        elapsed: timedelta = timedelta(seconds=1),
        holder: Holder = AGENT,
    ) -> None:
        holder = replace(holder, decision_id=decision_id)
        cells = self._locked(reservations, holder)
        settle(
            reservations,
            holder,
            cells,
            at=at,
            kind=kind,
            refusal=refusal,
            usage=usage,
            elapsed=elapsed,
        )
        self.cells.update(cells.changed())

    def refuse(
        self, reservations: Sequence[Reservation], decision_id: str, refusal: str, at: datetime
    ) -> None:
        self.settle(reservations, decision_id, at=at, kind=OutcomeKind.REFUSED, refusal=refusal)

    def prune(self, at: datetime) -> None:
        self.cells = {key: cell for key, cell in self.cells.items() if cell[1] >= at}

    def budget(self, terms: Budget, holder: Holder = AGENT) -> BudgetCounter:
        counter = self.quota(terms, holder).counter(terms)
        assert isinstance(counter, BudgetCounter)
        return counter

    def quota(self, terms: Budget, holder: Holder = AGENT) -> QuotaCell:
        return QuotaCell.decode(self.cells.get(holding._cell(terms, holder), (b"", NOON))[0])

    def _locked(self, reservations: Sequence[Reservation], holder: Holder) -> Cells:
        keys = reservation_keys(reservations, holder)
        return Cells({key: self.cells.get(key, (b"", NOON))[0] for key in keys})


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def codes(lacking: Sequence[Shortfall]) -> list[str]:
    return [shortfall.code for shortfall in lacking]


def wait_of(lacking: Sequence[Shortfall]) -> timedelta:
    [shortfall] = lacking
    wait = shortfall.metadata[RETRY_AFTER]
    assert isinstance(wait, int | float)
    return seconds(wait)


def with_limit(reservation: Budget, amount: int, limit: int) -> Budget:
    return reservation.model_copy(update={"amount": amount, "limit": limit})


# All or none -------------------------------------------------------------------------------------------------
