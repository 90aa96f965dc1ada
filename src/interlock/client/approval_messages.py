"""Between values of approvals and protobuf messages."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.client import approval_values as values
from interlock.client.messages import VERDICTS, encode_arguments, json_object, moment, reason, understood
from interlock.v1 import approval_service_pb2 as pb

_STATES = {
    pb.APPROVAL_STATE_PENDING: values.ApprovalState.PENDING,
    pb.APPROVAL_STATE_APPROVED: values.ApprovalState.APPROVED,
    pb.APPROVAL_STATE_DENIED: values.ApprovalState.DENIED,
    pb.APPROVAL_STATE_EXPIRED: values.ApprovalState.EXPIRED,
    pb.APPROVAL_STATE_WITHDRAWN: values.ApprovalState.WITHDRAWN,
    pb.APPROVAL_STATE_SUPERSEDED: values.ApprovalState.SUPERSEDED,
}
_STATE_NUMBERS = {state: number for number, state in _STATES.items()}
_RESOLUTIONS = {
    pb.RESOLUTION_APPROVE: values.Resolution.APPROVE,
    pb.RESOLUTION_DENY: values.Resolution.DENY,
}
_RESOLUTION_NUMBERS = {resolution: number for number, resolution in _RESOLUTIONS.items()}


def list_request(state: values.ApprovalState | str | None, page_size: int) -> pb.ListApprovalsRequest:
    """The request for the first page. Raises ValueError for a state that cannot be asked for."""
    number = pb.APPROVAL_STATE_UNSPECIFIED
    if state is not None:
        stated = values.ApprovalState(state)
        if stated not in _STATE_NUMBERS:
            raise ValueError(f"`state` must be one of {', '.join(_STATE_NUMBERS)}, got `{state}`")
        number = _STATE_NUMBERS[stated]
    return pb.ListApprovalsRequest(state=number, page_size=page_size)


def following(request: pb.ListApprovalsRequest, page_token: str) -> pb.ListApprovalsRequest:
    """The request for the page that `page_token` names, with the same filter."""
    return pb.ListApprovalsRequest(state=request.state, page_size=request.page_size, page_token=page_token)


def following_standing(
    request: pb.ListStandingApprovalsRequest, page_token: str
) -> pb.ListStandingApprovalsRequest:
    """The request for the page that `page_token` names, of the same agent."""
    return pb.ListStandingApprovalsRequest(
        agent=request.agent, page_size=request.page_size, page_token=page_token
    )


def resolve_request(
    seen: values.Approval | values.ShownApproval,
    resolution: values.Resolution | str,
    *,
    comment: str,
    edited_arguments: Mapping[str, Any] | None,
    standing: values.StandingTerms | None,
) -> pb.ResolveApprovalRequest:
    """The answer to what was seen. Raises ValueError for one that cannot be given; else as `encode_arguments`."""
    approval = seen.approval if isinstance(seen, values.ShownApproval) else seen
    return pb.ResolveApprovalRequest(
        approval_id=approval.approval_id,
        resolution=_resolution_number(resolution),
        comment=comment,
        edited_arguments_json=b"" if edited_arguments is None else encode_arguments(edited_arguments),
        version=approval.version,
        binding_digest=approval.binding_digest,
        standing=None if standing is None else _terms(standing),
    )


@understood("ListApprovals")
def read_page(response: pb.ListApprovalsResponse) -> tuple[list[values.Approval], str]:
    """The approvals of a page, and the token of the next one, empty on the last page."""
    return [_approval(each) for each in response.approvals], response.next_page_token


@understood("GetApproval")
def read_shown(response: pb.GetApprovalResponse) -> values.ShownApproval:
    """The approval with all that there is to see."""
    edited = response.edited_arguments_json
    return values.ShownApproval(
        approval=_approval(response.approval),
        calls=tuple(map(_call, response.calls)),
        goal=response.goal,
        preview=_preview(response.preview) if response.HasField("preview") else None,
        approved_before=_approved_before(response.approved_before)
        if response.HasField("approved_before")
        else None,
        edited_arguments=_strict_object(edited, "edited_arguments_json") if edited else None,
    )


@understood("ResolveApproval")
def read_resolved(response: pb.ResolveApprovalResponse) -> values.Resolved:
    """What came of the answer."""
    return values.Resolved(
        approval=_approval(response.approval),
        preview=_preview(response.preview) if response.HasField("preview") else None,
        standing=_standing(response.standing) if response.HasField("standing") else None,
    )


@understood("ListStandingApprovals")
def read_standing_page(
    response: pb.ListStandingApprovalsResponse,
) -> tuple[list[values.StandingApproval], str]:
    """The standing approvals of a page, and the token of the next one, empty on the last page."""
    return [_standing(each) for each in response.standing_approvals], response.next_page_token


@understood("RevokeStandingApproval")
def read_revoked(response: pb.RevokeStandingApprovalResponse) -> values.StandingApproval:
    """The standing approval, of which nothing remains."""
    return _standing(response.standing_approval)


def _resolution_number(resolution: values.Resolution | str) -> pb.Resolution.ValueType:
    stated = values.Resolution(resolution)
    if stated not in _RESOLUTION_NUMBERS:
        raise ValueError(f"`resolution` must be one of {', '.join(_RESOLUTION_NUMBERS)}, got `{resolution}`")
    return _RESOLUTION_NUMBERS[stated]


def _terms(terms: values.StandingTerms) -> pb.StandingTerms:
    return pb.StandingTerms(
        arguments_schema_json=encode_arguments(terms.arguments_schema),
        count=terms.count,
        life_seconds=terms.life_seconds,
        this_session=terms.this_session,
    )


def _approval(message: pb.Approval) -> values.Approval:
    return values.Approval(
        approval_id=message.approval_id,
        version=message.version,
        state=_STATES.get(message.state, values.ApprovalState.UNRECOGNIZED),
        agent=message.agent,
        user=message.user,
        tool=message.tool,
        decision_id=message.decision_id,
        session_id=message.session_id,
        reasons=tuple(map(reason, message.reasons)),
        priority=message.priority,
        quorum=message.quorum,
        roles=tuple(message.roles),
        answers=tuple(map(_answer, message.answers)),
        open_time=_moment(message, "open_time"),
        expire_time=_moment(message, "expire_time"),
        resolve_time=moment(message.resolve_time) if message.HasField("resolve_time") else None,
        binding_digest=message.binding_digest,
        arguments_digest=message.arguments_digest,
        group=message.group,
        joined=message.joined,
        edited=message.edited,
        used_by=message.used_by,
    )


def _answer(message: pb.ApprovalAnswer) -> values.ApprovalAnswer:
    return values.ApprovalAnswer(
        approver=message.approver,
        roles=tuple(message.roles),
        resolution=_RESOLUTIONS.get(message.resolution, values.Resolution.UNRECOGNIZED),
        comment=message.comment,
        time=_moment(message, "time"),
        edited=message.edited,
    )


def _call(message: pb.ApprovalCall) -> values.ApprovalCall:
    return values.ApprovalCall(
        step_id=message.step_id,
        tool=message.tool,
        effects=tuple(message.effects),
        arguments=_strict_object(message.arguments_json, "arguments_json"),
        arguments_json=message.arguments_json,
        arguments_digest=message.arguments_digest,
        concealed=tuple(message.concealed),
        facts=json_object(message.facts_json, "facts_json"),
        destinations=tuple(_objects(message.destinations_json, "destinations_json")),
        files=_texts(json_object(message.files_json, "files_json"), "files_json"),
        reasons=tuple(map(reason, message.reasons)),
    )


def _preview(message: pb.Preview) -> values.Preview:
    verdict = VERDICTS.get(message.verdict)
    if verdict is None:
        raise ValueError(f"verdict `{message.verdict}` is not known")
    return values.Preview(verdict=verdict, reasons=tuple(map(reason, message.reasons)))


def _approved_before(message: pb.ApprovedBefore) -> values.ApprovedBefore:
    return values.ApprovedBefore(
        approval_id=message.approval_id,
        resolve_time=_moment(message, "resolve_time"),
        arguments=_strict_object(message.arguments_json, "arguments_json"),
        arguments_json=message.arguments_json,
    )


def _standing(message: pb.StandingApproval) -> values.StandingApproval:
    return values.StandingApproval(
        standing_id=message.standing_id,
        agent=message.agent,
        user=message.user,
        tool=message.tool,
        catalog_digest=message.catalog_digest,
        session_id=message.session_id,
        arguments_schema=_strict_object(message.arguments_schema_json, "arguments_schema_json"),
        codes=tuple(message.codes),
        remaining=message.remaining,
        count=message.count,
        expire_time=_moment(message, "expire_time"),
        approvers=tuple(message.approvers),
        approval_id=message.approval_id,
    )


def _strict_object(data: bytes, field: str) -> dict[str, Any]:
    """What a person is shown of arguments: the one value that these bytes can mean. Raises ValueError."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except ValueError:
        raise ValueError(f"`{field}` is not strict JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError(f"`{field}` is not a JSON object")  # noqa: TRY004 - of an answer, not of an argument
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"JSON has no `{name}`")


def _objects(data: bytes, field: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(data.decode()) if data else []
    except ValueError:
        raise ValueError(f"`{field}` is not JSON in UTF-8") from None
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"`{field}` is not a JSON array of objects")
    return value


def _texts(value: dict[str, Any], field: str) -> dict[str, str]:
    if not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"`{field}` holds more than texts")
    return value


def _moment(message: Message, name: str) -> datetime:
    if not message.HasField(name):
        raise ValueError(f"`{name}` is missing")
    time: Timestamp = getattr(message, name)
    return moment(time)
