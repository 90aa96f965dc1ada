"""The story of an approver's answer, on fakes."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from interlock.core import record as records
from interlock.core.approval import ApprovalState, Resolution
from interlock.core.approval_answer import MostPending
from interlock.core.approval_view import ListQuery
from interlock.core.decision import Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.record import RecordType
from interlock.flows.show_approvals import get_approval, list_approvals
from tests.approvals import ALICE, BOB, LIMIT_SECONDS, answer
from tests.fakes import (
    ONE_APPROVES,
)
from tests.proposals import a_proposal, an_answer
from tests.unit.flows.approval_world import World

APPROVE, DENY = Resolution.APPROVE, Resolution.DENY


async def refused(coroutine: object) -> InterlockError:
    """The error that comes of it."""
    with pytest.raises(InterlockError) as error:
        await coroutine  # type: ignore[misc]
    return error.value


async def test_an_approved_call_is_decided_again_and_only_then_gets_a_token() -> None:
    """An approval is evidence: the token comes of the policy's allow when the agent asks again, once and for all."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    assert (first.verdict, first.execution_token) == (Verdict.ESCALATE, "")

    done = await answer(world.parts, first.approval_id, APPROVE)
    assert done.approval.state is ApprovalState.APPROVED
    assert done.preview is not None
    assert done.preview.verdict == "allow"

    second = await world.decide(a_proposal("r-1"))
    assert second.verdict is Verdict.ALLOW
    assert second.execution_token
    assert await world.decide(a_proposal("r-1")) == second
    assert world.changes() == ["approve"]


async def test_no_token_where_the_policy_says_no_after_an_approve() -> None:
    """Facts have moved on: what people approved is denied where the policy says so, and the approver sees it."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    world.policy = lambda document: an_answer("deny")
    done = await answer(world.parts, first.approval_id, APPROVE)
    assert done.preview is not None
    assert done.preview.verdict == "deny"
    assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.DENY


async def test_a_deny_is_a_deny() -> None:
    """A denied approval is decided again as a deny, and stays one."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    await answer(world.parts, first.approval_id, DENY)
    assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.DENY
    error = await refused(answer(world.parts, first.approval_id, APPROVE))
    assert error.reason is ErrorReason.APPROVAL_CLOSED


async def test_of_two_approvers_at_once_one_is_first_and_a_deny_wins() -> None:
    """Approve and deny at once: whichever is first, the approval is denied, and no token comes (case 49)."""
    for order in ((APPROVE, DENY), (DENY, APPROVE)):
        world = World()
        first = await world.decide(a_proposal("r-1"))
        await asyncio.gather(
            *(
                answer(world.parts, first.approval_id, resolution, caller, version=1)
                for resolution, caller in zip(order, (ALICE, BOB), strict=True)
            ),
            return_exceptions=True,
        )
        assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.DENY


async def test_a_double_click_is_one_answer() -> None:
    """The same answer of the same approver again changes nothing, also at the same time (case 49)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    await asyncio.gather(
        *(answer(world.parts, first.approval_id, APPROVE, version=1) for _ in range(2)),
        return_exceptions=True,
    )
    await answer(world.parts, first.approval_id, APPROVE, version=1)
    assert world.changes() == ["approve"]


async def test_an_approve_of_an_older_version_is_refused() -> None:
    """Who has not seen what the approval is now does not approve it (ABORTED)."""
    world = World()
    world.engine.terms = lambda document: ONE_APPROVES.model_copy(
        update={"quorum": 2, "sufficient": len(document["answers"]) == 1}
    )
    first = await world.decide(a_proposal("r-1"))
    half = await answer(world.parts, first.approval_id, APPROVE)
    assert half.approval.state is ApprovalState.PENDING
    error = await refused(answer(world.parts, first.approval_id, APPROVE, BOB, version=1))
    assert error.reason is ErrorReason.APPROVAL_CHANGED
    assert error.metadata == {"version": "2"}
    whole = await answer(world.parts, first.approval_id, APPROVE, BOB)
    assert whole.approval.state is ApprovalState.APPROVED


async def test_a_quorum_is_of_distinct_people() -> None:
    """One person is never two, whatever the policy calls sufficient (case 49)."""
    world = World()
    world.engine.terms = lambda document: ONE_APPROVES.model_copy(update={"quorum": 2})
    first = await world.decide(a_proposal("r-1"))
    for _ in range(3):
        half = await answer(world.parts, first.approval_id, APPROVE)
        assert half.approval.state is ApprovalState.PENDING
    assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.ESCALATE


async def test_expiry_means_deny() -> None:
    """Nobody answered in time: it is expired on record, takes no answer, and is decided as a deny (case 49)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    world.clock.move(timedelta(hours=1))
    error = await refused(answer(world.parts, first.approval_id, APPROVE, version=1))
    assert (error.reason, error.metadata["state"]) == (ErrorReason.APPROVAL_CLOSED, "expired")
    assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.DENY
    assert world.changes() == ["expire"]


async def test_an_approval_that_nobody_remembers_is_a_deny() -> None:
    """What was escalated before there were approvals, or long ago, is decided as expired when it is asked again."""
    world = World()
    await world.decide(a_proposal("r-1"))
    world.log.state.cells.clear()
    told = await world.decide(a_proposal("r-1"))
    assert told.verdict is Verdict.DENY
    stated = records.fields(world.log.records[-1])
    assert stated["input"]["approval"]["state"] == "expired"


async def test_an_approve_that_is_not_asked_for_in_time_is_over() -> None:
    """The agent must ask again while the approval stands; after that, it is a deny."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    await answer(world.parts, first.approval_id, APPROVE)
    world.clock.move(timedelta(minutes=15))
    assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.DENY
    assert world.changes() == ["approve", "expire"]


@pytest.mark.parametrize(
    "caller",
    [
        replace(ALICE, name="agent-1"),
        replace(ALICE, name="carol", roles=("approver", "delegate-of-agent-1")),
    ],
    ids=["agent", "delegate"],
)
async def test_nobody_approves_what_is_their_own(caller: Caller) -> None:
    """Neither the proposing agent nor who acts for it may answer, whatever the policy says (case 50)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    for resolution in (APPROVE, DENY):
        error = await refused(answer(world.parts, first.approval_id, resolution, caller, version=1))
        assert error.reason is ErrorReason.APPROVER_NOT_PERMITTED
    assert world.changes() == []


async def test_an_approver_whose_credential_was_revoked_counts_no_more() -> None:
    """Authority is looked at again when the call is decided, not only when it was approved (case 50)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    await answer(world.parts, first.approval_id, APPROVE)
    world.credentials.revoke(ALICE.credential_id)
    again = await world.decide(a_proposal("r-1"))
    assert again.verdict is Verdict.ESCALATE
    assert again.approval_id != first.approval_id
    assert world.changes() == ["approve", "supersede"]


async def test_another_tenants_approval_is_not_found() -> None:
    """An unknown approval and another tenant's are the same to who asks (case 54)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    stranger = replace(ALICE, tenant="other")
    told = [
        await refused(answer(world.parts, name, APPROVE, stranger, version=1))
        for name in (first.approval_id, "no-such-approval")
    ]
    assert told[0] == told[1]
    assert told[0].reason is ErrorReason.APPROVAL_NOT_FOUND


async def test_another_policy_voids_an_approval() -> None:
    """What was approved under another policy revision is asked anew (case 51)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    await answer(world.parts, first.approval_id, APPROVE)
    world.engine.revision = "revision-2"
    again = await world.decide(a_proposal("r-1"))
    assert again.verdict is Verdict.ESCALATE
    assert again.approval_id != first.approval_id


async def test_an_approver_is_told_that_the_policy_has_changed() -> None:
    """An approve of what no longer stands is refused, on record, before it is an approve (case 51)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    world.engine.revision = "revision-2"
    error = await refused(answer(world.parts, first.approval_id, APPROVE))
    assert (error.reason, error.metadata["changed"]) == (ErrorReason.APPROVAL_CLOSED, "policy_revision")
    assert world.changes() == ["supersede"]


async def test_an_edit_is_what_is_decided_and_what_the_token_is_for() -> None:
    """The edited call has its own digest, is decided anew, and both forms and the difference are on record."""
    world = World()
    first = await world.decide(a_proposal("r-1", arguments={"repo_path": "/srv/one"}))
    edited = b'{"repo_path": "/srv/two"}'
    done = await answer(world.parts, first.approval_id, APPROVE, edited_arguments_json=edited)
    assert done.approval.edited
    again = await world.decide(a_proposal("r-1", arguments={"repo_path": "/srv/one"}))
    assert again.verdict is Verdict.ALLOW
    assert again.edited_arguments_json == b'{"repo_path":"/srv/two"}'
    assert again.arguments_digest == a_proposal("r-2", arguments={"repo_path": "/srv/two"}).arguments_digest
    assert await world.decide(a_proposal("r-1", arguments={"repo_path": "/srv/one"})) == again
    [stated] = [records.fields(each) for each in world.log.records if each.type is RecordType.APPROVAL]
    assert stated["edit"]["edits"] == [{"path": "/repo_path", "change": "changed"}]
    assert stated["edit"]["arguments_before"] == {"repo_path": "/srv/one"}
    assert stated["edit"]["arguments_after"] == {"repo_path": "/srv/two"}


async def test_an_edit_that_its_tool_does_not_take_is_refused() -> None:
    """An edited call is validated as any call, and nothing was answered where it is not valid."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    for edited in (b"{", b'{"repo_path": 1}', b"[]"):
        error = await refused(answer(world.parts, first.approval_id, APPROVE, edited_arguments_json=edited))
        assert error.reason is ErrorReason.MALFORMED_ARGUMENTS
        assert error.violations[0].field == "edited_arguments_json"
    assert world.changes() == []


async def test_duplicates_join_one_approval_and_each_run_needs_its_own() -> None:
    """The same call again asks nobody twice; what was approved is good for one token (case 53)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    second = await world.decide(a_proposal("r-2"))
    assert second.approval_id == first.approval_id
    page, _ = await list_approvals(
        ListQuery(state=ApprovalState.PENDING, page_size=0, page_token=""), ALICE, world.parts
    )
    assert [(each.approval_id, each.joined) for each in page] == [(first.approval_id, 1)]
    await answer(world.parts, first.approval_id, APPROVE)
    assert (await world.decide(a_proposal("r-2"))).verdict is Verdict.ALLOW
    again = await world.decide(a_proposal("r-1"))
    assert again.verdict is Verdict.ESCALATE
    assert again.approval_id != first.approval_id


async def test_past_the_cap_nobody_is_asked() -> None:
    """Too many pending approvals of an agent: the next escalate is a recorded deny, and asks nobody (case 53)."""
    world = World()
    told = [await world.decide(a_proposal(f"r-{n}", arguments={"repo_path": f"/srv/{n}"})) for n in range(21)]
    assert [each.verdict for each in told] == [Verdict.ESCALATE] * 20 + [Verdict.DENY]
    assert [reason.code for reason in told[-1].reasons] == ["approvals.too_many_pending"]
    assert told[-1].approval_id == ""
    await answer(world.parts, told[0].approval_id, DENY)
    more = await world.decide(a_proposal("r-30", arguments={"repo_path": "/srv/30"}))
    assert more.verdict is Verdict.ESCALATE


async def test_past_the_hours_cap_nobody_is_asked() -> None:
    """An agent that asks, takes back and asks again is stopped for the hour, and told when to come back (case 53)."""
    world = World()
    most = MostPending(agent=20, tenant=1_000, agent_an_hour=2)
    world.engine.terms = lambda document: ONE_APPROVES.model_copy(update={"most_pending": most})
    for number in range(2):
        asked = await world.decide(a_proposal(f"r-{number}", arguments={"repo_path": f"/srv/{number}"}))
        await answer(world.parts, asked.approval_id, DENY)
    third = a_proposal("r-3", arguments={"repo_path": "/srv/3"})
    told = await world.decide(third)
    assert [reason.code for reason in told.reasons] == ["approvals.too_many_an_hour"]
    assert told.verdict is Verdict.DENY
    assert told.retry_after == 3_600
    world.clock.move(timedelta(hours=1))
    again = await world.decide(a_proposal("r-4", arguments={"repo_path": "/srv/3"}))
    assert again.verdict is Verdict.ESCALATE


async def test_an_approval_shows_what_is_on_record() -> None:
    """What people see is the record's: exact arguments, their digest, reasons, facts, and what the policy would say."""
    world = World()
    first = await world.decide(a_proposal("r-1", arguments={"repo_path": "/srv/one"}))
    shown = await get_approval(first.approval_id, ALICE, world.parts, limit_seconds=LIMIT_SECONDS)
    [call] = shown.calls
    assert call.arguments_json == b'{"repo_path":"/srv/one"}'
    assert call.arguments_digest == first.arguments_digest == shown.approval.binding.arguments_digest
    assert call.reasons == first.reasons
    assert shown.preview is not None
    assert shown.preview.verdict == "allow"
    assert len(world.log.records) == 1


async def test_no_approval_where_the_store_is_away() -> None:
    """A store that is down approves nothing by accident: the answer is an error, and asked again it is still open."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    world.log.away = True
    error = await refused(answer(world.parts, first.approval_id, APPROVE, version=1))
    assert error.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
    world.log.away = False
    assert (await world.decide(a_proposal("r-1"))).verdict is Verdict.ESCALATE


async def test_no_escalate_where_nobody_could_answer() -> None:
    """Where the policy does not say who may approve, there is no decision but an error, on record (invariant 10)."""
    world = World()
    world.engine.terms = lambda document: InterlockError(
        reason=ErrorReason.POLICY_UNDEFINED, message="the policy gives no result"
    )
    error = await refused(world.decide(a_proposal("r-1")))
    assert error.reason is ErrorReason.POLICY_UNDEFINED
    assert [record.type for record in world.log.records] == [RecordType.FAILURE]


@pytest.mark.parametrize("kind", [CallerKind.AGENT, CallerKind.GATEWAY], ids=str)
async def test_only_people_with_an_approvers_credential_answer(kind: CallerKind) -> None:
    """An agent's or a gateway's credential can never resolve, whatever its name and roles (case 50)."""
    world = World()
    first = await world.decide(a_proposal("r-1"))
    error = await refused(
        answer(world.parts, first.approval_id, APPROVE, replace(ALICE, kind=kind), version=1)
    )
    assert error.reason is ErrorReason.CALLER_NOT_PERMITTED
