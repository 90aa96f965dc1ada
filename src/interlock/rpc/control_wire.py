"""Between ControlService's messages and core types; nothing here decides anything."""

from collections.abc import Sequence

from interlock.core.errors import ErrorReason, InterlockError, invalid_field
from interlock.core.freeze import Freeze, FreezeScope, FreezeTarget
from interlock.core.identity import Caller
from interlock.ports import ToolDrift
from interlock.rpc.wire import moment, timestamp
from interlock.v1 import control_service_pb2 as pb

_SCOPES = {
    FreezeScope.ALL: pb.FREEZE_SCOPE_ALL,
    FreezeScope.TENANT: pb.FREEZE_SCOPE_TENANT,
    FreezeScope.AGENT: pb.FREEZE_SCOPE_AGENT,
    FreezeScope.TOOL: pb.FREEZE_SCOPE_TOOL,
}
_SCOPES_OF_NUMBERS = {number: scope for scope, number in _SCOPES.items()}


def freeze_target(request: pb.FreezeRequest | pb.UnfreezeRequest, caller: Caller) -> FreezeTarget:
    """What the request is about; the caller's own tenant where it names none. Raises InterlockError: INVALID_FIELD."""
    scope = _SCOPES_OF_NUMBERS.get(request.scope)
    if scope is None:
        raise invalid_field("scope", "must be one of all, tenant, agent or tool")
    tenant = request.tenant if scope is FreezeScope.ALL else request.tenant or caller.tenant
    return FreezeTarget(scope=scope, tenant=tenant, name=request.name)


def freeze(value: Freeze) -> pb.Freeze:
    """The freeze as it is told."""
    return pb.Freeze(
        log_index=value.log_index,
        scope=_SCOPES[value.scope],
        tenant=value.tenant,
        name=value.name,
        comment=value.comment,
        start_time=timestamp(value.start_time),
        end_time=None if value.end_time is None else timestamp(value.end_time),
    )


def tool_drifts(request: pb.AttendRequest) -> list[ToolDrift]:
    """What the gateway found."""
    return [
        ToolDrift(tool=each.tool, pinned_digest=each.pinned_digest, listed_digest=each.listed_digest)
        for each in request.drifted
    ]


def attend_request(obligations: Sequence[str], drifted: Sequence[ToolDrift]) -> pb.AttendRequest:
    """What a gateway says of itself."""
    return pb.AttendRequest(
        obligations=obligations,
        drifted=[
            pb.ToolDrift(tool=each.tool, pinned_digest=each.pinned_digest, listed_digest=each.listed_digest)
            for each in drifted
        ],
    )


def heard_freezes(response: pb.AttendResponse) -> list[Freeze]:
    """What is frozen. Raises InterlockError: INTERNAL for an answer of which a part is not understood."""
    return [_heard(each) for each in response.freezes]


def _heard(message: pb.Freeze) -> Freeze:
    scope = _SCOPES_OF_NUMBERS.get(message.scope)
    if scope is None:
        raise InterlockError(
            reason=ErrorReason.INTERNAL, message="the decision service tells of a freeze of an unknown scope"
        )
    return Freeze(
        log_index=message.log_index,
        scope=scope,
        tenant=message.tenant,
        name=message.name,
        comment=message.comment,
        start_time=moment(message.start_time),
        end_time=moment(message.end_time) if message.HasField("end_time") else None,
    )
