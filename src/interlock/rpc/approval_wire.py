"""Between ApprovalService's messages and core types; nothing here decides anything."""

import re

import orjson

from interlock.core.approval import Answer, Approval, ApprovalState, Resolution
from interlock.core.approval_view import (
    ApprovedBefore,
    GivenAnswer,
    ListQuery,
    Preview,
    Resolved,
    ShownApproval,
    ShownCall,
)
from interlock.core.decision import Verdict
from interlock.core.errors import invalid_field
from interlock.core.field_checks import check_number
from interlock.core.standing import StandingApproval, StandingQuery, StandingTerms
from interlock.rpc import wire
from interlock.rpc.wire import reason, timestamp
from interlock.v1 import approval_service_pb2 as pb

_STATES = {
    ApprovalState.PENDING: pb.APPROVAL_STATE_PENDING,
    ApprovalState.APPROVED: pb.APPROVAL_STATE_APPROVED,
    ApprovalState.DENIED: pb.APPROVAL_STATE_DENIED,
    ApprovalState.EXPIRED: pb.APPROVAL_STATE_EXPIRED,
    ApprovalState.WITHDRAWN: pb.APPROVAL_STATE_WITHDRAWN,
    ApprovalState.SUPERSEDED: pb.APPROVAL_STATE_SUPERSEDED,
}
_STATES_OF_NUMBERS = {number: state for state, number in _STATES.items()}
_RESOLUTIONS = {
    Resolution.APPROVE: pb.RESOLUTION_APPROVE,
    Resolution.DENY: pb.RESOLUTION_DENY,
}
_RESOLUTIONS_OF_NUMBERS = {number: resolution for resolution, number in _RESOLUTIONS.items()}
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def list_query(request: pb.ListApprovalsRequest) -> ListQuery:
    """Which approvals. Raises InterlockError: INVALID_FIELD."""
    return ListQuery(state=_state(request.state), page_size=request.page_size, page_token=request.page_token)


def given_answer(request: pb.ResolveApprovalRequest) -> GivenAnswer:
    """The answer as it came in. Raises InterlockError: INVALID_FIELD."""
    check_number("version", request.version, least=1)
    if request.binding_digest and not _DIGEST.match(request.binding_digest):
        raise invalid_field("binding_digest", "must be empty, or a digest of 43 characters of base64url")
    return GivenAnswer(
        approval_id=request.approval_id,
        resolution=_resolution(request),
        comment=request.comment,
        version=request.version,
        binding_digest=request.binding_digest,
        edited_arguments_json=request.edited_arguments_json,
        standing=_standing_terms(request.standing) if request.HasField("standing") else None,
    )


def standing_query(request: pb.ListStandingApprovalsRequest) -> StandingQuery:
    """Which standing approvals."""
    return StandingQuery(agent=request.agent, page_size=request.page_size, page_token=request.page_token)


def approval(value: Approval) -> pb.Approval:
    """The approval as it is told."""
    return pb.Approval(
        approval_id=value.approval_id,
        version=value.version,
        state=_STATES[value.state],
        agent=value.agent,
        user=value.user,
        tool=value.tool,
        decision_id=value.decision_id,
        session_id=value.session_id,
        reasons=map(reason, value.reasons),
        priority=value.priority,
        quorum=value.quorum,
        roles=value.roles,
        answers=map(_answer, value.answers),
        open_time=timestamp(value.open_time),
        expire_time=timestamp(value.expire_time),
        resolve_time=None if value.resolve_time is None else timestamp(value.resolve_time),
        binding_digest=value.binding.digest,
        arguments_digest=value.binding.arguments_digest,
        group=value.group,
        joined=value.joined,
        edited=value.edited,
        used_by=value.used_by,
    )


def shown(value: ShownApproval) -> pb.GetApprovalResponse:
    """The approval with all that there is to see."""
    return pb.GetApprovalResponse(
        approval=approval(value.approval),
        calls=map(_call, value.calls),
        goal=value.goal,
        preview=None if value.preview is None else _preview(value.preview),
        approved_before=None if value.approved_before is None else _approved_before(value.approved_before),
        edited_arguments_json=value.edited_arguments_json,
    )


def resolved(value: Resolved) -> pb.ResolveApprovalResponse:
    """What came of an answer."""
    return pb.ResolveApprovalResponse(
        approval=approval(value.approval),
        preview=None if value.preview is None else _preview(value.preview),
        standing=None if value.standing is None else standing_approval(value.standing),
    )


def standing_approval(value: StandingApproval) -> pb.StandingApproval:
    """The standing approval as it is told."""
    return pb.StandingApproval(
        standing_id=value.standing_id,
        agent=value.agent,
        user=value.user,
        tool=value.tool,
        catalog_digest=value.catalog_digest,
        session_id=value.session_id,
        arguments_schema_json=value.arguments_schema_json,
        codes=value.codes,
        remaining=value.remaining,
        count=value.count,
        expire_time=timestamp(value.expire_time),
        approvers=value.approvers,
        approval_id=value.approval_id,
    )


def _state(number: pb.ApprovalState.ValueType) -> ApprovalState | None:
    if number == pb.APPROVAL_STATE_UNSPECIFIED:
        return None
    state = _STATES_OF_NUMBERS.get(number)
    if state is None:
        raise invalid_field("state", "is not a value of ApprovalState")
    return state


def _resolution(request: pb.ResolveApprovalRequest) -> Resolution:
    resolution = _RESOLUTIONS_OF_NUMBERS.get(request.resolution)
    if resolution is None:
        raise invalid_field("resolution", "must be one of approve or deny")
    return resolution


def _standing_terms(message: pb.StandingTerms) -> StandingTerms:
    return StandingTerms(
        arguments_schema_json=message.arguments_schema_json,
        count=message.count,
        life_seconds=message.life_seconds,
        this_session=message.this_session,
    )


def _answer(value: Answer) -> pb.ApprovalAnswer:
    return pb.ApprovalAnswer(
        approver=value.approver,
        roles=value.roles,
        resolution=_RESOLUTIONS[value.resolution],
        comment=value.comment,
        time=timestamp(value.time),
        edited=value.edited,
    )


def _call(value: ShownCall) -> pb.ApprovalCall:
    return pb.ApprovalCall(
        step_id=value.step_id,
        tool=value.tool,
        effects=value.effects,
        arguments_json=value.arguments_json,
        arguments_digest=value.arguments_digest,
        concealed=value.concealed,
        facts_json=orjson.dumps(value.facts),
        destinations_json=orjson.dumps(value.destinations),
        files_json=orjson.dumps(value.files),
        reasons=map(reason, value.reasons),
    )


def _preview(value: Preview) -> pb.Preview:
    return pb.Preview(verdict=wire.verdict(Verdict(value.verdict)), reasons=map(reason, value.reasons))


def _approved_before(value: ApprovedBefore) -> pb.ApprovedBefore:
    return pb.ApprovedBefore(
        approval_id=value.approval_id,
        resolve_time=timestamp(value.resolve_time),
        arguments_json=value.arguments_json,
    )
