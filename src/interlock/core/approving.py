"""What an approval changes in the store: opened or joined with a decision, answered with a record, used by a grant.

Only appends change these cells, and appends follow one another on every store. So whatever is looked at here is as it
stands, and of two changes that were made ready at once, the later one sees the earlier one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from interlock.core.announcing import Hearer, announce, announcement_keys
from interlock.core.approval import Approval, ApprovalState, Event
from interlock.core.approval_answer import MostPending
from interlock.core.approval_cells import (
    ApprovalCell,
    BindingCell,
    PendingCell,
    approval_key,
    before_key,
    binding_key,
    edit_key,
    entries_of,
    kept_until,
    pending_keys,
    request_key,
)
from interlock.core.approval_evidence import Evidence
from interlock.core.approver_rules import acting_as
from interlock.core.cells import Cells
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.granting import refused
from interlock.core.moments import SECOND, to_microseconds
from interlock.core.record import Draft
from interlock.core.reservation import Shortfall, shortfall
from interlock.core.standing import StandingApproval
from interlock.core.standing_changes import GiveStanding
from interlock.core.store_secret import NEVER

RETENTION = timedelta(days=90)
"""How long an approval is remembered after its end; its records stay."""

HOUR = 3_600 * SECOND

APPROVAL_CODES: Mapping[str, str] = {
    "approvals.too_many_pending": "Too many approvals wait already, so nobody is asked for one more",
    "approvals.too_many_an_hour": "The agent has asked people too often in this hour, so nobody is asked once more",
    "approvals.changed": "The approval is no longer what it was when the policy weighed it",
}
"""The reasons that the service gives of approvals, and what each means."""


@dataclass(slots=True, kw_only=True)
class OpenApproval:
    """The DraftChange of an escalated decision: it opens an approval, or joins the one that waits for the same.

    Where too many wait, the decision becomes a deny: `lacking` says so. `joined` is the approval that it joined in the
    last run, empty for none. `sealed_request` is what the agent sent, to be decided again without it; `files` is what
    was found of the files that its arguments name, as it may be told (core.named_files).
    """

    approval: Approval
    files: Mapping[str, str]
    most_pending: MostPending
    sealed_request: bytes = field(repr=False)
    at: datetime
    hearers: tuple[Hearer, ...] = ()
    lacking: tuple[Shortfall, ...] = field(default=(), init=False)
    joined: str = field(default="", init=False)

    @property
    def keys(self) -> Iterable[bytes]:
        """The approval, what waits for its binding, what is counted, and the request."""
        approval = self.approval
        return (
            approval_key(approval.tenant, approval.approval_id),
            binding_key(approval.tenant, approval.opened_as),
            request_key(approval.tenant, approval.decision_id),
            *pending_keys(approval.tenant, approval.agent),
            *announcement_keys(None, approval, self.hearers),
        )

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """Open or join; the draft that says which."""
        key = binding_key(self.approval.tenant, self.approval.opened_as)
        waiting = cells.open(key, BindingCell)
        self.lacking, self.joined = (), ""
        if waiting.waits(self.at):
            self._join(waiting)
            cells.keep(key, waiting, expire_time=NEVER)
        else:
            self.lacking = self._too_many(cells)
            if not self.lacking:
                self._open(key, cells)
        if not self.lacking:
            self._keep_request(cells)
        return replace(draft, fields=self.stated(draft.fields))

    def stated(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the decision's record, as the last run left them."""
        if self.lacking:
            kept = {name: value for name, value in fields.items() if name not in ("approval_id", "approval")}
            return refused(kept, self.lacking)
        return {
            **fields,
            "approval_id": self.joined or self.approval.approval_id,
            "approval": {
                "joined": bool(self.joined),
                "binding": self.approval.binding.as_json(),
                "binding_digest": self.approval.binding.digest,
                "files": dict(self.files),
                "priority": self.approval.priority,
                "quorum": self.approval.quorum,
                "roles": list(self.approval.roles),
                "authors": list(self.approval.authors),
                "group": self.approval.group,
            },
        }

    def _join(self, waiting: BindingCell) -> None:
        self.joined = waiting.approval_id
        waiting.joined += 1
        waiting.authors = sorted({*waiting.authors, *self.approval.authors})

    def _too_many(self, cells: Cells) -> tuple[Shortfall, ...]:
        keys = pending_keys(self.approval.tenant, self.approval.agent)
        mosts = (("agent", self.most_pending.agent), ("tenant", self.most_pending.tenant))
        code = "approvals.too_many_pending"
        waiting = tuple(
            Shortfall(code=code, message=APPROVAL_CODES[code], metadata={"scope": scope, "limit": most})
            for key, (scope, most) in zip(keys, mosts, strict=True)
            if cells.open(key, PendingCell).count >= most
        )
        return waiting or self._too_often(cells.open(keys[0], PendingCell))

    def _too_often(self, of_agent: PendingCell) -> tuple[Shortfall, ...]:
        """Who takes proposals back, or has them denied, and asks again, takes people's time all the same (case 53)."""
        most = self.most_pending.agent_an_hour
        if of_agent.opened_in_hour(self.at) < most:
            return ()
        code = "approvals.too_many_an_hour"
        left = HOUR - to_microseconds(self.at) % HOUR
        return (shortfall(code, APPROVAL_CODES[code], left, limit=most),)

    def _open(self, key: bytes, cells: Cells) -> None:
        approval = self.approval
        waiting = BindingCell(
            approval_id=approval.approval_id,
            ends=to_microseconds(approval.expire_time),
            authors=list(approval.authors),
        )
        cells.keep(key, waiting, expire_time=NEVER)
        _count(approval, cells, lambda pending: pending.open(self.at))
        _put(approval, cells, self.at)
        announce(None, approval, self.hearers, cells, self.at)

    def _keep_request(self, cells: Cells) -> None:
        ends = self.approval.expire_time + timedelta(seconds=self.approval.use_seconds) + timedelta(days=1)
        cells.put(
            request_key(self.approval.tenant, self.approval.decision_id),
            self.sealed_request,
            expire_time=ends,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeApproval:
    """The DraftChange of a record that tells what happened to an approval: `before` gives way to `after`.

    Where it is no longer as it was `before`, nothing is stored: raises InterlockError, APPROVAL_CHANGED. `standing` is
    given with it; of one too many, nothing is stored either: INVALID_FIELD.
    """

    before: Approval
    after: Approval
    at: datetime
    sealed_arguments: bytes = field(default=b"", repr=False)
    standing: StandingApproval | None = None
    hearers: tuple[Hearer, ...] = ()

    @property
    def keys(self) -> Iterable[bytes]:
        """The approval, what waits for its binding, what is counted, and what was approved before."""
        approval = self.before
        return (
            approval_key(approval.tenant, approval.approval_id),
            binding_key(approval.tenant, approval.opened_as),
            edit_key(approval.tenant, approval.approval_id),
            before_key(approval.tenant, approval.group),
            *pending_keys(approval.tenant, approval.agent),
            *announcement_keys(self.before, self.after, self.hearers),
            *(GiveStanding(self.standing).keys if self.standing else ()),
        )

    def run(self, draft: Draft, cells: Cells, log_index: int) -> Draft:
        """Change it; the draft stays as it is."""
        approval_now = cells.open(
            approval_key(self.before.tenant, self.before.approval_id), ApprovalCell
        ).approval
        if approval_now is None or approval_now.version != self.before.version:
            raise changed(approval_now.version if approval_now else 0)
        _replace(self.before, self.after, cells, self.at)
        if self.sealed_arguments:
            ends = kept_until(self.after, self.at, timedelta(days=1))
            cells.put(
                edit_key(self.before.tenant, self.before.approval_id), self.sealed_arguments, expire_time=ends
            )
        announce(self.before, self.after, self.hearers, cells, self.at)
        if self.standing:
            GiveStanding(self.standing).run(cells, self.at, log_index)
        return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalCondition:
    """A Condition of what is granted with an approval: it stands as it did when the policy weighed it, unused.

    `user`, `policy_revision` and `authors` are those of the decision that is to be granted. A hard rule, whatever the
    policy says: no token for what nobody approved, or only who proposed it (cases 49, 50, 51).
    """

    tenant: str
    evidence: Evidence
    user: str
    policy_revision: str
    authors: tuple[str, ...] = ()

    @property
    def keys(self) -> Iterable[bytes]:
        """The approval's cell."""
        return (approval_key(self.tenant, self.evidence.approval_id),)

    def lacking(self, cells: Cells, at: datetime) -> tuple[Shortfall, ...]:
        """Why it does not hold; empty where it does."""
        [key] = self.keys
        approval = cells.open(key, ApprovalCell).approval
        if approval is not None and self._holds(approval, at):
            return ()
        state = "unknown" if approval is None else approval.state.value
        code = "approvals.changed"
        return (Shortfall(code=code, message=APPROVAL_CODES[code], metadata={"state": state}),)

    def _holds(self, approval: Approval, at: datetime) -> bool:
        return (
            approval.state is ApprovalState.APPROVED
            and not approval.used_by
            and not approval.is_over(at)
            and approval.version == self.evidence.version
            and approval.binding == self.evidence.binding
            and (self.user, self.policy_revision) == (approval.binding.user, approval.binding.policy_revision)
            # An approver's own proposal may have joined in the moment in which the approver said yes.
            and not any(acting_as(each.approver, each.roles) & set(self.authors) for each in approval.answers)
        )

    def use(self, decision_id: str, cells: Cells, at: datetime) -> None:
        """Use it up for this decision; it was not lacking."""
        [key] = self.keys
        approval = cells.open(key, ApprovalCell).approval
        assert approval is not None
        used = approval.after(Event.USE, at, used_by=decision_id)
        for entry in set(entries_of(approval)) - set(entries_of(used)):
            cells.delist(entry)
        cells.keep(key, ApprovalCell(used), expire_time=kept_until(used, at, RETENTION))


def changed(version: int) -> InterlockError:
    """Error for an answer to what is no longer so."""
    return InterlockError(
        reason=ErrorReason.APPROVAL_CHANGED,
        message="the approval is no longer what was seen; look at it again",
        metadata={"version": str(version)},
    )


def _replace(before: Approval, after: Approval, cells: Cells, at: datetime) -> None:
    closes = before.state is ApprovalState.PENDING and after.state is not ApprovalState.PENDING
    if closes:
        _count(before, cells, PendingCell.close)
        after = replace(after, joined=_stop_waiting(before, cells))
    for entry in set(entries_of(before)) - set(entries_of(after)):
        cells.delist(entry)
    _put(after, cells, at)
    if after.state is ApprovalState.APPROVED and before.state is not ApprovalState.APPROVED:
        cells.put(
            before_key(after.tenant, after.group),
            after.approval_id.encode(),
            expire_time=kept_until(after, at, RETENTION),
        )


def _stop_waiting(approval: Approval, cells: Cells) -> int:
    """Nothing joins it any more; a newer approval of the same binding stays. How many had joined."""
    key = binding_key(approval.tenant, approval.opened_as)
    waiting = cells.open(key, BindingCell)
    if waiting.approval_id != approval.approval_id:
        return approval.joined
    kept = replace(waiting, approval_id="", ends=0)
    cells.keep(key, kept, expire_time=approval.expire_time + RETENTION)
    return waiting.joined


def _count(approval: Approval, cells: Cells, change: Callable[[PendingCell], None]) -> None:
    for key in pending_keys(approval.tenant, approval.agent):
        pending = cells.open(key, PendingCell)
        change(pending)
        cells.keep(key, pending, expire_time=NEVER)


def _put(approval: Approval, cells: Cells, at: datetime) -> None:
    key = approval_key(approval.tenant, approval.approval_id)
    until = kept_until(approval, at, RETENTION)
    cells.keep(key, ApprovalCell(approval), expire_time=until)
    for entry in entries_of(approval):
        cells.enlist(entry, expire_time=until)
