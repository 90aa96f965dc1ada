"""ControlService over the flows."""

from interlock.core.identity import CallerKind
from interlock.flows.attend import Attending, attend
from interlock.flows.freeze import Freezing, freeze, list_freezes, unfreeze
from interlock.rpc import control_wire
from interlock.rpc.endpoint import Call, caller_of
from interlock.v1 import control_service_pb2 as pb


class ControlServicer:
    """Attend, for gateways; Freeze, Unfreeze and ListFreezes, for operators."""

    service = pb.DESCRIPTOR.services_by_name["ControlService"]

    def __init__(self, *, attending: Attending, freezing: Freezing) -> None:
        self._attending = attending
        self._freezing = freezing

    async def attend(self, request: pb.AttendRequest, call: Call) -> pb.AttendResponse:
        """What a gateway must know."""
        caller = caller_of(call, CallerKind.GATEWAY)
        drifted = control_wire.tool_drifts(request)
        freezes = await attend(tuple(request.obligations), drifted, caller, self._attending)
        return pb.AttendResponse(freezes=map(control_wire.freeze, freezes))

    async def freeze(self, request: pb.FreezeRequest, call: Call) -> pb.FreezeResponse:
        """A freeze begins."""
        caller = caller_of(call, CallerKind.OPERATOR)
        target = control_wire.freeze_target(request, caller)
        standing = await freeze(target, request.comment, caller, self._freezing)
        return pb.FreezeResponse(freeze=control_wire.freeze(standing))

    async def unfreeze(self, request: pb.UnfreezeRequest, call: Call) -> pb.UnfreezeResponse:
        """A freeze ends."""
        caller = caller_of(call, CallerKind.OPERATOR)
        target = control_wire.freeze_target(request, caller)
        ended = await unfreeze(target, request.comment, caller, self._freezing)
        return pb.UnfreezeResponse(freeze=control_wire.freeze(ended))

    async def list_freezes(self, request: pb.ListFreezesRequest, call: Call) -> pb.ListFreezesResponse:
        """What is frozen."""
        caller = caller_of(call, CallerKind.OPERATOR, CallerKind.AUDITOR)
        freezes = await list_freezes(request.tenant or caller.tenant, caller, self._freezing)
        return pb.ListFreezesResponse(freezes=map(control_wire.freeze, freezes))
