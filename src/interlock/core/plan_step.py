"""A step of a plan: where it stands, and what is known when it is proposed again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.core.plan_references import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOfPlan:
    """Where a call stands in its plan. `decision_id` is the plan's, empty until the plan has one.

    `position` is from 0 in the plan's order, `depth` the most steps in a row before it. `wanted` are JSON Pointers
    into its result, of which later steps refer to the values. `at_once` says that its token comes with this
    decision, if it is allowed; `filled`, that its references have given way to values.
    """

    decision_id: str
    digest: str
    step: str
    steps: int
    position: int
    depth: int
    after: tuple[str, ...]
    references: tuple[Reference, ...]
    wanted: tuple[str, ...]
    at_once: bool
    filled: bool = False

    @property
    def refers(self) -> bool:
        """Whether its arguments, as planned, refer to results."""
        return bool(self.references)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReference:
    """The step of a decided plan that a call says it is."""

    decision_id: str
    step_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCall:
    """A call that says it is a step, with its real arguments, until the plan was looked up."""

    reference: StepReference
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How the call of a step compares with its plan.

    `drifted`: it is another tool, or other arguments outside of the references. `values` are SHA-256 digests
    (base64url) of the canonical values that stand in the references' places, with whose result they are to be of.
    """

    drifted: bool
    values: tuple[tuple[Reference, str], ...]
