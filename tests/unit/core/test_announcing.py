"""What webhooks are to hear of an approval, and when."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.core.announcing import (
    Announcement,
    AnnouncementCell,
    Claim,
    End,
    Hearer,
    PutOff,
    announcement_keys,
    due_by,
    outbox,
)
from interlock.core.approval import Approval, Event, Resolution
from interlock.core.approval_cells import ApprovalCell
from interlock.core.cells import CellKind
from tests.approvals import ALICE, BOB, answer
from tests.fakes import NOON, ONE_APPROVES, MemorySessionState
from tests.proposals import a_proposal
from tests.unit.flows.approval_world import World

ALL = Hearer(name="all", topics=frozenset({"opened", "answered", "ended"}))
ENDS = Hearer(name="ends", topics=frozenset({"ended"}))
TWO_APPROVE = ONE_APPROVES.model_copy(update={"quorum": 2, "sufficient": False})
LATER = NOON + timedelta(minutes=1)


def kept(world: World, webhook: str) -> list[dict[str, Any]]:
    """What stands in a webhook's outbox, in its order."""
    state = world.log.state
    lines = sorted((entry.place, entry.key) for entry in state.entries if entry.list_key == outbox(webhook))
    return [AnnouncementCell.decode(state.cells[key][0]).told for _, key in lines]


async def opened(world: World) -> Approval:
    """An approval that was just opened."""
    await world.decide(a_proposal(goal="nobody is told of this goal"))
    cells = [data for key, (data, _) in world.log.state.cells.items() if key[0] == CellKind.APPROVAL]
    approval = ApprovalCell.decode(cells[0]).approval
    assert approval is not None
    return approval


async def test_an_approval_is_told_of_when_it_opens_and_when_it_ends() -> None:
    """Each change that a webhook hears of stands in its outbox, with the change, and no other does."""
    world = World(hearers=(ALL, ENDS))
    approval = await opened(world)
    assert [told["event"] for told in kept(world, "all")] == ["opened"]
    assert kept(world, "ends") == []

    world.clock.move(timedelta(seconds=1))
    await answer(world.parts, approval.approval_id, Resolution.DENY)
    assert [(told["event"], told["version"]) for told in kept(world, "all")] == [("opened", 1), ("denied", 2)]
    assert [told["event"] for told in kept(world, "ends")] == ["denied"]


async def test_one_more_answer_is_told_of() -> None:
    """An answer after which others still must answer is told as that, with how many there are."""
    world = World(hearers=(ALL, ENDS))
    world.engine.terms = lambda _: TWO_APPROVE
    approval = await opened(world)
    world.clock.move(timedelta(seconds=1))
    await answer(world.parts, approval.approval_id, Resolution.APPROVE, ALICE)
    world.clock.move(timedelta(seconds=1))
    world.engine.terms = lambda _: TWO_APPROVE.model_copy(update={"sufficient": True})
    await answer(world.parts, approval.approval_id, Resolution.APPROVE, BOB)
    heard = [(told["event"], told["state"], told["answers"]) for told in kept(world, "all")]
    assert heard == [("opened", "pending", 0), ("answered", "pending", 1), ("approved", "approved", 2)]
    assert [told["event"] for told in kept(world, "ends")] == ["approved"]


async def test_who_joins_is_not_told_of() -> None:
    """A duplicate joins the approval that waits, and nobody is told a second time (case 53)."""
    world = World(hearers=(ALL,))
    await opened(world)
    await world.decide(a_proposal("r-2"))
    assert len(kept(world, "all")) == 1


async def test_nothing_is_written_without_webhooks() -> None:
    """Without webhooks, no cell of an announcement is held or written."""
    world = World()
    approval = await opened(world)
    assert not [key for key in world.log.state.cells if key[0] == CellKind.ANNOUNCEMENT]
    assert announcement_keys(None, approval, ()) == ()


async def test_a_webhook_of_one_tenant_hears_of_no_other() -> None:
    """What a webhook hears of is of its tenants only (case 54)."""
    approval = await opened(World())
    acme = replace(ALL, tenants=frozenset({"acme"}))
    assert len(announcement_keys(None, approval, (acme,))) == 1
    assert announcement_keys(None, replace(approval, tenant="globex"), (acme,)) == ()


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (Event.APPROVE, "approved"),
        (Event.DENY, "denied"),
        (Event.EXPIRE, "expired"),
        (Event.WITHDRAW, "withdrawn"),
        (Event.SUPERSEDE, "superseded"),
    ],
)
async def test_every_new_state_is_an_end(event: Event, word: str) -> None:
    """A webhook that hears of ends hears of every change of state."""
    approval = await opened(World())
    after = approval.after(event, LATER)
    assert after.state.value == word
    assert len(announcement_keys(approval, after, (ENDS,))) == 1


async def test_an_edit_is_told_as_one() -> None:
    """An edit after which the approval still waits is told of as an edit, and as edited."""
    world = World(hearers=(ALL,))
    world.engine.terms = lambda _: TWO_APPROVE
    approval = await opened(world)
    world.clock.move(timedelta(seconds=1))
    await answer(
        world.parts, approval.approval_id, Resolution.APPROVE, edited_arguments_json=b'{"repo_path":"/srv"}'
    )
    [first, edit] = kept(world, "all")
    assert (edit["event"], edit["edited"], first["edited"]) == ("edited", True, False)
    assert edit["binding_digest"] != first["binding_digest"]
    assert "/srv" not in str(edit)


async def claimed_twice(state: MemorySessionState) -> list[Announcement | None]:
    """What two get who claim the first line of the outbox at once."""
    [line] = await state.page(outbox("all"), before=due_by(NOON), limit=1)
    claim = Claim(key=line.key, place=line.place, until=LATER)
    return await state.apply([claim, claim], durable=False)


async def test_one_of_two_claims_counts() -> None:
    """An announcement is claimed by one at a time, and is due again when that one lets go of it or is lost."""
    world = World(hearers=(ALL,))
    await opened(world)
    state = world.log.state
    [first, second] = await claimed_twice(state)
    assert first is not None
    assert second is None
    assert await state.page(outbox("all"), before=due_by(NOON), limit=1) == []
    assert len(await state.page(outbox("all"), before=due_by(LATER), limit=1)) == 1


async def test_a_claim_that_ran_out_puts_nothing_off_and_yet_ends() -> None:
    """Who comes late moves nothing that another has claimed since; but what was delivered is delivered."""
    world = World(hearers=(ALL,))
    await opened(world)
    state = world.log.state
    [first, _] = await claimed_twice(state)
    assert first is not None
    [line] = await state.page(outbox("all"), before=due_by(LATER), limit=1)
    claim = Claim(key=line.key, place=line.place, until=LATER + timedelta(minutes=1))
    [again] = await state.apply([claim], durable=False)
    assert again is not None

    await state.apply([PutOff(claimed=first, due=NOON)], durable=False)
    assert await state.page(outbox("all"), before=due_by(LATER), limit=1) == []
    await state.apply([End(claimed=first, at=LATER)], durable=False)
    await state.apply([PutOff(claimed=again, due=LATER)], durable=False)
    assert kept(world, "all") == []
    assert await state.prune(LATER + timedelta(seconds=1), limit=100) == 1
