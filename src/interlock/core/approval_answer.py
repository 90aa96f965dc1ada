"""What is asked of `data.interlock.approval.result`, and what it answers: who may approve is policy.

It is asked when an approval is to be opened (`approver` is None then), and for each answer to it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, model_validator, with_config
from typing_extensions import TypedDict  # pydantic takes typing.TypedDict from Python 3.12 on

from interlock.core.policy_input import PolicyInput, TimeInput
from interlock.core.reason import Reason

_CLOSED = ConfigDict(extra="forbid")
_Identifier = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


@with_config(_CLOSED)
class EscalatedReasonInput(TypedDict):
    """Why the proposal was escalated; `metadata` is the reason's own."""

    code: str
    message: str
    path: str
    metadata: dict[str, Any]


@with_config(_CLOSED)
class ApproverInput(TypedDict):
    """Who answers, from the credential."""

    name: str
    roles: list[str]


@with_config(_CLOSED)
class AnswerInput(TypedDict):
    """Somebody's approve of the very bytes that are to be approved, before this answer. `unix` is in seconds."""

    approver: str
    roles: list[str]
    unix: int


@with_config(_CLOSED)
class ApprovalPolicyInput(TypedDict):
    """The document that `data.interlock.approval.result` is evaluated on; total.

    `proposal` is the input of the escalated decision, as its record has it; of a plan, that of one escalated step.
    `resolution` is empty when the approval is to be opened. `edited` says that the approver changes the arguments,
    `standing` that the like of the call is to be approved too. `authors` are the agents and users that the proposal
    comes from.
    """

    proposal: PolicyInput
    reasons: list[EscalatedReasonInput]
    authors: list[str]
    approver: ApproverInput | None
    resolution: Literal["", "approve", "deny"]
    edited: bool
    standing: bool
    answers: list[AnswerInput]
    time: TimeInput


class MostPending(BaseModel):
    """How many approvals may wait at once, of the agent and of the tenant, and how many an agent may open an hour."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    agent: Annotated[int, Field(ge=1, le=1_000_000)]
    tenant: Annotated[int, Field(ge=1, le=1_000_000)]
    agent_an_hour: Annotated[int, Field(ge=1, le=1_000_000)]


class ApprovalTerms(BaseModel):
    """`data.interlock.approval.result`, checked against its contract. Exactly these keys.

    `priority` 0 to 100; `expire_seconds` is how long it waits, `use_seconds` how long its agent may then take to ask
    again; `roles` are those that may approve, for people to see; `quorum` is how many must. `permitted`: whether this
    approver may give this answer, with `reasons` where not. `sufficient`: whether the answers before, and this one,
    are enough.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    priority: Annotated[int, Field(ge=0, le=100)]
    expire_seconds: Annotated[int, Field(ge=1, le=2_592_000)]
    use_seconds: Annotated[int, Field(ge=1, le=86_400)]
    most_pending: MostPending
    roles: Annotated[tuple[_Identifier, ...], Field(strict=False, max_length=64)]
    quorum: Annotated[int, Field(ge=1, le=16)]
    permitted: bool
    sufficient: bool
    reasons: Annotated[tuple[Reason, ...], FailFast()] = Field(strict=False)

    @model_validator(mode="after")
    def _says_why_not(self) -> "ApprovalTerms":
        if not self.permitted and not self.reasons:
            raise ValueError("an answer that is not permitted needs at least one reason")
        return self


def approval_schema() -> dict[str, Any]:
    """JSON Schema of the document, for `opa check --schema`."""
    return TypeAdapter(ApprovalPolicyInput).json_schema()
