"""The story of a batch of proposals: every decision is on record before anything is granted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock.core import conclusion, record, token
from interlock.core.conclusion import Concluded, Terms
from interlock.core.decision import Decision, Evaluated
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.observing import NO_PARENT, Observe, Observed, Parent
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, Record
from interlock.core.session import Measuring
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
    proposals: Sequence[Proposal], decider: Decider, *, limit_seconds: float
) -> list[Decision | InterlockError]:
    """Decide a batch; one result for each proposal, in order.

    A request that was decided before is answered from its record. Raises InterlockError where the whole
    batch fails: DECISION_LOG_UNAVAILABLE.
    """
    recalled = await decider.log.recall([conclusion.once(proposal) for proposal in proposals])
    decided = [None if found is None else _recall(found) for found in recalled]
    fresh = [proposal for proposal, found in zip(proposals, decided, strict=True) if found is None]
    recorded = iter(await _decide_fresh(fresh, decider, limit_seconds=limit_seconds)) if fresh else iter(())
    outcomes = [next(recorded) if found is None else found for found in decided]
    return [_grant(proposal, outcome, decider) for proposal, outcome in zip(proposals, outcomes, strict=True)]


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A decision in its place of the log."""

    log_index: int
    concluded: Concluded


def _recall(found: Record) -> _Recorded | InterlockError:
    """A record that was edited grants nothing, and takes nothing from the rest of its batch (case 20)."""
    if problem := record.inner_problem(found):
        return InterlockError(
            reason=ErrorReason.INTERNAL,
            message=f"record {found.log_index} of the decision log {problem}, so nothing is granted from it",
        )
    return _Recorded(found.log_index, conclusion.recall(record.fields(found)))


async def _decide_fresh(
    proposals: Sequence[Proposal], decider: Decider, *, limit_seconds: float
) -> list[_Recorded | InterlockError]:
    """Count, evaluate and record.

    No record, no grant (invariant 2); a failed attempt is on record too (invariant 10). What was counted of
    an attempt that gets no record stays counted, and is not counted again when its request comes again.
    """
    now = decider.clock.now()
    observed = await _observe(proposals, decider, now=now)
    documents = [
        conclusion.policy_input(proposal, facts, now)
        for proposal, facts in zip(proposals, observed, strict=True)
    ]
    answers = await decider.engine.evaluate(documents, limit_seconds=limit_seconds)
    answers = [_refuse_baseless(*pair) for pair in zip(proposals, answers, strict=True)]
    kid = decider.signer.kid
    drafts = [
        _draft(*attempt, decider, kid=kid, now=now)
        for attempt in zip(proposals, observed, documents, answers, strict=True)
    ]
    records = await decider.log.append(drafts)
    return [_recorded(*done) for done in zip(answers, drafts, records, strict=True)]


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


def _recorded(answer: Evaluated | InterlockError, draft: Draft, stored: Record) -> _Recorded | InterlockError:
    """What stands on record now: our draft, unless another request of this name was first."""
    if isinstance(answer, InterlockError):
        return answer
    if stored.decision_id != draft.decision_id:
        return _recall(stored)
    return _Recorded(stored.log_index, conclusion.conclude_draft(draft, answer.answer))


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
        kid=kid,
        terms=decider.terms,
        now=now,
    )


def _grant(
    proposal: Proposal, outcome: _Recorded | InterlockError, decider: Decider
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
    return conclusion.decision(
        concluded, outcome.log_index, _sign(concluded, outcome.log_index, decider.signer)
    )


def _sign(concluded: conclusion.Concluded, log_index: int, signer: TokenSigner) -> str:
    claims = conclusion.claims(concluded, log_index)
    if claims is None:
        return ""
    signed = token.signing_input(claims, signer.kid)
    return token.compact(signed, signer.sign(signed))
