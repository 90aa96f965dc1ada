"""References: places in a step's arguments for values that the results of steps before it will have.

A reference is an object of exactly this form: `{"$result": {"step": STEP_ID, "pointer": JSON_POINTER}}`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.core import json_pointer
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError

RESULT = "$result"
MAX_REFERENCES = 32
"""References that one step may have."""

_FORM = '`{"$result": {"step": STEP_ID, "pointer": JSON_POINTER}}`'


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """At `place` in the arguments goes what is at `pointer` in the result of `step`; both are JSON Pointers."""

    place: str
    step: str
    pointer: str

    def as_json(self) -> dict[str, Any]:
        """The reference as it stands in the arguments."""
        return {RESULT: {"step": self.step, "pointer": self.pointer}}


def find_references(arguments: Mapping[str, Any], *, field: str) -> tuple[Reference, ...]:
    """All that the arguments refer to. `field` is their field of the request.

    Raises InterlockError: INVALID_FIELD with the JSON Pointer, for an object that has `$result` and another form.
    """
    if RESULT in arguments:
        raise invalid_reference(field, "", "must not be a reference as a whole")
    found = tuple(
        _reference(value, place, field) for place, value in _places(arguments, "") if RESULT in value
    )
    if len(found) > MAX_REFERENCES:
        raise invalid_reference(field, "", f"must have at most {MAX_REFERENCES} references, got {len(found)}")
    return found


def is_within(path: str, places: Iterable[str]) -> bool:
    """Whether a JSON Pointer is one of `places`, or leads into one of them."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def take_back(arguments: Mapping[str, Any], references: Iterable[Reference]) -> Any:
    """The arguments with each reference in its place again. Raises LookupError where there is no such place."""
    value: Any = arguments
    for reference in references:
        value = _put(value, json_pointer.to_path(reference.place), reference.as_json())
    return value


def _places(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object within the value; nothing inside of what has `$result` is an object of its own."""
    if isinstance(value, dict):
        yield place, value
        if RESULT in value:
            return
        for key, member in value.items():
            yield from _places(member, json_pointer.append(place, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _places(element, json_pointer.append(place, index))


def _reference(value: dict[str, Any], place: str, field: str) -> Reference:
    match value:
        case {"$result": {"step": str() as step, "pointer": str() as pointer} as inner} if (
            len(value) == 1 and len(inner) == 2  # noqa: PLR2004 - step and pointer
        ):
            pass
        case _:
            raise invalid_reference(field, place, f"has `$result`, and is not exactly {_FORM}")
    if max(len(place), len(pointer)) > json_pointer.MAX_LENGTH:
        raise invalid_reference(
            field, "", f"has a JSON Pointer of more than {json_pointer.MAX_LENGTH} characters"
        )
    try:
        json_pointer.to_path(pointer)
    except ValueError as error:
        raise invalid_reference(field, place, f"refers by what is {error}") from None
    return Reference(place=place, step=step, pointer=pointer)


def _put(value: Any, path: list[str], new: Any) -> Any:
    """A copy of the value with `new` at exactly this path."""
    if not path:
        return new
    token, rest = path[0], path[1:]
    child = _put(json_pointer.value_at(value, json_pointer.append("", token)), rest, new)
    if isinstance(value, dict):
        return {**value, token: child}
    return [child if str(index) == token else element for index, element in enumerate(value)]


def invalid_reference(field: str, place: str, description: str) -> InterlockError:
    """Error for a reference, or what looks like one, at the JSON Pointer `place` in the arguments of `field`."""
    return InterlockError(
        reason=ErrorReason.INVALID_FIELD,
        message=f"`{field}#{place[: json_pointer.MAX_LENGTH]}` {description}",
        violations=(FieldViolation(field=field, description=description, pointer=place),),
    )
