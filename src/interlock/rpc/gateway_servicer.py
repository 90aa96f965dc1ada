"""GatewayService over the flow. No credential is asked for: the execution token is the permission."""

from interlock.core.execution import Call as ToolCall
from interlock.flows.execute import Executor
from interlock.ports import Meter
from interlock.rpc import wire
from interlock.rpc.endpoint import Call
from interlock.v1 import gateway_service_pb2 as pb


class GatewayServicer:
    """Execute."""

    service = pb.DESCRIPTOR.services_by_name["GatewayService"]

    def __init__(self, executor: Executor, meter: Meter) -> None:
        self._executor = executor
        self._meter = meter

    async def execute(self, request: pb.ExecuteRequest, _: Call) -> pb.ExecuteResponse:
        """One call, once."""
        done = await self._executor.execute(
            ToolCall(
                execution_token=request.execution_token,
                tool=request.tool,
                arguments_json=request.arguments_json,
            )
        )
        self._meter.executed(done.kind.value)
        return pb.ExecuteResponse(
            execution_id=done.execution_id,
            outcome=wire.outcome_kind(done.kind),
            result_json=done.result_json,
            obligation_results=[
                pb.ObligationResult(type=result.type, detail=result.detail)
                for result in done.obligation_results
            ],
        )
