"""What a model hears in place of a tool's answer: why, in words that it can act on, and the same as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock.core.decision import Decision, Reason
from interlock.core.errors import InterlockError

_AGAIN = "make the same call again, with the same arguments"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolError:
    """Why a call has no answer of its tool. `data` says the same as `text`, for a program."""

    text: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)


def denied(decision: Decision) -> ToolError:
    """The call is denied: its reasons, and what to change or how long to wait."""
    return _of_decision(decision, "The call was denied by policy and did not run.", _remedy(decision))


def waiting(decision: Decision) -> ToolError:
    """The call still waits for a person's approval: which one, and how to come back for it."""
    remedy = (
        f"ask a person to resolve approval `{decision.approval_id}`; then {_AGAIN}, in this connection: it is "
        "answered by that approval and runs once"
    )
    return _of_decision(decision, "The call needs a person's approval and did not run.", remedy)


def refused(error: InterlockError, next_steps: Mapping[str, str]) -> ToolError:
    """There is no decision, or the gateway did not act on it; nothing ran. `next_steps` are by ErrorReason."""
    remedy = next_steps.get(error.reason, "") or "try again later"
    lines = [f"The call did not run: {error.message} ({error.reason.value}).", *_waits(error.retry_after)]
    data: dict[str, Any] = {
        "error": error.reason.value,
        "message": error.message,
        "may_have_run": False,
        "what_to_do": remedy,
    }
    if error.violations:
        data["violations"] = [
            {"field": each.field, "path": each.pointer, "message": each.description}
            for each in error.violations
        ]
        lines += [f"- {each.field}{_at(each.pointer)}: {each.description}" for each in error.violations]
    if error.retry_after is not None:
        data["retry_after_seconds"] = error.retry_after
    return ToolError(text="\n".join([*lines, f"What to do: {remedy}."]), data=data)


def unknown(execution_id: str) -> ToolError:
    """The tool was called and no answer came."""
    remedy = "find out whether it ran before you make the call again: it never runs again by itself"
    text = (
        f"No answer came from the tool: the call MAY HAVE RUN (execution `{execution_id}`).\n"
        f"What to do: {remedy}."
    )
    data = {"outcome": "unknown", "execution_id": execution_id, "may_have_run": True, "what_to_do": remedy}
    return ToolError(text=text, data=data)


def _of_decision(decision: Decision, what: str, remedy: str) -> ToolError:
    lines = [what, *map(_line, decision.reasons), *_waits(decision.retry_after)]
    data: dict[str, Any] = {
        "verdict": decision.verdict.value,
        "decision_id": decision.decision_id,
        "reasons": [
            {"code": each.code, "message": each.message, "path": each.path, "metadata": dict(each.metadata)}
            for each in decision.reasons
        ],
        "may_have_run": False,
        "what_to_do": remedy,
    }
    if decision.approval_id:
        data["approval_id"] = decision.approval_id
    if decision.retry_after is not None:
        data["retry_after_seconds"] = decision.retry_after
    text = "\n".join([*lines, f"What to do: {remedy}.", f"(decision {decision.decision_id})"])
    return ToolError(text=text, data=data)


def _line(reason: Reason) -> str:
    detail = reason.metadata.get("message")
    said = f"{reason.message}: {detail}" if isinstance(detail, str) and detail else reason.message
    return f"- {reason.code}{_at(reason.path)}: {said}"


def _remedy(decision: Decision) -> str:
    if paths := _paths(decision.reasons):
        return f"change the argument at {', '.join(paths)}, and make the call again"
    if decision.retry_after is not None:
        return f"wait {decision.retry_after:g} seconds, then {_AGAIN}"
    return "do something else: the same call would be denied again"


def _paths(reasons: Sequence[Reason]) -> list[str]:
    return sorted({f"`{reason.path}`" for reason in reasons if reason.path})


def _at(path: str) -> str:
    return f" at `{path}`" if path else ""


def _waits(seconds: float | None) -> list[str]:
    return [] if seconds is None else [f"Retry after {seconds:g} seconds."]
