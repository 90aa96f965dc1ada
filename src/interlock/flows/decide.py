"""The story of a batch of proposals: every decision is on record before anything is granted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from interlock.core import conclusion, plan_conclusion, token
from interlock.core.conclusion import Terms
from interlock.core.decision import Decision, Evaluated, StepDecision
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.observing import NO_PARENT, Observe, Observed, Parent
from interlock.core.plan import PlanProposal
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Draft
from interlock.core.session import Measuring
from interlock.flows.decided import Made, Recorded, calls_of, entries_of, place, recall, recorded
from interlock.ports import (
    Clock,
    DecisionLog,
    Identifiers,
    PolicyEngine,
    RecordReader,
    SessionState,
    TokenSigner,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """What deciding needs of the world, and the terms on which it grants."""

    log: DecisionLog
    reader: RecordReader
    state: SessionState
    engine: PolicyEngine
    signer: TokenSigner
    clock: Clock
    identifiers: Identifiers
    terms: Terms
    measuring: Measuring


async def decide(
    proposals: Sequence[Proposal | PlanProposal], decider: Decider, *, limit_seconds: float
) -> list[Decision | InterlockError]:
    """Decide a batch; one result for each proposal, in order.

    A request that was decided before is answered from its record. Raises InterlockError where the whole
    batch fails: DECISION_LOG_UNAVAILABLE.
    """
    recalled = await decider.log.recall([conclusion.once(proposal) for proposal in proposals])
    decided = [None if found is None else await recall(found, decider.reader) for found in recalled]
    fresh = [proposal for proposal, found in zip(proposals, decided, strict=True) if found is None]
    recorded = iter(await _decide_fresh(fresh, decider, limit_seconds=limit_seconds)) if fresh else iter(())
    outcomes = [next(recorded) if found is None else found for found in decided]
    return [_grant(proposal, outcome, decider) for proposal, outcome in zip(proposals, outcomes, strict=True)]


async def _decide_fresh(
    proposals: Sequence[Proposal | PlanProposal], decider: Decider, *, limit_seconds: float
) -> list[Recorded | InterlockError]:
    """Count, evaluate and record.

    No record, no grant (invariant 2); a failed attempt is on record too (invariant 10). What was counted of
    an attempt that gets no record stays counted, and is not counted again when its request comes again.
    """
    now = decider.clock.now()
    placed = await place(proposals, decider.reader, decider.identifiers)
    calls = [call for each in placed for call in calls_of(each)]
    observed = await _observe(calls, decider, now=now)
    documents = [
        conclusion.policy_input(call, facts, now) for call, facts in zip(calls, observed, strict=True)
    ]
    answers = await decider.engine.evaluate(documents, limit_seconds=limit_seconds) if documents else []
    answers = [_refuse_baseless(*pair) for pair in zip(calls, answers, strict=True)]
    kid = decider.signer.kid
    made = [
        Made(*attempt, _draft(*attempt, decider, kid=kid, now=now))
        for attempt in zip(calls, observed, documents, answers, strict=True)
    ]
    entries = entries_of(placed, made, terms=decider.terms, now=now)
    drafts = [draft for entry in entries for draft in entry.drafts]
    records = iter(await decider.log.append(drafts) if drafts else ())
    return [
        await recorded(entry, list(islice(records, len(entry.drafts))), decider.reader) for entry in entries
    ]


async def _observe(proposals: Sequence[Proposal], decider: Decider, *, now: datetime) -> list[Observed]:
    """Count the proposals and measure; durable with their records, by the one fsync of these."""
    parents = await _parents(proposals, decider.reader)
    observations = [
        Observe(proposal, parents.get(proposal.key, NO_PARENT), at=now, measuring=decider.measuring)
        for proposal in proposals
    ]
    return await decider.state.apply(observations, durable=False)


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


def _refuse_baseless(proposal: Proposal, answer: Evaluated | InterlockError) -> Evaluated | InterlockError:
    """An allow of a tool that does not exist has no gateway to be granted for (invariant 1)."""
    if isinstance(answer, Evaluated) and answer.answer.allows and proposal.tool is None:
        return InterlockError(
            reason=ErrorReason.POLICY_MALFORMED,
            message="the policy allows a tool that the catalog does not have",
        )
    return answer


def _draft(
    proposal: Proposal,
    observed: Observed,
    document: PolicyInput,
    answer: Evaluated | InterlockError,
    decider: Decider,
    *,
    kid: str,
    now: datetime,
) -> Draft:
    if isinstance(answer, InterlockError):
        return conclusion.fail(proposal, document, answer, terms=decider.terms, now=now)
    return conclusion.conclude(
        proposal,
        observed,
        document,
        answer,
        decision_id=decider.identifiers.new(),
        token_id=decider.identifiers.new(),
        approval_id=decider.identifiers.new() if answer.answer.verdict == "escalate" else "",
        kid=kid,
        terms=decider.terms,
        now=now,
    )


def _grant(
    proposal: Proposal | PlanProposal, outcome: Recorded | InterlockError, decider: Decider
) -> Decision | InterlockError:
    """The decision that is on record, with its token; the same record always gives the same (invariant 9)."""
    if isinstance(outcome, InterlockError):
        return outcome
    concluded = outcome.concluded
    if concluded.payload_digest != proposal.payload_digest:
        return InterlockError(
            reason=ErrorReason.REQUEST_ID_REUSED,
            message="the `request_id` was used for another proposal; choose a new one",
        )
    decided = conclusion.decision(
        concluded, outcome.log_index, _sign(concluded, outcome.log_index, decider.signer)
    )
    if not outcome.steps:
        return decided
    return replace(decided, steps=tuple(_grant_step(*step, decider.signer) for step in outcome.steps))


def _grant_step(name: str, step: Recorded, signer: TokenSigner) -> StepDecision:
    signed = _sign(step.concluded, step.log_index, signer)
    return plan_conclusion.step_decision(name, step.concluded, step.log_index, signed)


def _sign(concluded: conclusion.Concluded, log_index: int, signer: TokenSigner) -> str:
    claims = conclusion.claims(concluded, log_index)
    if claims is None:
        return ""
    signed = token.signing_input(claims, signer.kid)
    return token.compact(signed, signer.sign(signed))
