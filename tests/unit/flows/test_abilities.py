"""An allow is granted only where the tool's gateway said that it can meet what it is allowed under."""

import asyncio

import pytest

from interlock.core.decision import Decision, Verdict
from interlock.core.gateway_abilities import NoteAbilities
from interlock.core.obligation_kinds import ABILITIES
from tests.proposals import AGENT, GATEWAY, always, an_answer
from tests.unit.flows.session_world import SessionWorld

DRY = an_answer("allow", obligations=[{"type": "timeout", "seconds": 30}, {"type": "dry_run"}])


async def told(world: SessionWorld, *types: str, gateway: str = GATEWAY.name) -> None:
    """The gateway attends."""
    noted = NoteAbilities(tenant=AGENT.tenant, gateway=gateway, types=types, at=world.clock.now())
    await world.log.state.apply([noted], durable=False)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


async def test_what_the_gateway_lacks_denies_and_is_on_record() -> None:
    """The allow becomes a deny that names gateway and types; no token is given (invariants 1 and 7)."""
    world = SessionWorld(policy=always(DRY))
    decision = await world.propose()
    assert (decision.verdict, codes(decision)) == (Verdict.DENY, ["obligations.unsupported"])
    assert decision.reasons[0].metadata == {"gateway": GATEWAY.name, "missing": ["dry_run"]}
    assert decision.execution_token == ""
    assert decision.retry_after is None
    stated = world.stated(decision)
    assert (stated["result"]["verdict"], stated["verdict"], stated["token"]) == ("allow", "deny", None)


async def test_what_the_gateway_can_meet_is_granted() -> None:
    """Once the gateway said what it can do, the same proposal is allowed; asked again, it is the first decision."""
    world = SessionWorld(policy=always(DRY))
    proposal = world.proposal()
    [denied] = await world.decide(proposal)
    await told(world, *ABILITIES)
    assert (await world.propose()).verdict is Verdict.ALLOW
    assert await world.decide(proposal) == [denied]


@pytest.mark.parametrize("gateway", ["gateway-of-others", f"{GATEWAY.name}2"])
async def test_another_gateway_does_not_speak_for_it(gateway: str) -> None:
    """It is the gateway that the token would be for that counts."""
    world = SessionWorld(policy=always(DRY))
    await told(world, *ABILITIES, gateway=gateway)
    assert (await world.propose()).verdict is Verdict.DENY


async def test_attending_and_deciding_at_once_do_not_disturb_each_other() -> None:
    """Decisions that a gateway's word races are each an allow or a deny, and none fails."""
    world = SessionWorld(policy=always(DRY))
    decisions, *_ = await asyncio.gather(
        world.decide(*(world.proposal() for _ in range(20))), told(world, *ABILITIES), told(world, "timeout")
    )
    assert all(isinstance(decision, Decision) for decision in decisions)
