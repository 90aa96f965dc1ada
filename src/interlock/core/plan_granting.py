"""What allowing a plan, or a step that is proposed again, changes besides the log.

The steps of a plan are granted together or not at all, in the transaction that puts them on record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from interlock.core.cells import Cells
from interlock.core.granting import Grant, refused
from interlock.core.moments import to_microseconds
from interlock.core.outcome import OutcomeKind
from interlock.core.plan_cell import KEPT, PlanCell, StepState, plan_key
from interlock.core.plan_step import Filling, StepOfPlan
from interlock.core.record import Draft
from interlock.core.reservation import Shortfall, shortfall

PLAN_CODES: Mapping[str, str] = {
    "plans.allowed": "Every step of the plan is allowed",
    "plans.refused": "Another step of the plan is not allowed, and without it none is",
    "plans.over": "Nothing is known of the plan any more; propose it anew",
    "plans.not_due": "A step before it has not succeeded",
    "plans.step_taken": "The step ran already, or a token for it may still run",
    "plans.drifted": "The call is not the step as it was planned, with what its references lead to",
    "plans.unresolvable": "A result does not hold what the step refers to, or was too long to tell",
}
"""The reasons that the service gives of plans, and what each means."""

_SOON = 1_000_000
"""Microseconds after which an outcome that is under way may have come."""


def _lack(code: str, wait: int | None = None, **metadata: str) -> Shortfall:
    return shortfall(code, PLAN_CODES[code], wait, **metadata)


def refused_with(step: str) -> Shortfall:
    """What an allowed step lacks because of this other one."""
    return _lack("plans.refused", step=step)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDue:
    """The Condition of a step that is proposed again: its turn has come, and it is what was planned."""

    tenant: str
    plan: StepOfPlan
    filling: Filling

    @property
    def keys(self) -> Iterable[bytes]:
        """The plan's cell."""
        return (plan_key(self.tenant, self.plan.decision_id),)

    def lacking(self, cells: Cells, at: datetime) -> tuple[Shortfall, ...]:
        """Why it is not; empty where it is."""
        steps = cells.open(plan_key(self.tenant, self.plan.decision_id), PlanCell).steps
        state = steps.get(self.plan.step)
        if state is None:
            return (_lack("plans.over"),)
        if self.filling.drifted:
            return (_lack("plans.drifted"),)
        if state.ran or state.is_held(at):
            wait = None if state.ran else max(1, state.held_until - to_microseconds(at))
            return (_lack("plans.step_taken", wait, ran=state.ran),)
        return self._not_due(steps) or self._unlike(steps)

    def _not_due(self, steps: Mapping[str, StepState]) -> tuple[Shortfall, ...]:
        return tuple(
            _lack("plans.not_due", None if steps[name].ran else _SOON, step=name, outcome=steps[name].ran)
            for name in self.plan.after
            if steps[name].ran != OutcomeKind.SUCCEEDED
        )

    def _unlike(self, steps: Mapping[str, StepState]) -> tuple[Shortfall, ...]:
        found = [
            (reference, value, steps[reference.step].values.get(reference.pointer))
            for reference, value in self.filling.values
        ]
        return tuple(
            _lack(
                "plans.drifted" if known else "plans.unresolvable", step=reference.step, place=reference.place
            )
            for reference, value, known in found
            if value != known
        )


@dataclass(slots=True, kw_only=True)
class StepGrant:
    """A DraftChange of a step that is proposed again: what any grant changes, and whose step it is now."""

    grant: Grant
    plan: StepOfPlan

    @property
    def lacking(self) -> tuple[Shortfall, ...]:
        """What the last run found lacking."""
        return self.grant.lacking

    @property
    def keys(self) -> Iterable[bytes]:
        """The grant's, and the plan's."""
        holder = self.grant.holder
        return (*self.grant.keys, plan_key(holder.tenant, self.plan.decision_id))

    def run(self, draft: Draft, cells: Cells, log_index: int) -> Draft:
        """As the grant's."""
        draft = self.grant.run(draft, cells, log_index)
        if not self.lacking:
            holder = self.grant.holder
            key = plan_key(holder.tenant, self.plan.decision_id)
            cell = cells.open(key, PlanCell)
            cell.hold(self.plan.step, holder.decision_id, self.grant.ends)
            cells.keep(key, cell, expire_time=self.grant.at + KEPT)
        return draft


@dataclass(slots=True, kw_only=True)
class PlanGrant:
    """A DraftChange of an allowed plan's own record, which comes before those of its steps: all of them, or nothing.

    `grants` are the steps', by name, in the plan's order; `at_once` are those that get a token now. `lacking` tells
    of each step what the last run found lacking; nothing for a plan that was granted.
    """

    tenant: str
    decision_id: str
    grants: Mapping[str, Grant]
    at_once: frozenset[str]
    at: datetime
    by_step: dict[str, tuple[Shortfall, ...]] = field(default_factory=dict, init=False)

    @property
    def lacking(self) -> tuple[Shortfall, ...]:
        """All that is lacking, each with the step that lacks it."""
        return tuple(
            replace(each, metadata={**each.metadata, "step": step})
            for step, lacking in self.by_step.items()
            for each in lacking
        )

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of all steps, and the plan's."""
        told = (key for grant in self.grants.values() for key in grant.keys)
        return (*told, plan_key(self.tenant, self.decision_id))

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """Try it on a copy of the cells, which takes their place if nothing is lacking."""
        trial = cells.copy(self.keys)
        self.by_step = {}
        for step, grant in self.grants.items():
            if lacking := grant.take(trial):
                self.by_step[step] = lacking
        if self.by_step:
            return replace(draft, fields=refused(draft.fields, self.lacking))
        self._begin(trial)
        cells.take_over(trial)
        return draft

    def lacking_of(self, step: str) -> tuple[Shortfall, ...]:
        """What the step lacks: of its own, or that another lacks something."""
        own = self.by_step.get(step)
        return own or tuple(refused_with(other) for other in list(self.by_step)[:1])

    def _begin(self, cells: Cells) -> None:
        cell = PlanCell({step: StepState() for step in self.grants})
        for step in self.at_once:
            cell.hold(step, self.grants[step].holder.decision_id, self.grants[step].ends)
        cells.keep(plan_key(self.tenant, self.decision_id), cell, expire_time=self.at + KEPT)


@dataclass(slots=True, kw_only=True)
class PlannedGrant:
    """A DraftChange of one step's record, after that of the plan: it tells what that one found, and changes nothing."""

    plan: PlanGrant
    step: str

    @property
    def lacking(self) -> tuple[Shortfall, ...]:
        """What the plan's grant found the step to lack."""
        return self.plan.lacking_of(self.step)

    @property
    def keys(self) -> Iterable[bytes]:
        """None."""
        return ()

    def run(self, draft: Draft, _cells: Cells, _log_index: int) -> Draft:
        """The draft, or the one that says what was lacking."""
        return replace(draft, fields=refused(draft.fields, self.lacking)) if self.lacking else draft
