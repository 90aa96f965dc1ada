"""What a tenant's allowed calls did before, and what is new in a proposal.

Only an allowed call makes something known: what was denied, or waits for a person, is as new when it is
proposed again.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock.core import argument_forms
from interlock.core.argument_forms import Argument, Target
from interlock.core.cells import CellKind, Cells, cell_key, common_cell_key
from interlock.core.facts import NoveltyInput
from interlock.core.proposal import Proposal

KEPT = timedelta(days=90)
"""So long after its last allowed use something is known."""

_DAY_SECONDS = 86_400
_DAY_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """The cells that tell whether something is new: they hold the day of its last allowed use."""

    tool: bytes
    shape: bytes
    targets: tuple[tuple[Target, bytes], ...]

    @property
    def keys(self) -> Iterable[bytes]:
        """All of them."""
        return (self.tool, self.shape, *(key for _, key in self.targets))

    def told(self, cells: Cells) -> NoveltyInput:
        """As the policy sees it."""
        return {
            "tool": not cells.get(self.tool),
            "shape": not cells.get(self.shape),
            "targets": [
                {"path": target.path, "kind": target.kind, "first": not cells.get(key)}
                for target, key in self.targets
            ],
        }

    def to_mark(self, cells: Cells, at: datetime) -> tuple[bytes, ...]:
        """Those to be marked if the proposal is allowed: what is new, or was last marked on another day."""
        today = _day(at)
        return tuple(key for key in self.keys if cells.get(key) != today)


def novelty_of(proposal: Proposal, arguments: Sequence[Argument]) -> Novelty:
    """What could be new in the proposal, whose arguments these are."""
    tenant, agent, tool = proposal.caller.tenant, proposal.caller.name, proposal.tool_name
    shape = hashlib.sha256(argument_forms.shape(proposal.disclosed_arguments)).hexdigest()
    return Novelty(
        tool=common_cell_key(CellKind.SEEN, tenant, "tool", agent, tool),
        shape=common_cell_key(CellKind.SEEN, tenant, "shape", agent, tool, shape),
        targets=tuple(
            (target, _seen(tenant, "target", target.kind, target.name))
            for target in argument_forms.targets(arguments)
        ),
    )


def mark(keys: Iterable[bytes], cells: Cells, at: datetime) -> None:
    """An allowed call used these."""
    for key in keys:
        cells.put(key, _day(at), expire_time=at + KEPT)


def _seen(tenant: str, *names: str) -> bytes:
    return cell_key(CellKind.SEEN, tenant, *names)


def _day(at: datetime) -> bytes:
    return (int(at.timestamp()) // _DAY_SECONDS).to_bytes(_DAY_BYTES, "little")
