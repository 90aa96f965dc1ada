"""ports.OutcomeSink: a gateway reports outcomes to the decision service over gRPC."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import Outcome
from interlock.rpc import wire
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub

LIMIT_SECONDS = 10.0


class OutcomeReporter:
    """Delivers outcomes with the gateway's own credential."""

    def __init__(self, channel: grpc.aio.Channel, *, credential: str) -> None:
        """`credential` is of kind gateway, and its name is the audience of this gateway's tokens."""
        self._report = DecisionServiceStub(channel).ReportOutcome
        self._metadata = (("authorization", f"Bearer {credential}"),)

    async def deliver(self, outcome: Outcome) -> None:
        """Report the outcome. Raises InterlockError as the decision service does; UNAVAILABLE where it is away."""
        try:
            await self._report(wire.outcome_report(outcome), metadata=self._metadata, timeout=LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error


def _told(error: grpc.aio.AioRpcError) -> InterlockError:
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.reason in ErrorReason.__members__:
            return InterlockError(reason=ErrorReason(info.reason), message=error.details() or "")
    return InterlockError(
        reason=ErrorReason.DECISION_LOG_UNAVAILABLE,
        message="the decision service cannot be reached",
        retry_after=1.0,
    )
