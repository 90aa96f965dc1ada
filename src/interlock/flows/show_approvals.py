"""What approvers and auditors see: a page of approvals, and one with all that was recorded of what was proposed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from interlock.core import record as records
from interlock.core.approval import Approval, ApprovalState
from interlock.core.approval_binding import Asked
from interlock.core.approval_cells import (
    ApprovalCell,
    BindingCell,
    before_key,
    binding_key,
    history_list,
    pending_list,
)
from interlock.core.approval_view import ApprovedBefore, ListQuery, Preview, ShownApproval, ShownCall
from interlock.core.canonical import canonicalize
from interlock.core.cells import Listed, LookAt, LookAtBytes
from interlock.core.decision import PolicyAnswer
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.field_checks import check_identifier
from interlock.core.identity import Caller
from interlock.core.proposal import Proposal
from interlock.core.record import Record
from interlock.flows import page_tokens
from interlock.flows.approving import Approving
from interlock.flows.change_approval import look
from interlock.flows.follow import as_approved, current, with_kept_edit
from interlock.flows.kept import agent_of, escalated_fields, kept_proposal
from interlock.flows.preview import preview
from interlock.ports import Listings

MOST_ON_A_PAGE = 200
"""Each is made up from its cell on the way; more of them would keep other calls waiting."""

MOST_LOOKED_AT = 5_000
"""Lines of the history that are looked at for one page of a state that is rare there."""

_ARGUMENTS = "/input/arguments"


async def list_approvals(
    query: ListQuery, caller: Caller, approving: Approving
) -> tuple[list[Approval], str]:
    """A page of the tenant's approvals, and the token of the next page, empty on the last.

    Those that wait come by priority, then the oldest first; all others from the newest on. A page may hold fewer than
    asked for, also none, where more follow. Raises InterlockError: INVALID_FIELD.
    """
    size = page_tokens.page_size(query.page_size, most=MOST_ON_A_PAGE)
    bound_to = (caller.tenant, "approvals", query.state.value if query.state else "")
    after = page_tokens.read_place(query.page_token, bound_to, approving.seal)
    pending = query.state is ApprovalState.PENDING
    list_key = pending_list(caller.tenant) if pending else history_list(caller.tenant)
    now = approving.following.changing.clock.now()
    found: list[Approval] = []
    looked_at = 0
    async for line in _lines(list_key, after, size + 1, approving.listings):
        if len(found) == size or looked_at == MOST_LOOKED_AT:
            return await _joined(found, approving), page_tokens.write_place(after, bound_to, approving.seal)
        after, looked_at = line.place, looked_at + 1
        approval = _on(line, now)
        if query.state in (None, approval.state):
            found.append(approval)
    return await _joined(found, approving), ""


async def get_approval(
    approval_id: str, caller: Caller, approving: Approving, *, limit_seconds: float
) -> ShownApproval:
    """An approval with all that an approver should see of it.

    Raises InterlockError: INVALID_FIELD; APPROVAL_NOT_FOUND also for another tenant's (case 54).
    """
    approval = await seen_approval(approval_id, caller, approving)
    whole, calls = await escalated_fields(approval.decision_id, approving.following.reader)
    files = whole["approval"]["files"]
    kept = None
    if approval.is_open or approval.edited:
        kept = await kept_proposal(approval.decision_id, agent_of(whole), approving.following)
    return ShownApproval(
        approval=approval,
        calls=tuple(_shown(name, each, files) for name, each in calls),
        goal=whole["input"]["context"]["goal"],
        preview=await _if_approved(approval, kept, caller, approving, limit_seconds=limit_seconds),
        approved_before=await _approved_before(approval, approving),
        edited_arguments_json=await _edited(approval, kept, approving),
    )


async def seen_approval(approval_id: str, caller: Caller, approving: Approving) -> Approval:
    """The approval as it is now; nothing is changed by looking, also where its time is over.

    Raises InterlockError: INVALID_FIELD; APPROVAL_NOT_FOUND, the same for every cause, so that a guess learns nothing.
    """
    check_identifier("approval_id", approval_id)
    changing = approving.following.changing
    approval = await look(caller.tenant, approval_id, changing.state)
    if approval is None:
        raise InterlockError(
            reason=ErrorReason.APPROVAL_NOT_FOUND,
            message="there is no such approval that this caller may see",
        )
    [shown] = await _joined([approval.as_of(changing.clock.now())], approving)
    return shown


async def _lines(list_key: bytes, after: bytes, at_once: int, listings: Listings) -> AsyncIterator[Listed]:
    """The lines of a list from a place on, read so many at once."""
    while True:
        lines = await listings.page(list_key, after=after, limit=at_once)
        for line in lines:
            yield line
        if len(lines) < at_once:
            return
        after = lines[-1].place


def _on(line: Listed, now: datetime) -> Approval:
    """The approval on a line."""
    approval = ApprovalCell.decode(line.data).approval
    assert approval is not None
    return approval.as_of(now)


async def _joined(approvals: Sequence[Approval], approving: Approving) -> list[Approval]:
    """With how many joined those that wait, and whom these proposals come from."""
    state = approving.following.changing.state
    waiting = [each for each in approvals if each.state is ApprovalState.PENDING]
    looks = [LookAt(binding_key(each.tenant, each.opened_as), BindingCell) for each in waiting]
    cells = await state.apply(looks, durable=False) if looks else []
    joined = {
        each.approval_id: cell
        for each, cell in zip(waiting, cells, strict=True)
        if cell.approval_id == each.approval_id
    }
    return [
        each.with_joined(joined[each.approval_id].joined, joined[each.approval_id].authors)
        if each.approval_id in joined
        else each
        for each in approvals
    ]


def _shown(name: str, fields: Mapping[str, Any], files: Mapping[str, str]) -> ShownCall:
    document = fields["input"]
    erased = [each.removeprefix(_ARGUMENTS) for each in fields["erased"]]
    named = {each["canonical"] for each in document["destinations"] if each["kind"] == "path"}
    answer = PolicyAnswer.model_validate(fields["result"])
    return ShownCall(
        step_id=name,
        tool=document["tool"]["name"],
        effects=tuple(document["tool"]["effects"]),
        arguments_json=canonicalize(document["arguments"]),
        arguments_digest=document["arguments_digest"],
        concealed=tuple(erased),
        facts=document["facts"],
        destinations=document["destinations"],
        files={path: digest for path, digest in files.items() if path in named},
        reasons=answer.reasons if answer.verdict == "escalate" else (),
    )


async def _if_approved(
    approval: Approval,
    asked: Asked | None,
    caller: Caller,
    approving: Approving,
    *,
    limit_seconds: float,
) -> Preview | None:
    """What the policy would say of the proposal if it were approved now; None where that is over."""
    if asked is None or not approval.is_open:
        return None
    following = approving.following
    supposed = approval.as_if_approved_by(caller, following.changing.clock.now())
    approved = await as_approved(asked, supposed, following)
    return await preview(approved, following, approving.measuring, limit_seconds=limit_seconds)


async def _edited(approval: Approval, asked: Asked | None, approving: Approving) -> bytes:
    """What an approver wrote, sensitive values concealed; empty where nobody edited."""
    if not approval.edited or not isinstance(asked, Proposal):
        return b""
    edited = await with_kept_edit(asked, approval, approving.following)
    return canonicalize(dict(edited.disclosed_arguments))


async def _approved_before(approval: Approval, approving: Approving) -> ApprovedBefore | None:
    """The last call of the same group that was approved; of another approval than this."""
    following = approving.following
    changing = following.changing
    before_it = LookAtBytes(before_key(approval.tenant, approval.group))
    [name] = await changing.state.apply([before_it], durable=False)
    named = name.decode()
    if not named or named == approval.approval_id:
        return None
    before = await current(approval.tenant, named, changing)
    if before is None or before.resolve_time is None:
        return None
    [found] = await following.reader.decision_records([before.used_by or before.decision_id])
    document = _document(found)
    if "arguments" not in document:
        return None
    return ApprovedBefore(
        approval_id=before.approval_id,
        resolve_time=before.resolve_time,
        arguments_json=canonicalize(document["arguments"]),
    )


def _document(found: Record | None) -> Mapping[str, Any]:
    """The input of a recorded decision; empty for a record that is not there, or was edited (case 20)."""
    if found is None or records.inner_problem(found):
        return {}
    document: Mapping[str, Any] = records.fields(found)["input"]
    return document
