"""What happened when a gateway acted on an execution token."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class OutcomeKind(StrEnum):
    """How an execution ended. `unknown` means that the token was redeemed and nothing more is known."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


MAX_RESULT_KEPT_BYTES = 65_536
"""So much of a canonical result reaches the decision service; the digest covers all of it."""

MAX_MEMORY_WRITES = 256

MAX_OBLIGATION_RESULTS = 64
MAX_OBLIGATION_TYPE = 64
MAX_OBLIGATION_DETAIL = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What something used; None for what is not known. `cost` is in the units of the catalog's."""

    cost: int | None = None
    model_tokens: int | None = None
    compute_milliseconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWrite:
    """A memory entry that was written, and the version that it has since."""

    key: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObligationResult:
    """What became of an obligation, for a person."""

    type: str
    detail: str


class Finding(StrEnum):
    """What became of an execution of unknown outcome, as a person found it. `not_run`: the tool did nothing of it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_RUN = "not_run"


MAX_COMMENT = 1_024
MAX_FOUND_BY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A person's finding about an execution of unknown outcome, once for each; nothing runs again for it.

    `comment` says how it was found, in 1 to MAX_COMMENT characters; `found_by` who says so, at most MAX_FOUND_BY
    characters, which nothing proves.
    """

    finding: Finding
    comment: str
    found_by: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One execution's end, as the gateway reports it and the decision log keeps it.

    `result_digest` is the SHA-256 of the canonical result, base64url, empty where there is none. `result` is
    its beginning, at most MAX_RESULT_KEPT_BYTES, and never part of a repr (case 63); `result_truncated` says
    that it is not all. `refusal` is the ErrorReason of a refused execution, else empty. `obligation_results` are in
    the order of the decision's obligations; `reconciliation` is there of an unknown one that a person looked into.
    """

    execution_id: str
    decision_id: str
    token_id: str
    kind: OutcomeKind
    result_digest: str
    refusal: str
    start_time: datetime
    end_time: datetime
    result: bytes = field(default=b"", repr=False)
    result_truncated: bool = False
    usage: Usage | None = None
    memory_writes: tuple[MemoryWrite, ...] = ()
    obligation_results: tuple[ObligationResult, ...] = ()
    reconciliation: Reconciliation | None = None
