"""Plans as the clients take and give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Stands in a step's arguments for a value that a step before it will have given.

    `pointer` is a JSON Pointer (RFC 6901) into the result of the step named `step`, empty for all of it.
    """

    step: str
    pointer: str = ""

    def as_json(self) -> dict[str, Any]:
        """The reference as it is sent."""
        return {"$result": {"step": self.step, "pointer": self.pointer}}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One call of a plan. `step_id` is 1 to 64 characters of [a-z0-9-]; `after` names steps that must have succeeded.

    `arguments` is a JSON object in which a Reference may stand for a value.
    """

    step_id: str
    tool: str
    arguments: Mapping[str, Any] = field(repr=False)
    after: Sequence[str] = ()


def filled(arguments: Any, results: Mapping[str, Any]) -> Any:
    """The arguments with each Reference replaced by its value in `results`, which are by step.

    Raises LookupError where a result, or what is referred to in it, is not there.
    """
    match arguments:
        case Reference(step=step, pointer=pointer):
            return _value_at(results[step], pointer)
        case Mapping():
            return {key: filled(value, results) for key, value in arguments.items()}
        case list() | tuple():
            return [filled(value, results) for value in arguments]
    return arguments


def _value_at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        token = part.replace("~1", "/").replace("~0", "~")  # RFC 6901 4
        if isinstance(value, list) and token.isascii() and token.isdecimal():
            value = value[int(token)]
        elif isinstance(value, Mapping):
            value = value[token]
        else:
            raise LookupError("the result has nothing where a reference points")
    return value
