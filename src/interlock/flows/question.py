"""What an approver answers: the call as it is on record, as it was proposed, and as the approver changed it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.core.approval import Approval
from interlock.core.approval_binding import Asked
from interlock.core.approval_view import GivenAnswer
from interlock.core.argument_edits import restored
from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError, invalid_field
from interlock.core.proposal import Proposal
from interlock.core.strict_json import parse_object
from interlock.flows.approving import Approving
from interlock.flows.follow import with_edit, with_kept_edit
from interlock.flows.kept import agent_of, escalated_fields, kept_proposal

EDIT_FIELD = "edited_arguments_json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is answered: the approval, the records of what was proposed, and the proposal as it is now.

    `sent` is as the agent sent it, `proposed` the same or as an earlier edit left it; `edited` is with the edit of this
    very answer, None for an answer without one, and `edited_json` are its arguments in canonical form.
    """

    approval: Approval
    calls: Sequence[Mapping[str, Any]]
    sent: Asked
    proposed: Asked
    edited: Proposal | None = None
    edited_json: bytes = field(default=b"", repr=False)


async def question_of(answer: GivenAnswer, approval: Approval, approving: Approving) -> Question:
    """What the answer is to. Raises InterlockError: INVALID_FIELD or MALFORMED_ARGUMENTS for an edit that cannot be."""
    following = approving.following
    whole, calls = await escalated_fields(approval.decision_id, following.reader)
    sent = await kept_proposal(approval.decision_id, agent_of(whole), following)
    if sent is None:
        raise InterlockError(
            reason=ErrorReason.INTERNAL, message="what was proposed is no longer kept, so it is not approved"
        )
    proposed = sent
    if approval.edited and isinstance(sent, Proposal):
        proposed = await with_kept_edit(sent, approval, following)
    question = Question(
        approval=approval, calls=[fields for _, fields in calls], sent=sent, proposed=proposed
    )
    return (
        _edit(answer.edited_arguments_json, question, approving) if answer.edited_arguments_json else question
    )


def _edit(edited_json: bytes, question: Question, approving: Approving) -> Question:
    """The question with the call as the approver changed it, in its one form, and valid for its tool."""
    proposed = question.proposed
    if not isinstance(proposed, Proposal):
        raise invalid_field(
            EDIT_FIELD, "must be empty for a plan; deny it, and say in the comment what to change"
        )
    arguments = canonicalize(_restored(parse_object(edited_json, field=EDIT_FIELD), proposed, approving))
    edited = with_edit(proposed, arguments, approving.following)
    if edited.violations:
        raise InterlockError(
            reason=ErrorReason.MALFORMED_ARGUMENTS,
            message="the edited arguments do not fit the tool's schema",
            violations=tuple(
                FieldViolation(
                    field=EDIT_FIELD, pointer=each.path, description=f"{each.message} ({each.rule})"
                )
                for each in edited.violations
            ),
        )
    if edited.arguments_digest == proposed.arguments_digest:
        return question
    return replace(question, edited=edited, edited_json=arguments)


def _restored(edited: Mapping[str, Any], proposed: Proposal, approving: Approving) -> Mapping[str, Any]:
    """The edited arguments with the real values of what approvers see concealed."""
    assert proposed.raw is not None
    original = approving.following.normalize(proposed.raw)
    assert isinstance(original, Proposal)
    try:
        return restored(
            edited,
            proposed=parse_object(proposed.raw.arguments_json, field=EDIT_FIELD),
            disclosed=original.disclosed_arguments,
            sensitive=original.tool.entry.sensitive if original.tool else (),
        )
    except LookupError as error:
        raise invalid_field(
            EDIT_FIELD, "holds a concealed value that is none of the proposed ones"
        ) from error
