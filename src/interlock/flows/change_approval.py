"""One change of an approval, on record: compare and swap, over all replicas (case 49)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.core import record as records
from interlock.core.announcing import Hearer
from interlock.core.approval import Approval, Event
from interlock.core.approval_cells import ApprovalCell, approval_key
from interlock.core.approval_record import Told, draft_of
from interlock.core.approving import ChangeApproval, changed
from interlock.core.cells import LookAt
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.standing import StandingApproval
from interlock.ports import Clock, DecisionLog, Identifiers, SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing:
    """What changing approvals needs of the world.

    `woken` is called with the approval_id of each change; `hearers` are the webhooks that are to hear of them.
    """

    state: SessionState
    log: DecisionLog
    clock: Clock
    identifiers: Identifiers
    woken: Callable[[str], None]
    hearers: tuple[Hearer, ...] = ()


async def look(tenant: str, approval_id: str, state: SessionState) -> Approval | None:
    """The approval as it is now. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
    [cell] = await state.apply([LookAt(approval_key(tenant, approval_id), ApprovalCell)], durable=False)
    return cell.approval


async def change(
    before: Approval,
    event: Event,
    changing: Changing,
    *,
    at: datetime,
    comment: str = "",
    caller: Caller | None = None,
    more: Mapping[str, Any] | None = None,
    sealed_arguments: bytes = b"",
    standing: StandingApproval | None = None,
    **changes: Any,
) -> Approval:
    """Let this happen to the approval, if nothing has happened to it since `before`; the approval after it.

    `changes` are fields of the Approval, `more` further fields of the record, `standing` what is given with it. Raises
    InterlockError: APPROVAL_CHANGED, or INVALID_FIELD for one standing approval too many, and nothing was changed then;
    DECISION_LOG_UNAVAILABLE.
    """
    after = before.after(event, at, **changes)
    told = Told(
        event=event,
        change_id=changing.identifiers.new(),
        comment=comment,
        caller=caller,
        more=more or {},
    )
    done = ChangeApproval(
        before=before,
        after=after,
        at=at,
        sealed_arguments=sealed_arguments,
        hearers=changing.hearers,
        standing=standing,
    )
    [stored] = await changing.log.append([draft_of(done, told)])
    if records.fields(stored)["change_id"] != told.change_id:
        raise changed(before.version + 1)
    changing.woken(after.approval_id)
    return after


async def change_if_first(
    before: Approval,
    event: Event,
    changing: Changing,
    *,
    at: datetime,
    caller: Caller | None = None,
    more: Mapping[str, Any] | None = None,
) -> Approval | None:
    """The same; None where something has happened to it since `before`: somebody was faster.

    Raises InterlockError: DECISION_LOG_UNAVAILABLE.
    """
    try:
        return await change(before, event, changing, at=at, caller=caller, more=more)
    except InterlockError as error:
        if error.reason is not ErrorReason.APPROVAL_CHANGED:
            raise
        return None
