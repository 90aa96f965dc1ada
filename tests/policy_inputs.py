"""Input documents for tests of policies and of what evaluates them."""

from typing import Any

from interlock.core.policy_input import PolicyInput


def an_input(goal: str = "", *, role: str = "reader", **arguments: Any) -> PolicyInput:
    """A proposal to read that the role `reader` grants. `goal` tells the inputs of a batch apart."""
    return {
        "subject": {"tenant": "acme", "agent": "coder", "user": "", "roles": [role]},
        "tool": {
            "name": "git_status",
            "known": True,
            "digest": "tool-digest",
            "gateway": "git",
            "effects": ["read"],
            "labels": {},
            "cost": 0,
        },
        "arguments": arguments,
        "arguments_digest": "arguments-digest",
        "facts": {"violations": []},
        "context": {
            "session_id": "session-1",
            "parent_decision_id": "",
            "goal": goal,
            "sources": [],
            "memory_reads": [],
            "state_digest": "",
        },
        "approval": None,
        "time": {"now": "2026-03-01T12:00:00.000000Z", "unix": 1772366400},
    }
