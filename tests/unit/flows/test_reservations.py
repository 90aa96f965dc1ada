"""What an allow reserves is taken with its record, and settled by its outcome: both or neither."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.core import token
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason
from interlock.core.outcome import OutcomeKind, Usage
from tests.proposals import AGENT, always, an_answer
from tests.unit.flows.session_world import SessionWorld, allowing

BUDGET: dict[str, Any] = {
    "type": "budget",
    "scope": "agent",
    "unit": "calls",
    "amount": 1,
    "limit": 2,
    "window": "tumbling",
    "window_seconds": 3_600,
    "name": "",
}
COST = BUDGET | {"unit": "cost", "amount": 10, "limit": 25}
PLACES: dict[str, Any] = {"type": "concurrency", "scope": "agent", "limit": 1, "name": ""}
LEASE: dict[str, Any] = {"type": "lease", "resource": "repository/a"}
RATE: dict[str, Any] = {
    "type": "rate",
    "scope": "agent",
    "limit": 1,
    "period_seconds": 60,
    "burst": 1,
    "name": "",
}
BREAKER: dict[str, Any] = {
    "type": "breaker",
    "probe": False,
    "failure_percent": 50,
    "minimum_calls": 2,
    "window_seconds": 60,
    "slow_milliseconds": 0,
    "slow_percent": 100,
    "open_seconds": 30,
}
LIFE = timedelta(seconds=30 + 60 + 30 + 30)
"""Of a hold: token, leeway of clocks, timeout, and the outcome's way back."""
LONG = timedelta(minutes=10)


def world_of(*reservations: dict[str, Any]) -> SessionWorld:
    return SessionWorld(policy=always(allowing(*reservations)))


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


async def test_a_budget_that_is_used_up_denies() -> None:
    """The third call of a budget of two is denied, with when to come again, and gets no token."""
    world = world_of(BUDGET)
    for _ in range(2):
        assert (await world.propose()).verdict is Verdict.ALLOW
    third = await world.propose()
    assert (third.verdict, codes(third)) == (Verdict.DENY, ["quota.budget"])
    assert third.execution_token == ""
    assert third.token_expire_time is None
    assert third.retry_after is not None
    assert third.retry_after > 0


async def test_the_record_says_what_the_policy_said_and_what_was_lacking() -> None:
    """An auditor sees the policy's allow, the deny that the caller heard, and why they differ (invariant 7)."""
    world = world_of(BUDGET | {"limit": 0})
    decision = await world.propose()
    stated = world.stated(decision)
    assert (stated["result"]["verdict"], stated["verdict"], stated["token"]) == ("allow", "deny", None)
    assert [reason["code"] for reason in stated["lacking"]] == ["quota.budget"]


async def test_a_denied_request_that_comes_again_is_denied_again() -> None:
    """The same request gives the same decision, though there is room by then (invariant 9)."""
    world = world_of(PLACES)
    held = await world.propose(request_id="first")
    second = world.proposal(request_id="second")
    [denied] = await world.decide(second)
    await world.report(held)
    assert await world.decide(second) == [denied]
    assert (await world.propose()).verdict is Verdict.ALLOW


async def test_all_or_none() -> None:
    """Where one reservation is lacking, none of the others is taken."""
    world = world_of(BUDGET | {"limit": 1}, PLACES)
    first = await world.propose()
    denied = await world.propose()
    assert sorted(codes(denied)) == ["quota.budget", "quota.concurrency"]
    await world.report(first, OutcomeKind.REFUSED, refusal="TOKEN_EXPIRED", result=None)
    assert (await world.propose()).verdict is Verdict.ALLOW


async def test_an_outcome_settles_the_true_amount() -> None:
    """What a call really cost counts, more or less than was reserved."""
    world = world_of(COST)
    cheap = await world.propose()
    await world.report(cheap, usage=Usage(cost=1))
    dear = await world.propose()
    await world.report(dear, usage=Usage(cost=20))
    assert codes(await world.propose()) == ["quota.budget"]


async def test_an_outcome_that_is_not_known_counts_as_reserved() -> None:
    """A call that may have run has used what it had reserved (invariant 8)."""
    world = world_of(BUDGET | {"limit": 1})
    decision = await world.propose()
    await world.report(decision, OutcomeKind.UNKNOWN, result=None)
    world.clock.move(LONG)
    assert codes(await world.propose()) == ["quota.budget"]


async def test_a_token_that_is_never_redeemed_gives_back() -> None:
    """When no outcome can come any more, what was held is free: nothing leaks (case 56)."""
    world = world_of(BUDGET | {"limit": 1}, PLACES, LEASE)
    await world.propose()
    assert (await world.propose()).verdict is Verdict.DENY
    world.clock.move(LONG)
    assert (await world.propose()).verdict is Verdict.ALLOW


async def test_a_refused_execution_gives_back() -> None:
    """A token that came too late frees what it held at once."""
    world = world_of(BUDGET | {"limit": 1}, PLACES)
    decision = await world.propose()
    await world.report(decision, OutcomeKind.REFUSED, refusal="TOKEN_EXPIRED", result=None)
    assert (await world.propose()).verdict is Verdict.ALLOW


@pytest.mark.parametrize("refusal", ["CALL_MISMATCH", "TOKEN_ALREADY_REDEEMED"])
async def test_presenting_a_token_wrongly_frees_no_place(refusal: str) -> None:
    """An agent whose token is refused has its place until the call could no longer run (case 56)."""
    world = world_of(BUDGET | {"limit": 1}, PLACES, LEASE)
    decision = await world.propose()
    await world.report(decision, OutcomeKind.REFUSED, refusal=refusal, result=None, after=timedelta())
    world.clock.move(LIFE - timedelta(seconds=1))
    assert sorted(codes(await world.propose())) == ["lease.held", "quota.budget", "quota.concurrency"]
    world.clock.move(timedelta(seconds=1))
    assert (await world.propose()).verdict is Verdict.ALLOW


async def test_a_call_without_a_timeout_is_waited_for_longest() -> None:
    """A place is not given to another while a call that nothing bounds may still run."""
    world = SessionWorld(policy=always(an_answer("allow", reservations=[PLACES])))
    await world.propose()
    world.clock.move(timedelta(minutes=11))
    assert (await world.propose()).verdict is Verdict.DENY
    world.clock.move(timedelta(minutes=2))
    assert (await world.propose()).verdict is Verdict.ALLOW


async def test_an_outcome_twice_settles_once() -> None:
    """The same outcome again, or another end of the same run, takes nothing more (case 56)."""
    world = world_of(COST | {"limit": 60})
    decision = await world.propose()
    for kind in (OutcomeKind.UNKNOWN, OutcomeKind.UNKNOWN, OutcomeKind.SUCCEEDED):
        await world.report(decision, kind, usage=Usage(cost=20), execution_id="e-1")
    for _ in range(4):
        assert (await world.propose()).verdict is Verdict.ALLOW


async def test_an_outcome_after_the_holds_life_still_counts() -> None:
    """A gateway that was away reports late, and what was used is known then."""
    world = world_of(BUDGET | {"limit": 1})
    decision = await world.propose()
    await world.report(decision, after=LONG)
    assert codes(await world.propose()) == ["quota.budget"]


async def test_a_rate_lets_through_what_it_allows() -> None:
    """One call a minute; the deny says how long to wait, and then there is one more."""
    world = world_of(RATE)
    assert (await world.propose()).verdict is Verdict.ALLOW
    denied = await world.propose()
    assert codes(denied) == ["quota.rate"]
    assert denied.retry_after == pytest.approx(60)
    world.clock.move(timedelta(seconds=60))
    assert (await world.propose()).verdict is Verdict.ALLOW


async def test_a_lease_is_exclusive_and_its_fence_grows() -> None:
    """A resource has one holder at a time, and each later holder a greater fencing number in its token."""
    world = world_of(LEASE)
    first = await world.propose()
    held = await world.propose(caller=replace(AGENT, name="agent-2"))
    assert codes(held) == ["lease.held"]
    await world.report(first)
    second = await world.propose()
    fences = [claims_of(world, decision)["leases"] for decision in (first, second)]
    assert [lease["resource"] for [lease] in fences] == ["repository/a", "repository/a"]
    assert fences[0][0]["fence"] < fences[1][0]["fence"]


async def test_a_token_without_a_lease_has_no_such_claim() -> None:
    """A gateway that knows nothing of leases takes the tokens that have none (case 64)."""
    world = world_of(BUDGET)
    assert "leases" not in claims_of(world, await world.propose())


def claims_of(world: SessionWorld, decision: Decision) -> dict[str, Any]:
    claims = token.authenticate(decision.execution_token, world.keys)
    return claims.model_dump(mode="json", exclude_none=True)


async def test_a_breaker_opens_lets_one_probe_through_and_closes() -> None:
    """Failures open it; after its time one probe at a time goes through; its success closes it (case 57)."""
    world = world_of(BREAKER)
    for _ in range(2):
        await world.report(await world.propose(), OutcomeKind.FAILED)
    await world.propose()
    assert state_of(world) == "open"
    assert world.facts["breaker"]["seconds_until_half_open"] > 0
    world.clock.move(timedelta(seconds=31))
    world.policy = always(allowing(BREAKER | {"probe": True}))
    probe = await world.propose()
    assert state_of(world) == "half_open"
    assert probe.verdict is Verdict.ALLOW
    other = await world.propose(session_id="session-2")
    assert codes(other) == ["breakers.probing"]
    await world.report(probe)
    await world.propose()
    assert state_of(world) == "closed"


def state_of(world: SessionWorld) -> str:
    return world.facts["breaker"]["state"]


async def test_nothing_is_taken_where_the_record_cannot_be_written() -> None:
    """A log that is full gives nobody a token and takes nobody's budget (invariant 2)."""
    world = world_of(BUDGET | {"limit": 1})
    world.log.full = True
    with pytest.raises(Exception, match=ErrorReason.DECISION_LOG_UNAVAILABLE):
        await world.propose(request_id="again")
    world.log.full = False
    assert (await world.propose(request_id="again")).verdict is Verdict.ALLOW


async def test_the_same_request_twice_at_once_takes_once() -> None:
    """Two that ask with one request_id at the same time get one decision, and one reservation (case 56)."""
    world = world_of(BUDGET | {"limit": 1})
    proposal = world.proposal(request_id="twice")
    both = await asyncio.gather(world.decide(proposal), world.decide(proposal))
    assert both[0][0] == both[1][0]
    assert isinstance(both[0][0], Decision)
    assert both[0][0].verdict is Verdict.ALLOW


async def test_a_batch_takes_no_more_than_there_is() -> None:
    """Of ten proposals in one batch, exactly as many are allowed as the budget has left."""
    world = world_of(BUDGET | {"limit": 4})
    decisions = await world.decide(*(world.proposal() for _ in range(10)))
    allowed = [each for each in decisions if isinstance(each, Decision) and each.execution_token]
    assert len(allowed) == 4
