"""Taking all or none of what an allow reserves, and settling it by the outcome."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core import holding
from interlock.core.errors import ErrorReason
from interlock.core.holding import reservation_keys
from interlock.core.moments import to_microseconds
from interlock.core.outcome import OutcomeKind, Usage
from interlock.core.reservation import (
    RETRY_AFTER,
    Budget,
    Concurrency,
    Rate,
    Reservation,
)
from tests.holdings import (
    AGENT,
    CALLS,
    COMPUTE,
    COST,
    DAILY,
    HOUR,
    LEASE,
    LIFE,
    NOON,
    PLACES,
    PROBE,
    RATE,
    Store,
    codes,
    seconds,
    wait_of,
    with_limit,
)


def test_all_are_taken_or_none() -> None:
    """Where one reservation is lacking, nothing of the others is taken, and each that is lacking is told."""
    store = Store()
    full = (COST, PLACES, RATE, LEASE)
    assert store.take(full, "d-1") == ()
    assert store.take(full, "d-2") != ()
    before = dict(store.cells)
    lacking = store.take(
        (with_limit(COST, 7, 10), CALLS, PLACES.model_copy(update={"limit": 1}), LEASE), "d-3"
    )
    assert codes(lacking) == ["quota.budget", "quota.concurrency", "lease.held"]
    assert store.cells == before
    assert store.take((CALLS,), "d-4") == ()
    assert store.budget(CALLS).pending.total(to_microseconds(NOON)) == 1


def test_nothing_to_reserve_takes_nothing() -> None:
    """An allow without reservations changes no cell, and neither does one that only counts in a breaker."""
    store = Store()
    assert store.take(()) == ()
    assert store.take((PROBE.model_copy(update={"probe": False}),)) == ()
    assert store.cells == {}


def test_a_decision_takes_once() -> None:
    """What a decision has taken it does not take again, though its change runs once more (case 56)."""
    store = Store()
    for _ in range(2):
        assert store.take((CALLS, COST, PLACES, LEASE, RATE), "d-1") == ()
    assert store.budget(COST).pending.total(to_microseconds(NOON)) == 4
    assert store.take((PLACES,), "d-2") == ()


def test_the_keys_are_those_of_all_that_is_touched() -> None:
    """Every cell that taking and settling touch is locked, and none of two tenants is the same."""
    everything = (CALLS, COST, DAILY, COMPUTE, RATE, PLACES, LEASE, PROBE)
    keys = reservation_keys(everything, AGENT)
    scopes, leases, breakers, decisions = 4, 1, 1, 1
    assert len(keys) == scopes + leases + breakers + decisions
    assert keys.isdisjoint(reservation_keys(everything, replace(AGENT, tenant="other")))


@pytest.mark.parametrize(
    ("scope", "same", "other"),
    [
        ("session", {"tool": "read"}, {"session_id": "s-2"}),
        ("session", {"user": "ann"}, {"agent": "agent-8"}),
        ("agent", {"session_id": "s-2"}, {"agent": "agent-8"}),
        ("user", {"session_id": "s-2"}, {"user": "ann"}),
        ("user", {"tool": "read"}, {"user": "agent-7"}),
        ("tenant", {"agent": "agent-8", "user": "ann", "session_id": "s-2"}, {"tenant": "other"}),
    ],
)
def test_each_scope_has_its_own(scope: str, same: dict[str, str], other: dict[str, str]) -> None:
    """A limit is shared by all that the scope holds, and by nobody else; no user is taken for an agent (case 54)."""
    one = (Concurrency(type="concurrency", scope=scope, limit=1),)  # type: ignore[arg-type] # parametrised
    store = Store()
    assert store.take(one, "d-1") == ()
    assert codes(store.take(one, "d-2", holder=replace(AGENT, **same))) == ["quota.concurrency"]
    assert store.take(one, "d-3", holder=replace(AGENT, **other)) == ()


def test_all_sessions_of_a_user_share_a_budget() -> None:
    """A user's budget is the same through whichever agent."""
    one = (Concurrency(type="concurrency", scope="user", limit=1),)
    store = Store()
    assert store.take(one, "d-1", holder=replace(AGENT, user="ann")) == ()
    other = replace(AGENT, user="ann", agent="agent-8", session_id="s-9")
    assert codes(store.take(one, "d-2", holder=other)) == ["quota.concurrency"]


def test_each_name_has_its_own() -> None:
    """Limits of one scope that a policy names differently are counted apart, as are those of different kinds."""
    store = Store()
    one = Concurrency(type="concurrency", scope="agent", limit=1)
    assert store.take((one, one.model_copy(update={"name": "mail"})), "d-1") == ()
    assert codes(store.take((one,), "d-2")) == ["quota.concurrency"]
    assert store.take((one.model_copy(update={"name": "files"}), CALLS, COST), "d-2") == ()
    for unit, seconds_, amount in (("cost", 60, 7), ("calls", 60, 10), ("cost", 61, 10)):
        terms = COST.model_copy(update={"unit": unit, "window_seconds": seconds_, "amount": amount})
        assert len(store.take((terms,), f"d-{unit}-{seconds_}")) == (amount == 7)


def test_decisions_made_together_have_neighbouring_keys() -> None:
    """Where identifiers begin with their time, decisions' own cells lie together in a store, each for itself."""
    ids = [f"019a3c2e-7b1a-7{number:03x}-8000-000000000000" for number in range(50)]
    keys = {holding._held_cell(replace(AGENT, decision_id=each)) for each in ids}
    assert len(keys) == 50
    assert {key[1:7].hex() for key in keys} == {"019a3c2e7b1a"}
    others = {holding._held_cell(replace(AGENT, decision_id=each.replace("-7", "-4"))) for each in ids}
    assert len({key[1:7] for key in others}) == 50


# Budgets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [CALLS, COST, DAILY, COMPUTE], ids=lambda budget: budget.unit)
@given(amounts=st.lists(st.integers(0, 60), max_size=30))
def test_a_budget_admits_exactly_its_limit(budget: Budget, amounts: list[int]) -> None:
    """An amount is held if and only if the limit leaves so much (case 56)."""
    store, held = Store(), 0
    for number, amount in enumerate(amounts):
        lacking = store.take((with_limit(budget, amount, 100),), f"d-{number}")
        assert (not lacking) == (held + amount <= 100)
        held += 0 if lacking else amount


@pytest.mark.parametrize(
    ("budget", "kind", "usage", "used"),
    [
        (CALLS, OutcomeKind.SUCCEEDED, None, 1),
        (with_limit(CALLS, 3, 9), OutcomeKind.FAILED, None, 1),
        (CALLS, OutcomeKind.UNKNOWN, None, 1),
        (COST, OutcomeKind.SUCCEEDED, Usage(cost=9), 9),
        (COST, OutcomeKind.FAILED, Usage(cost=0), 0),
        (COST, OutcomeKind.SUCCEEDED, Usage(model_tokens=7), 4),
        (COST, OutcomeKind.UNKNOWN, None, 4),
        (DAILY, OutcomeKind.SUCCEEDED, Usage(model_tokens=7), 7),
        (DAILY, OutcomeKind.FAILED, None, 40),
        (COMPUTE, OutcomeKind.SUCCEEDED, Usage(compute_milliseconds=3), 3),
        (COMPUTE, OutcomeKind.FAILED, Usage(cost=1), 1_234),
        (COMPUTE, OutcomeKind.UNKNOWN, None, 500),
    ],
)
def test_an_outcome_uses_the_true_amount(
    budget: Budget, kind: OutcomeKind, usage: Usage | None, used: int
) -> None:
    """A call that ran uses what was told or measured, and where nobody knows what was reserved; nothing is held."""
    store = Store()
    assert store.take((budget,)) == ()
    store.settle((budget,), kind=kind, usage=usage, elapsed=timedelta(milliseconds=1_234.9))
    counter = store.budget(budget)
    assert counter.pending.entries == []
    assert [count for _, count in counter.used.buckets] == [used]


def test_what_is_really_used_may_be_more_than_the_limit() -> None:
    """A true amount over the limit counts in full, and the next call is denied for as long."""
    store = Store()
    assert store.take((COST,)) == ()
    store.settle((COST,), usage=Usage(cost=25))
    [shortfall] = store.take((COST,), "d-2")
    assert shortfall.metadata == {
        "scope": "tenant",
        "unit": "cost",
        "limit": 10,
        "window": "sliding",
        "window_seconds": 60,
        "name": "",
        "amount": 4,
        "used": 25,
        "held": 0,
        RETRY_AFTER: 65,
    }
    assert store.take((COST,), "d-2", at=NOON + seconds(65)) == ()


def test_less_than_reserved_leaves_the_rest() -> None:
    """What a call did not use of its reservation is there for others at once."""
    store = Store()
    assert store.take((with_limit(COST, 10, 10),)) == ()
    assert codes(store.take((with_limit(COST, 1, 10),), "d-2")) == ["quota.budget"]
    store.settle((with_limit(COST, 10, 10),), usage=Usage(cost=2))
    assert store.take((with_limit(COST, 8, 10),), "d-2") == ()


def test_more_than_the_limit_is_never_waited_for() -> None:
    """Where no waiting helps, no time is told: an amount over the limit, or a session's budget that is used up."""
    store = Store()
    assert RETRY_AFTER not in store.take((with_limit(COST, 11, 10),))[0].metadata
    for number in range(3):
        store.settle((CALLS,), f"d-{number}")
    [shortfall] = store.take((CALLS,), "d-9")
    assert (shortfall.metadata["used"], RETRY_AFTER in shortfall.metadata) == (3, False)


@given(
    history=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 6), st.booleans()), min_size=1, max_size=12
    ),
    budget=st.sampled_from([COST, COST.model_copy(update={"window": "tumbling"})]),
)
def test_a_budget_tells_exactly_when_it_is_free(history: list[tuple[int, int, bool]], budget: Budget) -> None:
    """If nothing else happens, the call fits after the seconds that it was told, and a microsecond before not."""
    store, at = Store(), NOON
    for number, (wait, amount, ran) in enumerate(history):
        at += seconds(wait)
        took = store.take((with_limit(budget, amount, 10),), f"d-{number}", at=at)
        if ran and not took:
            store.settle((with_limit(budget, amount, 10),), f"d-{number}", at=at)
    lacking = store.take((with_limit(budget, 10, 10),), "d-next", at=at)
    if lacking:
        wait_time = wait_of(lacking)
        early = at + wait_time - timedelta(microseconds=1)
        assert codes(store.take((with_limit(budget, 10, 10),), "d-next", at=early)) == ["quota.budget"]
        assert store.take((with_limit(budget, 10, 10),), "d-next", at=at + wait_time) == ()


# Rates -------------------------------------------------------------------------------------------------------


@given(
    waits=st.lists(st.integers(0, 700_000), max_size=60),
    limit=st.integers(1, 7),
    burst=st.integers(1, 5),
    period=st.integers(1, 3),
)
def test_a_rate_is_never_exceeded(waits: list[int], limit: int, burst: int, period: int) -> None:
    """In no stretch of a period pass more than burst and limit, and a denied call is told the exact wait."""
    rate = Rate(type="rate", scope="agent", limit=limit, period_seconds=period, burst=burst)
    store, at, passed = Store(), NOON, list[datetime]()
    for number, wait in enumerate(waits):
        at += timedelta(microseconds=wait)
        lacking = store.take((rate,), f"d-{number}", at=at)
        if not lacking:
            passed.append(at)
            continue
        free = at + wait_of(lacking)
        trial = Store(dict(store.cells))
        assert codes(trial.take((rate,), at=free - timedelta(microseconds=1))) == ["quota.rate"]
        assert trial.take((rate,), at=free) == ()
    for begin in passed:
        assert sum(begin <= each < begin + seconds(period) for each in passed) <= burst + limit


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    """A burst of three and two a second: three at once, and then one each half second."""
    store = Store()
    assert [store.take((RATE,), f"d-{number}") for number in range(3)] == [(), (), ()]
    [shortfall] = store.take((RATE,), "d-3")
    assert shortfall.metadata == {
        "scope": "agent",
        "limit": 2,
        "period_seconds": 1,
        "burst": 3,
        "name": "",
        RETRY_AFTER: 0.5,
    }
    assert store.take((RATE,), "d-3", at=NOON + seconds(0.5)) == ()


def test_a_rate_is_remembered_while_it_matters() -> None:
    """What else is taken of the same scope leaves a rate where it is, until its burst has come back."""
    slow = Rate(type="rate", scope="agent", limit=1, period_seconds=60, burst=2)
    store, other = Store(), Concurrency(type="concurrency", scope="agent", limit=9)
    for number in range(2):
        assert store.take((slow,), f"d-{number}") == ()
    assert {expire_time for _, expire_time in store.cells.values()} == {NOON + seconds(120)}
    assert store.take((other,), "d-2", at=NOON + seconds(59)) == ()
    assert wait_of(store.take((slow,), "d-3", at=NOON + seconds(59))) == seconds(1)


def test_a_rate_is_not_given_back() -> None:
    """A call that was refused or has run has come all the same."""
    store, once = Store(), Rate(type="rate", scope="agent", limit=1, period_seconds=60, burst=1)
    assert store.take((once,)) == ()
    store.refuse((once,), "d-1", ErrorReason.TOKEN_EXPIRED, NOON)
    store.settle((once,))
    assert codes(store.take((once,), "d-2")) == ["quota.rate"]


# Places ------------------------------------------------------------------------------------------------------


def test_so_many_run_at_the_same_time() -> None:
    """Of two places, a third call finds none until one of the calls has ended."""
    store = Store()
    assert store.take((PLACES,), "d-1") == ()
    assert store.take((PLACES,), "d-2", at=NOON + seconds(10)) == ()
    [shortfall] = store.take((PLACES,), "d-3", at=NOON + seconds(20))
    assert shortfall.metadata == {"scope": "tenant", "limit": 2, "name": "", "held": 2, RETRY_AFTER: 130}
    store.settle((PLACES,), "d-2", at=NOON + seconds(21))
    assert store.take((PLACES,), "d-3", at=NOON + seconds(21)) == ()


def test_the_wait_for_a_place_is_what_calls_took_lately() -> None:
    """Who finds no place is told to wait for as long as calls last, not for the end of a hold that nobody settles."""
    store = Store()
    assert store.take((PLACES, LEASE), "d-1") == ()
    store.settle((PLACES, LEASE), "d-1", at=NOON + seconds(2))
    one = PLACES.model_copy(update={"limit": 1})
    assert store.take((one, LEASE), "d-2", at=NOON + seconds(3)) == ()
    told = [
        shortfall.metadata[RETRY_AFTER] for shortfall in store.take((one, LEASE), "d-3", at=NOON + seconds(4))
    ]
    assert told == [2, 2]


def test_no_place_at_all_is_never_waited_for() -> None:
    """A limit of nothing is a no, and not a queue."""
    [shortfall] = Store().take((PLACES.model_copy(update={"limit": 0}),))
    assert RETRY_AFTER not in shortfall.metadata


# Leases ------------------------------------------------------------------------------------------------------


def test_a_lease_is_exclusive_until_the_outcome() -> None:
    """A resource is one call's until its outcome, beyond the life of the token, and its holder keeps it."""
    store = Store()
    assert store.take((LEASE,), "d-1") == ()
    assert store.take((LEASE,), "d-1", at=NOON + seconds(140), life=HOUR) == ()
    [shortfall] = store.take((LEASE,), "d-2", at=NOON + seconds(149))
    assert (shortfall.code, shortfall.metadata) == (
        "lease.held",
        {"resource": "database/orders", RETRY_AFTER: 1},
    )
    other = LEASE.model_copy(update={"resource": "database/stock"})
    assert store.take((other,), "d-2", at=NOON) == ()
    assert store.take((LEASE,), "d-3", at=NOON, holder=replace(AGENT, tenant="other")) == ()
    store.settle((LEASE,), "d-1", at=NOON + seconds(149))
    assert store.take((LEASE,), "d-2", at=NOON + seconds(149)) == ()


def test_only_its_holder_gives_a_lease_back() -> None:
    """The outcome of a call whose lease was over does not take it from the one that holds it now."""
    store = Store()
    assert store.take((LEASE,), "d-1") == ()
    assert store.take((LEASE,), "d-2", at=NOON + LIFE) == ()
    store.settle((LEASE,), "d-1", at=NOON + LIFE)
    assert codes(store.take((LEASE,), "d-3", at=NOON + LIFE)) == ["lease.held"]


# Outcomes that are no run, come late, or come twice ----------------------------------------------------------

HELD = (COST, PLACES, LEASE, with_limit(CALLS, 1, 1))


def test_an_expired_token_gives_everything_back() -> None:
    """A token that a gateway took for expired gives back what was reserved at once."""
    store = Store()
    assert store.take(HELD, "d-1") == ()
    store.refuse(HELD, "d-1", ErrorReason.TOKEN_EXPIRED, NOON + seconds(1))
    assert store.take(HELD, "d-2", at=NOON + seconds(1)) == ()


@pytest.mark.parametrize(
    "refusal",
    [
        ErrorReason.CALL_MISMATCH,
        ErrorReason.OBLIGATION_UNSUPPORTED,
        ErrorReason.TOKEN_ALREADY_REDEEMED,
        "OTHER",
    ],
)
def test_presenting_a_token_wrongly_or_again_frees_nothing(refusal: str) -> None:
    """No agent can free what a call holds that runs, or may run yet, by letting its token be refused (case 56)."""
    store = Store()
    assert store.take(HELD, "d-1") == ()
    before = dict(store.cells)
    store.refuse(HELD, "d-1", refusal, NOON + seconds(1))
    assert store.cells == before
    assert codes(store.take(HELD, "d-2", at=NOON + LIFE - seconds(1))) == ["lease.held", "quota.budget"]
    assert store.take(HELD, "d-2", at=NOON + LIFE) == ()


def test_what_ran_after_it_was_given_back_is_used() -> None:
    """Where one clock took a token for expired and another ran it, what it used still counts, once."""
    store = Store()
    assert store.take((COST,), "d-1") == ()
    store.refuse((COST,), "d-1", ErrorReason.TOKEN_EXPIRED, NOON)
    for _ in range(2):
        store.settle((COST,), "d-1", usage=Usage(cost=9))
    cell = store.budget(COST)
    assert ([count for _, count in cell.used.buckets], cell.pending.entries) == ([9], [])


@pytest.mark.parametrize("again", [OutcomeKind.SUCCEEDED, OutcomeKind.UNKNOWN, OutcomeKind.REFUSED])
def test_an_outcome_that_comes_twice_counts_once(again: OutcomeKind) -> None:
    """Whatever is told of a call that is settled changes nothing, be it told at the same moment (case 56)."""
    store, counted = Store(), (*HELD, PROBE.model_copy(update={"probe": False}))
    assert store.take(counted, "d-1") == ()
    store.settle(counted, "d-1", usage=Usage(cost=5))
    before = dict(store.cells)
    refusal = ErrorReason.TOKEN_EXPIRED if again is OutcomeKind.REFUSED else ""
    store.settle(counted, "d-1", kind=again, refusal=refusal, usage=Usage(cost=5), at=NOON + seconds(1))
    assert store.cells == before


def test_an_outcome_after_the_hold_adds_the_true_amount() -> None:
    """What nobody heard of for longer than its hold lasts is free again, and is used when it is heard of, once."""
    store, late = Store(), NOON + LIFE + seconds(1)
    assert store.take((DAILY, PLACES), "d-1") == ()
    assert store.take((with_limit(DAILY, 100, 100),), "d-2", at=late) == ()
    store.settle((with_limit(DAILY, 100, 100),), "d-2", at=late, usage=Usage(model_tokens=1))
    store.prune(late)
    for _ in range(2):
        store.settle((DAILY, PLACES), "d-1", at=late, usage=Usage(model_tokens=33))
    assert [count for _, count in store.budget(DAILY).used.buckets] == [34]


def test_an_outcome_of_what_was_never_taken_is_used() -> None:
    """An outcome whose reservation is not known, such as one of an older release, still counts, and frees nothing."""
    store = Store()
    assert store.take((COST, PLACES, LEASE), "d-1") == ()
    store.settle((COST, PLACES, LEASE), "d-other", usage=Usage(cost=2))
    assert [count for _, count in store.budget(COST).used.buckets] == [2]
    assert store.budget(COST).pending.total(to_microseconds(NOON)) == 4
    assert codes(store.take((LEASE,), "d-2")) == ["lease.held"]


def test_a_refusal_of_what_was_never_taken_changes_nothing() -> None:
    """A refusal of a token that holds nothing leaves no trace."""
    store = Store()
    store.refuse(HELD, "d-1", ErrorReason.TOKEN_EXPIRED, NOON)
    store.refuse(HELD, "d-1", ErrorReason.CALL_MISMATCH, NOON)
    assert store.cells == {}


def test_nothing_leaks_after_a_crash() -> None:
    """A decision whose outcome never comes gives everything back when its hold is over (case 56)."""
    store = Store()
    assert store.take(HELD, "d-1") == ()
    assert len(store.take(HELD, "d-2", at=NOON + LIFE - timedelta(microseconds=1))) == 2
    assert store.take(HELD, "d-2", at=NOON + LIFE) == ()


# Time --------------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_frees_nothing() -> None:
    """A cell stays at the newest time that it has seen: no window begins anew, a new hold has its life (case 22)."""
    store, back = Store(), NOON - HOUR
    assert store.take((COST, PLACES), "d-1") == ()
    store.settle((COST, PLACES), "d-1", usage=Usage(cost=10))
    assert codes(store.take((COST,), "d-2", at=back)) == ["quota.budget"]
    assert wait_of(store.take((COST,), "d-2", at=back)) == HOUR + seconds(65)

    one = (PLACES.model_copy(update={"limit": 1}),)
    assert store.take(one, "d-3", at=back) == ()
    assert codes(store.take(one, "d-4", at=NOON + LIFE - seconds(1))) == ["quota.concurrency"]
    assert store.take(one, "d-4", at=NOON + LIFE) == ()


def test_a_clock_that_was_set_back_counts_nothing_anew() -> None:
    """What a window has forgotten stays forgotten (case 22)."""
    store = Store()
    store.settle((COST,), "d-1", usage=Usage(cost=10))
    assert store.take((COST,), "d-2", at=NOON + seconds(65)) == ()
    assert store.take((COST,), "d-3", at=NOON + seconds(30)) == ()


def test_a_clock_that_was_set_back_gives_no_second_burst() -> None:
    """A rate goes on from the newest time that it has seen (case 22)."""
    store = Store()
    for number in range(3):
        assert store.take((RATE,), f"d-{number}") == ()
    assert wait_of(store.take((RATE,), "d-3", at=NOON - HOUR)) == HOUR + seconds(0.5)


def test_a_clock_that_was_set_back_leaves_a_lease_where_it_is() -> None:
    """A lease that is taken while the clock is behind lasts its life from the newest time (case 22)."""
    store = Store()
    assert store.take((LEASE,), "d-1") == ()
    store.settle((LEASE,), "d-1")
    assert store.take((LEASE,), "d-2", at=NOON - HOUR) == ()
    assert codes(store.take((LEASE,), "d-3", at=NOON + LIFE - seconds(1))) == ["lease.held"]


# What happens: wait, then propose or settle one of the decisions so far.
happenings = st.lists(
    st.tuples(st.integers(0, 100), st.sampled_from(["take", "ran", "expired", "refused"]), st.integers(0, 9)),
    max_size=40,
)


@settings(max_examples=200)
@given(happenings)
def test_what_may_be_forgotten_is_as_if_it_were_kept(done: list[tuple[int, str, int]]) -> None:
    """A store that forgets every cell as soon as it may gives the very answers of one that forgets none."""
    kept, forgetful, at = Store(), Store(), NOON
    decisions, ran = list[tuple[Reservation, ...]](), set[int]()
    slow = Rate(type="rate", scope="agent", limit=1, period_seconds=90, burst=2)
    for wait, what, which in done:
        at += seconds(wait)
        forgetful.prune(at)
        if what == "take":
            lease = [LEASE] if which < 3 else []
            wanted: tuple[Reservation, ...] = (with_limit(COST, which, 10), DAILY, PLACES, slow, *lease)
            answers = [store.take(wanted, f"d-{len(decisions)}", at=at) for store in (kept, forgetful)]
            assert codes(answers[0]) == codes(answers[1])
            decisions += [] if answers[0] else [wanted]
        elif which < len(decisions) and which not in ran:
            kind = OutcomeKind.SUCCEEDED if what == "ran" else OutcomeKind.REFUSED
            refusal = {"expired": ErrorReason.TOKEN_EXPIRED, "refused": ErrorReason.CALL_MISMATCH}.get(
                what, ""
            )
            ran |= {which} if what == "ran" else set()
            for store in (kept, forgetful):
                store.settle(decisions[which], f"d-{which}", at=at, kind=kind, refusal=refusal)
    forgetful.prune(at + timedelta(days=1, seconds=1))
    assert forgetful.cells == {}
