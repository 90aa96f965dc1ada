"""The circuit breaker: it opens on evidence, lets one probe through, and closes by a probe alone."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from interlock.core.breaker import (
    MOST_DOUBLINGS,
    TRANSITIONS,
    BreakerCell,
    Event,
    State,
    breaker_facts,
    breaker_key,
)
from interlock.core.cells import Cells
from interlock.core.errors import ErrorReason
from interlock.core.facts import BreakerInput
from interlock.core.holding import Holder, reservation_keys, settle, take
from interlock.core.moments import from_microseconds
from interlock.core.outcome import OutcomeKind
from interlock.core.reservation import RETRY_AFTER, Breaker, Shortfall

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFE = timedelta(seconds=150)
HOUR = timedelta(hours=1)
HOLDER = Holder(
    tenant="acme", agent="agent-7", user="", session_id="s-1", tool="send_mail", decision_id="d-1"
)
KEY = breaker_key(HOLDER.tenant, HOLDER.tool)
TERMS = Breaker(
    type="breaker",
    probe=False,
    failure_percent=50,
    minimum_calls=4,
    window_seconds=60,
    slow_milliseconds=2_000,
    slow_percent=80,
    open_seconds=30,
)
QUIET: BreakerInput = {
    "state": "closed",
    "calls": 0,
    "failed": 0,
    "slow": 0,
    "opened": 0,
    "seconds_until_half_open": 0,
}


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@dataclass
class Tool:
    """A tool of a tenant, whose breaker is stored between any two events."""

    data: bytes = b""
    expire_time: datetime = NOON
    terms: Breaker = TERMS

    def take(
        self, decision_id: str, at: datetime, *, probe: bool, life: timedelta = LIFE
    ) -> tuple[Shortfall, ...]:
        terms, holder = (
            (self.terms.model_copy(update={"probe": probe}),),
            replace(HOLDER, decision_id=decision_id),
        )
        assert reservation_keys(terms, holder) == {KEY}
        cells = Cells({KEY: self.data})
        lacking = take(terms, holder, cells, at=at, ends=at + life)
        assert not (lacking and cells.changed())
        self._keep(cells)
        return lacking

    def settle(
        self,
        decision_id: str,
        at: datetime,
        kind: OutcomeKind = OutcomeKind.SUCCEEDED,
        *,
        probe: bool = False,
        refusal: str = "",
        elapsed: timedelta = timedelta(0),
    ) -> None:
        cells = Cells({KEY: self.data})
        settle(
            (self.terms.model_copy(update={"probe": probe}),),
            replace(HOLDER, decision_id=decision_id),
            cells,
            at=at,
            kind=kind,
            refusal=refusal,
            usage=None,
            elapsed=elapsed,
        )
        self._keep(cells)

    def told(self, at: datetime) -> BreakerInput:
        return breaker_facts(self.data, at=at)

    def state(self, at: datetime) -> str:
        return self.told(at)["state"]

    def _keep(self, cells: Cells) -> None:
        self.data, self.expire_time = cells.changed().get(KEY, (self.data, self.expire_time))


def failing(at: datetime = NOON, terms: Breaker = TERMS) -> Tool:
    """A tool that has just failed as often as opens its breaker."""
    tool = Tool(terms=terms)
    for number in range(terms.minimum_calls):
        tool.settle(f"first-{number}", at, OutcomeKind.FAILED)
    return tool


def probed(kind: OutcomeKind, **changes: Any) -> tuple[Tool, datetime]:
    """A tool whose breaker opened at noon and let a probe through, and when the probe's outcome came."""
    tool, at = failing(), NOON + seconds(30)
    assert tool.take("probe", at, probe=True) == ()
    tool.settle("probe", at + seconds(1), kind, probe=True, **changes)
    return tool, at + seconds(1)


# The table ---------------------------------------------------------------------------------------------------


def test_the_table_has_one_way_round() -> None:
    """A breaker closes by a probe's success alone, and a closed one opens by failing alone."""
    assert [pair for pair, state in TRANSITIONS.items() if state is State.CLOSED] == [
        (State.PROBING, Event.PROBE_SUCCEEDED)
    ]
    assert [event for state, event in TRANSITIONS if state is State.CLOSED] == [Event.FAILING]
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_a_new_breaker_is_closed() -> None:
    """A tool of which nothing is known is told as closed and without calls."""
    assert breaker_facts(b"", at=NOON) == QUIET


# Opening -----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["succeeded", "failed", "unknown"]), max_size=30))
def test_it_opens_by_ratio_and_volume(kinds: list[str]) -> None:
    """It opens with the first outcome that makes the minimum of calls of which so many percent failed."""
    tool, failed = Tool(), 0
    for number, kind in enumerate(kinds, start=1):
        tool.settle(f"d-{number}", NOON, OutcomeKind(kind))
        failed += kind != "succeeded"
        opens = number >= TERMS.minimum_calls and failed * 100 >= TERMS.failure_percent * number
        assert (tool.state(NOON) == "open") == opens
        if opens:
            assert tool.told(NOON) == {
                **QUIET,
                "state": "open",
                "calls": number,
                "failed": failed,
                "opened": 1,
                "seconds_until_half_open": 30,
            }
            break


def test_it_opens_when_calls_are_slow() -> None:
    """Of ten calls eight that took too long open it, though all succeeded; a call that nobody measured is not slow."""
    terms = TERMS.model_copy(update={"minimum_calls": 10, "failure_percent": 100})
    tool = Tool(terms=terms)
    tool.settle("d-0", NOON, OutcomeKind.UNKNOWN, elapsed=HOUR)
    tool.settle("d-1", NOON, elapsed=seconds(1.999))
    for number in range(2, 10):
        assert tool.state(NOON) == "closed"
        tool.settle(f"d-{number}", NOON, elapsed=seconds(2))
    assert tool.told(NOON) == {
        "state": "open",
        "calls": 10,
        "failed": 1,
        "slow": 8,
        "opened": 1,
        "seconds_until_half_open": 30,
    }


def test_nothing_is_slow_without_a_limit() -> None:
    """A policy that names no milliseconds takes no call for slow."""
    tool = Tool(terms=TERMS.model_copy(update={"slow_milliseconds": 0}))
    for number in range(10):
        tool.settle(f"d-{number}", NOON, elapsed=HOUR)
    assert tool.told(NOON) == {**QUIET, "calls": 10}


def test_old_failures_are_forgotten() -> None:
    """Failures that are further apart than the window is long never open it."""
    tool = Tool()
    for number in range(20):
        tool.settle(f"d-{number}", NOON + number * seconds(22), OutcomeKind.FAILED)
    assert tool.told(NOON + 19 * seconds(22)) == {**QUIET, "calls": 3, "failed": 3}
    assert tool.told(NOON + HOUR) == QUIET


def test_a_refused_execution_says_nothing_of_the_tool() -> None:
    """A call that a gateway refused did not reach the tool, and counts not at all."""
    tool = Tool()
    for refusal in (ErrorReason.TOKEN_EXPIRED, ErrorReason.CALL_MISMATCH, ErrorReason.TOKEN_ALREADY_REDEEMED):
        tool.settle("d-1", NOON, OutcomeKind.REFUSED, refusal=refusal)
    assert tool.data == b""


def test_a_call_that_is_no_probe_is_never_held_up() -> None:
    """Whether a call may pass an open breaker is the policy's to say: without `probe` nothing is lacking."""
    tool = failing()
    before = tool.data
    assert tool.take("d-9", NOON, probe=False) == ()
    assert tool.data == before


# Probing -----------------------------------------------------------------------------------------------------


def test_it_is_half_open_when_its_time_is_over() -> None:
    """After the open time, and not a moment before, the breaker is told as half open."""
    tool = failing()
    early = NOON + seconds(30) - timedelta(microseconds=1)
    assert (tool.state(early), tool.told(early)["seconds_until_half_open"]) == ("open", 1)
    assert tool.told(NOON + seconds(30)) == {
        **QUIET,
        "state": "half_open",
        "calls": 4,
        "failed": 4,
        "opened": 1,
    }


def test_one_probe_at_a_time() -> None:
    """In half open one call passes as the probe, and every other is denied until it has ended (case 57)."""
    tool, at = failing(), NOON + seconds(30)
    assert tool.take("probe", at, probe=True) == ()
    assert tool.take("probe", at, probe=True) == ()
    for number in range(3):
        [shortfall] = tool.take(f"d-{number}", at + seconds(1), probe=True)
        assert (shortfall.code, shortfall.metadata) == ("breakers.probing", {RETRY_AFTER: 30})
    assert tool.state(at + seconds(1)) == "half_open"
    [shortfall] = tool.take("d-4", at + seconds(140), probe=True)
    assert shortfall.metadata == {RETRY_AFTER: 10}


def test_no_probe_passes_while_it_is_open() -> None:
    """A call that was to be the probe is denied where another probe has just failed (case 57)."""
    tool, at = probed(OutcomeKind.FAILED)
    [shortfall] = tool.take("d-9", at + seconds(10), probe=True)
    assert (shortfall.code, shortfall.metadata) == ("breakers.probing", {RETRY_AFTER: 50})
    assert tool.take("d-9", at + seconds(60), probe=True) == ()


def test_a_probe_where_it_has_closed_is_a_call_as_any() -> None:
    """Where the breaker closed since the policy looked, many pass that were each to be the probe."""
    tool, at = probed(OutcomeKind.SUCCEEDED)
    for number in range(5):
        assert tool.take(f"d-{number}", at, probe=True) == ()
        tool.settle(f"d-{number}", at, probe=True)
    assert tool.told(at) == {**QUIET, "calls": 5}


def test_a_probe_that_succeeds_closes_it() -> None:
    """A success of the probe closes the breaker with nothing counted, and it opens for its plain time again."""
    tool, at = probed(OutcomeKind.SUCCEEDED)
    assert tool.told(at) == QUIET
    for number in range(4):
        tool.settle(f"d-{number}", at, OutcomeKind.FAILED)
    assert tool.told(at)["seconds_until_half_open"] == 30


@pytest.mark.parametrize(
    ("kind", "elapsed"),
    [
        (OutcomeKind.FAILED, seconds(0)),
        (OutcomeKind.UNKNOWN, seconds(0)),
        (OutcomeKind.SUCCEEDED, seconds(2)),
    ],
)
def test_a_probe_that_fails_opens_it_again(kind: OutcomeKind, elapsed: timedelta) -> None:
    """A probe that failed, of which nobody knows, or that was slow, opens the breaker for twice the time."""
    tool, at = probed(kind, elapsed=elapsed)
    told = tool.told(at)
    assert (told["state"], told["opened"], told["seconds_until_half_open"]) == ("open", 2, 60)


def test_it_stays_open_longer_each_time_but_not_for_ever() -> None:
    """Each opening in a row doubles the open time, at most to 32 times."""
    tool, at, waits = failing(), NOON, list[int]()
    for number in range(8):
        waits.append(tool.told(at)["seconds_until_half_open"])
        at += seconds(waits[-1])
        assert tool.take(f"probe-{number}", at, probe=True) == ()
        tool.settle(f"probe-{number}", at, OutcomeKind.FAILED, probe=True)
    assert waits == [30, 60, 120, 240, 480, 960, 960, 960]
    assert max(waits) == 30 * 2**MOST_DOUBLINGS


def test_a_probe_of_which_nobody_hears_is_over_with_its_hold() -> None:
    """After a crash the next call is the probe, and what the lost one tells later changes nothing (case 57)."""
    tool, at = failing(), NOON + seconds(30)
    assert tool.take("lost", at, probe=True) == ()
    assert tool.take("next", at + LIFE, probe=True) == ()
    before = tool.state(at + LIFE)
    tool.settle("lost", at + LIFE, probe=True)
    assert (tool.state(at + LIFE), before) == ("half_open", "half_open")
    tool.settle("next", at + LIFE, probe=True)
    assert tool.state(at + LIFE) == "closed"


def test_a_probe_whose_token_expired_makes_room_at_once() -> None:
    """A refusal for the token's age ends the probe without a verdict on the tool."""
    tool, at = probed(OutcomeKind.REFUSED, refusal=ErrorReason.TOKEN_EXPIRED)
    assert (tool.state(at), tool.told(at)["opened"]) == ("half_open", 1)
    assert tool.take("next", at, probe=True) == ()


@pytest.mark.parametrize("refusal", [ErrorReason.CALL_MISMATCH, ErrorReason.TOKEN_ALREADY_REDEEMED])
def test_a_probe_that_was_refused_is_the_probe_still(refusal: ErrorReason) -> None:
    """Presenting its token wrongly, or again, makes room for no second probe while its hold lasts (case 57)."""
    tool, _ = probed(OutcomeKind.REFUSED, refusal=refusal)
    over = NOON + seconds(30) + LIFE
    assert len(tool.take("next", over - seconds(1), probe=True)) == 1
    assert tool.take("next", over, probe=True) == ()


@pytest.mark.parametrize("kind", OutcomeKind)
def test_late_outcomes_do_not_move_it(kind: OutcomeKind) -> None:
    """What calls tell that were allowed before it opened neither closes it nor opens it for longer."""
    tool, at = failing(), NOON + seconds(30)
    before = tool.told(NOON + seconds(1))
    tool.settle("late", NOON + seconds(1), kind)
    assert tool.told(NOON + seconds(1)) == before
    assert tool.take("probe", at, probe=True) == ()
    tool.settle("late-2", at, kind, probe=True)
    assert (tool.state(at), len(tool.take("next", at, probe=True))) == ("half_open", 1)


def test_calls_that_hung_before_it_closed_do_not_open_it_again() -> None:
    """A call that began before the breaker closed tells nothing of the tool as it is since."""
    tool, at = probed(OutcomeKind.SUCCEEDED)
    for number in range(20):
        tool.settle(f"hung-{number}", at + seconds(5), OutcomeKind.FAILED, elapsed=seconds(6))
    assert tool.told(at + seconds(5)) == QUIET
    tool.settle("new", at + seconds(5), OutcomeKind.FAILED, elapsed=seconds(5))
    assert tool.told(at + seconds(5)) == {**QUIET, "calls": 1, "failed": 1, "slow": 1}


# Time and storage --------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_opens_no_sooner_and_closes_no_later() -> None:
    """The breaker stays at the newest time that it has seen, and tells how long that is by the clock (case 22)."""
    tool, back = failing(), NOON - HOUR
    tool.settle("late", back, OutcomeKind.FAILED)
    assert tool.told(back) == {
        **QUIET,
        "state": "open",
        "calls": 4,
        "failed": 4,
        "opened": 1,
        "seconds_until_half_open": 3_630,
    }
    assert tool.state(NOON + seconds(30)) == "half_open"


def test_it_opens_from_the_newest_time() -> None:
    """A breaker that opens while the clock is behind is open for its whole time (case 22)."""
    tool = Tool()
    for number in range(4):
        tool.settle(f"d-{number}", NOON - (HOUR if number == 3 else seconds(0)), OutcomeKind.FAILED)
    assert tool.told(NOON - HOUR)["seconds_until_half_open"] == 3_630


def test_windows_of_different_lengths_go_together() -> None:
    """Where roles have windows of their own, what is counted on one's terms opens the breaker for all."""
    tool = Tool()
    for number in range(4):
        length = 60 if number % 2 else 300
        tool.terms = TERMS.model_copy(update={"window_seconds": length})
        assert tool.state(NOON) == "closed"
        tool.settle(f"d-{number}", NOON + seconds(number), OutcomeKind.FAILED)
    assert tool.state(NOON + seconds(4)) == "open"


def test_a_breaker_is_forgotten_when_it_no_longer_matters() -> None:
    """A closed breaker is kept for its window, and one that nobody probes for a day after its open time."""
    tool = Tool()
    tool.settle("d-1", NOON, OutcomeKind.FAILED)
    assert NOON + seconds(60) < tool.expire_time <= NOON + seconds(66)
    assert tool.told(tool.expire_time) == QUIET
    assert failing().expire_time == NOON + seconds(30) + timedelta(days=1)
    closed, at = probed(OutcomeKind.SUCCEEDED)
    assert closed.expire_time == at + seconds(60)


def test_each_tool_of_each_tenant_has_its_own() -> None:
    """No tool's failures open another's breaker, nor those of the same name of another tenant (case 54)."""
    keys = {breaker_key(tenant, tool) for tenant in ("a", "b", "ab") for tool in ("c", "bc", "")}
    assert len(keys) == 9


# Whatever happens --------------------------------------------------------------------------------------------


class Breakers(RuleBasedStateMachine):
    """Calls and probes in any order, with a clock that is set back; what a probe may do is kept beside."""

    def __init__(self) -> None:
        super().__init__()
        self.tool = Tool()
        self.at = NOON
        self.newest = NOON
        self.number = 0
        self.probes: dict[str, datetime] = {}
        self.before = "closed"

    def now(self) -> datetime:
        """The time that the breaker takes it to be."""
        latest = from_microseconds(BreakerCell.decode(self.tool.data).latest)
        return max(self.at, latest)

    def state(self) -> str:
        return self.tool.state(self.at)

    @rule(kind=st.sampled_from([OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.UNKNOWN]))
    def call_ends(self, kind: OutcomeKind) -> None:
        before, self.number = self.state(), self.number + 1
        self.tool.settle(f"call-{self.number}", self.at, kind)
        assert self.state() == before or (before, self.state()) == ("closed", "open")
        assert (
            kind is not OutcomeKind.SUCCEEDED or self.state() == before or self.tool.told(self.at)["failed"]
        )

    @rule(life=st.integers(1, 100))
    def propose_probe(self, life: int) -> None:
        before, now = self.state(), self.now()
        alive = [probe for probe, ends in self.probes.items() if ends > now]
        self.number += 1
        lacking = self.tool.take(f"probe-{self.number}", self.at, probe=True, life=seconds(life))
        assert bool(lacking) == (before == "open" or (before == "half_open" and bool(alive)))
        assert self.state() == before
        if before == "half_open" and not lacking:
            self.probes = {f"probe-{self.number}": now + seconds(life)}

    @precondition(lambda self: self.probes)
    @rule(kind=st.sampled_from([OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.UNKNOWN]))
    def probe_ends(self, kind: OutcomeKind) -> None:
        [(probe, ends)] = self.probes.items()
        before, alive = self.state(), ends > self.now()
        self.tool.settle(probe, self.at, kind, probe=True)
        if alive:
            assert (before, self.state()) == (
                "half_open",
                "closed" if kind is OutcomeKind.SUCCEEDED else "open",
            )
            self.probes = {}
        else:
            assert self.state() == before or (before, self.state()) == ("closed", "open")

    @precondition(lambda self: self.probes)
    @rule()
    def probe_expires(self) -> None:
        [(probe, _)] = self.probes.items()
        before = self.state()
        self.tool.settle(probe, self.at, OutcomeKind.REFUSED, probe=True, refusal=ErrorReason.TOKEN_EXPIRED)
        assert self.state() == before
        self.probes = {}

    @rule(wait=st.integers(0, 70))
    def wait(self, wait: int) -> None:
        before = self.state()
        self.at += seconds(wait)
        assert self.state() == before or (before, self.state()) == ("open", "half_open")

    @rule(back=st.integers(1, 100))
    def set_back(self, back: int) -> None:
        self.at -= seconds(back)

    @invariant()
    def it_is_told_in_full(self) -> None:
        told = self.tool.told(self.at)
        assert (told["state"] == "closed") == (told["opened"] == 0)
        assert (told["seconds_until_half_open"] > 0) == (told["state"] == "open")
        assert 0 <= told["failed"] <= told["calls"]


def test_whatever_happens_there_is_one_probe_and_nothing_else_closes_it() -> None:
    """Calls, probes, crashes and clocks in any order move the breaker along its table only (cases 22 and 57)."""
    run_state_machine_as_test(
        Breakers, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )
