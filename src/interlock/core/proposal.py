"""A proposal: what an agent asks to do, in the one form that everything after the ingress sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from interlock.core.approval_evidence import Evidence
from interlock.core.catalog import Tool, Violation
from interlock.core.destinations import Destination
from interlock.core.identity import Caller
from interlock.core.plan_step import Filling, StepCall, StepOfPlan, StepReference


class SourceTrust(StrEnum):
    """The agent's own claim about something that it read."""

    UNSPECIFIED = "unspecified"
    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that the agent says it read."""

    kind: str
    reference: str
    trust: SourceTrust


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRead:
    """A memory entry that the agent says it acted on."""

    key: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the agent says of its situation; nothing of it is proven."""

    sources: tuple[Source, ...] = ()
    memory_reads: tuple[MemoryRead, ...] = ()
    state_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawProposal:
    """A request as it came over the wire, with the caller that its credential names."""

    caller: Caller
    request_id: str
    session_id: str
    parent_decision_id: str
    goal: str
    tool: str
    arguments_json: bytes = field(repr=False)
    context: Context
    operation: str = ""
    plan_step: StepReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A well-formed proposal: one exact call.

    `arguments_digest` is the SHA-256 (base64url) of the arguments' canonical form. `disclosed_arguments` are
    the arguments with sensitive values replaced by keyed digests, and are all that a policy or a record
    sees. `tool` is None where the catalog has none of the name. `operation` names what the call is an attempt
    at, empty where the caller did not say. `payload_digest` covers all that the caller sent but the request_id.
    `plan` is where it stands in a plan, `step_call` what is looked up to find that, and `filling` what comes of it.
    `raw` is what came over the wire. `follows` names the approval of the escalated decision that this decides again,
    `evidence` is what became of that one, and `files` are digests of files that the arguments name, by path.
    """

    caller: Caller
    request_id: str
    session_id: str
    parent_decision_id: str
    goal: str
    context: Context
    tool_name: str
    tool: Tool | None
    disclosed_arguments: Mapping[str, Any]
    arguments_digest: str
    violations: tuple[Violation, ...]
    payload_digest: str
    operation: str = ""
    destinations: tuple[Destination, ...] = ()
    plan: StepOfPlan | None = None
    step_call: StepCall | None = None
    filling: Filling | None = None
    raw: RawProposal | None = field(default=None, repr=False)
    follows: str = ""
    evidence: Evidence | None = None
    edited: bool = False
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the request: tenant, agent and request_id."""
        return (self.caller.tenant, self.caller.name, self.request_id)

    @property
    def calls(self) -> "tuple[Proposal, ...]":
        """The calls that are decided: itself, as a plan has its steps."""
        return (self,)

    @property
    def planned_step(self) -> str:
        """Which step it is of the plan that it is decided with; empty for a call that is decided by itself."""
        return self.plan.step if self.plan and self.filling is None else ""
