"""Approvals as the client gives them to the command line."""

from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.client import (
    Approval,
    ApprovalAnswer,
    ApprovalCall,
    ApprovalState,
    Preview,
    Reason,
    Resolution,
    ShownApproval,
    Verdict,
)
from interlock.core.canonical import canonicalize, digest_of
from tests.policy_inputs import quiet_facts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARGUMENTS = {"message": "Greet the world", "repo_path": "."}
NEEDS_PERSON = Reason(
    code="effects.needs_person",
    message="A person must approve this effect",
    metadata={"effects": ["write"]},
    path="",
)


def an_approval(**changes: Any) -> Approval:
    """One that waits."""
    fields: dict[str, Any] = {
        "approval_id": "approval-1",
        "version": 1,
        "state": ApprovalState.PENDING,
        "agent": "release-agent",
        "user": "",
        "tool": "git_commit",
        "decision_id": "decision-1",
        "session_id": "session-1",
        "reasons": (NEEDS_PERSON,),
        "priority": 40,
        "quorum": 1,
        "roles": ("approver",),
        "answers": (),
        "open_time": NOW - timedelta(minutes=12),
        "expire_time": NOW + timedelta(minutes=48),
        "resolve_time": None,
        "binding_digest": "b" * 43,
        "arguments_digest": digest_of(ARGUMENTS),
        "group": "g" * 32,
        "joined": 0,
        "edited": False,
        "used_by": "",
    }
    return Approval(**(fields | changes))


def a_call(arguments: dict[str, Any] = ARGUMENTS, **changes: Any) -> ApprovalCall:
    """A call with all that was recorded of it: nothing that speaks against it."""
    fields: dict[str, Any] = {
        "step_id": "",
        "tool": "git_commit",
        "effects": ("write",),
        "arguments": arguments,
        "arguments_json": canonicalize(arguments),
        "arguments_digest": digest_of(arguments),
        "concealed": (),
        "facts": {**quiet_facts(), "novelty": {"tool": False, "shape": False, "targets": []}},
        "destinations": (),
        "files": {},
        "reasons": (NEEDS_PERSON,),
    }
    return ApprovalCall(**(fields | changes))


def a_shown(arguments: dict[str, Any] = ARGUMENTS, **changes: Any) -> ShownApproval:
    """An approval of one call, as the service shows it."""
    fields: dict[str, Any] = {
        "approval": an_approval(arguments_digest=digest_of(arguments)),
        "calls": (a_call(arguments),),
        "goal": "",
        "preview": Preview(verdict=Verdict.ALLOW, reasons=()),
        "approved_before": None,
        "edited_arguments": None,
    }
    return ShownApproval(**(fields | changes))


def an_answer(
    resolution: Resolution = Resolution.APPROVE, *, minutes: float = 6, **changes: Any
) -> ApprovalAnswer:
    """What alice answered, so many minutes after she was asked."""
    fields: dict[str, Any] = {
        "approver": "alice",
        "roles": ("approver",),
        "comment": "",
        "time": NOW + timedelta(minutes=minutes - 12),
        "edited": False,
    }
    return ApprovalAnswer(resolution=resolution, **(fields | changes))
