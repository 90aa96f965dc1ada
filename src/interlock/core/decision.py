"""What the policy answered, and the decision that the service made of it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, model_validator

from interlock.core.reason import Reason, recordable
from interlock.core.reservation import MAX_RESERVATIONS, Reservation, distinct

__all__ = ["Decision", "Evaluated", "Obligation", "PolicyAnswer", "Reason", "StepDecision", "Verdict"]


class Verdict(StrEnum):
    """The three answers. Whatever is none of them is an error, and yields no token."""

    ALLOW = "allow"
    DENY = "deny"
    ESCALATE = "escalate"


class _Strict(BaseModel):
    """What crosses the boundary from the policy engine: exact types, no unknown key."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Obligation(BaseModel):
    """What the gateway must do with an allowed call. A gateway that does not know `type` refuses.

    Keys beside `type` are the obligation's parameters, such as `seconds` of a `timeout`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]

    @model_validator(mode="after")
    def _is_recordable(self) -> "Obligation":
        recordable(self.__pydantic_extra__)
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """All but `type`."""
        return self.__pydantic_extra__

    def as_json(self) -> dict[str, Any]:
        """The obligation as the JSON object that the policy gave."""
        return {"type": self.type, **self.__pydantic_extra__}


class PolicyAnswer(_Strict):
    """`data.interlock.decision.result`, checked against its contract. Exactly these four keys.

    An allow must say why (an empty set of reasons never means yes), and reserves something only once: of two
    reservations for one budget, rate, resource or the tool's breaker, nobody could say whether both are meant.
    """

    verdict: Literal["allow", "deny", "escalate"]
    # The first that is broken is enough: telling of half a million of them would hold up everybody else.
    reasons: Annotated[tuple[Reason, ...], FailFast()] = Field(strict=False)
    obligations: Annotated[tuple[Obligation, ...], FailFast()] = Field(strict=False)
    reservations: Annotated[
        tuple[Reservation, ...], FailFast(), Field(max_length=MAX_RESERVATIONS, strict=False)
    ]

    def as_json(self) -> dict[str, Any]:
        """The answer as the JSON object that the policy gave, with what it left to defaults."""
        return {
            "verdict": self.verdict,
            "reasons": [
                {
                    "code": reason.code,
                    "message": reason.message,
                    "metadata": reason.metadata,
                    "path": reason.path,
                }
                for reason in self.reasons
            ],
            "obligations": [obligation.as_json() for obligation in self.obligations],
            "reservations": [reservation.model_dump() for reservation in self.reservations],
        }

    @property
    def allows(self) -> bool:
        """Whether this is an allow."""
        return self.verdict == "allow"

    @model_validator(mode="after")
    def _an_allow_says_why(self) -> "PolicyAnswer":
        if self.allows and not self.reasons:
            raise ValueError("an allow needs at least one reason")
        return self

    @model_validator(mode="after")
    def _reserves_once(self) -> "PolicyAnswer":
        if not distinct(self.reservations):
            raise ValueError("two reservations are for the same budget, rate, resource or breaker")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An answer of the policy engine, with the revision of the bundle that gave it."""

    answer: PolicyAnswer
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecision:
    """What was decided of one step of a plan, as it stands on record.

    An allow without `execution_token` is to be proposed again when its turn has come.
    """

    step_id: str
    decision_id: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    arguments_digest: str
    execution_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Verdict, reasons, obligations, ids and policy revision, as they stand on record.

    `execution_token` and `token_expire_time` are set on an ALLOW only. `retry_after` is in seconds, None where
    waiting does not help. `state_digest` is that of the session after this decision, empty for none. `approval_id`
    names the approval that an ESCALATE waits for. `edited_arguments_json` is what an approver put in the place
    of the proposed arguments, empty where none did. `steps` are a plan's, in its order, and each token is with its
    step; `arguments_digest` is then the plan's digest.
    """

    decision_id: str
    request_id: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    policy_revision: str
    arguments_digest: str
    log_index: int
    execution_token: str = ""
    token_expire_time: datetime | None = None
    retry_after: float | None = None
    state_digest: str = ""
    approval_id: str = ""
    edited_arguments_json: bytes = field(default=b"", repr=False)
    steps: tuple[StepDecision, ...] = ()
