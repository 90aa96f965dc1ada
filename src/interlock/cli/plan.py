"""Plans on the command line: read from a file, and their decisions shown step by step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from interlock.client import Decision, PlanStep, StepDecision, Verdict

_FIELDS = {"step_id", "tool", "arguments", "after"}


def read_plan(path: Path) -> list[PlanStep]:
    """The steps of the file: a JSON list of objects with `step_id`, `tool`, and where needed `arguments`, `after`.

    Arguments may hold references, `{"$result": {"step": STEP_ID, "pointer": JSON_POINTER}}`. Raises ValueError, and
    OSError for the file.
    """
    try:
        stated = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"`{path}` is not JSON: {error}") from error
    if not isinstance(stated, list) or not all(isinstance(step, dict) for step in stated):
        raise ValueError(f"`{path}` must hold a list of objects, one for each step")
    return [_step(step, number) for number, step in enumerate(stated)]


def split_reference(text: str) -> tuple[str, str]:
    """The plan's decision_id and the step of `DECISION_ID/STEP_ID`. Raises ValueError."""
    decision_id, separator, step = text.partition("/")
    if not (decision_id and separator and step):
        raise ValueError(f"expected `DECISION_ID/STEP_ID`, got `{text}`")
    return decision_id, step


def step_fields(step: StepDecision, *, with_token: bool) -> dict[str, Any]:
    """A step's decision as JSON."""
    fields: dict[str, Any] = {
        "step_id": step.step_id,
        "decision_id": step.decision_id,
        "verdict": step.verdict.value,
        "reasons": [
            {"code": each.code, "message": each.message, "path": each.path, "metadata": each.metadata}
            for each in step.reasons
        ],
        "obligations": [{"type": each.type, **each.parameters} for each in step.obligations],
        "arguments_digest": step.arguments_digest,
    }
    if step.execution_token and with_token:
        fields["execution_token"] = step.execution_token
    return fields


def step_lines(decision: Decision) -> Iterator[str]:
    """A line for each step of a plan, in its order."""
    for step in decision.steps:
        codes = ", ".join(reason.code for reason in step.reasons)
        waits = step.verdict is Verdict.ALLOW and not step.execution_token
        later = "  (propose it again when its turn has come)" if waits else ""
        yield f"  {step.step_id}: {step.verdict.value.upper()}  decision {step.decision_id}  {codes}{later}"


def _step(stated: dict[str, Any], number: int) -> PlanStep:
    match {"arguments": {}, "after": [], **stated}:
        case {
            "step_id": str() as step_id,
            "tool": str() as tool,
            "arguments": dict() as arguments,
            "after": list() as after,
        } if stated.keys() <= _FIELDS and all(isinstance(each, str) for each in after):
            return PlanStep(step_id=step_id, tool=tool, arguments=arguments, after=after)
    raise ValueError(
        f"step {number} must have `step_id`, `tool`, and where needed `arguments` (an object) and `after` (a list)"
    )
