"""Errors: why no answer was given. A DENY or an ESCALATE is an answer and never an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ErrorReason(StrEnum):
    """Why no decision was made, or why a gateway did not act.

    The names are those of `interlock.v1.ErrorReason` without its prefix; a test holds the two together.
    """

    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_FIELD = "INVALID_FIELD"
    MALFORMED_ARGUMENTS = "MALFORMED_ARGUMENTS"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_INVALID = "CREDENTIAL_INVALID"
    CALLER_NOT_PERMITTED = "CALLER_NOT_PERMITTED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    OVERLOADED = "OVERLOADED"
    POLICY_ENGINE_UNAVAILABLE = "POLICY_ENGINE_UNAVAILABLE"
    POLICY_ENGINE_TIMEOUT = "POLICY_ENGINE_TIMEOUT"
    POLICY_NOT_READY = "POLICY_NOT_READY"
    POLICY_UNDEFINED = "POLICY_UNDEFINED"
    POLICY_CONFLICT = "POLICY_CONFLICT"
    POLICY_EVALUATION_FAILED = "POLICY_EVALUATION_FAILED"
    POLICY_MALFORMED = "POLICY_MALFORMED"
    DECISION_LOG_UNAVAILABLE = "DECISION_LOG_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RECORD_NOT_FOUND = "RECORD_NOT_FOUND"
    DECISION_NOT_FOUND = "DECISION_NOT_FOUND"
    TOKEN_MALFORMED = "TOKEN_MALFORMED"
    TOKEN_SIGNATURE_INVALID = "TOKEN_SIGNATURE_INVALID"
    TOKEN_KEY_UNKNOWN = "TOKEN_KEY_UNKNOWN"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    TOKEN_NOT_YET_VALID = "TOKEN_NOT_YET_VALID"
    TOKEN_NOT_FOR_THIS_GATEWAY = "TOKEN_NOT_FOR_THIS_GATEWAY"
    TOKEN_ALREADY_REDEEMED = "TOKEN_ALREADY_REDEEMED"
    CALL_MISMATCH = "CALL_MISMATCH"
    CATALOG_MISMATCH = "CATALOG_MISMATCH"
    OBLIGATION_UNSUPPORTED = "OBLIGATION_UNSUPPORTED"
    LEDGER_UNAVAILABLE = "LEDGER_UNAVAILABLE"
    TOOL_UNAVAILABLE = "TOOL_UNAVAILABLE"
    INTERNAL = "INTERNAL"
    SESSION_ALREADY_STARTED = "SESSION_ALREADY_STARTED"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    STEP_NUMBER_WENT_BACK = "STEP_NUMBER_WENT_BACK"
    TOKEN_FROZEN = "TOKEN_FROZEN"
    FREEZES_UNKNOWN = "FREEZES_UNKNOWN"
    TOOL_DRIFTED = "TOOL_DRIFTED"
    DESTINATION_CHANGED = "DESTINATION_CHANGED"
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    STEP_NOT_DUE = "STEP_NOT_DUE"
    PLAN_NOT_FOUND = "PLAN_NOT_FOUND"
    FREEZE_NOT_FOUND = "FREEZE_NOT_FOUND"
    APPROVAL_NOT_FOUND = "APPROVAL_NOT_FOUND"
    APPROVAL_CHANGED = "APPROVAL_CHANGED"
    APPROVER_NOT_PERMITTED = "APPROVER_NOT_PERMITTED"
    APPROVAL_CLOSED = "APPROVAL_CLOSED"
    FILE_CHANGED = "FILE_CHANGED"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One thing wrong with one field of a request.

    `field` is the path in the protobuf message (`proposal.tool_call.arguments_json`); `pointer` is the
    JSON Pointer (RFC 6901) within that field's JSON value, empty where the whole value is meant.
    """

    field: str
    description: str
    pointer: str = ""


@dataclass(slots=True, kw_only=True)
class InterlockError(Exception):
    """No decision was made, or no act was done, for a stable reason.

    `message` is for a person: lower case, no full stop, never an argument's value, a token or a secret.
    `metadata` is for a program, and travels in `google.rpc.ErrorInfo`. `retry_after` is in seconds.
    """

    reason: ErrorReason
    message: str
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def invalid_field(name: str, description: str) -> InterlockError:
    """Error for a field of a request that breaks its rule."""
    violation = FieldViolation(field=name, description=description)
    return InterlockError(
        reason=ErrorReason.INVALID_FIELD, message=f"`{name}` {description}", violations=(violation,)
    )


def tool_unavailable(why: str, *, retry_after: float | None = None) -> InterlockError:
    """Error for a call that cannot be made now, so that its token may be presented again."""
    return InterlockError(
        reason=ErrorReason.TOOL_UNAVAILABLE,
        message=f"{why}; the token was not redeemed",
        retry_after=retry_after,
    )
