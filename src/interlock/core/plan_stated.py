"""What policy, record and token say of the plan that a call is a step of."""

from typing import Any

from interlock.core.plan_step import StepOfPlan
from interlock.core.policy_input import PlanInput


def plan_input(plan: StepOfPlan) -> PlanInput:
    """What the policy sees of it."""
    return {
        "decision_id": plan.decision_id,
        "digest": plan.digest,
        "step": plan.step,
        "steps": plan.steps,
        "position": plan.position,
        "depth": plan.depth,
        "after": list(plan.after),
        "refers": plan.refers,
        "filled": plan.filled,
    }


def plan_stated(plan: StepOfPlan) -> dict[str, Any]:
    """What a step's record says of its plan. `wanted`: JSON Pointers into its result that later steps refer to."""
    return {
        "decision_id": plan.decision_id,
        "digest": plan.digest,
        "step": plan.step,
        "after": list(plan.after),
        "wanted": list(plan.wanted),
    }


def plan_claim(plan: StepOfPlan, *, asked_again: bool) -> dict[str, Any]:
    """The token's claim (`token.PlanStep`). Of a step that was asked for again, this service knows what ran before."""
    after = [] if asked_again else list(plan.after)
    return {"decision_id": plan.decision_id, "digest": plan.digest, "step": plan.step, "after": after}
