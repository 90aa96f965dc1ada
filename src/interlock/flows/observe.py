"""What is measured of proposals: counted with their decision, or only looked at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock.core import conclusion
from interlock.core.cells import Cells
from interlock.core.observing import NO_PARENT, Observe, Observed, Parent
from interlock.core.proposal import Proposal
from interlock.core.session import Measuring
from interlock.ports import RecordReader


@dataclass(frozen=True, slots=True)
class Peek:
    """The Change that measures as `Observe` does, and changes nothing."""

    observe: Observe

    @property
    def keys(self) -> Iterable[bytes]:
        """Those of what is measured."""
        return self.observe.keys

    def run(self, cells: Cells) -> Observed:
        """What would be measured if it were proposed now."""
        return self.observe.run(cells.copy(self.keys))


async def observations(
    proposals: Sequence[Proposal], reader: RecordReader, *, at: datetime, measuring: Measuring
) -> list[Observe]:
    """For each proposal the change that counts it, with what is known of the decision that it follows from."""
    parents = await _parents(proposals, reader)
    return [
        Observe(proposal, parents.get(proposal.key, NO_PARENT), at=at, measuring=measuring)
        for proposal in proposals
    ]


async def _parents(proposals: Sequence[Proposal], reader: RecordReader) -> dict[tuple[str, str, str], Parent]:
    """Of each proposal that names a parent, what is known of that: nothing of another tenant's (case 54)."""
    named = [proposal for proposal in proposals if proposal.parent_decision_id]
    if not named:
        return {}
    found = await reader.decision_records([proposal.parent_decision_id for proposal in named])
    return {
        proposal.key: conclusion.parent(proposal, parent)
        for proposal, parent in zip(named, found, strict=True)
    }
