"""A proposal is escalated: an approval is made ready, to be opened or joined in the transaction that records it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from interlock.core import conclusion, kept_request
from interlock.core.approval import Approval
from interlock.core.approval_answer import (
    ApprovalPolicyInput,
    ApprovalTerms,
    EscalatedReasonInput,
    MostPending,
)
from interlock.core.approval_binding import Asked, binding_of, group_of, name_of, paths_of, told_files
from interlock.core.approving import OpenApproval
from interlock.core.decision import Evaluated, PolicyAnswer
from interlock.core.errors import InterlockError
from interlock.core.observing import Observed
from interlock.core.plan import PlanProposal
from interlock.core.plan_conclusion import answer_to
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.reason import Reason
from interlock.flows.follow import Following


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What was made of one call: measured, and evaluated."""

    call: Proposal
    observed: Observed
    document: PolicyInput
    answer: Evaluated | InterlockError


@dataclass(frozen=True, slots=True)
class _Escalated:
    """A proposal that a person could make an allow: the `answer` to it as a whole, and what was made of its calls."""

    asked: Asked
    answer: PolicyAnswer
    revision: str
    attempts: Sequence[Attempt]

    @property
    def authors(self) -> list[str]:
        """Whom its calls come from."""
        return sorted(
            {name for each in self.attempts for name in conclusion.authors_of(each.call, each.observed)}
        )

    def questions(self) -> list[ApprovalPolicyInput]:
        """What the policy is asked of its approval: once for each call that is escalated."""
        return [
            _ask(attempt.document, attempt.answer.answer, self.authors)
            for attempt in self.attempts
            if isinstance(attempt.answer, Evaluated) and attempt.answer.answer.verdict == "escalate"
        ]


async def make_ready(
    groups: Sequence[tuple[Asked | None, Sequence[Attempt]]],
    following: Following,
    *,
    now: datetime,
    limit_seconds: float,
) -> list[OpenApproval | InterlockError | None]:
    """For each proposal, with what was made of its calls: the approval that it waits for.

    None where it waits for none: it is not escalated. An error where the policy does not say who may approve it.
    """
    found = {place: _escalated(*group) for place, group in enumerate(groups)}
    waiting = {place: each for place, each in found.items() if each is not None}
    questions = [each.questions() for each in waiting.values()]
    asked = [question for each in questions for question in each]
    terms = iter(await following.engine.approval(asked, limit_seconds=limit_seconds) if asked else ())
    # All files are looked at together: a batch waits for one look at most.
    looks = await asyncio.gather(
        *(following.files.digests(paths_of(each.asked)) for each in waiting.values())
    )
    opened = {
        place: _opened(each, list(islice(terms, len(asked))), files, following, now)
        for (place, each), asked, files in zip(waiting.items(), questions, looks, strict=True)
    }
    return [opened.get(place) for place in found]


def _escalated(asked: Asked | None, attempts: Sequence[Attempt]) -> _Escalated | None:
    evaluated = [each.answer for each in attempts if isinstance(each.answer, Evaluated)]
    if asked is None or len(evaluated) < len(attempts):
        return None
    answer = answer_to([each.call for each in attempts], [each.answer for each in evaluated])
    if answer.verdict != "escalate":
        return None
    return _Escalated(asked, answer, evaluated[0].revision, attempts)


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


def _ask(document: PolicyInput, answer: PolicyAnswer, authors: Sequence[str]) -> ApprovalPolicyInput:
    return {
        "proposal": document,
        "reasons": told_reasons(answer.reasons),
        "authors": list(authors),
        "approver": None,
        "resolution": "",
        "edited": False,
        "standing": False,
        "answers": [],
        "time": document["time"],
    }


def _opened(
    escalated: _Escalated,
    told: Sequence[ApprovalTerms | InterlockError],
    files: Mapping[str, str],
    following: Following,
    now: datetime,
) -> OpenApproval | InterlockError:
    for each in told:
        if isinstance(each, InterlockError):
            return each
    terms = combined([each for each in told if isinstance(each, ApprovalTerms)])
    return _opening(escalated, terms, files, following, now)


def _opening(
    escalated: _Escalated,
    terms: ApprovalTerms,
    files: Mapping[str, str],
    following: Following,
    now: datetime,
) -> OpenApproval:
    asked, user = escalated.asked, escalated.attempts[0].observed.user
    assert asked.raw is not None
    changing = following.changing
    binding = binding_of(asked, user=user, policy_revision=escalated.revision, files=files)
    decision_id = asked.decision_id if isinstance(asked, PlanProposal) else changing.identifiers.new()
    approval = Approval(
        approval_id=changing.identifiers.new(),
        tenant=asked.caller.tenant,
        agent=asked.caller.name,
        user=user,
        tool=name_of(asked),
        decision_id=decision_id,
        session_id=asked.session_id,
        binding=binding,
        reasons=escalated.answer.reasons,
        authors=tuple(escalated.authors),
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
        sealed_request=following.vault.seal(kept_request.encode(asked.raw), decision_id),
        at=now,
        hearers=changing.hearers,
    )
