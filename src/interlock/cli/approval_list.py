"""Approvals in a list, as a line each, and as JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from interlock.cli.approval_view import approved_by
from interlock.cli.spans import span
from interlock.client import Approval, ApprovalState, Resolved, ShownApproval, StandingApproval

_HEAD = "priority  age  expires in  approved  version  state       approval"
_DIGEST_SHOWN = 12


def list_lines(approvals: Iterable[Approval], now: datetime) -> Iterator[str]:
    """Two lines for each, narrow enough for any terminal: how it stands with its name, and what it is about.

    Approvals of a group stand together under one line with their number.
    """
    yield _HEAD
    for alike in grouped(approvals):
        if len(alike) > 1:
            yield f"{len(alike)} alike:"
        for each in alike:
            yield _standing(each, now)
            yield f"          {_about(each)}"


def grouped(approvals: Iterable[Approval]) -> list[list[Approval]]:
    """Approvals of the same tool with like arguments together, each group at the place of its first."""
    groups: dict[tuple[str, ApprovalState], list[Approval]] = {}
    for each in approvals:
        groups.setdefault((each.group or each.approval_id, each.state), []).append(each)
    return list(groups.values())


def one_line(approval: Approval, now: datetime) -> str:
    """An approval on one line, for who watches."""
    left = _left(approval, now)
    return f"{now:%H:%M:%S}  {approval.approval_id}  priority {approval.priority}, {left} left  {_about(approval)}"


def json_of(value: Approval | ShownApproval | Resolved | StandingApproval) -> dict[str, Any]:
    """The fields for a program: times in ISO 8601, arguments as values."""
    return asdict(value, dict_factory=_fields)


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in pairs
        if not isinstance(value, bytes)
    }


def _standing(approval: Approval, now: datetime) -> str:
    state = "used" if approval.used_by else approval.state.value
    age = span((now - approval.open_time).total_seconds())
    return (
        f"{approval.priority:>8}  {age:>3}  {_left(approval, now):>10}  {approved_by(approval):>8}"
        f"  {approval.version:>7}  {state:<10}  {approval.approval_id}"
    )


def _about(approval: Approval) -> str:
    user = f" for {approval.user}" if approval.user else ""
    codes = ", ".join(dict.fromkeys(reason.code for reason in approval.reasons))
    digest = approval.arguments_digest[:_DIGEST_SHOWN]
    return f"{approval.tool} by {approval.agent}{user}: {codes}; digest {digest}"


def _left(approval: Approval, now: datetime) -> str:
    waits = approval.state in (ApprovalState.PENDING, ApprovalState.APPROVED) and not approval.used_by
    return span((approval.expire_time - now).total_seconds()) if waits else ""
