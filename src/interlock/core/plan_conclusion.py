"""From the answers to a plan's steps to what goes on record of all of it, and from that record to its steps again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from interlock.core import conclusion
from interlock.core.approving import OpenApproval
from interlock.core.conclusion import BUNDLE, Concluded, Terms
from interlock.core.decision import Decision, Evaluated, PolicyAnswer, StepDecision
from interlock.core.granting import Grant, refused
from interlock.core.observing import Observed
from interlock.core.plan import PlanProposal
from interlock.core.plan_granting import PLAN_CODES, PlanGrant, PlannedGrant, refused_with
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.reason import Reason
from interlock.core.record import Draft, RecordType, session_name

PLAN_PATH = "interlock/plan"
"""`path` of a plan's own record: its verdict follows from those of its steps, as `combine` says, and not from OPA."""

_STRICTEST_FIRST: tuple[Literal["deny", "escalate", "allow"], ...] = ("deny", "escalate", "allow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A step with what the policy said of it, and the draft of its record."""

    call: Proposal
    observed: Observed
    document: PolicyInput
    evaluated: Evaluated
    draft: Draft

    @property
    def step(self) -> str:
        """The step's name."""
        assert self.call.plan is not None
        return self.call.plan.step


def answer_to(calls: Sequence[Proposal], answers: Sequence[PolicyAnswer]) -> PolicyAnswer:
    """The answer to a proposal, from those to its calls: that of a call that is decided by itself, else the plan's."""
    if not calls[0].planned_step:
        return answers[0]
    return combine({call.planned_step: answer for call, answer in zip(calls, answers, strict=True)})


def combine(answers: Mapping[str, PolicyAnswer]) -> PolicyAnswer:
    """A plan's answer from those to its steps: a deny of one is a deny, else an escalate of one an escalate.

    Its reasons are those of the steps that it is for, each with its step; no step has its obligations from here.
    """
    verdicts = {answer.verdict for answer in answers.values()}
    verdict = next(each for each in _STRICTEST_FIRST if each in verdicts)
    if verdict == "allow":
        reasons = [
            Reason(
                code="plans.allowed", message=PLAN_CODES["plans.allowed"], metadata={"steps": len(answers)}
            )
        ]
    else:
        reasons = [
            reason.model_copy(update={"metadata": {**reason.metadata, "step": step}})
            for step, answer in answers.items()
            for reason in answer.reasons
            if answer.verdict == verdict
        ]
    return PolicyAnswer(verdict=verdict, reasons=tuple(reasons), obligations=(), reservations=())


def conclude_plan(
    plan: PlanProposal,
    steps: Sequence[Decided],
    *,
    terms: Terms,
    now: datetime,
    opening: OpenApproval | None = None,
) -> list[tuple[PolicyAnswer, Draft]]:
    """The records of a plan and then of its steps, each with its answer, and with what granting all changes.

    The steps' records are stored only with the plan's. `opening` is the approval that an escalated plan waits for.
    """
    answer = combine({each.step: each.evaluated.answer for each in steps})
    granted = _grant(plan, steps, now) if answer.allows else None
    name = conclusion.once(plan)
    whole = Draft(
        type=RecordType.DECISION,
        tenant=plan.caller.tenant,
        once=name,
        decision_id=plan.decision_id,
        session=session_name(plan.caller.name, plan.session_id),
        timestamp=now,
        fields=_fields(plan, steps, answer, terms),
        change=granted or (opening if answer.verdict == "escalate" else None),
    )
    return [
        (answer, whole),
        *(
            (each.evaluated.answer, replace(_drafted(each, steps, granted), once="", with_once=name))
            for each in steps
        ),
    ]


def _grant(plan: PlanProposal, steps: Sequence[Decided], now: datetime) -> PlanGrant:
    at_once = frozenset(each.step for each in steps if each.draft.fields["token"])
    grants = {
        each.step: replace(_grant_of(each, takes=each.step in at_once), uses=None, used_by="")
        for each in steps
    }
    last = steps[-1]
    assert isinstance(last.draft.change, Grant)
    # What approved the plan is looked at for each step, and is used up once: after the last.
    grants[last.step].uses, grants[last.step].used_by = last.draft.change.uses, plan.decision_id
    return PlanGrant(
        tenant=plan.caller.tenant,
        decision_id=plan.decision_id,
        grants=grants,
        at_once=at_once,
        at=now,
    )


def _grant_of(step: Decided, *, takes: bool) -> Grant:
    """A step that gets no token yet takes nothing yet: it is decided anew."""
    assert isinstance(step.draft.change, Grant)
    return (
        step.draft.change if takes else replace(step.draft.change, reservations=(), to_mark=(), standing=None)
    )


def _drafted(step: Decided, steps: Sequence[Decided], change: PlanGrant | None) -> Draft:
    if change:
        return replace(step.draft, change=PlannedGrant(plan=change, step=step.step))
    if not step.evaluated.answer.allows:
        return step.draft
    other = next(each.step for each in steps if not each.evaluated.answer.allows)
    return replace(step.draft, change=None, fields=refused(step.draft.fields, [refused_with(other)]))


def _fields(
    plan: PlanProposal, steps: Sequence[Decided], answer: PolicyAnswer, terms: Terms
) -> dict[str, Any]:
    caller, first, last = plan.caller, steps[0], steps[-1]
    return {
        "labels": dict(terms.labels),
        "path": PLAN_PATH,
        "input": {
            "subject": first.document["subject"],
            "plan": {"digest": plan.digest, "steps": [_stated(each) for each in steps]},
            "depth": first.document["facts"]["loops"]["depth"],
            "context": first.document["context"],
            "time": first.document["time"],
        },
        "erased": [],
        "requested_by": f"{caller.kind}/{caller.name}",
        "agent": caller.name,
        "credential_id": caller.credential_id,
        "request_id": plan.request_id,
        "payload_digest": plan.payload_digest,
        "bundles": {BUNDLE: {"revision": first.evaluated.revision}},
        "result": answer.as_json(),
        "verdict": answer.verdict,
        "lacking": [],
        "state_digest": last.observed.state_digest,
        **conclusion.authors_stated(first.call, first.observed),
        **conclusion.answered_stated(plan),
        "token": None,
    }


def _stated(step: Decided) -> dict[str, Any]:
    """What a plan's record says of a step: what it is, so that it is known again, and what the policy said."""
    call, plan = step.call, step.call.plan
    assert plan is not None
    return {
        "step": plan.step,
        "decision_id": step.draft.decision_id,
        "tool": call.tool_name,
        "catalog_digest": call.tool.digest if call.tool else "",
        "arguments_digest": call.arguments_digest,
        "after": list(plan.after),
        "depth": plan.depth,
        "references": [asdict(reference) for reference in plan.references],
        "wanted": list(plan.wanted),
        "verdict": step.evaluated.answer.verdict,
    }


def step_decision(step_id: str, concluded: Concluded, log_index: int, execution_token: str) -> StepDecision:
    """A step's decision as it is told to the caller."""
    told: Decision = conclusion.decision(concluded, log_index, execution_token)
    return StepDecision(
        step_id=step_id,
        decision_id=told.decision_id,
        verdict=told.verdict,
        reasons=told.reasons,
        obligations=told.obligations,
        arguments_digest=told.arguments_digest,
        execution_token=told.execution_token,
    )


def steps_of(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps that a plan's record states, in the plan's order; none for any other record's fields."""
    steps: list[Mapping[str, Any]] = (
        fields["input"]["plan"]["steps"] if fields.get("path") == PLAN_PATH else []
    )
    return steps
