"""From an error to google.rpc.Status: the one place that knows gRPC's codes."""

from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from interlock.core.errors import ErrorReason, InterlockError

DOMAIN = "interlock"

CODES: dict[ErrorReason, int] = {
    ErrorReason.MALFORMED_REQUEST: code_pb2.INVALID_ARGUMENT,
    ErrorReason.INVALID_FIELD: code_pb2.INVALID_ARGUMENT,
    ErrorReason.MALFORMED_ARGUMENTS: code_pb2.INVALID_ARGUMENT,
    ErrorReason.CREDENTIAL_MISSING: code_pb2.UNAUTHENTICATED,
    ErrorReason.CREDENTIAL_INVALID: code_pb2.UNAUTHENTICATED,
    ErrorReason.CALLER_NOT_PERMITTED: code_pb2.PERMISSION_DENIED,
    ErrorReason.REQUEST_ID_REUSED: code_pb2.ALREADY_EXISTS,
    ErrorReason.OVERLOADED: code_pb2.RESOURCE_EXHAUSTED,
    ErrorReason.POLICY_ENGINE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.POLICY_ENGINE_TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
    ErrorReason.POLICY_NOT_READY: code_pb2.UNAVAILABLE,
    ErrorReason.POLICY_UNDEFINED: code_pb2.INTERNAL,
    ErrorReason.POLICY_CONFLICT: code_pb2.INTERNAL,
    ErrorReason.POLICY_EVALUATION_FAILED: code_pb2.INTERNAL,
    ErrorReason.POLICY_MALFORMED: code_pb2.INTERNAL,
    ErrorReason.DECISION_LOG_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.DEADLINE_EXCEEDED: code_pb2.DEADLINE_EXCEEDED,
    ErrorReason.RECORD_NOT_FOUND: code_pb2.NOT_FOUND,
    ErrorReason.DECISION_NOT_FOUND: code_pb2.NOT_FOUND,
    ErrorReason.TOKEN_MALFORMED: code_pb2.PERMISSION_DENIED,
    ErrorReason.TOKEN_SIGNATURE_INVALID: code_pb2.PERMISSION_DENIED,
    ErrorReason.TOKEN_KEY_UNKNOWN: code_pb2.PERMISSION_DENIED,
    ErrorReason.TOKEN_EXPIRED: code_pb2.PERMISSION_DENIED,
    ErrorReason.TOKEN_NOT_YET_VALID: code_pb2.PERMISSION_DENIED,
    ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY: code_pb2.PERMISSION_DENIED,
    ErrorReason.TOKEN_ALREADY_REDEEMED: code_pb2.FAILED_PRECONDITION,
    ErrorReason.CALL_MISMATCH: code_pb2.PERMISSION_DENIED,
    ErrorReason.CATALOG_MISMATCH: code_pb2.PERMISSION_DENIED,
    ErrorReason.OBLIGATION_UNSUPPORTED: code_pb2.FAILED_PRECONDITION,
    ErrorReason.LEDGER_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.TOOL_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.INTERNAL: code_pb2.INTERNAL,
    ErrorReason.SESSION_ALREADY_STARTED: code_pb2.FAILED_PRECONDITION,
    ErrorReason.SESSION_NOT_FOUND: code_pb2.NOT_FOUND,
    ErrorReason.STEP_NUMBER_WENT_BACK: code_pb2.FAILED_PRECONDITION,
    ErrorReason.TOKEN_FROZEN: code_pb2.PERMISSION_DENIED,
    ErrorReason.FREEZES_UNKNOWN: code_pb2.UNAVAILABLE,
    ErrorReason.TOOL_DRIFTED: code_pb2.FAILED_PRECONDITION,
    ErrorReason.DESTINATION_CHANGED: code_pb2.PERMISSION_DENIED,
    ErrorReason.ADDRESS_REFUSED: code_pb2.PERMISSION_DENIED,
    ErrorReason.STEP_NOT_DUE: code_pb2.FAILED_PRECONDITION,
    ErrorReason.PLAN_NOT_FOUND: code_pb2.NOT_FOUND,
    ErrorReason.FREEZE_NOT_FOUND: code_pb2.NOT_FOUND,
    ErrorReason.APPROVAL_NOT_FOUND: code_pb2.NOT_FOUND,
    ErrorReason.APPROVAL_CHANGED: code_pb2.ABORTED,
    ErrorReason.APPROVER_NOT_PERMITTED: code_pb2.PERMISSION_DENIED,
    ErrorReason.APPROVAL_CLOSED: code_pb2.FAILED_PRECONDITION,
    ErrorReason.FILE_CHANGED: code_pb2.PERMISSION_DENIED,
}


def to_status(error: InterlockError) -> status_pb2.Status:
    """The error as it travels, with ErrorInfo always, and BadRequest and RetryInfo where they say something."""
    status = status_pb2.Status(code=CODES[error.reason], message=error.message)
    info = error_details_pb2.ErrorInfo(
        reason=error.reason.value, domain=DOMAIN, metadata=dict(error.metadata)
    )
    status.details.add().Pack(info)
    if error.violations:
        status.details.add().Pack(_bad_request(error))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _bad_request(error: InterlockError) -> error_details_pb2.BadRequest:
    """Field violations; the JSON Pointer within a field's JSON stands behind `#`, as in a URI fragment."""
    request = error_details_pb2.BadRequest()
    for violation in error.violations:
        field = f"{violation.field}#{violation.pointer}" if violation.pointer else violation.field
        request.field_violations.add(
            field=field, description=violation.description, reason=error.reason.value
        )
    return request
