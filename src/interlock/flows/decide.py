"""The story of a batch of proposals: every decision is on record before anything is granted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock.core import conclusion, record, token
from interlock.core.conclusion import Concluded, Terms
from interlock.core.decision import Decision, Evaluated
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, Record
from interlock.ports import Clock, DecisionLog, Identifiers, PolicyEngine, TokenSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """What deciding needs of the world, and the terms on which it grants."""

    log: DecisionLog
    engine: PolicyEngine
    signer: TokenSigner
    clock: Clock
    identifiers: Identifiers
    terms: Terms


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
    """Evaluate and record.

    No record, no grant (invariant 2); a failed attempt is on record too (invariant 10).
    """
    now = decider.clock.now()
    documents = [conclusion.policy_input(proposal, now) for proposal in proposals]
    answers = await decider.engine.evaluate(documents, limit_seconds=limit_seconds)
    answers = [_refuse_baseless(*pair) for pair in zip(proposals, answers, strict=True)]
    kid = decider.signer.kid
    drafts = [
        _draft(*attempt, decider, kid=kid, now=now)
        for attempt in zip(proposals, documents, answers, strict=True)
    ]
    records = await decider.log.append(drafts)
    return [_recorded(*done) for done in zip(answers, drafts, records, strict=True)]


def _recorded(answer: Evaluated | InterlockError, draft: Draft, stored: Record) -> _Recorded | InterlockError:
    """What stands on record now: our draft, unless another request of this name was first."""
    if isinstance(answer, InterlockError):
        return answer
    if stored.decision_id != draft.decision_id:
        return _recall(stored)
    fields = {**draft.fields, "tenant": draft.tenant, "decision_id": draft.decision_id}
    return _Recorded(stored.log_index, conclusion.recall(fields, answer.answer))


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
