"""Whatever is taken, settled and forgotten in whatever order, no limit is passed and nothing leaks."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from interlock.core import holding
from interlock.core.errors import ErrorReason
from interlock.core.moments import to_microseconds
from interlock.core.outcome import OutcomeKind, Usage
from interlock.core.reservation import (
    Lease,
    Reservation,
)
from interlock.core.windows import WHOLE
from tests.holdings import AGENT, CALLS, COST, LEASE, NOON, PLACES, Store, codes, seconds, with_limit

SECOND = 1_000_000
SLACK = 5 * SECOND
LIMITS = {"cost": 10, "calls": 12, "places": 3}
TERMS: dict[str, Reservation] = {
    "cost": COST,
    "calls": CALLS.model_copy(update={"limit": LIMITS["calls"]}),
    "places": PLACES.model_copy(update={"limit": LIMITS["places"]}),
}


@dataclass
class Decided:
    """A decision as the model knows it; times in microseconds.

    `lost`: the store has forgotten that it holds. `over`: the cells that were forgotten after its hold was over.
    """

    id: str
    cost: int
    resource: str | None
    ends: int
    holds: bool = True
    has_lease: bool = True
    ran: bool = False
    lost: bool = False
    over: set[str] = field(default_factory=set)

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        terms = {**TERMS, "cost": with_limit(COST, self.cost, LIMITS["cost"])}
        lease = [LEASE.model_copy(update={"resource": self.resource})] if self.resource else []
        return (*terms.values(), *lease)

    @property
    def cells(self) -> list[str]:
        return ["tenant", "session", *([self.resource] if self.resource else [])]


class Quotas(RuleBasedStateMachine):
    """Whatever happens in whatever order, against a model that keeps every amount and every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.at = NOON
        self.newest = NOON
        self.latest: dict[str, int] = {}
        self.decided: list[Decided] = []
        self.used: list[tuple[int, int]] = []
        self.calls = 0

    def now(self, cell: str) -> int:
        return max(to_microseconds(self.at), self.latest.get(cell, 0))

    def touch(self, decision: Decided) -> None:
        for cell in decision.cells:
            self.latest[cell] = self.now(cell)

    def held(self, cell: str, *, perhaps: bool) -> list[Decided]:
        """Those that hold something of the cell; `perhaps` also those that the store cannot give back any more."""
        now = self.now(cell)
        return [
            each
            for each in self.decided
            if each.ends > now
            and cell not in each.over
            and ((perhaps and each.lost) or (each.holds and not each.lost))
        ]

    def expected(self, wanted: Decided, *, perhaps: bool) -> list[str]:
        """What a call lacks for certain, or `perhaps`, where old amounts may count a little longer."""
        since = self.now("tenant") - 60 * SECOND - (SLACK if perhaps else 0)
        used = sum(amount for moment, amount in self.used if moment > since)
        cost = used + sum(each.cost for each in self.held("tenant", perhaps=perhaps)) + wanted.cost
        calls = self.calls + len(self.held("session", perhaps=perhaps)) + 1
        places = len(self.held("tenant", perhaps=perhaps)) + 1
        lacking = ["quota.budget"] * (cost > LIMITS["cost"])
        lacking += ["quota.budget"] * (calls > LIMITS["calls"])
        lacking += ["quota.concurrency"] * (places > LIMITS["places"])
        leased = [
            each
            for each in self.decided
            if each.has_lease
            and each.resource == wanted.resource
            and each.ends > self.now(each.resource or "")
        ]
        return lacking + ["lease.held"] * bool(wanted.resource and leased)

    @rule(
        cost=st.integers(0, 6),
        resource=st.sampled_from([None, None, "orders", "stock"]),
        life=st.integers(1, 200),
    )
    def propose(self, cost: int, resource: str | None, life: int) -> None:
        decision = Decided(f"d-{len(self.decided)}", cost, resource, ends=0)
        certain, perhaps = (self.expected(decision, perhaps=each) for each in (False, True))
        lacking = codes(self.store.take(decision.reservations, decision.id, at=self.at, life=seconds(life)))
        assert len(certain) <= len(lacking) <= len(perhaps)
        if not lacking:
            begin = max(self.now(cell) for cell in decision.cells)
            decision.ends = begin + life * SECOND
            self.touch(decision)
            self.decided.append(decision)

    @precondition(lambda self: any(not each.ran for each in self.decided))
    @rule(
        data=st.data(),
        kind=st.sampled_from([OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.UNKNOWN]),
        cost=st.none() | st.integers(0, 15),
    )
    def run(self, data: st.DataObject, kind: OutcomeKind, cost: int | None) -> None:
        decision = data.draw(st.sampled_from([each for each in self.decided if not each.ran]))
        self.store.settle(decision.reservations, decision.id, at=self.at, kind=kind, usage=Usage(cost=cost))
        self.used.append((self.now("tenant"), decision.cost if cost is None else cost))
        self.calls += 1
        decision.ran, decision.holds, decision.has_lease = True, False, False
        self.touch(decision)

    @precondition(lambda self: self.decided)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        decision = data.draw(st.sampled_from(self.decided))
        self.store.refuse(decision.reservations, decision.id, ErrorReason.TOKEN_EXPIRED, self.at)
        if decision.holds and not decision.lost:
            self.touch(decision)
            decision.holds = decision.has_lease = False

    @precondition(lambda self: self.decided)
    @rule(
        data=st.data(),
        refusal=st.sampled_from([ErrorReason.CALL_MISMATCH, ErrorReason.TOKEN_ALREADY_REDEEMED]),
    )
    def refuse(self, data: st.DataObject, refusal: ErrorReason) -> None:
        decision = data.draw(st.sampled_from(self.decided))
        before = dict(self.store.cells)
        self.store.refuse(decision.reservations, decision.id, refusal, self.at)
        assert self.store.cells == before

    @precondition(lambda self: any(each.ran and not each.lost for each in self.decided))
    @rule(data=st.data(), kind=st.sampled_from(OutcomeKind))
    def tell_again(self, data: st.DataObject, kind: OutcomeKind) -> None:
        decision = data.draw(st.sampled_from([each for each in self.decided if each.ran and not each.lost]))
        before = dict(self.store.cells)
        self.store.settle(decision.reservations, decision.id, at=self.at, kind=kind, refusal="TOKEN_EXPIRED")
        assert self.store.cells == before

    @rule(wait=st.integers(0, 90))
    def wait(self, wait: int) -> None:
        self.at += seconds(wait)
        self.newest = max(self.at, self.newest)

    @rule(back=st.integers(1, 120))
    def set_back(self, back: int) -> None:
        self.at -= seconds(back)

    @rule()
    def prune(self) -> None:
        self.store.prune(self.at)
        for cell, key in self._keys().items():
            if key not in self.store.cells:
                for decision in self.decided:
                    decision.over |= {cell} if decision.ends <= self.now(cell) else set()
                self.latest.pop(cell, None)
                if cell == "tenant":
                    self.used.clear()
        for decision in self.decided:
            holder = replace(AGENT, decision_id=decision.id)
            decision.lost = decision.lost or holding._held_cell(holder) not in self.store.cells

    @invariant()
    def every_call_is_counted(self) -> None:
        cell = self.store.budget(CALLS)
        assert cell.used.total(WHOLE, to_microseconds(self.at)) == self.calls

    def teardown(self) -> None:
        self.store.prune(self.newest + timedelta(days=31))
        assert self.store.cells == {}

    def _keys(self) -> dict[str, bytes]:
        leases = {name: Lease(type="lease", resource=name) for name in ("orders", "stock")}
        terms = {"tenant": TERMS["cost"], "session": TERMS["calls"], **leases}
        return {cell: holding._cell(each, AGENT) for cell, each in terms.items()}


def test_whatever_happens_no_limit_is_passed_and_nothing_leaks() -> None:
    """Never more is taken than a limit allows, what fits is taken, and in the end nothing is held (cases 22, 56)."""
    run_state_machine_as_test(
        Quotas, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )
