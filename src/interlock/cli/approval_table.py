"""Approvals as rows of a table, as a line each, and as JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from interlock.cli.approval_view import approved_by
from interlock.cli.spans import span
from interlock.client import Approval, ApprovalState, Resolved, ShownApproval, StandingApproval

COLUMNS = (
    *("approval", "version", "state", "priority", "age", "expires in", "agent", "user", "tool"),
    *("reasons", "digest", "approved"),
)

_DIGEST_SHOWN = 12


def table_rows(approvals: Iterable[Approval], now: datetime) -> Iterator[tuple[object, ...]]:
    """The rows: approvals of a group together, under one line with their number, each with its own id and digest."""
    for alike in grouped(approvals):
        indent = ""
        if len(alike) > 1:
            yield (f"{len(alike)} alike:", *[""] * (len(COLUMNS) - 1))
            indent = "  "
        for each in alike:
            yield (indent + each.approval_id, *_cells(each, now))


def grouped(approvals: Iterable[Approval]) -> list[list[Approval]]:
    """Approvals of the same tool with like arguments together, each group at the place of its first."""
    groups: dict[tuple[str, ApprovalState], list[Approval]] = {}
    for each in approvals:
        groups.setdefault((each.group or each.approval_id, each.state), []).append(each)
    return list(groups.values())


def one_line(approval: Approval, now: datetime) -> str:
    """An approval on one line, for who watches."""
    codes = ", ".join(_codes(approval))
    user = f" for {approval.user}" if approval.user else ""
    return (
        f"{now:%H:%M:%S}  {approval.approval_id}  priority {approval.priority}  {approval.tool} by"
        f" {approval.agent}{user}  {codes}  {_prefix(approval)}  expires in {_left(approval, now)}"
    )


def json_of(value: Approval | ShownApproval | Resolved | StandingApproval) -> dict[str, Any]:
    """The fields for a program: times in ISO 8601, arguments as values."""
    return asdict(value, dict_factory=_fields)


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in pairs
        if not isinstance(value, bytes)
    }


def _cells(approval: Approval, now: datetime) -> tuple[object, ...]:
    return (
        approval.version,
        "used" if approval.used_by else approval.state.value,
        approval.priority,
        span((now - approval.open_time).total_seconds()),
        _left(approval, now),
        approval.agent,
        approval.user,
        approval.tool,
        ", ".join(_codes(approval)),
        _prefix(approval),
        approved_by(approval),
    )


def _codes(approval: Approval) -> list[str]:
    return list(dict.fromkeys(reason.code for reason in approval.reasons))


def _prefix(approval: Approval) -> str:
    return approval.arguments_digest[:_DIGEST_SHOWN]


def _left(approval: Approval, now: datetime) -> str:
    waits = approval.state in (ApprovalState.PENDING, ApprovalState.APPROVED) and not approval.used_by
    return span((approval.expire_time - now).total_seconds()) if waits else ""
