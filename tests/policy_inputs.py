"""Input documents for tests of policies and of what evaluates them."""

from typing import Any

from interlock.core.facts import AttemptsInput, CallsInput, FactsInput, ViolationInput
from interlock.core.policy_input import PolicyInput


def quiet_facts(*violations: ViolationInput) -> FactsInput:
    """What is measured of a first proposal, in a session that read nothing untrusted."""
    return {
        "violations": list(violations),
        "loops": {"session": _first_call(), "agent": _first_call(), "depth": 1, "parent_known": True},
        "retries": {
            "operation": {
                "key_given": False,
                "attempts": 1,
                "failed_in_row": 0,
                "seconds_since_failure": -1,
            },
            "session": _first_attempt(),
            "agent": _first_attempt(),
            "tool": _first_attempt(),
        },
        "breaker": {
            "state": "closed",
            "calls": 0,
            "failed": 0,
            "slow": 0,
            "opened": 0,
            "seconds_until_half_open": 0,
        },
        "spend": {"calls": 0, "cost": 0, "model_tokens": 0, "compute_milliseconds": 0},
        "context": {
            "digest_sent": False,
            "digest_matches": True,
            "stale_reads": [],
            "untrusted_since_step": 0,
            "untrusted_sources": [],
            "goal_set_by": "none",
            "goal_changed": False,
            "session_ended": False,
            "idle_seconds": 0,
        },
        "provenance": [],
        "provenance_unlisted": 0,
        "novelty": {"tool": True, "shape": True, "targets": []},
        "freezes": [],
        "standing": [],
    }


def _first_call() -> CallsInput:
    return {
        "same_call": 1,
        "same_call_same_result": 1,
        "similar_call": 1,
        "cycle": {"length": 0, "count": 0},
        "steps": 1,
    }


def _first_attempt() -> AttemptsInput:
    return {
        "first_attempts": 1,
        "retries": 0,
        "invalid": 0,
        "failed": 0,
        "invalid_in_row": 0,
        "failed_in_row": 0,
        "invalid_ratio": 0,
        "failed_ratio": 0,
        "retry_ratio": 0,
    }


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
            "results": "untrusted",
            "reversibility": "unknown",
        },
        "arguments": arguments,
        "arguments_digest": "arguments-digest",
        "facts": quiet_facts(),
        "context": {
            "session_id": "session-1",
            "parent_decision_id": "",
            "operation": "",
            "goal": goal,
            "sources": [],
            "memory_reads": [],
            "state_digest": "",
        },
        "destinations": [],
        "plan": None,
        "approval": None,
        "time": {"now": "2026-03-01T12:00:00.000000Z", "unix": 1772366400},
    }
