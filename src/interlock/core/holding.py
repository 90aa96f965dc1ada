"""Taking what an allow reserves, all or none, and settling it by the call's outcome.

These run within the transaction that puts the decision or the outcome on record, on cells that it has locked,
so that what is held, what is used and the log always agree (case 56).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock.core.breaker import BreakerCell, breaker_key
from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.errors import ErrorReason
from interlock.core.holds import EFFECTS, Counter, Effect, Ending, Held, Quota, Settling, Standing, Taking
from interlock.core.lease import LeaseCell
from interlock.core.moments import from_microseconds, microseconds_of, to_microseconds
from interlock.core.outcome import OutcomeKind, Usage
from interlock.core.quota import QuotaCell
from interlock.core.reservation import Reservation, Scope, Shortfall

_NOTHING_TOLD = Usage()
_NO_HOLD = Effect(Standing.NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds, taken from the decision. `user` is empty where no user stands behind the agent."""

    tenant: str
    agent: str
    user: str
    session_id: str
    tool: str
    decision_id: str

    def within(self, scope: Scope) -> tuple[str, ...]:
        """What the scope is, within the tenant, for this holder. An agent without a user is its own user."""
        match scope:
            case "session":
                return ("session", self.agent, self.session_id)
            case "agent":
                return ("agent", self.agent)
            case "user":
                return ("user", "user", self.user) if self.user else ("user", "agent", self.agent)
            case "tenant":
                return ("tenant",)


_CONTENTS: Mapping[str, type[Quota]] = {
    "budget": QuotaCell,
    "rate": QuotaCell,
    "concurrency": QuotaCell,
    "lease": LeaseCell,
    "breaker": BreakerCell,
}
_TIME_ORDERED = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7")
_OF_MANY = frozenset({"budget", "concurrency"})
"""What many decisions hold something of in one cell."""


def reservation_keys(reservations: Iterable[Reservation], holder: Holder) -> frozenset[bytes]:
    """The cells that taking and settling these read or write."""
    wanted = _counted(reservations)
    keys = [_cell(terms, holder) for terms in wanted]
    return frozenset([*keys, _held_cell(holder)] if _are_held(wanted) else keys)


def take(
    reservations: Iterable[Reservation],
    holder: Holder,
    cells: Cells,
    *,
    at: datetime,
    ends: datetime,
) -> tuple[Shortfall, ...]:
    """Take all of them, until an outcome settles them or `ends`; or none, and tell each that is lacking.

    What a decision holds already it does not take again.
    """
    # A call that is no probe takes nothing of its breaker: whether it may pass is the policy's to say.
    wanted = [terms for terms in _counted(reservations) if terms.type != "breaker" or terms.probe]
    held = cells.open(_held_cell(holder), Held) if _are_held(wanted) else None
    if not wanted or (held and held.standing is not Standing.NOTHING):
        return ()
    quotas, asked = _open(wanted, holder, cells)
    taking = _taking(holder, at, ends, quotas.values())
    lacking = [
        shortfall
        for terms, quota, counter in asked
        if (shortfall := counter.lacking(terms, taking, max(taking.at, quota.latest)))
    ]
    if lacking:
        return tuple(lacking)
    _turn(quotas.values(), taking.at)
    for terms, quota, counter in asked:
        counter.take(terms, taking, quota.latest)
    _keep(quotas, cells)
    if held:
        held.hold(taking)
        cells.keep(_held_cell(holder), held, expire_time=from_microseconds(held.ends))
    return ()


def settle(
    reservations: Iterable[Reservation],
    holder: Holder,
    cells: Cells,
    *,
    at: datetime,
    kind: OutcomeKind,
    refusal: str,
    usage: Usage | None,
    elapsed: timedelta,
) -> None:
    """Settle what the decision took, by one outcome of it.

    A call that ran uses what it really used, also more than was reserved or than a limit allows, and also where
    its hold is over or never was. A token that has expired gives everything back but a rate. Any other refusal
    changes nothing: its token can still be redeemed, and its call then runs for as long as the hold lasts. What
    ran is settled: whatever is told of it again, while its hold would last, changes nothing; after that, telling
    it once is the caller's matter.
    """
    taken = _counted(reservations)
    ending = _ending(kind, refusal)
    held = cells.open(_held_cell(holder), Held) if _are_held(taken) else None
    effect = EFFECTS.get((held.standing, ending)) if held and ending else _NO_HOLD
    if ending is None or effect is None:
        return
    settling = Settling(
        decision_id=holder.decision_id,
        at=to_microseconds(at),
        kind=kind,
        ending=ending,
        effect=effect,
        usage=usage or _NOTHING_TOLD,
        elapsed=microseconds_of(elapsed),
        began=held.begin if held else 0,
        ends=held.ends if held else 0,
    )
    quotas, told = _open([terms for terms in taken if _may_change(terms, ending)], holder, cells)
    _turn(quotas.values(), settling.at)
    for terms, quota, counter in told:
        counter.settle(terms, settling, quota.latest)
    _keep(quotas, cells)
    if held:
        held.settle(settling)
        cells.keep(_held_cell(holder), held, expire_time=from_microseconds(held.ends))


def _counted(reservations: Iterable[Reservation]) -> list[Reservation]:
    """Those that are held until an outcome; a call of a standing approval is used up by the grant itself."""
    return [terms for terms in reservations if terms.type != "standing"]


def _ending(kind: OutcomeKind, refusal: str) -> Ending | None:
    """What the outcome says of the call for good; None where the call may run yet, or runs."""
    if kind is not OutcomeKind.REFUSED:
        return Ending.RAN
    # Who presents a token wrongly, or once more, must not free what its call holds, or will.
    return Ending.EXPIRED if refusal == ErrorReason.TOKEN_EXPIRED else None


def _may_change(terms: Reservation, ending: Ending) -> bool:
    """A rate is not given back, and a call that is no probe tells its breaker nothing unless it ran."""
    match terms.type:
        case "rate":
            return False
        case "breaker":
            return terms.probe or ending is Ending.RAN
        case _:
            return True


def _taking(holder: Holder, at: datetime, ends: datetime, quotas: Iterable[Quota]) -> Taking:
    """The hold lasts as long as it would by the clock, from the newest time that any of the cells has seen."""
    clock = to_microseconds(at)
    begin = max([clock, *[quota.latest for quota in quotas]])
    life = to_microseconds(ends) - clock
    return Taking(decision_id=holder.decision_id, at=clock, begin=begin, ends=begin + life)


def _are_held(reservations: Iterable[Reservation]) -> bool:
    """Whether the decision needs a cell that says what it holds: leases and probes say so in their own."""
    return not _OF_MANY.isdisjoint([terms.type for terms in reservations])


def _open(
    reservations: Iterable[Reservation], holder: Holder, cells: Cells
) -> tuple[dict[bytes, Quota], list[tuple[Reservation, Quota, Counter]]]:
    """The cells of the reservations, each once, and what each reservation is taken of in which cell."""
    quotas: dict[bytes, Quota] = {}
    counters: list[tuple[Reservation, Quota, Counter]] = []
    for terms in reservations:
        key = _cell(terms, holder)
        quota = quotas[key] = cells.open(key, _CONTENTS[terms.type])
        counters.append((terms, quota, quota.counter(terms)))
    return quotas, counters


def _turn(quotas: Iterable[Quota], clock: int) -> None:
    """Let it be as late in the cells as it is by the clock; one that was set back moves none (case 22)."""
    for quota in quotas:
        quota.latest = max(clock, quota.latest)


def _keep(quotas: Mapping[bytes, Quota], cells: Cells) -> None:
    for key, quota in quotas.items():
        cells.keep(key, quota, expire_time=from_microseconds(quota.forgettable()))


def _held_cell(holder: Holder) -> bytes:
    """The decision's own cell.

    An identifier that begins with its time, as a UUID of version 7 does, gives neighbouring keys to decisions
    that are made together, so that a store writes few pages for many of them.
    """
    key = common_cell_key(CellKind.HELD, holder.tenant, "decision", holder.decision_id)
    begin = _TIME_ORDERED.match(holder.decision_id)
    return key[:1] + bytes.fromhex(begin[1] + begin[2]) + key[7:] if begin else key


def _cell(terms: Reservation, holder: Holder) -> bytes:
    # Told apart by their type's name: pydantic makes `isinstance` slow.
    match terms.type:
        case "lease":
            return common_cell_key(CellKind.LEASE, holder.tenant, terms.resource)
        case "breaker":
            return breaker_key(holder.tenant, holder.tool)
        case "standing":
            raise ValueError("a standing approval is no quota")
        case _:
            return common_cell_key(CellKind.BUDGET, holder.tenant, *holder.within(terms.scope), terms.name)
