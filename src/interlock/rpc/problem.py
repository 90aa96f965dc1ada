"""From an error to a problem of HTTP (RFC 9457): the one place that knows HTTP's status codes."""

import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from interlock.core.errors import ErrorReason, InterlockError

_BAD_REQUEST = 400
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_CONFLICT = 409
_INTERNAL = 500
_BAD_GATEWAY = 502
_UNAVAILABLE = 503
_GATEWAY_TIMEOUT = 504

STATUSES: Mapping[ErrorReason, int] = {
    ErrorReason.MALFORMED_REQUEST: _BAD_REQUEST,
    ErrorReason.MALFORMED_ARGUMENTS: _BAD_REQUEST,
    ErrorReason.CREDENTIAL_MISSING: _UNAUTHORIZED,
    ErrorReason.TOKEN_MALFORMED: _UNAUTHORIZED,
    ErrorReason.TOKEN_SIGNATURE_INVALID: _UNAUTHORIZED,
    ErrorReason.TOKEN_KEY_UNKNOWN: _UNAUTHORIZED,
    ErrorReason.TOKEN_EXPIRED: _UNAUTHORIZED,
    ErrorReason.TOKEN_NOT_YET_VALID: _UNAUTHORIZED,
    ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY: _UNAUTHORIZED,
    ErrorReason.TOKEN_ALREADY_REDEEMED: _CONFLICT,
    ErrorReason.CALL_MISMATCH: _FORBIDDEN,
    ErrorReason.CATALOG_MISMATCH: _FORBIDDEN,
    ErrorReason.OBLIGATION_UNSUPPORTED: _FORBIDDEN,
    ErrorReason.TOKEN_FROZEN: _FORBIDDEN,
    ErrorReason.TOOL_DRIFTED: _FORBIDDEN,
    ErrorReason.DESTINATION_CHANGED: _FORBIDDEN,
    ErrorReason.FILE_CHANGED: _FORBIDDEN,
    ErrorReason.ADDRESS_REFUSED: _FORBIDDEN,
    ErrorReason.STEP_NOT_DUE: _UNAVAILABLE,
    ErrorReason.FREEZES_UNKNOWN: _UNAVAILABLE,
    ErrorReason.LEDGER_UNAVAILABLE: _UNAVAILABLE,
    ErrorReason.TOOL_UNAVAILABLE: _UNAVAILABLE,
    ErrorReason.DEADLINE_EXCEEDED: _GATEWAY_TIMEOUT,
}
"""Any other is a defect, or none of a gateway's."""

_REFUSED = frozenset({_UNAUTHORIZED, _FORBIDDEN, _CONFLICT})

EXECUTION_ID = "Interlock-Execution-Id"
OUTCOME = "Interlock-Outcome"


def problem_of(error: InterlockError) -> web.Response:
    """The error as a response: its reason and message, what was wrong where, and when to try again."""
    status = STATUSES.get(error.reason, _INTERNAL)
    headers = {}
    if status in _REFUSED:
        headers[OUTCOME] = "refused"
    if status == _UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 11.6.1
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if execution_id := error.metadata.get("execution_id"):
        headers[EXECUTION_ID] = execution_id
    violations = [
        {"field": each.field, "pointer": each.pointer, "description": each.description}
        for each in error.violations
    ]
    members = {"metadata": dict(error.metadata), "violations": violations}
    return problem(status, error.reason.value, error.message, headers, **members)


def problem(
    status: int, reason: str, detail: str, headers: Mapping[str, str], **members: Any
) -> web.Response:
    """A problem document. Members that say nothing are left out."""
    said = {name: value for name, value in members.items() if value}
    document = {
        "type": f"urn:interlock:error:{reason}",
        "status": status,
        "reason": reason,
        "detail": detail,
    }
    return web.json_response(
        document | said,
        status=status,
        content_type="application/problem+json",
        headers={**headers, "Cache-Control": "no-store"},
    )
