"""What a call's arguments tell by themselves: leaves, kinds and targets, and two forms to compare calls by.

All of it takes the arguments as they are disclosed, and tells nothing of what is concealed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, assert_never

import orjson

from interlock.core import json_pointer
from interlock.core.catalog import ArgumentRole
from interlock.core.json_pointer import EVERY
from interlock.core.value_forms import Kind, addresses, fold, hosts, iban, path_prefix, recognise

Leaf = tuple[str, str | int | float]
"""A string or a number of the arguments, after its JSON Pointer."""

Argument = tuple[str, str | int | float, Kind]
"""A leaf, and what it is."""

TargetKind = Literal["recipient", "host", "path"]

MAX_TARGETS = 16

_LEAF_TYPES = frozenset({str, int, float})
_KINDS: Mapping[ArgumentRole, Kind] = {
    ArgumentRole.RECIPIENT: "recipient",
    ArgumentRole.HOST: "host",
    ArgumentRole.AMOUNT: "amount",
    ArgumentRole.PATH: "path",
    ArgumentRole.CURSOR: "text",
    ArgumentRole.URL: "host",
}

# The exact form, so that nobody hides an argument by calling it concealed.
_CONCEALED = re.compile(r"hmac-sha256:[A-Za-z0-9_-]{43}\Z")

# Names of a place in a long answer. What may as well be something else (`from`, `start`, `before`) is none.
_CURSOR_NAMES = (
    "after cursor",
    "before cursor",
    "continuation",
    "continuation key",
    "continuation token",
    "cursor",
    "cursor id",
    "end cursor",
    "ending before",
    "exclusive start key",
    "next cursor",
    "next link",
    "next marker",
    "next page",
    "next page token",
    "next token",
    "offset",
    "page cursor",
    "page index",
    "page no",
    "page number",
    "page token",
    "scroll id",
    "skip",
    "start cursor",
    "start index",
    "start token",
    "starting after",
    "sync token",
)
_MAYBE_CURSOR_NAMES = ("marker", "next", "page")
_NO_PLAIN_WORDS = re.compile(r"\S*[0-9]\S*|\S{24,}")

_MARK = "\x00"  # the ingress lets none in
_MARK_FOR_NUMBER = orjson.Fragment(b"\x00")
_DIGIT = re.compile(r"[0-9]")
_DIGIT_IN_WORD = re.compile(r"[0-9][A-Za-z]|[A-Za-z][0-9]")
_IDENTIFIER = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # RFC 9562
    r"|(?=[A-Za-z]*+[0-9])(?:[0-9A-Fa-f]{8,}+|[A-Za-z0-9]{16,}+"
    # Letters and digits in turns, such as `C024BE91L`; `report2024` and `covid19vaccine` are words.
    r"|(?=[A-Za-z0-9]{8})(?:[A-Za-z]++[0-9]++[A-Za-z]++[0-9]|[0-9]++[A-Za-z]++[0-9]++[A-Za-z])[A-Za-z0-9]*+)"
    r")(?![A-Za-z0-9])"
)
_NUMBER = re.compile(r"-?[0-9]+(?:[.,-][0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom or what an argument names; `name` is in one form, so that equal names are the same target."""

    path: str
    kind: TargetKind
    name: str


def leaves(arguments: Mapping[str, Any]) -> list[Leaf]:
    """Each string and number with its JSON Pointer, in the order of the arguments; none of what is concealed.

    A pointer ends at the nearest parent where it would be longer than json_pointer.MAX_LENGTH.
    """
    found: list[Leaf] = []
    _collect("", arguments, found)
    return found


def role_at(pointer: str, roles: Mapping[str, ArgumentRole]) -> ArgumentRole | None:
    """What the catalog says that the argument stands for.

    A role holds for all that is inside its pointer, and for a value in whose place the pointer expects an
    array or an object. Of several, the one with the longest pointer holds.
    """
    if not roles or not pointer:
        return None
    return roles.get(pointer) or _role_around(pointer, roles)


def kind_of(value: str | float, role: ArgumentRole | None = None) -> Kind:
    """What an argument is: what its role says, else what the value shows; see `recognise`."""
    if role is not None:
        return _KINDS[role]
    if not isinstance(value, str):
        return "amount"
    return "text" if value.isalpha() else recognise(value)


def classified(arguments: Mapping[str, Any], roles: Mapping[str, ArgumentRole]) -> list[Argument]:
    """Each leaf with its kind, in the order of the arguments."""
    if not roles:
        return [(pointer, value, kind_of(value)) for pointer, value in leaves(arguments)]
    return [(pointer, value, kind_of(value, role_at(pointer, roles))) for pointer, value in leaves(arguments)]


def targets(arguments: Iterable[Argument]) -> list[Target]:
    """Whom and what these arguments name, at most MAX_TARGETS.

    A recipient is an e-mail address, an IBAN or the text in lower case; a host is without its port, a path by
    its first two directories. Of more targets, the last stands for all the rest together: it is another one as
    soon as any of them is.
    """
    found = []
    for pointer, value, kind in arguments:
        if kind != "text" and kind != "amount":  # noqa: PLR1714 - twice as fast as a set for each argument
            found += [Target(path=pointer, kind=kind, name=name) for name in _names(str(value), kind) if name]
    if len(found) > MAX_TARGETS:
        rest = found[MAX_TARGETS - 1 :]
        names = "\n".join(f"{target.kind} {target.name}" for target in rest)
        found[MAX_TARGETS - 1 :] = [Target(path=rest[0].path, kind=rest[0].kind, name=names)]
    return found


def similar_form(arguments: Mapping[str, Any], roles: Mapping[str, ArgumentRole]) -> bytes:
    """Equal for arguments that differ in numbers, ids and cursors only.

    An id is a UUID; eight or more hexadecimal digits with a decimal one among them; sixteen or more letters
    and digits; or eight and more of both in turns. Of other words only the digits are passed over. A cursor is
    what the catalog or a usual name calls so.
    """
    for pointer, role in roles.items():
        if role is ArgumentRole.CURSOR:
            arguments = json_pointer.replace_at(arguments, pointer, lambda _: 0)
    return orjson.dumps(_masked(arguments), option=orjson.OPT_SORT_KEYS)


def shape(arguments: Mapping[str, Any]) -> bytes:
    """Equal for arguments with the same keys and JSON types. Elements of an array that are alike count once."""
    return orjson.dumps(_shape(arguments), option=orjson.OPT_SORT_KEYS)


def _is_concealed(node: Any) -> bool:
    concealed = node.get("concealed") if isinstance(node, dict) else None
    return isinstance(concealed, str) and _CONCEALED.match(concealed) is not None


def _collect(pointer: str, node: Any, found: list[Leaf]) -> None:
    if len(node) == 1 and _is_concealed(node):
        return
    for token, member in enumerate(node) if type(node) is list else node.items():
        deeper = f"{pointer}/{token}"
        if type(token) is str and ("/" in token or "~" in token):
            deeper = json_pointer.append(pointer, token)
        if len(deeper) > json_pointer.MAX_LENGTH:
            _collect_unnamed(pointer, member, found)
        elif type(member) in _LEAF_TYPES:
            found.append((deeper, member))
        elif member is not None and type(member) is not bool:
            _collect(deeper, member, found)


def _collect_unnamed(pointer: str, member: Any, found: list[Leaf]) -> None:
    inside: list[Leaf] = []
    _collect("", [member], inside)
    found += [(pointer, value) for _, value in inside]


def _role_around(pointer: str, roles: Mapping[str, ArgumentRole]) -> ArgumentRole | None:
    path = pointer.split("/")
    nearest, length = None, 0
    for stated, role in roles.items():
        pattern = _split(stated)
        if length < len(pattern) and pattern[1] in (path[1], EVERY) and _leads(pattern, path):
            nearest, length = role, len(pattern)
    return nearest


def _leads(pattern: list[str], path: list[str]) -> bool:
    return all(wanted in (token, EVERY) for wanted, token in zip(pattern, path, strict=False))


@lru_cache(maxsize=4_096)  # of the catalog's pointers only
def _split(pointer: str) -> list[str]:
    return pointer.split("/")


def _names(value: str, kind: TargetKind) -> list[str]:
    match kind:
        case "recipient":
            text = fold(value)
            return addresses(text) or [iban(text) or " ".join(text.split())]
        case "host":
            return hosts(fold(value).strip())
        case "path":
            return [path_prefix(value)] if value else []
    assert_never(kind)


def _spellings(name: str) -> Iterator[str]:
    """`page token` as `pagetoken`, `page_token`, `page-token`, `pageToken`, `PageToken` and `PAGE_TOKEN`."""
    words = name.split()
    capitals = [word.capitalize() for word in words]
    yield from (between.join(words) for between in ("", "_", "-"))
    yield words[0] + "".join(capitals[1:])
    yield "".join(capitals)
    yield "_".join(words).upper()


_CURSOR_KEYS = frozenset(spelling for name in _CURSOR_NAMES for spelling in _spellings(name))
_CURSOR_NAMED = _CURSOR_KEYS.union(spelling for name in _MAYBE_CURSOR_NAMES for spelling in _spellings(name))
_TYPES: Mapping[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _masked(node: Any) -> Any:
    """The same with marks for what calls may differ in and still be alike."""
    kind = type(node)
    if kind is str:
        return node if node.isalpha() or not _DIGIT.search(node) else _masked_text(node)
    if kind is dict:
        return {
            key: _MARK_FOR_NUMBER if key in _CURSOR_NAMED and _is_cursor(key, member) else _masked(member)
            for key, member in node.items()
        }
    if kind is list:
        return [_masked(element) for element in node]
    return _MARK_FOR_NUMBER if kind in _LEAF_TYPES else node


def _masked_text(text: str) -> str:
    if _DIGIT_IN_WORD.search(text):
        text = _IDENTIFIER.sub(_MARK, text)
    return _NUMBER.sub(_MARK, text)


def _is_cursor(key: str, value: Any) -> bool:
    """Whether it holds a place. `page` may also hold the name of one, and then is no number or opaque text."""
    if isinstance(value, dict | list):
        return False
    return key in _CURSOR_KEYS or not isinstance(value, str) or _NO_PLAIN_WORDS.fullmatch(value) is not None


def _shape(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _TYPES.get(type(member)) or _shape(member) for key, member in node.items()}
    elements = {
        orjson.dumps(_TYPES.get(type(element)) or _shape(element), option=orjson.OPT_SORT_KEYS)
        for element in node
    }
    return [orjson.Fragment(element) for element in sorted(elements)]
