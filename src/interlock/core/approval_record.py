"""What goes on record of an approval: one record for each change, under a name that only one can bear."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.core.approval import Approval, Event, once_of
from interlock.core.approving import ChangeApproval
from interlock.core.identity import Caller
from interlock.core.record import Draft, RecordType, rfc3339, session_name
from interlock.core.standing_changes import stated

SERVICE = "service"
"""Who changes an approval where no caller does: its time is over, or what it was bound to has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the record says besides the approval itself. `change_id` tells our record from another of its name.

    `caller` is None where the service itself changed it. `more` are further fields, such as an edit.
    """

    event: Event
    change_id: str
    comment: str
    caller: Caller | None
    more: Mapping[str, Any]


def draft_of(change: ChangeApproval, told: Told) -> Draft:
    """The record of a change, with what it changes."""
    before, after, caller = change.before, change.after, told.caller
    return Draft(
        type=RecordType.APPROVAL,
        tenant=before.tenant,
        once=once_of(before.tenant, before.approval_id, before.version),
        decision_id=before.decision_id,
        session=session_name(before.agent, before.session_id),
        timestamp=change.at,
        fields={
            "change": told.event.value,
            "change_id": told.change_id,
            "comment": told.comment,
            "approval_id": before.approval_id,
            "approval_version": after.version,
            "state": after.state.value,
            "agent": before.agent,
            "user": before.user,
            "tool": before.tool,
            "session_id": before.session_id,
            "binding": after.binding.as_json(),
            "binding_digest": after.binding.digest,
            "codes": _codes(before),
            "open_time": rfc3339(before.open_time),
            "expire_time": rfc3339(after.expire_time),
            "quorum": after.quorum,
            "answers": len(after.answers),
            "requested_by": f"{caller.kind}/{caller.name}" if caller else SERVICE,
            "credential_id": caller.credential_id if caller else "",
            "caller_roles": list(caller.roles) if caller else [],
            **stated(change.standing),
            **told.more,
        },
        change=change,
    )


def _codes(approval: Approval) -> list[str]:
    return sorted({reason.code for reason in approval.reasons})
