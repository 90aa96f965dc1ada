"""Taking out of a tool's answer what nobody may see, before it is digested, kept, returned or reported.

What cannot be looked into is redacted whole: a redacted value that slips through once is in a model's context, a log
and a record for ever.
"""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.core.json_pointer import EVERY, is_index, to_path
from interlock.core.obligation_kinds import PatternSet
from interlock.core.personal_data import find_personal_data, names_personal_data
from interlock.core.secret_patterns import find_secrets, names_secret
from interlock.core.value_forms import decimal

REDACTED = "[redacted]"
"""What stands in the place of what was redacted."""

MAX_TEXT = 2**20
"""Characters of a string that is looked into; a longer one is redacted whole."""

MAX_NESTED = 8
"""So deep may JSON text stand in JSON text; what is deeper is redacted whole."""

_MAX_ROUNDS = 4
_LEAST_NUMBER = 10**12  # a payment card's, which is the only number that tells by itself
_LEAST_BASE64 = 64
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]++={0,2}")
_STANDARD_ALPHABET = str.maketrans("-_", "+/")
_JSON_BEGINS = re.compile(r"\s{0,64}[{\[\"]")
_GONE, _NO_JSON, _UNREADABLE = object(), object(), object()

_MIRRORED = "structuredContent"
_MIRRORS = (["content", EVERY, "text"], ["content", EVERY, "resource", "text"], ["error", "message"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """An answer as it may leave the gateway, and at how many places it is not what the tool said."""

    value: Any
    places: int


@dataclass(frozen=True, slots=True)
class _Patterns:
    find: Callable[[str], Iterator[tuple[int, int]]]
    names: Callable[[str], bool]


_PATTERNS: dict[PatternSet, _Patterns] = {
    "secrets": _Patterns(find_secrets, names_secret),
    "personal_data": _Patterns(find_personal_data, names_personal_data),
}


def drop_at(value: Any, pointers: Iterable[str]) -> Cleared:
    """Without the members and elements that the pointers lead to (JSON Pointers; `*` for every one).

    In a string that is JSON, a pointer goes on. Where it cannot go on, what stands in its way is redacted, for what it
    leads to may be in there. A pointer into an MCP answer's `structuredContent` holds for the same in `content`, and in
    the message of an error.
    """
    return _at_all(value, pointers, gone=True)


def redact_at(value: Any, pointers: Iterable[str]) -> Cleared:
    """With a mark where the pointers lead to, which go as those of `drop_at`."""
    return _at_all(value, pointers, gone=False)


def redact_found(value: Any, patterns: Iterable[PatternSet]) -> Cleared:
    """With a mark for whatever the patterns find: in keys, strings, numbers, JSON text and text in base64.

    Doing it again changes nothing. Base64 that is no text, such as an image, is not looked into.
    """
    redactor = _Redactor([_PATTERNS[each] for each in patterns])
    if not redactor.patterns:
        return Cleared(value=value, places=0)
    return _shallow_enough(value, lambda: Cleared(value=redactor.walk(value), places=redactor.places))


def _shallow_enough(value: Any, clear: Callable[[], Cleared]) -> Cleared:
    try:
        return clear()
    except RecursionError:
        return Cleared(value=REDACTED, places=int(value != REDACTED))


def _at_all(value: Any, pointers: Iterable[str], *, gone: bool) -> Cleared:
    leading = _Leading(gone=gone)

    def clear() -> Cleared:
        cleared = value
        for path in _paths(pointers):
            cleared = leading.follow(cleared, path)
        return Cleared(value=cleared, places=leading.places)

    return _shallow_enough(value, clear)


def _paths(pointers: Iterable[str]) -> Iterator[list[str]]:
    for path in map(to_path, pointers):
        yield path
        if path[:1] == [_MIRRORED] and path[1:]:
            yield from ([*mirror, *path[1:]] for mirror in _MIRRORS)


class _Leading:
    """Follows pointers, and counts what it changed."""

    def __init__(self, *, gone: bool) -> None:
        self.places = 0
        self._gone = gone

    def follow(self, node: Any, path: Sequence[str]) -> Any:
        if not path:
            return self._mark(node, _GONE if self._gone else REDACTED)
        match node:
            case dict():
                led = ((key, self._step(key, member, path)) for key, member in node.items())
                return {key: member for key, member in led if member is not _GONE}
            case list() | tuple() if path[0] == EVERY or is_index(path[0]):
                found = [self._step(str(index), element, path) for index, element in enumerate(node)]
                return [element for element in found if element is not _GONE]
            case str() if (held := _json_of(node)) not in (_NO_JSON, _UNREADABLE):
                before = self.places
                led = self.follow(held, path)
                return node if self.places == before else _written(led)
            case None:
                return None
        return self._mark(node, REDACTED)

    def _step(self, name: str, node: Any, path: Sequence[str]) -> Any:
        return self.follow(node, path[1:]) if path[0] in (EVERY, name) else node

    def _mark(self, node: Any, mark: Any) -> Any:
        self.places += node != mark
        return mark


class _Redactor:
    """Replaces what its patterns find, and counts the places."""

    def __init__(self, patterns: Sequence[_Patterns]) -> None:
        self.places = 0
        self.patterns = patterns
        self._named: dict[str, bool] = {}
        self._left: set[str] = set()

    def walk(self, node: Any, *, named: bool = False, nested: int = 0) -> Any:
        """The same without what is found; all of it where it is `named` as what is to be redacted."""
        match node:
            case str():
                return self._whole(node) if named and node else self._text(node, nested)
            case dict():
                return self._object(node, named=named, nested=nested)
            case list() | tuple():
                return self._array(node, named=named, nested=nested)
            case bool() | None:
                return node
            case _:
                return self._whole(node) if named or self._is_found(node) else node

    def _object(self, node: dict[str, Any], *, named: bool, nested: int) -> dict[str, Any]:
        """Members whose name tells, also as `{"name": …, "value": …}`."""
        label = node.get("name", node.get("key"))
        told = isinstance(label, str) and self._names(label)
        cleared: dict[str, Any] = {}
        for key, member in node.items():
            is_named = named or self._names(key) or (told and key == "value")
            cleared[self._key(key, cleared, node, nested)] = self.walk(member, named=is_named, nested=nested)
        return cleared

    def _array(self, node: Sequence[Any], *, named: bool, nested: int) -> list[Any]:
        """Elements; of a pair as headers and queries are told, the first may tell of the second."""
        match node:
            case [str() as name, str() | int() | float()] if self._names(name):
                return [self.walk(name, named=named, nested=nested), self.walk(node[1], named=True)]
        return [self.walk(element, named=named, nested=nested) for element in node]

    def _key(self, key: str, taken: dict[str, Any], node: dict[str, Any], nested: int) -> str:
        """No member takes another's place, for then nobody would see that there were two."""
        if key in self._left:
            return key
        cleared = self._text(key, nested)
        if cleared == key:
            self._left.add(key)
            return key
        unique, number = cleared, 1
        while unique in taken or unique in node:
            number += 1
            unique = f"{cleared} {number}"
        return unique

    def _text(self, text: str, nested: int) -> str:
        if len(text) > MAX_TEXT or nested > MAX_NESTED:
            return self._whole(text)
        held = _json_of(text)
        if held is _UNREADABLE:
            return self._whole(text)
        if held is not _NO_JSON:
            before = self.places
            cleared = self.walk(held, nested=nested + 1)
            return text if self.places == before else _written(cleared)
        return self._plain(text, nested)

    def _plain(self, text: str, nested: int) -> str:
        cleared = self._marked(text)
        decoded, before = _decoded(cleared), self.places
        if decoded is None or self._text(decoded, nested + 1) == decoded:
            return cleared
        self.places = before
        return self._whole(cleared)

    def _marked(self, text: str) -> str:
        """Until nothing more is found, for a mark may make something of what stands beside it."""
        for _ in range(_MAX_ROUNDS):
            spans = self._spans(text)
            if not spans:
                return text
            text = _with_marks(text, spans)
            self.places += len(spans)
        return self._whole(text) if self._spans(text) else text

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where something is found that is not yet a mark, from left to right, and none in another."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(span for each in self.patterns for span in each.find(text)):
            if end <= start or text[start:end] == REDACTED:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _is_found(self, number: float) -> bool:
        return abs(number) >= _LEAST_NUMBER and bool(self._spans(decimal(number)))

    def _names(self, name: str) -> bool:
        named = self._named.get(name)
        if named is None:
            named = self._named[name] = any(each.names(name) for each in self.patterns)
        return named

    def _whole(self, node: Any) -> str:
        self.places += node != REDACTED
        return REDACTED


def _with_marks(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += (text[done:start], REDACTED)
        done = end
    return "".join([*parts, text[done:]])


class _SaidTwiceError(ValueError):
    """JSON text in which an object has a member twice: a reader may see either."""


def _json_of(text: str) -> Any:
    """What JSON text holds; _NO_JSON where it is none, _UNREADABLE where nobody can say what a reader sees."""
    if not _JSON_BEGINS.match(text):
        return _NO_JSON
    try:
        return json.loads(text, object_pairs_hook=_members)
    except (_SaidTwiceError, RecursionError):
        return _UNREADABLE
    except ValueError:
        return _NO_JSON


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _SaidTwiceError
    return members


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _decoded(text: str) -> str | None:
    """The text that base64 holds, of either alphabet, with padding or without; None where it is no such thing."""
    if len(text) < _LEAST_BASE64 or not _BASE64.fullmatch(text):
        return None
    standard = text.rstrip("=").translate(_STANDARD_ALPHABET)
    try:
        return b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
