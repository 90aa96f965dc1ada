"""Standing approvals: people said yes to calls before they were proposed, within narrow terms."""

from collections.abc import Iterable
from datetime import datetime

from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.facts import StandingInput
from interlock.core.proposal import Proposal


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
