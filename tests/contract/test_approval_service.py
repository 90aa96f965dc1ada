"""ApprovalService over a real gRPC server, on the real flows: who is let in, what is refused, and in which form."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from interlock.client import (
    ApprovalState,
    AsyncInterlock,
    InterlockCallError,
    Resolution,
    StandingTerms,
    Verdict,
)
from interlock.client.errors import from_rpc
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.reason import Reason
from interlock.v1 import approval_service_pb2 as pb
from interlock.v1.approval_service_pb2_grpc import ApprovalServiceStub
from tests.approvals import ALICE, BOB
from tests.contract.approval_services import (
    DELEGATE,
    FIRST_OF_EACH_KIND,
    NAMESAKE,
    STRANGER,
    Service,
    approval_service,
    credential_of,
)
from tests.fakes import NOON, ONE_APPROVES
from tests.proposals import AGENT, AUDITOR, an_answer


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with approval_service() as running:
        yield running


async def test_what_waits_is_listed_shown_and_approved(service: Service) -> None:
    """An approver sees the exact call that is waiting, approves it, and then its agent gets the token."""
    first = await service.escalated()
    [waiting] = await service.listed(state=ApprovalState.PENDING)
    shown = await service.shown(waiting.approval_id)
    assert (shown.approval, waiting.decision_id) == (waiting, first.decision_id)
    [call] = shown.calls
    assert (call.tool, call.arguments, call.effects) == ("git_log", {"repo_path": "/srv/1"}, ("read",))
    assert (call.matches_digest, call.arguments_digest) == (True, first.arguments_digest)
    assert [each.code for each in call.reasons] == ["example.escalate"]
    assert shown.goal == "read the history"
    assert shown.preview is not None
    assert shown.preview.verdict is Verdict.ALLOW

    done = await service.resolve(shown, "approve", comment="it is what I asked for")
    assert (done.approval.state, done.preview.verdict) == (ApprovalState.APPROVED, Verdict.ALLOW)
    [given] = done.approval.answers
    assert (given.approver, given.resolution) == ("alice", Resolution.APPROVE)
    assert (given.comment, given.roles, given.time) == ("it is what I asked for", ("approver",), NOON)
    assert (await service.asked_again()).execution_token
    [used] = await service.listed(state="approved")
    assert used.used_by not in ("", first.decision_id)


async def test_what_was_denied_says_so_to_its_agent(service: Service) -> None:
    """After a deny the call is decided again as a deny, and what the approver said of it is kept."""
    await service.escalated()
    [waiting] = await service.listed()
    done = await service.resolve(waiting, "deny", comment="not on a Friday")
    assert (done.approval.state, done.preview) == (ApprovalState.DENIED, None)
    assert (await service.asked_again()).verdict == "deny"
    [answer] = (await service.shown(waiting.approval_id, AUDITOR)).approval.answers
    assert answer.comment == "not on a Friday"


async def test_an_approver_sees_that_the_policy_says_no_now(service: Service) -> None:
    """An approve is no token: where facts have moved on the answer tells the policy's no, and there is none."""
    await service.escalated()
    [waiting] = await service.listed()
    service.world.policy = lambda document: an_answer("deny")
    done = await service.resolve(waiting, "approve")
    assert done.preview.verdict is Verdict.DENY
    assert [each.code for each in done.preview.reasons] == ["example.deny"]
    assert not (await service.asked_again()).execution_token


async def test_an_edit_is_seen_and_decided(service: Service) -> None:
    """The arguments that an approver wrote are what is shown afterwards, and what the agent may then do."""
    await service.escalated()
    [waiting] = await service.listed()
    done = await service.resolve(waiting, "approve", edited_arguments={"repo_path": "/srv/other"})
    assert done.approval.edited
    assert done.approval.binding_digest != waiting.binding_digest
    shown = await service.shown(waiting.approval_id)
    assert shown.edited_arguments == {"repo_path": "/srv/other"}
    assert shown.calls[0].arguments == {"repo_path": "/srv/1"}
    assert (await service.asked_again()).arguments_digest == done.approval.arguments_digest


async def test_what_is_sensitive_is_concealed_and_named(service: Service) -> None:
    """A sensitive argument does not reach an approver, and nobody takes the rest for all that was decided."""
    await service.escalated(tool="git_commit", arguments={"repo_path": "/srv/1", "message": "a-secret"})
    [waiting] = await service.listed()
    [call] = (await service.shown(waiting.approval_id)).calls
    assert (call.concealed, call.matches_digest) == (("/message",), None)
    assert b"a-secret" not in call.arguments_json
    assert call.arguments["message"].keys() == {"concealed"}


NARROW = StandingTerms(
    arguments_schema={
        "type": "object",
        "properties": {"repo_path": {"const": "/srv/1"}},
        "required": ["repo_path"],
        "additionalProperties": False,
    },
    count=3,
    life_seconds=600,
)


async def test_a_standing_approval_is_given_listed_and_taken_back(service: Service) -> None:
    """With an approve the like of it is approved too; it is listed for all to see, until somebody takes it back."""
    await service.escalated()
    [waiting] = await service.listed()
    done = await service.resolve(waiting, "approve", standing=NARROW)
    given = done.standing
    assert (given.tool, given.agent, given.approvers) == ("git_log", AGENT.name, ("alice",))
    assert (given.remaining, given.count, given.approval_id) == (3, 3, waiting.approval_id)
    assert (given.arguments_schema, given.session_id) == (NARROW.arguments_schema, "session-1")
    assert given.expire_time == NOON + timedelta(seconds=600)
    async with service.client(AUDITOR) as auditor:
        for agent, listed in (("", [given]), (AGENT.name, [given]), ("agent-2", [])):
            assert [each async for each in auditor.approvals.standing(agent)] == listed
    async with service.client() as alice:
        ended = await alice.approvals.revoke_standing(given.standing_id, comment="enough")
        assert ended == replace(given, remaining=0)
        assert [each async for each in alice.approvals.standing()] == []


async def test_an_unknown_standing_approval_and_a_foreign_one_are_alike(service: Service) -> None:
    """Whether another tenant has a standing approval cannot be told, nor whether there was one (case 54)."""
    await service.escalated()
    [waiting] = await service.listed()
    given = (await service.resolve(waiting, "approve", standing=NARROW)).standing
    asked = [(STRANGER, given.standing_id), (ALICE, "no-such-one")]
    told = [
        await ask(service, "RevokeStandingApproval", caller, standing_id=named) for caller, named in asked
    ]
    assert told[0] is not None
    assert told[0].code == "NOT_FOUND"
    assert [vars(each) for each in told if each] == [vars(told[0])] * 2
    async with service.client(STRANGER) as stranger:
        assert [each async for each in stranger.approvals.standing()] == []
    async with service.client() as alice:
        assert [each async for each in alice.approvals.standing()] == [given]


async def test_loose_terms_give_nothing(service: Service) -> None:
    """Terms that bind no argument are refused by place, and nothing is approved with them either (case 51)."""
    await service.escalated()
    [waiting] = await service.listed()
    error = await service.refused(waiting, "approve", standing=replace(NARROW, arguments_schema={}))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert error.violations[0].field.startswith("standing.arguments_schema_json")
    assert await service.listed() == [waiting]


@pytest.mark.parametrize(
    ("method", "kinds"),
    [
        ("ListApprovals", {CallerKind.APPROVER, CallerKind.AUDITOR}),
        ("GetApproval", {CallerKind.APPROVER, CallerKind.AUDITOR}),
        ("ResolveApproval", {CallerKind.APPROVER}),
        ("ListStandingApprovals", {CallerKind.APPROVER, CallerKind.AUDITOR}),
        ("RevokeStandingApproval", {CallerKind.APPROVER}),
    ],
)
async def test_each_method_is_for_its_callers(service: Service, method: str, kinds: set[CallerKind]) -> None:
    """No other kind of credential looks or answers, before anything else is looked at (case 50, invariant 6)."""
    refused = set()
    for kind, caller in FIRST_OF_EACH_KIND.items():
        error = await ask(service, method, caller=caller)
        if error is not None and error.reason == "CALLER_NOT_PERMITTED":
            assert error.code == "PERMISSION_DENIED"
            refused.add(kind)
    assert refused == set(CallerKind) - kinds


async def test_without_a_credential_nothing_is_told(service: Service) -> None:
    """Who proves nothing learns nothing."""
    async with AsyncInterlock(service.address, credential=None) as nobody:
        with pytest.raises(InterlockCallError) as caught:
            await nobody.approvals.get("id-1")
    assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")


async def test_an_unknown_approval_and_a_foreign_one_are_alike(service: Service) -> None:
    """Whether another tenant has an approval cannot be told from any answer (case 54)."""
    decision = await service.escalated()
    [waiting] = await service.listed()
    unknown = replace(waiting, approval_id="no-such-approval")
    answers = [await service.refused(each, "approve", STRANGER) for each in (waiting, unknown)]
    looks = [
        await ask(service, "GetApproval", STRANGER, approval_id=name)
        for name in (decision.approval_id, "no-such-approval")
    ]
    told = [replace(each, method="") for each in [*answers, *looks] if each is not None]
    assert [vars(each) for each in told] == [vars(told[0])] * 4
    assert answers[0].code == "NOT_FOUND"
    assert "approvals list" in answers[0].diagnostics()
    assert await service.listed(STRANGER) == []


@pytest.mark.parametrize("caller", [NAMESAKE, DELEGATE], ids=["agent", "delegate"])
async def test_nobody_answers_what_is_their_own(service: Service, caller: Caller) -> None:
    """Who proposed a call, and who acts for them, is PERMISSION_DENIED whatever the policy says (case 50)."""
    await service.escalated()
    [waiting] = await service.listed()
    for resolution in Resolution.APPROVE, Resolution.DENY:
        error = await service.refused(waiting, resolution, caller)
        assert (error.code, error.reason) == ("PERMISSION_DENIED", "APPROVER_NOT_PERMITTED")
        assert error.metadata == {"codes": "approvals.own_proposal"}
    assert await service.listed() == [waiting]


async def test_whom_the_policy_does_not_let_is_refused_with_its_reason(service: Service) -> None:
    """An approver without the role that it takes is PERMISSION_DENIED, and hears the policy's codes (case 50)."""
    await service.escalated()
    [waiting] = await service.listed()
    reasons = (Reason(code="approvals.role_missing", message="it takes another role"),)
    service.world.engine.terms = lambda document: ONE_APPROVES.model_copy(
        update={"permitted": False, "reasons": reasons}
    )
    error = await service.refused(waiting, "approve")
    assert (error.code, error.reason) == ("PERMISSION_DENIED", "APPROVER_NOT_PERMITTED")
    assert error.metadata == {"codes": "approvals.role_missing"}
    assert await service.listed() == [waiting]


async def test_an_answer_to_an_older_version_is_aborted(service: Service) -> None:
    """Who answers what somebody else has changed meanwhile is ABORTED, and may look again (case 49)."""
    service.world.engine.terms = lambda document: ONE_APPROVES.model_copy(update={"quorum": 2})
    await service.escalated()
    [seen] = await service.listed()
    await service.resolve(seen, "approve")
    error = await service.refused(seen, "approve", BOB)
    assert (error.code, error.reason, error.metadata) == ("ABORTED", "APPROVAL_CHANGED", {"version": "2"})
    assert "look at the approval again" in error.diagnostics()
    [now] = await service.listed()
    assert (await service.resolve(now, "approve", BOB)).approval.state is ApprovalState.APPROVED


async def test_the_same_answer_again_changes_nothing(service: Service) -> None:
    """An answer whose reply was lost may be sent again; an edit that stands already is refused (case 49)."""
    await service.escalated(1)
    [seen] = await service.listed()
    first, again = [await service.resolve(seen, "approve") for _ in range(2)]
    assert first == again
    await service.escalated(2)
    [other] = await service.listed(state="pending")
    edit = {"repo_path": "/srv/other"}
    await service.resolve(other, "approve", edited_arguments=edit)
    error = await service.refused(other, "approve", edited_arguments=edit)
    assert (error.reason, error.metadata["state"]) == ("APPROVAL_CLOSED", "approved")
    assert service.world.changes() == ["approve", "approve"]


async def test_other_bytes_than_were_seen_are_not_approved(service: Service) -> None:
    """An answer names the digest of what was seen; where that is another, it is ABORTED (case 51)."""
    await service.escalated()
    [seen] = await service.listed()
    error = await service.refused(replace(seen, binding_digest="x" * 43), "approve")
    assert (error.code, error.reason) == ("ABORTED", "APPROVAL_CHANGED")


def let_it_expire(service: Service) -> None:
    service.world.clock.move(timedelta(hours=1))


def change_the_policy(service: Service) -> None:
    service.world.engine.revision = "revision-2"


@pytest.mark.parametrize(
    ("ends", "state"),
    [(let_it_expire, "expired"), (change_the_policy, "superseded")],
    ids=["expired", "superseded"],
)
async def test_what_is_over_takes_no_approve(
    service: Service, ends: Callable[[Service], None], state: str
) -> None:
    """After its time, and where its policy is another, an approval is FAILED_PRECONDITION (cases 49, 51)."""
    await service.escalated()
    [seen] = await service.listed()
    ends(service)
    error = await service.refused(seen, "approve")
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "APPROVAL_CLOSED")
    assert error.metadata["state"] == state
    [over] = await service.listed()
    assert over.state == state
    assert not (await service.asked_again()).execution_token


async def test_what_was_denied_or_used_takes_no_answer(service: Service) -> None:
    """A closed approval says which state it is in, also to a deny that comes too late (case 49)."""
    for number, resolution, state in ((1, "deny", "denied"), (2, "approve", "used")):
        first = await service.escalated(number)
        seen = (await service.shown(first.approval_id)).approval
        now = (await service.resolve(seen, resolution)).approval
        await service.asked_again(number)
        for again in ("approve", "deny"):
            error = await service.refused(now, again, BOB)
            assert (error.code, error.metadata["state"]) == ("FAILED_PRECONDITION", state)


@pytest.mark.parametrize("fault", ["away", "full"])
async def test_nothing_is_approved_where_the_store_is_down(service: Service, fault: str) -> None:
    """A store that fails is UNAVAILABLE, and afterwards nobody has answered (invariant 2)."""
    await service.escalated()
    [seen] = await service.listed()
    setattr(service.world.log, fault, True)
    error = await ask(service, "ResolveApproval", **GOOD | {"approval_id": seen.approval_id})
    assert error is not None
    assert (error.code, error.reason) == ("UNAVAILABLE", "DECISION_LOG_UNAVAILABLE")
    setattr(service.world.log, fault, False)
    assert await service.listed() == [seen]
    assert (await service.asked_again()).verdict == "escalate"


async def test_nothing_is_approved_where_the_policy_is_away(service: Service) -> None:
    """Without the policy's word an answer is none, and may be given again (invariant 1)."""
    await service.escalated()
    [seen] = await service.listed()
    service.world.engine.terms = lambda document: InterlockError(
        reason=ErrorReason.POLICY_ENGINE_UNAVAILABLE, message="it is away"
    )
    error = await ask(service, "ResolveApproval", **GOOD | {"approval_id": seen.approval_id})
    assert error is not None
    assert (error.code, error.reason) == ("UNAVAILABLE", "POLICY_ENGINE_UNAVAILABLE")
    assert await service.listed() == [seen]


async def test_pages_are_all_of_the_list_in_its_order(service: Service) -> None:
    """What waits comes oldest first, all else from the newest on, whatever the size of a page."""
    for number in range(1, 4):
        await service.escalated(number)
        service.world.clock.move(timedelta(seconds=1))
    waiting = await service.listed(state=ApprovalState.PENDING, page_size=1)
    times = [each.open_time for each in waiting]
    assert times == sorted(times)
    assert len(set(times)) == 3
    assert await service.listed(page_size=2) == waiting[::-1]
    await service.resolve(waiting[0], "deny")
    assert await service.listed(state="pending") == waiting[1:]


async def test_a_page_token_is_good_for_its_question_only(service: Service) -> None:
    """A token that was not given, or was given to others or for another state, is INVALID_FIELD (case 54)."""
    for number in (1, 2):
        await service.escalated(number)
    token = await page_token(service)
    assert token
    for caller, state, named in (
        (STRANGER, pb.APPROVAL_STATE_PENDING, token),
        (ALICE, pb.APPROVAL_STATE_DENIED, token),
        (ALICE, pb.APPROVAL_STATE_PENDING, token + "0"),
        (ALICE, pb.APPROVAL_STATE_PENDING, "never given"),
    ):
        error = await ask(service, "ListApprovals", caller, state=state, page_size=1, page_token=named)
        assert error is not None
        assert (error.reason, error.violations[0].field) == ("INVALID_FIELD", "page_token")


GOOD: dict[str, Any] = {"approval_id": "id-1", "version": 1, "resolution": pb.RESOLUTION_APPROVE}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("ListApprovals", {"state": 99}, "state"),
    ("ListApprovals", {"page_size": -1}, "page_size"),
    ("ListApprovals", {"page_size": 1_001}, "page_size"),
    ("GetApproval", {}, "approval_id"),
    ("GetApproval", {"approval_id": "Übung"}, "approval_id"),
    ("ResolveApproval", GOOD | {"approval_id": "a" * 65}, "approval_id"),
    ("ResolveApproval", GOOD | {"resolution": pb.RESOLUTION_UNSPECIFIED}, "resolution"),
    ("ResolveApproval", GOOD | {"resolution": 99}, "resolution"),
    ("ResolveApproval", GOOD | {"version": 0}, "version"),
    ("ResolveApproval", GOOD | {"version": -1}, "version"),
    ("ResolveApproval", GOOD | {"comment": "c" * 1_025}, "comment"),
    ("ResolveApproval", GOOD | {"comment": "\0"}, "comment"),
    ("ResolveApproval", GOOD | {"binding_digest": "b" * 42}, "binding_digest"),
    ("ResolveApproval", GOOD | {"binding_digest": "ä" * 43}, "binding_digest"),
    (
        "ResolveApproval",
        GOOD | {"resolution": pb.RESOLUTION_DENY, "edited_arguments_json": b"{}"},
        "edited_arguments_json",
    ),
    (
        "ResolveApproval",
        GOOD | {"resolution": pb.RESOLUTION_DENY, "standing": pb.StandingTerms()},
        "standing",
    ),
    ("ListStandingApprovals", {"agent": "An agent"}, "agent"),
    ("ListStandingApprovals", {"page_size": 1_001}, "page_size"),
    ("ListStandingApprovals", {"page_token": "never given"}, "page_token"),
    ("RevokeStandingApproval", {}, "standing_id"),
    ("RevokeStandingApproval", {"standing_id": "st-1", "comment": "c" * 1_025}, "comment"),
]


@pytest.mark.parametrize(
    ("method", "fields", "named"), BAD, ids=[f"{number}-{each[2]}" for number, each in enumerate(BAD)]
)
async def test_what_breaks_a_rule_is_refused_by_name(
    service: Service, method: str, fields: dict[str, Any], named: str
) -> None:
    """Each field that is none is INVALID_ARGUMENT with its name, and answers nothing."""
    await service.escalated()
    error = await ask(service, method, **fields)
    assert error is not None
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert [each.field for each in error.violations] == [named]
    assert service.world.changes() == []


async def test_an_edit_that_its_tool_does_not_take_is_refused_by_place(service: Service) -> None:
    """Edited arguments are validated as any, and the place that is wrong is told."""
    await service.escalated()
    [seen] = await service.listed()
    error = await service.refused(seen, "approve", edited_arguments={"repo_path": 1})
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_ARGUMENTS")
    assert [each.field for each in error.violations] == ["edited_arguments_json#/repo_path"]
    assert await service.listed() == [seen]


async def ask(
    service: Service, method: str, caller: Caller = ALICE, **fields: Any
) -> InterlockCallError | None:
    """The error of a request that a client would not send; None where there is none."""
    request = getattr(pb, f"{method}Request")(**fields)
    metadata = (("authorization", f"Bearer {credential_of(caller)}"),)
    async with grpc.aio.insecure_channel(service.address) as channel:
        try:
            await getattr(ApprovalServiceStub(channel), method)(request, metadata=metadata, timeout=10.0)
        except grpc.RpcError as error:
            return from_rpc(error, method=method)
    return None


async def page_token(service: Service) -> str:
    """That of the second page of one approval that waits."""
    request = pb.ListApprovalsRequest(state=pb.APPROVAL_STATE_PENDING, page_size=1)
    metadata = (("authorization", f"Bearer {credential_of(ALICE)}"),)
    async with grpc.aio.insecure_channel(service.address) as channel:
        answer = await ApprovalServiceStub(channel).ListApprovals(request, metadata=metadata)
    return str(answer.next_page_token)
