"""What the service measured, as the policy sees it: `input.facts`.

Every field is there in every proposal. docs/facts.md is generated from these types.
"""

from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic takes typing.TypedDict from Python 3.12 on

_CLOSED = ConfigDict(extra="forbid")


@with_config(_CLOSED)
class ViolationInput(TypedDict):
    """One way in which the proposal fails the catalog: the argument's JSON Pointer and the broken rule."""

    code: Literal["unknown_tool", "schema"]
    path: str
    rule: str
    message: str


@with_config(_CLOSED)
class CycleInput(TypedDict):
    """The tail of the calls is `count` repeats of one cycle of `length` calls; both 0 where it is none."""

    length: int
    count: int


@with_config(_CLOSED)
class CallsInput(TypedDict):
    """How one proposal repeats what was proposed before it, itself counted."""

    same_call: int
    same_call_same_result: int
    similar_call: int
    cycle: CycleInput
    steps: int


@with_config(_CLOSED)
class LoopsInput(TypedDict):
    """Repeats within the session, and over all sessions of the agent that go on at the same time."""

    session: CallsInput
    agent: CallsInput
    depth: int
    parent_known: bool


@with_config(_CLOSED)
class OperationInput(TypedDict):
    """The operation that the proposal is an attempt of, over all agents of the tenant."""

    key_given: bool
    attempts: int
    failed_in_row: int
    seconds_since_failure: int


@with_config(_CLOSED)
class AttemptsInput(TypedDict):
    """Attempts over the window; `invalid_ratio`, `failed_ratio` and `retry_ratio` are per first attempt."""

    first_attempts: int
    retries: int
    invalid: int
    failed: int
    invalid_in_row: int
    failed_in_row: int
    invalid_ratio: float
    failed_ratio: float
    retry_ratio: float


@with_config(_CLOSED)
class RetriesInput(TypedDict):
    """What was tried, and how it went."""

    operation: OperationInput
    session: AttemptsInput
    agent: AttemptsInput
    tool: AttemptsInput


@with_config(_CLOSED)
class BreakerInput(TypedDict):
    """The circuit breaker of the tenant's tool. `opened` counts how often in a row it opened."""

    state: Literal["closed", "open", "half_open"]
    calls: int
    failed: int
    slow: int
    opened: int
    seconds_until_half_open: int


@with_config(_CLOSED)
class SpendInput(TypedDict):
    """What the session used so far: calls granted; cost, model tokens and compute as outcomes and steps told."""

    calls: int
    cost: int
    model_tokens: int
    compute_milliseconds: int


@with_config(_CLOSED)
class StaleReadInput(TypedDict):
    """A memory entry that the agent acted on, and that was written since, or never held what was read."""

    key: str
    read_version: int
    known_version: int
    problem: Literal["version", "digest"]


@with_config(_CLOSED)
class UntrustedSourceInput(TypedDict):
    """What tainted the session: a source that the agent named, or (`tool_result`) the result of a tool."""

    kind: str
    reference: str
    step: int


@with_config(_CLOSED)
class MeasuredContextInput(TypedDict):
    """What the service knows of the context, whatever the agent says of it.

    `untrusted_since_step` is 0 for a session that read nothing untrusted.
    """

    digest_sent: bool
    digest_matches: bool
    stale_reads: list[StaleReadInput]
    untrusted_since_step: int
    untrusted_sources: list[UntrustedSourceInput]
    goal_set_by: Literal["none", "proposal", "user"]
    goal_changed: bool
    session_ended: bool
    idle_seconds: int


@with_config(_CLOSED)
class ProvenanceInput(TypedDict):
    """Where a string or a number of the arguments was seen before; `step` is 0 for the goal and for nowhere."""

    path: str
    kind: Literal["recipient", "host", "amount", "path", "text"]
    source: Literal["goal", "trusted", "untrusted", "unseen", "unknown"]
    step: int


@with_config(_CLOSED)
class NovelTargetInput(TypedDict):
    """Whom or what an argument names, and whether no allowed call of the tenant named it before."""

    path: str
    kind: Literal["recipient", "host", "path"]
    first: bool


@with_config(_CLOSED)
class NoveltyInput(TypedDict):
    """What no allowed call did before: this tool by this agent, this shape of arguments, these targets."""

    tool: bool
    shape: bool
    targets: list[NovelTargetInput]


@with_config(_CLOSED)
class FactsInput(TypedDict):
    """What the service measured. Limits on it live in policy data, never here (invariant 4).

    `provenance_unlisted` counts arguments beyond those that are listed: nothing is known of them.
    """

    violations: list[ViolationInput]
    loops: LoopsInput
    retries: RetriesInput
    breaker: BreakerInput
    spend: SpendInput
    context: MeasuredContextInput
    provenance: list[ProvenanceInput]
    provenance_unlisted: int
    novelty: NoveltyInput
