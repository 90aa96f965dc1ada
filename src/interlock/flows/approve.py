"""The story of an approver's answer: hard rules, the policy's word, one compare-and-swap on record, and what comes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from interlock.core.approval import Answer, Approval, ApprovalState, Event, Resolution
from interlock.core.approval_answer import ApprovalPolicyInput, ApprovalTerms
from interlock.core.approval_binding import Asked, binding_of, paths_of, told_files
from interlock.core.approval_evidence import evidence_of
from interlock.core.approval_view import GivenAnswer, Preview, Resolved
from interlock.core.approver_rules import check_approver
from interlock.core.approving import changed
from interlock.core.argument_edits import edits_between
from interlock.core.decision import PolicyAnswer
from interlock.core.errors import ErrorReason, InterlockError, invalid_field
from interlock.core.field_checks import check_number, check_text
from interlock.core.identity import Caller, CallerKind
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import rfc3339
from interlock.core.standing import StandingApproval
from interlock.core.standing_terms import standing_of, terms_digest
from interlock.flows.approving import Approving
from interlock.flows.authenticate import require
from interlock.flows.change_approval import change
from interlock.flows.escalate import combined, told_reasons
from interlock.flows.follow import as_approved, edits_of, supersede, void_because, with_evidence
from interlock.flows.kept import agent_of, escalated_fields, kept_proposal
from interlock.flows.preview import preview
from interlock.flows.question import EDIT_FIELD, Question, question_of
from interlock.flows.show_approvals import seen_approval

MAX_COMMENT = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What an answer comes to: the event, and what it changes; `more` are further fields of its record."""

    event: Event
    at: datetime
    comment: str
    changes: Mapping[str, Any]
    more: Mapping[str, Any]
    sealed_arguments: bytes = field(repr=False)
    standing: StandingApproval | None


async def resolve_approval(
    answer: GivenAnswer, caller: Caller, approving: Approving, *, limit_seconds: float
) -> Resolved:
    """Answer an approval, once: of two answers at once one is first, and a deny wins over an approve.

    The same answer of the same approver again changes nothing. Raises InterlockError: INVALID_FIELD,
    MALFORMED_ARGUMENTS, APPROVAL_NOT_FOUND, APPROVAL_CHANGED, APPROVER_NOT_PERMITTED, APPROVAL_CLOSED, and those of
    ports.PolicyEngine: then nothing was answered.
    """
    require(caller, CallerKind.APPROVER)
    _check(answer)
    while True:
        approval = await seen_approval(answer.approval_id, caller, approving)
        # 1. Four eyes, whatever the policy says: before anything of the approval is told.
        check_approver(caller, approval.authors)
        if _is_given(answer, caller, approval):
            return await _as_before(approval, approving, limit_seconds=limit_seconds)
        # 2. It is still to be answered, and is what was seen.
        _check_open(approval, answer)
        question = await question_of(answer, approval, approving)
        # 3. Whether this approver may, and whether it is enough, is policy.
        terms = await _ask_policy(answer, caller, question, approving, limit_seconds=limit_seconds)
        # 4. What was proposed is still what it was; a no needs no such look.
        if answer.resolution is Resolution.APPROVE:
            await _check_binding(question, approving)
        # 5. On record, if nothing has happened to the approval since; meanwhile, what the policy says of it then.
        given = await _given(answer, caller, question, terms, approving)
        try:
            after, told = await asyncio.gather(
                _put_on_record(given, caller, question, approving),
                _preview(given, question, approving, limit_seconds=limit_seconds),
            )
        except InterlockError as error:
            if error.reason is ErrorReason.APPROVAL_CHANGED and answer.resolution is Resolution.DENY:
                continue  # a deny wins a tie
            raise
        return Resolved(approval=after, preview=told, standing=given.standing)


def _check(answer: GivenAnswer) -> None:
    check_text("comment", answer.comment, MAX_COMMENT)
    check_number("version", answer.version)
    if answer.resolution is Resolution.DENY and answer.edited_arguments_json:
        raise invalid_field(EDIT_FIELD, "must be empty with a deny")
    if answer.resolution is Resolution.DENY and answer.standing:
        raise invalid_field("standing", "must be absent with a deny")


def _is_given(answer: GivenAnswer, caller: Caller, approval: Approval) -> bool:
    """Whether this approver has given this answer to these very bytes already (case 49: double click)."""
    return not answer.edited_arguments_json and any(
        each.approver == caller.name and each.resolution is answer.resolution for each in approval.answers
    )


def _check_open(approval: Approval, answer: GivenAnswer) -> None:
    event = Event.DENY if answer.resolution is Resolution.DENY else Event.APPROVE
    if not approval.takes(event):
        state = "used" if approval.used_by else approval.state.value
        raise InterlockError(
            reason=ErrorReason.APPROVAL_CLOSED,
            message=f"the approval takes no more answers: it is `{state}`",
            metadata={"state": state, "version": str(approval.version)},
        )
    # Who says no may have seen fewer answers, and has seen the same bytes.
    oldest = approval.shown_version if event is Event.DENY else approval.version
    seen_other = answer.binding_digest not in ("", approval.binding.digest)
    if not oldest <= answer.version <= approval.version or seen_other:
        raise changed(approval.version)


async def _ask_policy(
    answer: GivenAnswer,
    caller: Caller,
    question: Question,
    approving: Approving,
    *,
    limit_seconds: float,
) -> ApprovalTerms:
    """The policy's terms for this answer. Raises InterlockError: APPROVER_NOT_PERMITTED."""
    engine = approving.following.engine
    now = approving.following.changing.clock.now()
    escalated = [each for each in question.calls if each["result"]["verdict"] == "escalate"]
    asked = [_policy_input(answer, caller, question, each, now) for each in escalated]
    told = await engine.approval(asked, limit_seconds=limit_seconds)
    for each in told:
        if isinstance(each, InterlockError):
            raise each
    terms = combined([each for each in told if isinstance(each, ApprovalTerms)])
    if not terms.permitted:
        raise InterlockError(
            reason=ErrorReason.APPROVER_NOT_PERMITTED,
            message="the policy does not let this approver give this answer: "
            + ", ".join(sorted({f"`{reason.code}`" for reason in terms.reasons})),
            metadata={"codes": ",".join(sorted({reason.code for reason in terms.reasons}))},
        )
    return terms


def _policy_input(
    answer: GivenAnswer, caller: Caller, question: Question, call: Mapping[str, Any], now: datetime
) -> ApprovalPolicyInput:
    approval, edited = question.approval, question.edited
    asked = edited or question.proposed
    proposal: PolicyInput = call["input"]
    if isinstance(asked, Proposal):
        proposal = {
            **proposal,
            "arguments": dict(asked.disclosed_arguments),
            "arguments_digest": asked.arguments_digest,
        }
    return {
        "proposal": proposal,
        "reasons": told_reasons(PolicyAnswer.model_validate(call["result"]).reasons),
        "authors": list(approval.authors),
        "approver": {"name": caller.name, "roles": list(caller.roles)},
        "resolution": answer.resolution.value,
        "edited": edited is not None,
        "standing": answer.standing is not None,
        "answers": []
        if edited
        else [
            {"approver": each.approver, "roles": list(each.roles), "unix": int(each.time.timestamp())}
            for each in approval.answers
        ],
        "time": {"now": rfc3339(now), "unix": int(now.timestamp())},
    }


async def _check_binding(question: Question, approving: Approving) -> None:
    """That policy, catalog and files stand as they did; else the approval is superseded, and its agent asks again."""
    following, approval = approving.following, question.approval
    why = await void_because(question.proposed, approval, following)
    if not why:
        return
    await supersede(approval, why, following.changing)
    raise InterlockError(
        reason=ErrorReason.APPROVAL_CLOSED,
        message=f"what was proposed is no longer what it was: `{why}` has changed, so the agent must ask again",
        metadata={"state": ApprovalState.SUPERSEDED.value, "changed": why},
    )


async def _given(
    answer: GivenAnswer, caller: Caller, question: Question, terms: ApprovalTerms, approving: Approving
) -> _Given:
    """What the answer comes to. Raises InterlockError: INVALID_FIELD for a standing approval that cannot be given."""
    following, approval, edited = approving.following, question.approval, question.edited
    now = following.changing.clock.now()
    given = Answer(
        approver=caller.name,
        roles=caller.roles,
        credential_id=caller.credential_id,
        resolution=answer.resolution,
        comment=answer.comment,
        time=now,
        edited=edited is not None,
        standing=terms_digest(answer.standing) if answer.standing else "",
    )
    answers = (given,) if edited else (*approval.answers, given)
    event = _event(answer, answers, terms)
    standing = _standing(answer, question, answers, approving, now)
    changes: dict[str, Any] = {"answers": answers}
    if event is Event.APPROVE:
        changes["expire_time"] = now + timedelta(seconds=terms.use_seconds)
    more: dict[str, Any] = {"resolution": answer.resolution.value}
    sealed = b""
    if edited:
        files = await following.files.digests(paths_of(edited))
        changes |= _edited(edited, approval, files)
        more["edit"] = _edit_stated(question.proposed, edited, files)
        sealed = following.vault.seal(question.edited_json, approval.approval_id)
    return _Given(
        event=event,
        at=now,
        comment=answer.comment,
        changes=changes,
        more=more,
        sealed_arguments=sealed,
        standing=standing if event is Event.APPROVE else None,
    )


async def _put_on_record(given: _Given, caller: Caller, question: Question, approving: Approving) -> Approval:
    """The approval after the answer. Raises InterlockError: APPROVAL_CHANGED, DECISION_LOG_UNAVAILABLE."""
    return await change(
        question.approval,
        given.event,
        approving.following.changing,
        at=given.at,
        comment=given.comment,
        caller=caller,
        more=given.more,
        sealed_arguments=given.sealed_arguments,
        standing=given.standing,
        **given.changes,
    )


def _standing(
    answer: GivenAnswer, question: Question, answers: Sequence[Answer], approving: Approving, now: datetime
) -> StandingApproval | None:
    """What the approver wants to approve besides, also where others must approve it yet: then it is only checked."""
    if answer.standing is None:
        return None
    return standing_of(
        answer.standing,
        asked=question.edited or question.proposed,
        approval=question.approval,
        answers=answers,
        standing_id=approving.following.changing.identifiers.new(),
        at=now,
    )


def _edited(edited: Proposal, approval: Approval, files: Mapping[str, str]) -> dict[str, Any]:
    """What an edit changes in the approval: it is for other bytes from now on, which nobody else has seen yet."""
    binding = binding_of(
        edited,
        user=approval.binding.user,
        policy_revision=approval.binding.policy_revision,
        files=files,
    )
    return {"binding": binding, "shown_version": approval.version + 1}


def _event(answer: GivenAnswer, answers: Sequence[Answer], terms: ApprovalTerms) -> Event:
    """What the answer comes to. So many distinct people as the policy says, whatever it calls sufficient."""
    if answer.resolution is Resolution.DENY:
        return Event.DENY
    people = {each.approver for each in answers}
    return Event.APPROVE if terms.sufficient and len(people) >= terms.quorum else Event.ANSWER


def _edit_stated(proposed: Asked, edited: Proposal, files: Mapping[str, str]) -> dict[str, Any]:
    """Both forms, and where they differ, as they go on record: sensitive values are concealed in both."""
    assert isinstance(proposed, Proposal)
    return {
        "arguments_before": dict(proposed.disclosed_arguments),
        "arguments_digest_before": proposed.arguments_digest,
        "arguments_after": dict(edited.disclosed_arguments),
        "arguments_digest_after": edited.arguments_digest,
        "edits": edits_between(proposed.disclosed_arguments, edited.disclosed_arguments),
        "files": told_files(edited, files),
    }


async def _preview(
    given: _Given, question: Question, approving: Approving, *, limit_seconds: float
) -> Preview | None:
    """What the policy says of the proposal once it is approved, so that the approver sees a no; None for any other."""
    if given.event is not Event.APPROVE:
        return None
    after = question.approval.after(given.event, given.at, **given.changes)
    decided = question.edited or question.proposed
    edits = edits_of(question.sent, decided)
    approved = with_evidence(decided, evidence_of(after, "approved", edits))
    return await _told(approved, approving, limit_seconds=limit_seconds)


async def _as_before(approval: Approval, approving: Approving, *, limit_seconds: float) -> Resolved:
    """What came of an answer that was given before."""
    following = approving.following
    told = None
    if approval.state is ApprovalState.APPROVED and approval.is_open:
        whole, _ = await escalated_fields(approval.decision_id, following.reader)
        sent = await kept_proposal(approval.decision_id, agent_of(whole), following)
        approved = await as_approved(sent, approval, following) if sent else None
        told = await _told(approved, approving, limit_seconds=limit_seconds) if approved else None
    return Resolved(approval=approval, preview=told, standing=None)


async def _told(asked: Asked, approving: Approving, *, limit_seconds: float) -> Preview | None:
    """What the policy says now; None where it cannot be asked, for the answer stands all the same."""
    try:
        return await preview(asked, approving.following, approving.measuring, limit_seconds=limit_seconds)
    except InterlockError:
        return None
