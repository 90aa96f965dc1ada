"""The canonical form (RFC 8785, JCS) and its digest: what is hashed, signed, recorded and run."""

import base64
import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import orjson
import rfc8785

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SAME_IN_BOTH = frozenset({str, int, bool, type(None)})
# From the one to below the other, both write a fraction as plain decimals; elsewhere exponents may differ.
_LEAST_PLAIN = 1e-4
_LEAST_BEYOND_PLAIN = 1e15
_BEYOND_FFFF = re.compile(rb"[\xf0-\xf4]")
_FROM_E000_TO_FFFF = re.compile(rb"[\xee\xef]")

_CAUSES = {
    rfc8785.IntegerDomainError: "an integer is outside -(2^53-1) to 2^53-1",
    rfc8785.FloatDomainError: "a number is not finite",
    RecursionError: "it is nested too deep or holds itself",
}


class UnencodableError(ValueError):
    """A value that has no canonical form. The message never holds the value."""


def canonicalize(value: Any) -> bytes:
    """The canonical JSON (RFC 8785), UTF-8, of None, bool, int, float, str, list, tuple and dict.

    Numbers of one value have one form (`1.0` and `1` are `1`). Raises UnencodableError: an integer outside
    ±(2^53-1), NaN or infinity, a lone surrogate, a key that is no string, another type, or nesting without
    end.
    """
    try:
        return _fast(value) or rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        cause = _CAUSES.get(type(error), "a key or a value in it is not of JSON")
    # Outside the handler, so that no cause is chained: its text may hold the value.
    raise UnencodableError(f"value has no canonical form (RFC 8785): {cause}")


def parse_canonical(data: bytes) -> dict[str, Any]:
    """The object whose canonical form `data` is. For bytes of our own that a hash covers, never for ingress.

    Raises ValueError where they are no JSON object.
    """
    match orjson.loads(data):
        case dict() as value:
            return value
    raise ValueError("expected a JSON object")


def digest(data: bytes) -> str:
    """SHA-256 of `data`, base64url without padding: 43 characters."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")


def digest_of(value: Any) -> str:
    """`digest` of the canonical form. Raises UnencodableError."""
    return digest(canonicalize(value))


def _fast(value: Any) -> bytes | None:
    """The form by orjson, an order of magnitude faster, or None where RFC 8785 might differ from it."""
    if not _written_alike((value,)):
        return None
    try:
        encoded = orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return None
    return None if _may_sort_differently(encoded) else encoded


def _may_sort_differently(encoded: bytes) -> bool:
    """RFC 8785 3.2.3 sorts by UTF-16 code units, orjson by code points.

    They differ only between a key with a character beyond U+FFFF and one with U+E000 to U+FFFF.
    """
    if encoded.isascii():
        return False
    return bool(_BEYOND_FFFF.search(encoded) and _FROM_E000_TO_FFFF.search(encoded))


def _written_alike(members: Iterable[Any]) -> bool:
    """Whether all that is in `members` has a type, and each number a size, that both write the same."""
    for member in members:
        kind = type(member)
        if kind in _SAME_IN_BOTH:
            continue
        if kind is dict:
            alike = _written_alike(member.values())
        elif kind is list or kind is tuple:
            alike = _written_alike(member)
        elif kind is float:
            alike = _LEAST_PLAIN <= abs(member) < _LEAST_BEYOND_PLAIN and not member.is_integer()
        else:
            alike = isinstance(member, StrEnum)
        if not alike:
            return False
    return True
