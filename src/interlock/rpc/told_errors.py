"""From a gRPC error to the InterlockError that the decision service gave: rpc.status, read backwards."""

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from interlock.core.errors import ErrorReason, FieldViolation, InterlockError

_AWAY_RETRY_SECONDS = 1.0


def told(error: grpc.aio.AioRpcError) -> InterlockError:
    """The error that the service gave; DECISION_LOG_UNAVAILABLE where none of its own came, as it is away."""
    status = rpc_status.from_call(error)
    info = _info(status) if status else None
    if status is None or info is None:
        return _away(error)
    return InterlockError(
        reason=ErrorReason(info.reason),
        message=status.message,
        violations=_violations(status),
        metadata=dict(info.metadata),
        retry_after=_retry_after(status),
    )


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.reason in ErrorReason.__members__:
            return info
    return None


def _violations(status: status_pb2.Status) -> tuple[FieldViolation, ...]:
    for detail in status.details:
        request = error_details_pb2.BadRequest()
        if detail.Unpack(request):
            return tuple(_violation(each) for each in request.field_violations)
    return ()


def _violation(told_as: error_details_pb2.BadRequest.FieldViolation) -> FieldViolation:
    field, _, pointer = told_as.field.partition("#")
    return FieldViolation(field=field, pointer=pointer, description=told_as.description)


def _retry_after(status: status_pb2.Status) -> float | None:
    for detail in status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return max(0.0, float(retry.retry_delay.ToNanoseconds() / 1e9))
    return None


def _away(error: grpc.aio.AioRpcError) -> InterlockError:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return InterlockError(
            reason=ErrorReason.DEADLINE_EXCEEDED, message="the decision service did not answer in time"
        )
    return InterlockError(
        reason=ErrorReason.DECISION_LOG_UNAVAILABLE,
        message="the decision service cannot be reached",
        retry_after=_AWAY_RETRY_SECONDS,
    )
