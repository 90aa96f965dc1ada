"""Standing approvals: people said yes to calls before they were proposed, within narrow terms."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.facts import StandingInput
from interlock.core.proposal import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTerms:
    """How far a standing approval is to go, as an approver asks for it.

    `arguments_schema_json` is a JSON Schema that the arguments must satisfy; `count` calls within `life_seconds`, of
    the approval's own session only where `this_session`.
    """

    arguments_schema_json: bytes = field(repr=False)
    count: int
    life_seconds: int
    this_session: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingApproval:
    """A standing approval as it stands. `session_id` is empty for all sessions of the agent.

    `catalog_digest` is that of the tool's entry; of another it does not hold. `codes` are those of the reasons that it
    answers.
    """

    standing_id: str
    tenant: str
    agent: str
    user: str
    tool: str
    catalog_digest: str
    session_id: str
    arguments_schema_json: bytes = field(repr=False)
    codes: tuple[str, ...]
    remaining: int
    count: int
    expire_time: datetime
    approvers: tuple[str, ...]
    approval_id: str


def standing_key(tenant: str, agent: str, tool: str) -> bytes:
    """The cell of the standing approvals for calls of a tool that an agent proposes."""
    return common_cell_key(CellKind.STANDING, tenant, agent, tool)


class StandingMatch:
    """Which standing approvals a proposal satisfies."""

    def __init__(self, proposal: Proposal) -> None:
        self._proposal = proposal
        self.key = standing_key(proposal.caller.tenant, proposal.caller.name, proposal.tool_name)

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of the agent and the tool."""
        return (self.key,)

    def told(self, cells: Cells, at: datetime) -> list[StandingInput]:
        """Those that hold for it now, as the policy sees them."""
        del cells, at
        return []
