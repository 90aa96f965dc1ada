"""JSON Pointers (RFC 6901): write them, follow them, and replace what they point at."""

import re
from collections.abc import Callable, Iterable
from typing import Any

MAX_LENGTH = 1_024
"""Characters of a pointer that `from_path` writes."""

EVERY = "*"
"""The token that `replace_at` takes for every element and every member."""

_BAD_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")  # RFC 6901 4: no leading zero
_UNSENDABLE = re.compile(r"[\x00\ud800-\udfff]")


def append(pointer: str, token: str | int) -> str:
    """`pointer` one level deeper, with the token escaped (RFC 6901 3)."""
    return f"{pointer}/{str(token).replace('~', '~0').replace('/', '~1')}"


def from_path(path: Iterable[str | int]) -> str:
    """The pointer of a path of keys and indices, fit for an error or a record.

    Where it would be longer than MAX_LENGTH it stops at the nearest parent that is not. U+0000 and lone
    surrogates, which cannot be stored or sent, become U+FFFD.
    """
    pointer = ""
    for token in path:
        deeper = append(pointer, token)
        if len(deeper) > MAX_LENGTH:
            break
        pointer = deeper
    return _UNSENDABLE.sub("\ufffd", pointer)


def to_path(pointer: str) -> list[str]:
    """The unescaped tokens of a pointer; none for `""`, the whole value. Raises ValueError on bad syntax."""
    if not pointer:
        return []
    if not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
        raise ValueError("not a JSON Pointer: expected `/` before each token, and `~` only as `~0` or `~1`")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def value_at(value: Any, pointer: str) -> Any:
    """What the pointer leads to, by RFC 6901 4 and nothing more. Raises LookupError, and ValueError on bad syntax."""
    for token in to_path(pointer):
        if isinstance(value, dict):
            value = value[token]
        elif isinstance(value, list) and _INDEX.match(token):
            value = value[int(token)]
        else:
            raise LookupError("the pointer leads nowhere")
    return value


def is_index(token: str) -> bool:
    """Whether it may be an array's index (RFC 6901 4)."""
    return _INDEX.match(token) is not None


def replace_at(value: Any, pointer: str, replace: Callable[[Any], Any]) -> Any:
    """A copy of `value` with `replace(found)` wherever `pointer` leads; `value` stays as it is.

    The token `*` stands for every element and every member. A pointer to a key or an element that is not
    there replaces nothing. Where the value has another shape than the pointer expects, such as a string
    where it asks for a key, `replace` gets all of it: what a sensitive place holds is never missed for its
    shape. Raises ValueError for a pointer of bad syntax.
    """
    return _replace(value, to_path(pointer), replace)


def _replace(value: Any, path: list[str], replace: Callable[[Any], Any]) -> Any:
    if not path:
        return replace(value)
    token, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {
            key: _replace(member, rest, replace) if token in (EVERY, key) else member
            for key, member in value.items()
        }
    if isinstance(value, list) and (token == EVERY or is_index(token)):
        return [
            _replace(element, rest, replace) if token in (EVERY, str(index)) else element
            for index, element in enumerate(value)
        ]
    return replace(value)
