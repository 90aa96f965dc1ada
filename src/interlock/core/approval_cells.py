"""Approvals in the store: what each cell holds, and the lists that they stand in."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from interlock.core.approval import Answer, Approval, ApprovalState, Binding, Resolution
from interlock.core.cells import CellKind, Entry, cell_key
from interlock.core.holds import check_version
from interlock.core.moments import SECOND, from_microseconds, to_microseconds
from interlock.core.reason import Reason

_VERSION = 1
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
_EIGHT = 8
_MOST_PRIORITY = 255


def approval_key(tenant: str, approval_id: str) -> bytes:
    """The cell of an approval. Another tenant's is another cell, and so is not found (case 54)."""
    return cell_key(CellKind.APPROVAL, tenant, approval_id)


def binding_key(tenant: str, binding_digest: str) -> bytes:
    """The cell that says which approval waits for this binding."""
    return cell_key(CellKind.APPROVAL_BINDING, tenant, binding_digest)


def request_key(tenant: str, decision_id: str) -> bytes:
    """The cell with the sealed request of an escalated decision."""
    return cell_key(CellKind.APPROVAL_REQUEST, tenant, decision_id)


def edit_key(tenant: str, approval_id: str) -> bytes:
    """The cell with the sealed arguments that an approver put in the place of the proposed ones."""
    return cell_key(CellKind.APPROVAL_REQUEST, tenant, "edited", approval_id)


def pending_keys(tenant: str, agent: str) -> tuple[bytes, bytes]:
    """The cells that count what waits: of the agent, and of the tenant."""
    return (
        cell_key(CellKind.APPROVALS_PENDING, tenant, "agent", agent),
        cell_key(CellKind.APPROVALS_PENDING, tenant, "tenant"),
    )


def before_key(tenant: str, group: str) -> bytes:
    """The cell that names the last approval of this group that was approved."""
    return cell_key(CellKind.APPROVED_BEFORE, tenant, group)


def pending_list(tenant: str) -> bytes:
    """The list of a tenant's approvals that wait: by priority, then the oldest first."""
    return cell_key(CellKind.APPROVAL, tenant, "list", "pending")


def history_list(tenant: str) -> bytes:
    """The list of all approvals of a tenant, the newest first."""
    return cell_key(CellKind.APPROVAL, tenant, "list", "history")


def ending_list() -> bytes:
    """The list of the approvals of all tenants whose time runs, by its end."""
    return cell_key(CellKind.APPROVAL, "", "list", "ending")


def entries_of(approval: Approval) -> list[Entry]:
    """The lines that an approval has to stand in as it is now."""
    key = approval_key(approval.tenant, approval.approval_id)
    name = approval.approval_id.encode()
    opened = to_microseconds(approval.open_time)
    entries = [Entry(history_list(approval.tenant), _number(to_microseconds(_LAST) - opened) + name, key)]
    if approval.state is ApprovalState.PENDING:
        place = bytes([_MOST_PRIORITY - approval.priority]) + _number(opened) + name
        entries.append(Entry(pending_list(approval.tenant), place, key))
    if approval.is_open:
        entries.append(Entry(ending_list(), end_place(approval.expire_time) + name, key))
    return entries


def end_place(moment: datetime) -> bytes:
    """Before this place in `ending_list` stands what has ended by then."""
    return _number(to_microseconds(moment))


def _number(value: int) -> bytes:
    return value.to_bytes(_EIGHT, "big")


@dataclass(slots=True)
class ApprovalCell:
    """What an APPROVAL cell holds; None for none."""

    approval: Approval | None = None

    @classmethod
    def decode(cls, data: bytes) -> "ApprovalCell":
        """What `encode` wrote. Raises ValueError for what is of a newer version."""
        if not data:
            return cls()
        version, stated = orjson.loads(data)
        check_version(version, _VERSION)
        return cls(_approval(stated))

    def encode(self) -> bytes:
        """As JSON."""
        assert self.approval is not None
        return orjson.dumps([_VERSION, _stated(self.approval)])


@dataclass(slots=True)
class BindingCell:
    """What an APPROVAL_BINDING cell holds: which approval waits, how many joined it, and who else is an author."""

    approval_id: str = ""
    ends: int = 0
    joined: int = 0
    authors: list[str] = field(default_factory=list)

    @classmethod
    def decode(cls, data: bytes) -> "BindingCell":
        """What `encode` wrote."""
        if not data:
            return cls()
        version, approval_id, ends, joined, authors = orjson.loads(data)
        check_version(version, _VERSION)
        return cls(approval_id, ends, joined, authors)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, self.approval_id, self.ends, self.joined, self.authors])

    def waits(self, at: datetime) -> bool:
        """Whether an approval waits that a proposal can join."""
        return bool(self.approval_id) and to_microseconds(at) < self.ends


@dataclass(slots=True)
class PendingCell:
    """What an APPROVALS_PENDING cell holds: how many wait, and how many were opened in an hour of the clock."""

    count: int = 0
    hour: int = 0
    opened: int = 0

    @classmethod
    def decode(cls, data: bytes) -> "PendingCell":
        """What `encode` wrote."""
        return cls(*orjson.loads(data)) if data else cls()

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([self.count, self.hour, self.opened])

    def opened_in_hour(self, at: datetime) -> int:
        """How many were opened in the hour of this time; in an earlier one, where the clock was set back (case 22)."""
        return self.opened if _hour(at) <= self.hour else 0

    def open(self, at: datetime) -> None:
        """One more waits, and was opened."""
        self.count += 1
        self.opened = self.opened_in_hour(at) + 1
        self.hour = max(self.hour, _hour(at))

    def close(self) -> None:
        """One less waits."""
        self.count = max(0, self.count - 1)


def _hour(at: datetime) -> int:
    return to_microseconds(at) // (3_600 * SECOND)


def kept_until(approval: Approval, at: datetime, retention: timedelta) -> datetime:
    """Until when an approval is remembered."""
    return max(approval.expire_time, at) + retention


def _stated(approval: Approval) -> dict[str, Any]:
    return {
        "approval_id": approval.approval_id,
        "tenant": approval.tenant,
        "agent": approval.agent,
        "user": approval.user,
        "tool": approval.tool,
        "decision_id": approval.decision_id,
        "session_id": approval.session_id,
        "binding": approval.binding.as_json(),
        "reasons": [reason.model_dump(mode="json") for reason in approval.reasons],
        "authors": approval.authors,
        "priority": approval.priority,
        "quorum": approval.quorum,
        "roles": approval.roles,
        "use_seconds": approval.use_seconds,
        "group": approval.group,
        "open_time": to_microseconds(approval.open_time),
        "expire_time": to_microseconds(approval.expire_time),
        "version": approval.version,
        "shown_version": approval.shown_version,
        "state": approval.state.value,
        "answers": [_answer_stated(answer) for answer in approval.answers],
        "resolve_time": None if approval.resolve_time is None else to_microseconds(approval.resolve_time),
        "opened_as": approval.opened_as,
        "joined": approval.joined,
        "used_by": approval.used_by,
    }


def _approval(stated: dict[str, Any]) -> Approval:
    ended = stated["resolve_time"]
    return Approval(
        **{
            **stated,
            "binding": Binding(**stated["binding"]),
            "reasons": tuple(Reason.model_validate(each) for each in stated["reasons"]),
            "authors": tuple(stated["authors"]),
            "roles": tuple(stated["roles"]),
            "open_time": from_microseconds(stated["open_time"]),
            "expire_time": from_microseconds(stated["expire_time"]),
            "state": ApprovalState(stated["state"]),
            "answers": tuple(map(_answer, stated["answers"])),
            "resolve_time": None if ended is None else from_microseconds(ended),
        }
    )


def _answer_stated(answer: Answer) -> dict[str, Any]:
    return {
        "approver": answer.approver,
        "roles": answer.roles,
        "credential_id": answer.credential_id,
        "resolution": answer.resolution.value,
        "comment": answer.comment,
        "time": to_microseconds(answer.time),
        "edited": answer.edited,
        "standing": answer.standing,
    }


def _answer(stated: dict[str, Any]) -> Answer:
    return Answer(
        **{
            **stated,
            "roles": tuple(stated["roles"]),
            "resolution": Resolution(stated["resolution"]),
            "time": from_microseconds(stated["time"]),
        }
    )
