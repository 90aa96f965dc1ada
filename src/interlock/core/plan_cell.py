"""What became of a plan's steps: one cell for each allowed plan, changed by grants and outcomes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

import orjson

from interlock.core.canonical import digest_of
from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.errors import ErrorReason
from interlock.core.json_pointer import value_at
from interlock.core.moments import to_microseconds
from interlock.core.outcome import Finding, Outcome, OutcomeKind
from interlock.core.record import Draft

KEPT = timedelta(hours=24)
"""So long after its last change a plan is known; then its steps can no longer be proposed."""


def plan_key(tenant: str, decision_id: str) -> bytes:
    """The key of the cell of this plan."""
    return common_cell_key(CellKind.PLAN, tenant, decision_id)


@dataclass(slots=True)
class StepState:
    """A step: whose token may run it until when (microseconds), how it ran, and what is wanted of its result.

    `ran` is empty until an outcome tells that it ran, or may have. `values` are SHA-256 digests (base64url) of
    canonical values, by their JSON Pointers.
    """

    held_by: str = ""
    held_until: int = 0
    ran: str = ""
    values: dict[str, str] = field(default_factory=dict)

    def is_held(self, at: datetime) -> bool:
        """Whether a token that was granted may run it yet, or runs it."""
        return to_microseconds(at) < self.held_until


@dataclass(slots=True)
class PlanCell:
    """The states of a plan's steps, by their names; none for a plan of which nothing is known (any more)."""

    steps: dict[str, StepState] = field(default_factory=dict)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` wrote; no steps from no bytes."""
        return cls({name: StepState(*state) for name, state in orjson.loads(data or b"{}").items()})

    def encode(self) -> bytes:
        """As a JSON object of lists."""
        return orjson.dumps(
            {
                name: [each.held_by, each.held_until, each.ran, each.values]
                for name, each in self.steps.items()
            }
        )

    def hold(self, step: str, decision_id: str, ends: datetime) -> None:
        """A token for the step was granted; its call has ended by `ends`, as far as anybody can tell."""
        state = self.steps[step]
        state.held_by, state.held_until = decision_id, to_microseconds(ends)

    def note(self, step: str, outcome: Outcome, values: dict[str, str]) -> None:
        """How the step ran. Nothing but an unknown end is told otherwise later, by who found out."""
        state = self.steps.get(step)
        if state is None:
            return
        if outcome.kind is OutcomeKind.REFUSED:
            # Only a token that is over frees its step: any other may be presented again.
            if outcome.refusal == ErrorReason.TOKEN_EXPIRED and state.held_by == outcome.decision_id:
                state.held_until = 0
        elif state.ran in ("", OutcomeKind.UNKNOWN):
            state.ran, state.values = outcome.kind.value, values


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteFinding:
    """A DraftChange: a person found out how a step of unknown end had ended. It never runs again for that.

    Nothing of its result is known then, so that what refers to it stays unresolvable.
    """

    key: bytes
    step: str
    finding: Finding
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        """The plan's cell."""
        return (self.key,)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """Note it, where the plan is known yet; the draft stays as it is."""
        cell = cells.open(self.key, PlanCell)
        state = cell.steps.get(self.step)
        if state and state.ran == OutcomeKind.UNKNOWN:
            succeeded = self.finding is Finding.SUCCEEDED
            state.ran = (OutcomeKind.SUCCEEDED if succeeded else OutcomeKind.FAILED).value
            cells.keep(self.key, cell, expire_time=self.at + KEPT)
        return draft


def digests_at(outcome: Outcome, pointers: tuple[str, ...]) -> dict[str, str]:
    """Digests of the canonical values at these JSON Pointers of a result that came whole; only those that are there."""
    if not pointers or not outcome.result or outcome.result_truncated:
        return {}
    try:
        result = orjson.loads(outcome.result)
    except orjson.JSONDecodeError:
        return {}
    found = {}
    for pointer in pointers:
        try:
            found[pointer] = digest_of(value_at(result, pointer))
        except (LookupError, ValueError):
            continue
    return found
