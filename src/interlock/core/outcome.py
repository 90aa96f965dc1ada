"""What happened when a gateway acted on an execution token."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class OutcomeKind(StrEnum):
    """How an execution ended. `unknown` means that the token was redeemed and nothing more is known."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One execution's end, as the gateway reports it and the decision log keeps it.

    `result_digest` is the SHA-256 of the canonical result, base64url, empty where there is none.
    `refusal` is the ErrorReason of a refused execution, else empty.
    """

    execution_id: str
    decision_id: str
    token_id: str
    kind: OutcomeKind
    result_digest: str
    refusal: str
    start_time: datetime
    end_time: datetime
