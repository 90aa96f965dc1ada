"""Edited arguments: how they differ from those that were proposed, and the values in them that nobody may see."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from interlock.core import json_pointer
from interlock.core.policy_input import EditInput

_NOTHING = object()

MOST_EDITS = 256
"""More places are not told one by one: the last that is told is then the arguments as a whole."""


def edits_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[EditInput]:
    """The places in which two objects differ, as JSON Pointers (RFC 6901), in order; at most MOST_EDITS."""
    found: list[EditInput] = []
    for edit in _differences("", dict(before), dict(after)):
        if len(found) == MOST_EDITS - 1:
            return [*found, {"path": "", "change": "changed"}]
        found.append(edit)
    return found


def restored(
    edited: Mapping[str, Any],
    *,
    proposed: Mapping[str, Any],
    disclosed: Mapping[str, Any],
    sensitive: Iterable[str],
) -> Mapping[str, Any]:
    """The edited arguments with each concealed value that was left as it was shown given its real value again.

    `disclosed` is what approvers see of the `proposed` arguments; `sensitive` are JSON Pointers to what is concealed.
    Raises LookupError for a concealed value that is none of those that were shown.
    """
    pointers = list(sensitive)
    known = {
        shown["concealed"]: real
        for pointer in pointers
        for shown, real in zip(_values_at(disclosed, pointer), _values_at(proposed, pointer), strict=False)
        if _is_concealed(shown)
    }
    for pointer in pointers:
        edited = json_pointer.replace_at(
            edited, pointer, lambda value: known[value["concealed"]] if _is_concealed(value) else value
        )
    return edited


def _values_at(arguments: Mapping[str, Any], pointer: str) -> list[Any]:
    found: list[Any] = []

    def note(value: Any) -> Any:
        found.append(value)
        return value

    json_pointer.replace_at(arguments, pointer, note)
    return found


def _is_concealed(value: Any) -> bool:
    return (
        isinstance(value, Mapping) and value.keys() == {"concealed"} and isinstance(value["concealed"], str)
    )


def _differences(path: str, before: Any, after: Any) -> Iterator[EditInput]:
    if before is _NOTHING or after is _NOTHING:
        yield {"path": path, "change": "added" if before is _NOTHING else "removed"}
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            deeper = json_pointer.append(path, name)
            yield from _differences(deeper, before.get(name, _NOTHING), after.get(name, _NOTHING))
    elif _is_list(before) and _is_list(after):
        for place, (old, new) in enumerate(zip_longest(before, after, fillvalue=_NOTHING)):
            yield from _differences(json_pointer.append(path, place), old, new)
    elif type(before) is not type(after) or before != after:
        yield {"path": path, "change": "changed"}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
