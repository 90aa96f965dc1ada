"""Between ApprovalService's messages and core types."""

from datetime import timedelta
from typing import Any, Literal

import pytest

from interlock.core.approval import Answer, Approval, ApprovalState, Binding, Resolution
from interlock.core.approval_view import ApprovedBefore, Preview, Resolved, ShownApproval, ShownCall
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.reason import Reason
from interlock.core.standing import StandingApproval
from interlock.rpc import approval_wire
from interlock.rpc.wire import timestamp
from interlock.v1 import approval_service_pb2 as pb
from interlock.v1 import decision_pb2
from tests.fakes import NOON

REASON = Reason(code="git.commit", message="a person looks", metadata={"limit": 3}, path="/message")
TOLD_REASON = decision_pb2.Reason(
    code="git.commit", message="a person looks", metadata_json=b'{"limit":3}', path="/message"
)
LATER = NOON + timedelta(hours=1)
BINDING = Binding(
    tenant="acme",
    agent="agent-1",
    user="ann",
    tool="git_commit",
    catalog_digest="catalog",
    arguments_digest="arguments",
    plan_digest="",
    destinations="destinations",
    files="",
    policy_revision="revision-1",
)


def an_approval(**changes: Any) -> Approval:
    fields: dict[str, Any] = {
        "approval_id": "a-1",
        "tenant": "acme",
        "agent": "agent-1",
        "user": "ann",
        "tool": "git_commit",
        "decision_id": "d-1",
        "session_id": "s-1",
        "binding": BINDING,
        "reasons": (REASON,),
        "authors": ("agent-1", "ann"),
        "priority": 70,
        "quorum": 2,
        "roles": ("approver", "lead"),
        "use_seconds": 900,
        "group": "group",
        "open_time": NOON,
        "expire_time": LATER,
        "opened_as": BINDING.digest,
    }
    return Approval(**(fields | changes))


TOLD: dict[str, Any] = {
    "approval_id": "a-1",
    "version": 1,
    "state": pb.APPROVAL_STATE_PENDING,
    "agent": "agent-1",
    "user": "ann",
    "tool": "git_commit",
    "decision_id": "d-1",
    "session_id": "s-1",
    "reasons": [TOLD_REASON],
    "priority": 70,
    "quorum": 2,
    "roles": ["approver", "lead"],
    "open_time": timestamp(NOON),
    "expire_time": timestamp(LATER),
    "binding_digest": BINDING.digest,
    "arguments_digest": "arguments",
    "group": "group",
}


def test_an_approval_that_waits_is_told() -> None:
    """Everything of an approval is told but its tenant and its authors, and nothing that is not so yet."""
    assert approval_wire.approval(an_approval()) == pb.Approval(**TOLD)


def test_an_approval_that_was_answered_is_told() -> None:
    """Who answered, what became of it, and what was made with it are told."""
    answer = Answer(
        approver="alice",
        roles=("approver",),
        credential_id="not told",
        resolution=Resolution.DENY,
        comment="why",
        time=NOON,
        edited=True,
    )
    changes: dict[str, Any] = {"version": 3, "joined": 2, "used_by": "d-2"}
    value = an_approval(
        state=ApprovalState.DENIED, answers=(answer,), resolve_time=LATER, opened_as="another", **changes
    )
    told = pb.ApprovalAnswer(
        approver="alice",
        roles=["approver"],
        resolution=pb.RESOLUTION_DENY,
        comment="why",
        time=timestamp(NOON),
        edited=True,
    )
    assert approval_wire.approval(value) == pb.Approval(
        **TOLD
        | changes
        | {
            "state": pb.APPROVAL_STATE_DENIED,
            "answers": [told],
            "resolve_time": timestamp(LATER),
            "edited": True,
        }
    )


@pytest.mark.parametrize("state", ApprovalState)
def test_every_state_is_told_and_asked_for(state: ApprovalState) -> None:
    """A state has one name on the wire, both ways."""
    number = approval_wire.approval(an_approval(state=state)).state
    assert approval_wire.list_query(pb.ListApprovalsRequest(state=number)).state is state
    assert pb.ApprovalState.Name(number) == f"APPROVAL_STATE_{state.name}"


def test_a_query_without_a_state_is_for_all() -> None:
    """What is left out filters nothing."""
    query = approval_wire.list_query(pb.ListApprovalsRequest(page_size=7, page_token="t"))
    assert (query.state, query.page_size, query.page_token) == (None, 7, "t")


def test_a_query_for_standing_approvals_is_read() -> None:
    """What is asked of standing approvals reaches the flow as it is."""
    request = pb.ListStandingApprovalsRequest(agent="agent-1", page_size=7, page_token="t")
    query = approval_wire.standing_query(request)
    assert (query.agent, query.page_size, query.page_token) == ("agent-1", 7, "t")


def test_an_answer_is_read_whole() -> None:
    """All that an approver sends reaches the flow as it is."""
    answer = approval_wire.given_answer(
        pb.ResolveApprovalRequest(
            approval_id="a-1",
            resolution=pb.RESOLUTION_APPROVE,
            comment="yes",
            edited_arguments_json=b"{}",
            version=3,
            binding_digest="d" * 43,
            standing=pb.StandingTerms(
                arguments_schema_json=b"{}", count=2, life_seconds=60, this_session=True
            ),
        )
    )
    assert (answer.approval_id, answer.resolution, answer.comment) == ("a-1", Resolution.APPROVE, "yes")
    assert (answer.version, answer.binding_digest, answer.edited_arguments_json) == (3, "d" * 43, b"{}")
    terms = answer.standing
    assert terms is not None
    assert (terms.arguments_schema_json, terms.count, terms.life_seconds, terms.this_session) == (
        b"{}",
        2,
        60,
        True,
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"resolution": 0}, "resolution"),
        ({"resolution": 3}, "resolution"),
        ({"version": 0}, "version"),
        ({"binding_digest": "d" * 44}, "binding_digest"),
        ({"binding_digest": "d" * 42 + "\n"}, "binding_digest"),
    ],
)
def test_what_is_no_answer_is_refused(changes: dict[str, Any], field: str) -> None:
    """No resolution, no version that was seen, or a digest that is none: INVALID_FIELD with its name."""
    fields: dict[str, Any] = {"approval_id": "a-1", "version": 1, "resolution": pb.RESOLUTION_DENY}
    with pytest.raises(InterlockError) as caught:
        approval_wire.given_answer(pb.ResolveApprovalRequest(**(fields | changes)))
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    assert caught.value.violations[0].field == field


def test_all_that_is_to_be_seen_is_told() -> None:
    """The exact bytes of the arguments, what was measured, and what the policy says reach the approver."""
    call = ShownCall(
        step_id="commit",
        tool="git_commit",
        effects=("write",),
        arguments_json=b'{"message":{"concealed":"d"}}',
        arguments_digest="arguments",
        concealed=("/message",),
        facts={"call": {"repeats": 1}},
        destinations=[{"kind": "path"}],
        files={"/srv/a": "00ff"},
        reasons=(REASON,),
    )
    value = ShownApproval(
        approval=an_approval(),
        calls=(call,),
        goal="ship it",
        preview=Preview(verdict="deny", reasons=(REASON,)),
        approved_before=ApprovedBefore(approval_id="a-0", resolve_time=LATER, arguments_json=b"{}"),
        edited_arguments_json=b'{"message":"m"}',
    )
    assert approval_wire.shown(value) == pb.GetApprovalResponse(
        approval=pb.Approval(**TOLD),
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
                reasons=[TOLD_REASON],
            )
        ],
        goal="ship it",
        preview=pb.Preview(verdict=decision_pb2.VERDICT_DENY, reasons=[TOLD_REASON]),
        approved_before=pb.ApprovedBefore(
            approval_id="a-0", resolve_time=timestamp(LATER), arguments_json=b"{}"
        ),
        edited_arguments_json=b'{"message":"m"}',
    )


@pytest.mark.parametrize("verdict", ["allow", "deny", "escalate"])
def test_what_came_of_an_answer_is_told(verdict: Literal["allow", "deny", "escalate"]) -> None:
    """The policy's word and the standing approval are there where there are such, and absent otherwise."""
    standing = StandingApproval(
        standing_id="st-1",
        tenant="acme",
        agent="agent-1",
        user="ann",
        tool="git_commit",
        catalog_digest="catalog",
        session_id="s-1",
        arguments_schema_json=b"{}",
        codes=("git.commit",),
        remaining=4,
        count=5,
        expire_time=LATER,
        approvers=("alice",),
        approval_id="a-1",
    )
    preview = Preview(verdict=verdict, reasons=())
    told = approval_wire.resolved(Resolved(approval=an_approval(), preview=preview, standing=standing))
    assert decision_pb2.Verdict.Name(told.preview.verdict) == f"VERDICT_{verdict.upper()}"
    assert told.standing == pb.StandingApproval(
        standing_id="st-1",
        agent="agent-1",
        user="ann",
        tool="git_commit",
        catalog_digest="catalog",
        session_id="s-1",
        arguments_schema_json=b"{}",
        codes=["git.commit"],
        remaining=4,
        count=5,
        expire_time=timestamp(LATER),
        approvers=["alice"],
        approval_id="a-1",
    )
    bare = approval_wire.resolved(Resolved(approval=an_approval(), preview=None, standing=None))
    assert bare == pb.ResolveApprovalResponse(approval=pb.Approval(**TOLD))
