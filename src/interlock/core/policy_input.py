"""The input document that OPA evaluates. It is total: every field is there, in every proposal.

`policies/schemas/input.json` is generated from `PolicyInput`, and `opa check --schema` reads it, so that a
rule over a field that does not exist fails in CI instead of silently never firing.
"""

from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic takes typing.TypedDict from Python 3.12 on

from interlock.core.facts import FactsInput

_CLOSED = ConfigDict(extra="forbid")


@with_config(_CLOSED)
class SubjectInput(TypedDict):
    """Who proposes, from the credential. `user` is empty where no user stands behind the agent."""

    tenant: str
    agent: str
    user: str
    roles: list[str]


@with_config(_CLOSED)
class ToolInput(TypedDict):
    """The catalog's entry for the proposed tool. An unknown tool has `known` false and the rest empty.

    `results` tells whether what the tool answers can be trusted not to be written by an attacker, `reversibility`
    whether what it does can be undone.
    """

    name: str
    known: bool
    digest: str
    gateway: str
    effects: list[str]
    labels: dict[str, str]
    cost: int
    results: Literal["trusted", "untrusted"]
    reversibility: Literal["reversible", "irreversible", "unknown"]


@with_config(_CLOSED)
class DestinationInput(TypedDict):
    """Where one argument leads: `path` is its JSON Pointer, empty for the call as a whole.

    `canonical` is the address or the absolute path in its one form, symbolic links followed; `host` is an address's;
    `root` names the declared root that a path is under. They are empty with a `problem` other than `not_public`, and
    `canonical` is less where the catalog marks the argument as sensitive: an address's origin, and nothing of a path.
    """

    path: str
    kind: Literal["url", "path"]
    canonical: str
    host: str
    root: str
    problem: Literal["", "malformed", "outside_roots", "not_public"]


@with_config(_CLOSED)
class PlanInput(TypedDict):
    """The plan that the call is a step of.

    `position` is from 0, in the plan's order; `depth` is the most steps that lie in a row before it. `refers` says
    that its arguments refer to results, and `filled` that they hold these results' values now.
    """

    decision_id: str
    digest: str
    step: str
    steps: int
    position: int
    depth: int
    after: list[str]
    refers: bool
    filled: bool


@with_config(_CLOSED)
class SourceInput(TypedDict):
    """Something that the agent says it read. `trust` is the agent's claim."""

    kind: str
    reference: str
    trust: Literal["unspecified", "trusted", "untrusted"]


@with_config(_CLOSED)
class MemoryReadInput(TypedDict):
    """A memory entry that the agent says it acted on."""

    key: str
    version: int
    digest: str


@with_config(_CLOSED)
class ContextInput(TypedDict):
    """What the agent says of its situation; nothing of it is proven."""

    session_id: str
    parent_decision_id: str
    operation: str
    goal: str
    sources: list[SourceInput]
    memory_reads: list[MemoryReadInput]
    state_digest: str


@with_config(_CLOSED)
class PersonInput(TypedDict):
    """Somebody who approved exactly this, with the roles and the words of then. `unix` is in whole seconds."""

    approver: str
    roles: list[str]
    comment: str
    unix: int


@with_config(_CLOSED)
class EditInput(TypedDict):
    """One place in which an approver changed the arguments: its JSON Pointer."""

    path: str
    change: Literal["added", "removed", "changed"]


@with_config(_CLOSED)
class ApprovalInput(TypedDict):
    """What became of the escalated decision that this proposal follows from.

    `codes` are those of the reasons that people have seen and answered; `answers` are empty unless `state` is
    `approved`; `edits` tell how the arguments differ from those that the agent proposed.
    """

    approval_id: str
    state: Literal["approved", "denied", "expired", "withdrawn"]
    decision_id: str
    codes: list[str]
    answers: list[PersonInput]
    edits: list[EditInput]


@with_config(_CLOSED)
class TimeInput(TypedDict):
    """The service's clock: `now` in RFC 3339 UTC with microseconds, `unix` in whole seconds."""

    now: str
    unix: int


@with_config(_CLOSED)
class PolicyInput(TypedDict):
    """Everything that a verdict may depend on; the record keeps it, so that a decision replays.

    An argument that the catalog marks as sensitive is replaced by a keyed digest before this is built.
    """

    subject: SubjectInput
    tool: ToolInput
    arguments: dict[str, Any]
    arguments_digest: str
    destinations: list[DestinationInput]
    plan: PlanInput | None
    facts: FactsInput
    context: ContextInput
    approval: ApprovalInput | None
    time: TimeInput


def input_schema() -> dict[str, Any]:
    """JSON Schema of the input document, for `opa check --schema`."""
    return TypeAdapter(PolicyInput).json_schema()
