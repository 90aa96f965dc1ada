"""A tool's answer as the JSON that is returned and digested, whatever the tool made it of."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from interlock.core.canonical import UnencodableError, canonicalize, digest
from interlock.core.outcome import MAX_RESULT_KEPT_BYTES
from interlock.core.strict_json import MAX_INTEGER

MAX_RESULT_BYTES = 3 * 2**20
"""A larger answer is not returned: with it, the reply would pass gRPC's usual limit of 4 MiB."""

_MAX_WRITTEN_BITS = 4_096
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedResult:
    """Canonical JSON (RFC 8785) of an answer, and the digest that goes on record.

    `size` and `digest` are those of the answer. Of one that is too large, `data` says only that, with both, and it is
    `omitted`. `excerpt` is the beginning that the decision service gets, which is all of the answer unless it is
    `truncated`.
    """

    data: bytes = field(repr=False)
    size: int
    omitted: bool
    digest: str
    excerpt: bytes = field(repr=False)
    truncated: bool


def encode(value: Any, *, max_bytes: int = MAX_RESULT_BYTES) -> EncodedResult:
    """Encode a JSON value. What has no canonical form is carried in strings (RFC 7493 2.2).

    Of one with more than `max_bytes` in this form, nothing beyond them is in what is given back.

    Never raises for what a tool can answer: it did run, and that must come on record.
    """
    data = _canonical(value)
    omitted, kept = len(data) > max_bytes, data[: min(max_bytes, MAX_RESULT_KEPT_BYTES)]
    return EncodedResult(
        data=_omission(data, max_bytes) if omitted else data,
        size=len(data),
        omitted=omitted,
        digest=digest(data),
        excerpt=kept,
        truncated=len(kept) < len(data),
    )


def _canonical(value: Any) -> bytes:
    try:
        return canonicalize(value)
    except UnencodableError:
        pass
    try:
        return canonicalize(_portable(value))
    except (UnencodableError, RecursionError):
        return canonicalize({"omitted": "the answer has no canonical form"})


def _omission(data: bytes, max_bytes: int) -> bytes:
    note = f"the answer is larger than {max_bytes} bytes and is not returned"
    return canonicalize({"omitted": note, "bytes": len(data), "digest": digest(data)})


def _portable(value: Any) -> Any:
    """The same with numbers outside I-JSON as strings of their digits, and lone surrogates as U+FFFD."""
    match value:
        case dict():
            return {_portable(str(key)): _portable(member) for key, member in value.items()}
        case list() | tuple():
            return [_portable(element) for element in value]
        case str():
            return _LONE_SURROGATE.sub("\ufffd", value)
        case int() if not -MAX_INTEGER <= value <= MAX_INTEGER:
            return _digits(value)
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def _digits(number: int) -> str:
    bits = number.bit_length()
    # Python refuses to write very long integers, for that takes quadratic time.
    return str(number) if bits <= _MAX_WRITTEN_BITS else f"an integer of {bits} bits"
