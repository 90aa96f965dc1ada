"""Between values of freezes and protobuf messages."""

from interlock.client import freeze_values as values
from interlock.client.messages import moment, understood
from interlock.v1 import control_service_pb2 as pb

_SCOPES = {
    pb.FREEZE_SCOPE_ALL: values.FreezeScope.ALL,
    pb.FREEZE_SCOPE_TENANT: values.FreezeScope.TENANT,
    pb.FREEZE_SCOPE_AGENT: values.FreezeScope.AGENT,
    pb.FREEZE_SCOPE_TOOL: values.FreezeScope.TOOL,
}
_NUMBERS = {scope: number for number, scope in _SCOPES.items()}


def freeze_request(
    scope: values.FreezeScope | str, name: str, *, tenant: str, comment: str
) -> pb.FreezeRequest:
    """The request to freeze. Raises ValueError for a scope that cannot be asked for."""
    return pb.FreezeRequest(scope=_number(scope), tenant=tenant, name=name, comment=comment)


def unfreeze_request(
    scope: values.FreezeScope | str, name: str, *, tenant: str, comment: str
) -> pb.UnfreezeRequest:
    """The request to end a freeze. Raises ValueError for a scope that cannot be asked for."""
    return pb.UnfreezeRequest(scope=_number(scope), tenant=tenant, name=name, comment=comment)


@understood("Freeze")
def read_frozen(response: pb.FreezeResponse) -> values.Freeze:
    """The freeze that stands."""
    return _freeze(response.freeze)


@understood("Unfreeze")
def read_unfrozen(response: pb.UnfreezeResponse) -> values.Freeze:
    """The freeze as it ended."""
    return _freeze(response.freeze)


@understood("ListFreezes")
def read_freezes(response: pb.ListFreezesResponse) -> list[values.Freeze]:
    """What is frozen."""
    return [_freeze(each) for each in response.freezes]


def _number(scope: values.FreezeScope | str) -> pb.FreezeScope.ValueType:
    stated = values.FreezeScope(scope)
    if stated not in _NUMBERS:
        raise ValueError(f"`scope` must be one of {', '.join(_NUMBERS)}, got `{scope}`")
    return _NUMBERS[stated]


def _freeze(message: pb.Freeze) -> values.Freeze:
    return values.Freeze(
        log_index=message.log_index,
        scope=_SCOPES.get(message.scope, values.FreezeScope.UNRECOGNIZED),
        tenant=message.tenant,
        name=message.name,
        comment=message.comment,
        start_time=moment(message.start_time),
        end_time=moment(message.end_time) if message.HasField("end_time") else None,
    )
