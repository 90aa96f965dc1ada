"""A step of a decided plan that is proposed again: where it stands, and how the call compares with the plan."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from interlock.core import record as records
from interlock.core.canonical import digest_of
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.json_pointer import value_at
from interlock.core.plan_conclusion import steps_of
from interlock.core.plan_references import Reference, take_back
from interlock.core.plan_step import Filling, StepCall, StepOfPlan
from interlock.core.proposal import Proposal
from interlock.core.record import Record


def place_step(proposal: Proposal, record: Record | None) -> Proposal:
    """The proposal in its place of the plan, whose `record` is what was found under the plan's decision_id.

    Raises InterlockError: PLAN_NOT_FOUND, for another's plan as for none, so that nobody learns of another's
    (case 54); also for one that was not allowed, or was edited (case 20).
    """
    assert proposal.step_call is not None
    wanted = proposal.step_call.reference
    fields = _allowed_plan(record, proposal)
    found = {step["step"]: (position, step) for position, step in enumerate(steps_of(fields))}
    if wanted.step_id not in found:
        raise InterlockError(
            reason=ErrorReason.PLAN_NOT_FOUND,
            message="the agent has no allowed plan of this decision_id with this step",
        )
    position, step = found[wanted.step_id]
    references = tuple(Reference(**each) for each in step["references"])
    return replace(
        proposal,
        plan=StepOfPlan(
            decision_id=wanted.decision_id,
            digest=fields["input"]["plan"]["digest"],
            step=wanted.step_id,
            steps=len(found),
            position=position,
            depth=step["depth"],
            after=tuple(step["after"]),
            references=references,
            wanted=tuple(step["wanted"]),
            at_once=True,
            filled=bool(references),
        ),
        filling=_filling(proposal, proposal.step_call, step, references),
    )


def _allowed_plan(record: Record | None, proposal: Proposal) -> Mapping[str, Any]:
    """The fields of the plan's record, where it is the caller's; else nothing."""
    if record is None or record.tenant != proposal.caller.tenant or records.inner_problem(record):
        return {}
    fields = records.fields(record)
    verdict, _ = records.told(fields)
    return fields if fields["agent"] == proposal.caller.name and verdict == "allow" else {}


def _filling(
    proposal: Proposal, call: StepCall, step: Mapping[str, Any], references: tuple[Reference, ...]
) -> Filling:
    tool_digest = proposal.tool.digest if proposal.tool else ""
    try:
        planned = digest_of(take_back(call.arguments, references))
        values = tuple((each, digest_of(value_at(call.arguments, each.place))) for each in references)
    except LookupError:
        return Filling(drifted=True, values=())
    same = (proposal.tool_name, tool_digest, planned) == (
        step["tool"],
        step["catalog_digest"],
        step["arguments_digest"],
    )
    return Filling(drifted=not same, values=values)
