"""Strict JSON ingress: the only way in which JSON that others wrote becomes a value.

RFC 8259 and I-JSON (RFC 7493), with limits. What passes is a value in normal form, and that value, never the
text, is decided, hashed and run: a number that RFC 8785 writes as an integer is an int, any other is a float
(the nearest double), so that `parse(canonicalize(parse(data))) == parse(data)`, types included.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any, NoReturn, TypeAlias, TypeVar

from pydantic import JsonValue

from interlock.core import json_pointer
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError

MAX_BYTES = 262_144
MAX_DEPTH = 64
"""Arrays and objects within one another; a value that is neither has depth 0."""
MAX_NODES = 10_000
"""Values, each array, object, string, number and literal counting one; keys are not counted."""
MAX_INTEGER = 2**53 - 1

_MAX_INTEGER_DIGITS = len(str(-MAX_INTEGER))
_SMALLEST_WITH_EXPONENT = 1e21  # RFC 8785 3.2.2.3 (ECMA-262 7.1.12.1): from here on, integers get an exponent

# Possessive, and an end of text closes a string: linear on hostile text (case 14).
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NONEMPTY = re.compile(rb"[\[{][ \t\n\r]*+(?=[^\]}])")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_BRACKETS = bytes(set(range(256)) - _STEP.keys())

# In UTF-8, U+0000 and surrogates can only be escaped (raw U+0000 in a string breaks the grammar).
_SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_HARMLESS_ESCAPE = re.compile(r"\\(?:[^u]|u[dD][89abAB]..\\u[dD][c-fC-F]..)")  # short ones, surrogate pairs
_REFUSED_CHARACTER = re.compile(r"[\x00\ud800-\udfff]")

_BEYOND_INTEGERS = "is an integer outside -(2^53-1) to 2^53-1, expected a smaller one or a string"
_BEYOND_DOUBLES = "is a number that overflows, expected one within the range of IEEE 754 double"
_NOT_FINITE = "is `NaN` or `Infinity`, expected a finite number"
_REPEATED_KEY = "repeats a key, exactly or in another case, expected each key once"
_BAD_CHARACTER = "holds U+0000 or a lone surrogate, expected other characters"
_BAD_KEY = "has a key with U+0000 or a lone surrogate, expected other characters"

_Path: TypeAlias = "tuple[_Path, str | int] | None"
_Text = TypeVar("_Text")


class _BrokenRuleError(Exception):
    """A value breaks a rule; thrown by a hook, or left in the value's place to tell where it stands.

    `token` is the member that breaks it, where the value is an object.
    """

    def __init__(self, rule: str, token: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.token = token


def parse(data: bytes, *, field: str) -> JsonValue:
    """The one JSON value that `data` is.

    Raises InterlockError MALFORMED_ARGUMENTS with one violation of `field`: its JSON Pointer, or for a break
    in the text the byte offset in its description. Values are never in the error.
    """
    text = _decode(data, field)
    _check_structure(data, field)
    value = _read(text, field)
    if _is_suspicious(text):
        _check_characters(value, field)
    return value


def parse_object(data: bytes, *, field: str) -> dict[str, JsonValue]:
    """The one JSON object that `data` is; otherwise as `parse`."""
    value = parse(data, field=field)
    if not isinstance(value, dict):
        _refuse(field, "is another JSON value, expected an object")
    return value


def _refuse(field: str, description: str, pointer: str = "") -> NoReturn:
    violation = FieldViolation(field=field, description=description, pointer=pointer)
    raise InterlockError(
        reason=ErrorReason.MALFORMED_ARGUMENTS, message=f"`{field}` {description}", violations=(violation,)
    )


def _decode(data: bytes, field: str) -> str:
    if len(data) > MAX_BYTES:
        _refuse(field, f"has {len(data)} bytes, expected at most {MAX_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start
    else:
        if text.startswith("\ufeff"):  # RFC 8259 8.1
            _refuse(field, "begins with a byte order mark, expected none")
        return text
    _refuse(field, f"is not UTF-8 at byte {start}")


def _check_structure(data: bytes, field: str) -> None:
    """Depth and nodes, before anything is built.

    Every value is the first one, the first of an array or object, or follows a comma: few brackets and
    commas, also counting those in strings, settle it. On text that breaks the grammar the exact count may be
    off; the scanner refuses such text anyway.
    """
    opened = data.count(b"[") + data.count(b"{")
    if opened <= MAX_DEPTH and 1 + opened + data.count(b",") <= MAX_NODES:
        return
    skeleton = _STRING.sub(b'"', data)
    brackets = skeleton.translate(None, _NOT_BRACKETS)
    if any(map(MAX_DEPTH.__lt__, accumulate(map(_STEP.__getitem__, brackets)))):
        _refuse(field, f"is nested more than {MAX_DEPTH} deep")
    if 1 + len(_NONEMPTY.findall(skeleton)) + skeleton.count(b",") > MAX_NODES:
        _refuse(field, f"has more than {MAX_NODES} values")


def _read(text: str, field: str) -> JsonValue:
    with suppress(_BrokenRuleError):
        return _scan(_SCANNER, text, field)
    for path, node in _walk(_scan(_LOCATING_SCANNER, text, field)):
        if isinstance(node, _BrokenRuleError):
            at = path if node.token is None else (path, node.token)
            _refuse(field, node.rule, _pointer(at))
    raise AssertionError("what is broken once is broken twice")


def _scan(scanner: json.JSONDecoder, text: str, field: str) -> JsonValue:
    try:
        value: JsonValue = scanner.decode(text)
    except json.JSONDecodeError as error:
        at = error.pos
    else:
        return value
    _refuse(field, f"is not one JSON value, the grammar breaks at byte {len(text[:at].encode())}")


def _is_suspicious(text: str) -> bool:
    """Whether U+0000 or a lone surrogate is escaped in a text that keeps the grammar."""
    if not _SUSPICIOUS_ESCAPE.search(text):
        return False
    return _SUSPICIOUS_ESCAPE.search(_HARMLESS_ESCAPE.sub("", text)) is not None


def _check_characters(value: Any, field: str) -> None:
    for path, node in _walk(value):
        if isinstance(node, str) and _REFUSED_CHARACTER.search(node):
            _refuse(field, _BAD_CHARACTER, _pointer(path))
        if isinstance(node, dict) and any(map(_REFUSED_CHARACTER.search, node)):
            _refuse(field, _BAD_KEY, _pointer(path))


def _walk(value: Any) -> Iterator[tuple[_Path, Any]]:
    """Every node with its path, in the order of the text."""
    stack: list[tuple[_Path, Any]] = [(None, value)]
    while stack:
        path, node = stack.pop()
        yield path, node
        if isinstance(node, dict):
            stack.extend(((path, key), member) for key, member in reversed(node.items()))
        elif isinstance(node, list):
            stack.extend(((path, index), node[index]) for index in reversed(range(len(node))))


def _pointer(path: _Path) -> str:
    tokens = []
    while path is not None:
        path, token = path
        tokens.append(token)
    return json_pointer.from_path(reversed(tokens))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(set(map(str.casefold, members))) != len(pairs):
        raise _BrokenRuleError(_REPEATED_KEY, _repeated(pairs))
    return members


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key.casefold() in seen:
            return key
        seen.add(key.casefold())
    raise AssertionError("called only where a key is repeated")


def _integer(digits: str) -> int:
    # The length first: turning many digits into an int takes quadratic time (case 29).
    if len(digits) > _MAX_INTEGER_DIGITS:
        raise _BrokenRuleError(_BEYOND_INTEGERS)
    number = int(digits)
    if not -MAX_INTEGER <= number <= MAX_INTEGER:
        raise _BrokenRuleError(_BEYOND_INTEGERS)
    return number


def _real(digits: str) -> int | float:
    """An int where RFC 8785 writes one, so that `1e2`, `1.0` and `-0.0` are 100, 1 and 0 (case 28)."""
    number = float(digits)
    if not number.is_integer():
        if math.isinf(number):
            raise _BrokenRuleError(_BEYOND_DOUBLES)
        return number
    if -MAX_INTEGER <= number <= MAX_INTEGER:
        return int(number)
    if abs(number) < _SMALLEST_WITH_EXPONENT:
        raise _BrokenRuleError(_BEYOND_INTEGERS)
    return number


def _constant(_: str) -> NoReturn:
    raise _BrokenRuleError(_NOT_FINITE)


def _left_in_place(hook: Callable[[_Text], Any]) -> Callable[[_Text], Any]:
    def call(scanned: _Text) -> Any:
        try:
            return hook(scanned)
        except _BrokenRuleError as broken:
            return broken

    return call


_SCANNER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
_LOCATING_SCANNER = json.JSONDecoder(
    object_pairs_hook=_left_in_place(_object),
    parse_int=_left_in_place(_integer),
    parse_float=_left_in_place(_real),
    parse_constant=_left_in_place(_constant),
)
