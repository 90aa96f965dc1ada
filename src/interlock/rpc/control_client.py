"""ports.ControlService: a gateway attends to the decision service over gRPC."""

from collections.abc import Sequence

import grpc

from interlock.core.freeze import Freeze
from interlock.ports import ToolDrift
from interlock.rpc import control_wire
from interlock.rpc.told_errors import told
from interlock.v1.control_service_pb2_grpc import ControlServiceStub

LIMIT_SECONDS = 0.7
"""Of one question, so that one that is lost leaves time for another before nothing is known any more."""


class ControlClient:
    """Attends with the gateway's own credential."""

    def __init__(self, channel: grpc.aio.Channel, *, credential: str) -> None:
        """`credential` is of kind gateway, and its name is the audience of this gateway's tokens."""
        self._attend = ControlServiceStub(channel).Attend
        self._metadata = (("authorization", f"Bearer {credential}"),)

    async def attend(self, obligations: Sequence[str], drifted: Sequence[ToolDrift]) -> list[Freeze]:
        """What is frozen. Raises InterlockError as the decision service does; UNAVAILABLE where it is away."""
        request = control_wire.attend_request(obligations, drifted)
        try:
            response = await self._attend(request, metadata=self._metadata, timeout=LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise told(error) from error
        return control_wire.heard_freezes(response)
