"""A web service's answer as a JSON value, read no further than its cap, decompressed or not (case 29)."""

import base64
import codecs
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from interlock.core.canonical import canonicalize

BodyForm = Literal["none", "json", "text", "base64"]

TOLD_HEADERS = frozenset(
    {
        "allow",
        "cache-control",
        "content-disposition",
        "content-language",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "last-modified",
        "link",
        "location",
        "retry-after",
        "vary",
    }
)
"""What a caller hears of an answer's headers; no cookie, and nothing that names how it came here."""

MAX_HEADER_CHARACTERS = 8_192

_BASE64_QUANTUM = 4

_GZIP = 16 + zlib.MAX_WBITS
_DECODERS: Mapping[str, int | None] = {
    "": None,
    "identity": None,
    "gzip": _GZIP,
    "x-gzip": _GZIP,
    "deflate": zlib.MAX_WBITS,  # RFC 9110 8.4.1.2: in the zlib format
}
_JSON = re.compile(r"(?:application/json|[a-z]+/[a-z0-9.+-]+\+json|text/json)\Z")
_UTF_8 = "utf-8"
_OTHER_CHARSETS = frozenset({"us-ascii", "iso-8859-1", "latin1", "windows-1252"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What was read. `complete` is false where there was more, or where its encoding broke."""

    data: bytes
    complete: bool
    decoded: bool = True


async def read_body(parts: AsyncIterator[bytes], encoding: str, *, at_most: int) -> Body:
    """Read a body, `at_most` so many bytes of it as sent and as decompressed.

    One in an encoding that was not asked for stays as it is.
    """
    if encoding not in _DECODERS:
        data, complete = await _read(parts, _Plain(), at_most)
        return Body(data=data, complete=complete, decoded=False)
    bits = _DECODERS[encoding]
    data, complete = await _read(parts, _Plain() if bits is None else _Inflated(bits), at_most)
    return Body(data=data, complete=complete)


def value_of(status: int, headers: Mapping[str, str], body: Body, *, at_most: int) -> dict[str, Any]:
    """The answer as `{"status", "headers", "body", "body_form"}`, with `"truncated": true` where it is cut.

    A body is the value that its JSON writes, text, or base64, as `body_form` says. Text and base64 are cut until all
    of it has `at_most` so many bytes, so that something is returned of an answer that is too large.
    """
    told = {name: value[:MAX_HEADER_CHARACTERS] for name, value in headers.items() if name in TOLD_HEADERS}
    if not body.decoded:
        told["content-encoding"] = headers["content-encoding"][:MAX_HEADER_CHARACTERS]
    form, value = _form(headers.get("content-type", ""), body)
    whole = {"status": status, "headers": told, "body": value, "body_form": form}
    return _fitted(whole if body.complete else whole | {"truncated": True}, at_most)


def _fitted(value: dict[str, Any], at_most: int) -> dict[str, Any]:
    if not isinstance(value["body"], str) or len(canonicalize(value)) <= at_most:
        return value
    cut = value | {"truncated": True}
    # Every character of the body takes a byte or more.
    left = max(0, len(cut["body"]) - (len(canonicalize(cut)) - at_most))
    return cut | {"body": cut["body"][: left - left % _BASE64_QUANTUM]}


def _form(content_type: str, body: Body) -> tuple[BodyForm, Any]:
    """Bytes that are text are told as text whatever their type says, so that what looks into texts looks into them."""
    if not body.data and body.complete:
        return "none", None
    essence, charset = _media_type(content_type)
    if body.decoded and body.complete and _JSON.match(essence):
        try:
            return "json", orjson.loads(body.data)
        except orjson.JSONDecodeError:
            pass
    if body.decoded and (charset == _UTF_8 or (essence.startswith("text/") and charset in _OTHER_CHARSETS)):
        try:
            text = codecs.getincrementaldecoder(charset)().decode(body.data, final=body.complete)
        except UnicodeDecodeError:
            pass
        else:
            if "\0" not in text:
                return "text", text
    return "base64", base64.b64encode(body.data).decode()


def _media_type(content_type: str) -> tuple[str, str]:
    """Type and subtype in lower case, and the charset, UTF-8 where none is said."""
    essence, _, parameters = content_type.lower().partition(";")
    said = re.search(r"""charset\s*=\s*["']?([a-z0-9_-]{1,40})""", parameters)
    return essence.strip(), said[1].replace("utf8", _UTF_8) if said else _UTF_8


async def _read(
    parts: AsyncIterator[bytes], decoder: "_Plain | _Inflated", at_most: int
) -> tuple[bytes, bool]:
    """The data, and whether it is all. A raw byte more than the cap, or a decoded one, ends the reading."""
    read, data = 0, bytearray()
    async for part in parts:
        read += len(part)
        try:
            # One byte beyond the cap tells that there is more.
            data += decoder.decode(part, at_most + 1 - len(data))
        except zlib.error:
            return bytes(data), False
        if read > at_most or len(data) > at_most:
            return bytes(data[:at_most]), False
    return bytes(data), decoder.is_whole


class _Plain:
    is_whole = True

    def decode(self, part: bytes, room: int) -> bytes:
        return part[:room]


class _Inflated:
    """Decompresses never more than there is room for, so that no part becomes a thousand times itself."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._inflate = zlib.decompressobj(bits)
        self._is_empty = True

    @property
    def is_whole(self) -> bool:
        return self._is_empty or self._inflate.eof

    def decode(self, part: bytes, room: int) -> bytes:
        data, pending = bytearray(), part
        while pending and len(data) < room:
            if self._inflate.eof:  # RFC 1952 2.2: members follow one another
                self._inflate = zlib.decompressobj(self._bits)
            self._is_empty = False
            data += self._inflate.decompress(pending, room - len(data))
            pending = self._inflate.unconsumed_tail or self._inflate.unused_data
        return bytes(data)
