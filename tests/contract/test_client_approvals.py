"""Approvals through both clients, against a scripted service."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.client import (
    Approval,
    ApprovalAnswer,
    ApprovalState,
    Reason,
    Resolution,
    ShownApproval,
    StandingApproval,
    StandingTerms,
    Verdict,
)
from interlock.core.errors import ErrorReason
from interlock.v1 import approval_service_pb2 as pb
from interlock.v1 import decision_pb2
from tests.contract.scripted_services import CREDENTIAL, Asker, Server, gives, raises

OPENED = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
AT = Timestamp(seconds=int(OPENED.timestamp()), nanos=250_000_000)
MESSAGE = pb.Approval(
    approval_id="a-1",
    version=2,
    state=pb.APPROVAL_STATE_PENDING,
    agent="coder",
    user="ann",
    tool="git_commit",
    decision_id="d-1",
    session_id="s-1",
    reasons=[decision_pb2.Reason(code="git.commit", message="a person looks", metadata_json=b'{"limit":3}')],
    priority=70,
    quorum=2,
    roles=["approver"],
    answers=[
        pb.ApprovalAnswer(
            approver="alice",
            roles=["approver"],
            resolution=pb.RESOLUTION_APPROVE,
            comment="yes",
            time=AT,
            edited=True,
        )
    ],
    open_time=AT,
    expire_time=AT,
    binding_digest="binding",
    arguments_digest="arguments",
    group="group",
    joined=3,
    edited=True,
)
APPROVAL = Approval(
    approval_id="a-1",
    version=2,
    state=ApprovalState.PENDING,
    agent="coder",
    user="ann",
    tool="git_commit",
    decision_id="d-1",
    session_id="s-1",
    reasons=(Reason(code="git.commit", message="a person looks", metadata={"limit": 3}, path=""),),
    priority=70,
    quorum=2,
    roles=("approver",),
    answers=(
        ApprovalAnswer(
            approver="alice",
            roles=("approver",),
            resolution=Resolution.APPROVE,
            comment="yes",
            time=OPENED,
            edited=True,
        ),
    ),
    open_time=OPENED,
    expire_time=OPENED,
    resolve_time=None,
    binding_digest="binding",
    arguments_digest="arguments",
    group="group",
    joined=3,
    edited=True,
    used_by="",
)
SHOWN = ShownApproval(
    approval=APPROVAL, calls=(), goal="", preview=None, approved_before=None, edited_arguments=None
)
STANDING_MESSAGE = pb.StandingApproval(
    standing_id="st-1",
    agent="coder",
    user="ann",
    tool="git_commit",
    catalog_digest="catalog",
    session_id="s-1",
    arguments_schema_json=b'{"type":"object"}',
    codes=["git.commit"],
    remaining=4,
    count=5,
    expire_time=AT,
    approvers=["alice"],
    approval_id="a-1",
)
STANDING = StandingApproval(
    standing_id="st-1",
    agent="coder",
    user="ann",
    tool="git_commit",
    catalog_digest="catalog",
    session_id="s-1",
    arguments_schema={"type": "object"},
    codes=("git.commit",),
    remaining=4,
    count=5,
    expire_time=OPENED,
    approvers=("alice",),
    approval_id="a-1",
)
RESOLVED = gives(pb.ResolveApprovalResponse(approval=MESSAGE))


async def test_pages_are_asked_for_until_the_last(ask: Asker, server: Server) -> None:
    """All approvals of a state come in one row, also past a page that holds none, asked for with the credential."""
    server.approvals.list_approvals.steps.extend(
        [
            gives(pb.ListApprovalsResponse(approvals=[MESSAGE], next_page_token="two")),
            gives(pb.ListApprovalsResponse(next_page_token="three")),
            gives(pb.ListApprovalsResponse(approvals=[MESSAGE])),
        ]
    )
    assert await ask.all("approvals.list", "pending", page_size=7) == [APPROVAL, APPROVAL]
    assert server.approvals.list_approvals.asked == [
        pb.ListApprovalsRequest(state=pb.APPROVAL_STATE_PENDING, page_size=7, page_token=token)
        for token in ("", "two", "three")
    ]
    assert server.authorizations["ApprovalService"] == [f"Bearer {CREDENTIAL}"] * 3


async def test_a_state_that_is_newer_than_the_client_is_listed(ask: Asker, server: Server) -> None:
    """An approval in a state, and with an answer, of a later version is no error, and is neither approved nor a yes."""
    newer = pb.Approval(open_time=AT, expire_time=AT, answers=[pb.ApprovalAnswer(time=AT)])
    newer.state = newer.answers[0].resolution = 99  # type: ignore[assignment]  # of a later version
    server.approvals.list_approvals.steps.append(gives(pb.ListApprovalsResponse(approvals=[newer])))
    [found] = await ask.all("approvals.list")
    assert found.state is ApprovalState.UNRECOGNIZED
    assert found.answers[0].resolution is Resolution.UNRECOGNIZED


async def test_shows_all_of_an_approval(ask: Asker, server: Server) -> None:
    """Everything that the service shows of an approval comes as values."""
    server.approvals.get_approval.steps.append(
        gives(
            pb.GetApprovalResponse(
                approval=MESSAGE,
                calls=[
                    pb.ApprovalCall(
                        step_id="commit",
                        tool="git_commit",
                        effects=["write"],
                        arguments_json=b'{"message":{"concealed":"d"}}',
                        arguments_digest="arguments",
                        concealed=["/message"],
                        facts_json=b'{"call":{"repeats":1}}',
                        destinations_json=b'[{"kind":"path"}]',
                        files_json=b'{"/srv/a":"00ff"}',
                        reasons=MESSAGE.reasons,
                    )
                ],
                goal="ship it",
                preview=pb.Preview(verdict=decision_pb2.VERDICT_DENY, reasons=MESSAGE.reasons),
                approved_before=pb.ApprovedBefore(
                    approval_id="a-0", resolve_time=AT, arguments_json=b'{"message":"m"}'
                ),
                edited_arguments_json=b'{"message":"n"}',
            )
        )
    )
    shown = await ask("approvals.get", "a-1")
    assert server.approvals.get_approval.asked == [pb.GetApprovalRequest(approval_id="a-1")]
    [call] = shown.calls
    assert (shown.approval, shown.goal, shown.edited_arguments) == (APPROVAL, "ship it", {"message": "n"})
    assert (shown.preview.verdict, shown.preview.reasons) == (Verdict.DENY, APPROVAL.reasons)
    before = shown.approved_before
    assert (before.approval_id, before.resolve_time, before.arguments) == ("a-0", OPENED, {"message": "m"})
    assert (call.step_id, call.tool, call.effects, call.reasons) == (
        "commit",
        "git_commit",
        ("write",),
        APPROVAL.reasons,
    )
    assert (call.arguments, call.concealed) == ({"message": {"concealed": "d"}}, ("/message",))
    assert (call.facts, call.destinations, call.files) == (
        {"call": {"repeats": 1}},
        ({"kind": "path"},),
        {"/srv/a": "00ff"},
    )


@pytest.mark.parametrize("seen", [APPROVAL, SHOWN], ids=["listed", "shown"])
async def test_an_answer_is_to_what_was_seen(
    ask: Asker, server: Server, seen: Approval | ShownApproval
) -> None:
    """The version and the digest that were seen travel with the answer, and so does all that is added (case 51)."""
    server.approvals.resolve_approval.steps.append(
        gives(
            pb.ResolveApprovalResponse(
                approval=MESSAGE,
                preview=pb.Preview(verdict=decision_pb2.VERDICT_ALLOW),
                standing=STANDING_MESSAGE,
            )
        )
    )
    terms = StandingTerms(arguments_schema={"type": "object"}, count=5, life_seconds=60)
    done = await ask(
        "approvals.resolve",
        seen,
        Resolution.APPROVE,
        comment="yes",
        edited_arguments={"message": "ü"},
        standing=terms,
    )
    assert (done.approval, done.preview.verdict, done.standing) == (APPROVAL, Verdict.ALLOW, STANDING)
    assert server.approvals.resolve_approval.asked == [
        pb.ResolveApprovalRequest(
            approval_id="a-1",
            resolution=pb.RESOLUTION_APPROVE,
            comment="yes",
            edited_arguments_json='{"message":"ü"}'.encode(),
            version=2,
            binding_digest="binding",
            standing=pb.StandingTerms(
                arguments_schema_json=b'{"type":"object"}', count=5, life_seconds=60, this_session=True
            ),
        )
    ]


async def test_a_plain_answer_adds_nothing(ask: Asker, server: Server) -> None:
    """Where nothing is edited and nothing stands, neither is in the request."""
    server.approvals.resolve_approval.otherwise = RESOLVED
    done = await ask("approvals.resolve", APPROVAL, "deny")
    assert (done.preview, done.standing) == (None, None)
    assert server.approvals.resolve_approval.asked == [
        pb.ResolveApprovalRequest(
            approval_id="a-1", resolution=pb.RESOLUTION_DENY, version=2, binding_digest="binding"
        )
    ]


@pytest.mark.parametrize(
    ("resolution", "more", "error"),
    [
        ("maybe", {}, ValueError),
        ("unrecognized", {}, ValueError),
        ("approve", {"edited_arguments": {"amount": float("nan")}}, ValueError),
        ("approve", {"edited_arguments": ["a-secret"]}, TypeError),
    ],
    ids=["no resolution", "unrecognized", "not JSON", "no object"],
)
async def test_what_is_no_answer_is_not_sent(
    ask: Asker, server: Server, resolution: str, more: dict[str, Any], error: type[Exception]
) -> None:
    """What cannot be an answer is told before anything is sent, without a value of it."""
    with pytest.raises(error) as caught:
        await ask("approvals.resolve", APPROVAL, resolution, **more)
    assert "a-secret" not in str(caught.value)
    assert server.approvals.resolve_approval.asked == []


@pytest.mark.parametrize("state", ["unrecognized", "open"])
async def test_a_state_that_is_none_is_not_asked_for(ask: Asker, server: Server, state: str) -> None:
    """A filter that cannot be meant is told before anything is sent."""
    with pytest.raises(ValueError, match=state):
        await ask.all("approvals.list", state)
    assert server.approvals.list_approvals.asked == []


async def test_an_answer_is_given_once_the_service_is_back(ask: Asker, server: Server) -> None:
    """An answer is tried again while the service is away: with the version that was seen it is given once (case 49)."""
    server.approvals.resolve_approval.steps.extend([raises(ErrorReason.DECISION_LOG_UNAVAILABLE), RESOLVED])
    assert (await ask("approvals.resolve", APPROVAL, "approve")).approval == APPROVAL
    [first, second] = server.approvals.resolve_approval.asked
    assert first == second


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (ErrorReason.APPROVAL_NOT_FOUND, "interlock approvals list"),
        (ErrorReason.APPROVAL_CHANGED, "look at the approval again"),
        (ErrorReason.APPROVER_NOT_PERMITTED, "somebody else"),
        (ErrorReason.APPROVAL_CLOSED, "propose the call anew"),
    ],
)
async def test_says_what_to_do(ask: Asker, server: Server, reason: ErrorReason, advice: str) -> None:
    """An approver whose answer does not count is told what can be done, and the answer is not given again."""
    server.approvals.resolve_approval.steps.append(raises(reason, metadata={"state": "expired"}))
    error = await ask.error("approvals.resolve", APPROVAL, "approve")
    assert (error.reason, error.metadata) == (reason, {"state": "expired"})
    assert advice in error.diagnostics()
    assert len(server.approvals.resolve_approval.asked) == 1


async def test_lists_standing_approvals(ask: Asker, server: Server) -> None:
    """All standing approvals of an agent come, page by page."""
    server.approvals.list_standing_approvals.steps.extend(
        [
            gives(
                pb.ListStandingApprovalsResponse(standing_approvals=[STANDING_MESSAGE], next_page_token="two")
            ),
            gives(pb.ListStandingApprovalsResponse(standing_approvals=[STANDING_MESSAGE])),
        ]
    )
    assert await ask.all("approvals.standing", "coder", page_size=1) == [STANDING, STANDING]
    assert server.approvals.list_standing_approvals.asked == [
        pb.ListStandingApprovalsRequest(agent="coder", page_size=1, page_token=token) for token in ("", "two")
    ]


async def test_takes_a_standing_approval_back(ask: Asker, server: Server) -> None:
    """The standing approval that is named is revoked, and comes back with nothing left of it."""
    over = pb.StandingApproval()
    over.CopyFrom(STANDING_MESSAGE)
    over.remaining = 0
    server.approvals.revoke_standing_approval.steps.append(
        gives(pb.RevokeStandingApprovalResponse(standing_approval=over))
    )
    assert await ask("approvals.revoke_standing", "st-1", comment="enough") == replace(STANDING, remaining=0)
    assert server.approvals.revoke_standing_approval.asked == [
        pb.RevokeStandingApprovalRequest(standing_id="st-1", comment="enough")
    ]
