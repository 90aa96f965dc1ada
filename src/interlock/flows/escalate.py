"""A proposal is escalated: an approval is made ready, to be opened or joined in the transaction that records it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock.core import conclusion, kept_request
from interlock.core.announcing import Hearer
from interlock.core.approval import Approval
from interlock.core.approval_answer import (
    ApprovalPolicyInput,
    ApprovalTerms,
    EscalatedReasonInput,
    MostPending,
)
from interlock.core.approval_binding import Asked, binding_of, group_of, name_of, paths_of, told_files
from interlock.core.approving import OpenApproval
from interlock.core.decision import Evaluated
from interlock.core.errors import InterlockError
from interlock.core.observing import Observed
from interlock.core.plan import PlanProposal
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.reason import Reason
from interlock.ports import FileDigests, Identifiers, PolicyEngine, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalating:
    """What opening approvals needs of the world. `hearers` are the webhooks that are to hear of them."""

    engine: PolicyEngine
    vault: Vault
    files: FileDigests
    identifiers: Identifiers
    hearers: tuple[Hearer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What was made of one call: measured, and evaluated."""

    call: Proposal
    observed: Observed
    document: PolicyInput
    answer: Evaluated | InterlockError


async def make_ready(
    groups: Sequence[tuple[Asked | None, Sequence[Attempt]]],
    escalating: Escalating,
    *,
    now: datetime,
    limit_seconds: float,
) -> list[OpenApproval | InterlockError | None]:
    """For each proposal, with what was made of its calls: the approval that it waits for.

    None where it waits for none: it is not escalated. An error where the policy does not say who may approve it.
    """
    waiting = [is_escalated(attempts) for _, attempts in groups]
    asked = [
        _ask(attempts, attempt)
        for (_, attempts), waits in zip(groups, waiting, strict=True)
        if waits
        for attempt in _escalated(attempts)
    ]
    terms = iter(await escalating.engine.approval(asked, limit_seconds=limit_seconds) if asked else ())
    looked = iter(await _look(groups, waiting, escalating.files))
    made: list[OpenApproval | InterlockError | None] = []
    for (proposal, attempts), waits in zip(groups, waiting, strict=True):
        if not waits or proposal is None:
            made.append(None)
            continue
        files, told = next(looked), [next(terms) for _ in _escalated(attempts)]
        errors = [each for each in told if isinstance(each, InterlockError)]
        good = [each for each in told if isinstance(each, ApprovalTerms)]
        made.append(
            errors[0] if errors else _opening(proposal, attempts, combined(good), files, escalating, now)
        )
    return made


async def _look(
    groups: Sequence[tuple[Asked | None, Sequence[Attempt]]], waiting: Sequence[bool], files: FileDigests
) -> list[Mapping[str, str]]:
    """What is in the files of those that wait, all looked at together: a batch waits for one look at most."""
    named = [paths_of(asked) for (asked, _), waits in zip(groups, waiting, strict=True) if waits and asked]
    return await asyncio.gather(*map(files.digests, named))


def is_escalated(attempts: Iterable[Attempt]) -> bool:
    """Whether a proposal of these calls is escalated as a whole: a person could make it an allow."""
    verdicts = [
        attempt.answer.answer.verdict if isinstance(attempt.answer, Evaluated) else "deny"
        for attempt in attempts
    ]
    return "deny" not in verdicts and "escalate" in verdicts


def combined(terms: Sequence[ApprovalTerms]) -> ApprovalTerms:
    """The terms for a plan from those for its steps: the strictest of each; who approves all may approve it."""
    roles = set(terms[0].roles).intersection(*[each.roles for each in terms])
    return ApprovalTerms(
        priority=max(each.priority for each in terms),
        expire_seconds=min(each.expire_seconds for each in terms),
        use_seconds=min(each.use_seconds for each in terms),
        most_pending=MostPending(
            agent=min(each.most_pending.agent for each in terms),
            tenant=min(each.most_pending.tenant for each in terms),
            agent_an_hour=min(each.most_pending.agent_an_hour for each in terms),
        ),
        roles=tuple(sorted(roles)),
        quorum=max(each.quorum for each in terms),
        permitted=all(each.permitted for each in terms),
        sufficient=all(each.sufficient for each in terms),
        reasons=tuple(reason for each in terms for reason in each.reasons),
    )


def told_reasons(reasons: Iterable[Reason]) -> list[EscalatedReasonInput]:
    """Reasons as the approval's policy sees them."""
    return [
        {"code": each.code, "message": each.message, "path": each.path, "metadata": each.metadata}
        for each in reasons
    ]


def _escalated(attempts: Iterable[Attempt]) -> list[Attempt]:
    return [
        attempt
        for attempt in attempts
        if isinstance(attempt.answer, Evaluated) and attempt.answer.answer.verdict == "escalate"
    ]


def _reasons(attempts: Iterable[Attempt]) -> list[Reason]:
    """Why it is escalated; of a plan each with its step."""
    found = []
    for attempt in _escalated(attempts):
        assert isinstance(attempt.answer, Evaluated)
        plan = attempt.call.plan
        step = {"step": plan.step} if plan and attempt.call.filling is None else {}
        found += [
            reason.model_copy(update={"metadata": {**reason.metadata, **step}})
            for reason in attempt.answer.answer.reasons
        ]
    return found


def _authors(attempts: Iterable[Attempt]) -> list[str]:
    return sorted({name for each in attempts for name in conclusion.authors_of(each.call, each.observed)})


def _ask(attempts: Sequence[Attempt], attempt: Attempt) -> ApprovalPolicyInput:
    assert isinstance(attempt.answer, Evaluated)
    return {
        "proposal": attempt.document,
        "reasons": told_reasons(attempt.answer.answer.reasons),
        "authors": _authors(attempts),
        "approver": None,
        "resolution": "",
        "edited": False,
        "standing": False,
        "answers": [],
        "time": attempt.document["time"],
    }


def _opening(
    asked: Asked,
    attempts: Sequence[Attempt],
    terms: ApprovalTerms,
    files: Mapping[str, str],
    escalating: Escalating,
    now: datetime,
) -> OpenApproval:
    first = attempts[0]
    assert isinstance(first.answer, Evaluated)
    assert asked.raw is not None
    binding = binding_of(asked, user=first.observed.user, policy_revision=first.answer.revision, files=files)
    decision_id = asked.decision_id if isinstance(asked, PlanProposal) else escalating.identifiers.new()
    approval = Approval(
        approval_id=escalating.identifiers.new(),
        tenant=asked.caller.tenant,
        agent=asked.caller.name,
        user=first.observed.user,
        tool=name_of(asked),
        decision_id=decision_id,
        session_id=asked.session_id,
        binding=binding,
        reasons=tuple(_reasons(attempts)),
        authors=tuple(_authors(attempts)),
        priority=terms.priority,
        quorum=terms.quorum,
        roles=terms.roles,
        use_seconds=terms.use_seconds,
        group=group_of(asked),
        open_time=now,
        expire_time=now + timedelta(seconds=terms.expire_seconds),
        opened_as=binding.digest,
    )
    return OpenApproval(
        approval=approval,
        files=told_files(asked, files),
        most_pending=terms.most_pending,
        sealed_request=escalating.vault.seal(kept_request.encode(asked.raw), decision_id),
        at=now,
        hearers=escalating.hearers,
    )
