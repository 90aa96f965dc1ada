"""ports.OutcomeSink: a gateway reports outcomes to the decision service over gRPC."""

import grpc

from interlock.core.outcome import Outcome
from interlock.rpc import wire
from interlock.rpc.told_errors import told
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
            raise told(error) from error
