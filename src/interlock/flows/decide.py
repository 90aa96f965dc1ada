"""The story of a batch of proposals: every decision is on record before anything is granted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from interlock.core import conclusion, plan_conclusion, token
from interlock.core.approval_binding import Asked
from interlock.core.approving import OpenApproval
from interlock.core.conclusion import Terms
from interlock.core.decision import Decision, Evaluated, StepDecision
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.observing import Observed
from interlock.core.plan import PlanProposal
from interlock.core.proposal import Proposal
from interlock.core.record import Record
from interlock.core.session import Measuring
from interlock.flows.decided import Made, Placed, Recorded, calls_of, entries_of, place, recall, recorded
from interlock.flows.escalate import Attempt, make_ready
from interlock.flows.follow import Following, edited_arguments, follow
from interlock.flows.givers import with_valid_givers
from interlock.flows.observe import observations
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
    following: Following


async def decide(
    proposals: Sequence[Asked], decider: Decider, *, limit_seconds: float
) -> list[Decision | InterlockError]:
    """Decide a batch; one result for each proposal, in order.

    A request that was decided before is answered from its record; one that was escalated, by what became of its
    approval. Raises InterlockError where the whole batch fails: DECISION_LOG_UNAVAILABLE.
    """
    recalled = await decider.log.recall([conclusion.once(proposal) for proposal in proposals])
    told = [
        proposal if found is None else await _recall(proposal, found, decider)
        for proposal, found in zip(proposals, recalled, strict=True)
    ]
    fresh = [each for each in told if isinstance(each, Proposal | PlanProposal)]
    decided = iter(await _decide_fresh(fresh, decider, limit_seconds=limit_seconds)) if fresh else iter(())
    outcomes = [next(decided) if isinstance(each, Proposal | PlanProposal) else each for each in told]
    return [_grant(proposal, outcome, decider) for proposal, outcome in zip(proposals, outcomes, strict=True)]


async def _recall(asked: Asked, found: Record, decider: Decider) -> Recorded | InterlockError | Asked:
    """What the request has come to; its own trouble takes nothing from the rest of its batch."""
    try:
        return await follow(asked, await recall(found, decider.reader), decider.following)
    except InterlockError as error:
        return error


async def _decide_fresh(
    proposals: Sequence[Asked], decider: Decider, *, limit_seconds: float
) -> list[Recorded | InterlockError]:
    """Count, evaluate and record.

    No record, no grant (invariant 2); a failed attempt is on record too (invariant 10). What was counted of
    an attempt that gets no record stays counted, and is not counted again when its request comes again.
    """
    now = decider.clock.now()
    placed = await place(proposals, decider.reader, decider.identifiers)
    attempts = await _attempt(
        [call for each in placed for call in calls_of(each)], decider, now, limit_seconds
    )
    groups = _grouped(placed, attempts)
    ready = await make_ready(groups, decider.following, now=now, limit_seconds=limit_seconds)
    openings = [None if isinstance(opening, InterlockError) else opening for opening in ready]
    kid = decider.signer.kid
    made = [
        _made(_failed(attempt, opening), opening, decider, kid=kid, now=now)
        for (_, each), opening in zip(groups, ready, strict=True)
        for attempt in each
    ]
    entries = entries_of(placed, made, openings, terms=decider.terms, now=now)
    drafts = [draft for entry in entries for draft in entry.drafts]
    records = iter(await decider.log.append(drafts) if drafts else ())
    stood = [
        await recorded(entry, list(islice(records, len(entry.drafts))), decider.reader) for entry in entries
    ]
    return [await _with_edit(each, decider) for each in stood]


async def _attempt(
    calls: Sequence[Proposal], decider: Decider, now: datetime, limit_seconds: float
) -> list[Attempt]:
    # Durable with the records, by the one fsync of these.
    counting = await observations(calls, decider.reader, at=now, measuring=decider.measuring)
    counted = await decider.state.apply(counting, durable=False)
    observed = await with_valid_givers(counted, decider.following.credentials)
    documents = [
        conclusion.policy_input(call, facts, now) for call, facts in zip(calls, observed, strict=True)
    ]
    answers = await decider.engine.evaluate(documents, limit_seconds=limit_seconds) if documents else []
    return [
        Attempt(call=call, observed=facts, document=document, answer=_refuse_baseless(call, answer))
        for call, facts, document, answer in zip(calls, observed, documents, answers, strict=True)
    ]


async def _observe(calls: Sequence[Proposal], decider: Decider, *, now: datetime) -> list[Observed]:
    """Count the calls and measure; durable with their records, by the one fsync of these."""
    counting = await observations(calls, decider.reader, at=now, measuring=decider.measuring)
    return await decider.state.apply(counting, durable=False)


def _grouped(
    placed: Sequence[Placed], attempts: Sequence[Attempt]
) -> list[tuple[Asked | None, list[Attempt]]]:
    """Each proposal with what was made of its calls; None for one that cannot be decided."""
    following = iter(attempts)
    return [
        (None if isinstance(each, InterlockError) else each, list(islice(following, len(calls_of(each)))))
        for each in placed
    ]


async def _with_edit(stated: Recorded | InterlockError, decider: Decider) -> Recorded | InterlockError:
    """The decision, with what the caller must run in the place of what it proposed."""
    if isinstance(stated, InterlockError) or not stated.concluded.edited:
        return stated
    concluded = stated.concluded
    try:
        edited = await edited_arguments(concluded.tenant, concluded.follows, decider.following)
    except InterlockError as error:
        return error
    return replace(stated, edited_arguments_json=edited)


def _refuse_baseless(proposal: Proposal, answer: Evaluated | InterlockError) -> Evaluated | InterlockError:
    """An allow of a tool that does not exist has no gateway to be granted for (invariant 1)."""
    if isinstance(answer, Evaluated) and answer.answer.allows and proposal.tool is None:
        return InterlockError(
            reason=ErrorReason.POLICY_MALFORMED,
            message="the policy allows a tool that the catalog does not have",
        )
    return answer


def _failed(attempt: Attempt, opening: OpenApproval | InterlockError | None) -> Attempt:
    """Where the policy does not say who may approve it, there is no decision: nobody could answer."""
    return replace(attempt, answer=opening) if isinstance(opening, InterlockError) else attempt


def _made(
    attempt: Attempt,
    opening: OpenApproval | InterlockError | None,
    decider: Decider,
    *,
    kid: str,
    now: datetime,
) -> Made:
    call, document, answer = attempt.call, attempt.document, attempt.answer
    if isinstance(answer, InterlockError):
        draft = conclusion.fail(call, document, answer, terms=decider.terms, now=now)
        return Made(call, attempt.observed, document, answer, draft)
    own = None if isinstance(opening, InterlockError) or call.planned_step else opening
    draft = conclusion.conclude(
        call,
        attempt.observed,
        document,
        answer,
        decision_id=own.approval.decision_id if own else decider.identifiers.new(),
        token_id=decider.identifiers.new(),
        opening=own,
        kid=kid,
        terms=decider.terms,
        now=now,
    )
    return Made(call, attempt.observed, document, answer, draft)


def _grant(
    proposal: Asked, outcome: Recorded | InterlockError, decider: Decider
) -> Decision | InterlockError:
    """The decision that is on record, if it is one on this proposal."""
    if isinstance(outcome, InterlockError):
        return outcome
    if outcome.concluded.payload_digest != proposal.payload_digest:
        return InterlockError(
            reason=ErrorReason.REQUEST_ID_REUSED,
            message="the `request_id` was used for another proposal; choose a new one",
        )
    return _told(outcome, decider)


async def decision_of(stated: Recorded, decider: Decider) -> Decision:
    """A decision that nothing follows, as `decide` gives it to the same request again.

    Raises InterlockError: DECISION_LOG_UNAVAILABLE.
    """
    told = await _with_edit(stated, decider)
    if isinstance(told, InterlockError):
        raise told
    return _told(told, decider)


def _told(outcome: Recorded, decider: Decider) -> Decision:
    """The decision, with its token; the same record always gives the same (invariant 9)."""
    concluded = outcome.concluded
    execution_token = _sign(concluded, outcome.log_index, decider.signer)
    decided = conclusion.decision(
        concluded, outcome.log_index, execution_token, outcome.edited_arguments_json
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
