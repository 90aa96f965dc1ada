"""What the clients take and give: frozen values, each valid from the moment it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict
from uuid import uuid4


def new_request_id() -> str:
    """A name for one request that was never used before: a UUID of version 4."""
    return str(uuid4())


class Verdict(StrEnum):
    """The answer to a proposal."""

    ALLOW = "allow"
    DENY = "deny"
    ESCALATE = "escalate"


class Outcome(StrEnum):
    """What happened when a gateway acted. `unknown`: the tool may have run; it never runs again by itself."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class SourceTrust(StrEnum):
    """The agent's own claim about a source."""

    UNSPECIFIED = "unspecified"
    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class RecordType(StrEnum):
    """What a record is about. `unrecognized`: the service is newer than this client; `content` says it."""

    DECISION = "decision"
    FAILURE = "failure"
    OUTCOME = "outcome"
    POLICY_ACTIVATION = "policy_activation"
    FREEZE = "freeze"
    TOOL_DRIFT = "tool_drift"
    RECONCILIATION = "reconciliation"
    APPROVAL = "approval"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that the agent read before it made the proposal, such as an `email` and its address."""

    kind: str
    reference: str
    trust: SourceTrust = SourceTrust.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRead:
    """One memory entry that the agent acted on; `digest` of what was read, empty for none."""

    key: str
    version: int
    digest: str = ""


class ProposalFields(TypedDict, total=False):
    """What may be said of a proposal beside its tool call. Nothing of it is proven.

    `goal`: what the agent is trying to achieve, at most 8,192 characters; `parent_decision_id`: the decision
    that this proposal follows from; `operation`: names what the call is an attempt at, the same in each attempt,
    at most 128 characters of [A-Za-z0-9_./:-]; `sources` (at most 64) and `memory_reads` (at most 256): what the
    agent acted on; `state_digest`: that of the session's last decision.
    """

    goal: str
    parent_decision_id: str
    operation: str
    sources: Sequence[Source]
    memory_reads: Sequence[MemoryRead]
    state_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One exact call of one tool of the catalog, to be decided in a batch.

    `arguments` is a JSON object. `request_id` names the request (1 to 64 characters of [a-z0-9-]): sending
    the same ToolCall again gives the same decision.
    """

    tool: str
    arguments: Mapping[str, Any] = field(repr=False)
    request_id: str = field(default_factory=new_request_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One cause of a verdict: a stable code `topic.name`, a text for a person, and data for a program.

    `path` is the JSON Pointer (RFC 6901) into the arguments where it applies, empty for the whole call.
    """

    code: str
    message: str
    metadata: dict[str, Any]
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """What the gateway must do with an allowed call, such as `timeout` with `{"seconds": 30}`."""

    type: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecision:
    """What was decided of one step of a plan. `execution_token` is a secret, and not part of the repr.

    An allow without a token is to be proposed again, by `decide_step`, once the steps before it succeeded. Raises
    ValueError for a token without an allow.
    """

    step_id: str
    decision_id: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    execution_token: str = field(default="", repr=False)
    arguments_digest: str

    def __post_init__(self) -> None:
        if self.execution_token and not self.allowed:
            raise ValueError(f"the verdict `{self.verdict}` of a step came with an execution token")

    @property
    def allowed(self) -> bool:
        """Whether the step may be made, in its turn."""
        return self.verdict is Verdict.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The recorded answer to one proposal. An allow, and nothing else, has an execution token.

    `execution_token` is a secret (JWS compact) and not part of the repr; `token_expire_time` is in UTC.
    `arguments_digest` is the SHA-256 of the canonical arguments (RFC 8785), base64url; `log_index` is the
    place of the decision's record in the decision log, from 0. `retry_after` is how many seconds to wait before
    the same is proposed again, None where waiting does not help. `state_digest` is that of the session after
    this decision, for the next proposal. `approval_id` names the approval that an escalate waits for, empty
    otherwise. `edited_arguments` are what an approver put in the place of the proposed arguments, None where nobody
    did: the token is for them, and `arguments_digest` is theirs. `steps` are those of a plan, in its order: each token
    is with its step, and `arguments_digest` covers all of them. Raises ValueError where verdict and tokens contradict
    each other.
    """

    decision_id: str
    request_id: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    execution_token: str = field(default="", repr=False)
    token_expire_time: datetime | None = None
    policy_revision: str
    arguments_digest: str
    log_index: int
    retry_after: float | None = None
    state_digest: str = ""
    approval_id: str = ""
    edited_arguments: dict[str, Any] | None = field(default=None, repr=False)
    steps: tuple[StepDecision, ...] = ()

    def __post_init__(self) -> None:
        if self.steps:
            self._check_steps()
        elif self.allowed != bool(self.execution_token):
            how = "without" if self.allowed else "with"
            raise ValueError(f"the verdict `{self.verdict}` came {how} an execution token")

    def step(self, step_id: str) -> StepDecision:
        """What was decided of this step of a plan. Raises KeyError."""
        for each in self.steps:
            if each.step_id == step_id:
                return each
        raise KeyError(step_id)

    def _check_steps(self) -> None:
        if self.execution_token:
            raise ValueError("a plan came with an execution token of its own")
        if any(
            each.allowed != self.allowed and (self.allowed or each.execution_token) for each in self.steps
        ):
            raise ValueError(f"a step contradicts the plan's verdict `{self.verdict}`")

    @property
    def allowed(self) -> bool:
        """Whether the call may be made, once, with the execution token; of a plan, each of its steps."""
        return self.verdict is Verdict.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class ObligationResult:
    """What became of an obligation of the decision; `detail` is for a person."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What happened at the gateway. `result` is the tool's answer as a JSON value, None where there is none."""

    execution_id: str
    outcome: Outcome
    result: Any
    obligation_results: tuple[ObligationResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A decision, and what came of it where it was an allow; of its `edited_arguments`, where it has some."""

    decision: Decision
    execution: Execution | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One durable entry of the decision log.

    `content` is `record_json` as a value; `record_json` are the exact bytes that `leaf_hash` covers (SHA-256
    over a zero byte and them, RFC 9162 2.1.1). `chain_hash` is the SHA-256 over a one byte, the chain_hash of
    the record before and `leaf_hash`. `tenant` and `decision_id` are empty for none; `create_time` is in UTC.
    """

    log_index: int
    type: RecordType
    tenant: str
    decision_id: str
    create_time: datetime
    content: dict[str, Any]
    record_json: bytes
    leaf_hash: bytes
    chain_hash: bytes
