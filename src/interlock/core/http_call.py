"""One call of a web service: what the arguments of an HTTP tool ask for, in one form for policy and execution.

Below a tool's `base` the arguments are `{"method", "path", "query", "headers", "body"}`, without one
`{"method", "url", "headers", "body"}`; all but `path` or `url` may be left out. `path` is as it stands in a URL,
percent-encoded, and `query` a list of pairs of text that are encoded here. A `body` that is text is sent as it is,
`{"base64": ...}` as these bytes, and any other JSON value in its canonical form (RFC 8785).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from interlock.core.canonical import UnencodableError, canonicalize
from interlock.core.connector_entries import HttpEntry
from interlock.core.web_address import AddressError, WebAddress, encode_component, parse

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 9.2.1

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
BYTES_TYPE = "application/octet-stream"

MAX_HEADER_CHARACTERS = 4_096
MAX_QUERY_PAIRS = 256

_BELOW_BASE = frozenset({"method", "path", "query", "headers", "body"})
_ANYWHERE = frozenset({"method", "url", "headers", "body"})
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # RFC 9110 5.5, without the obsolete


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """A request that may be sent. `headers` are the caller's, by their names in lower case; None is no body."""

    method: str
    address: WebAddress
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    body_type: str = ""


def address(entry: HttpEntry, arguments: Mapping[str, Any]) -> WebAddress:
    """Where the call leads, if all of it is of the one form. Raises AddressError."""
    return read(entry, arguments).address


def read(entry: HttpEntry, arguments: Mapping[str, Any]) -> HttpCall:
    """The call that the arguments ask for. Raises AddressError, whose message holds none of their values."""
    if unknown := arguments.keys() - (_BELOW_BASE if entry.base else _ANYWHERE):
        _refuse(f"{len(unknown)} arguments that an HTTP call has not")
    method = arguments.get("method", "GET")
    if not isinstance(method, str) or method not in METHODS:
        _refuse("a method that is none of " + ", ".join(sorted(METHODS)))
    body, body_type = _body(arguments) if "body" in arguments else (None, "")
    return HttpCall(
        method=method,
        address=_below(entry.base, arguments) if entry.base else parse(_text(arguments, "url")),
        headers=_headers(entry, arguments.get("headers", {})),
        body=body,
        body_type=body_type,
    )


def _below(base: str, arguments: Mapping[str, Any]) -> WebAddress:
    path = _text(arguments, "path")
    if not path.startswith("/") or "?" in path or "#" in path:
        _refuse("a path that does not begin with `/`, or holds `?` or `#`")
    root = parse(base)
    found = parse(f"{root.origin}{root.path.removesuffix('/')}{path}{_query(arguments.get('query', []))}")
    if not found.is_below(root):
        _refuse("a path that leads out of the tool's base")
    return found


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        _refuse(f"no text as its `{name}`")
    return value


def _query(pairs: Any) -> str:
    if not isinstance(pairs, list) or len(pairs) > MAX_QUERY_PAIRS or not all(map(_is_pair, pairs)):
        _refuse(f"a query that is no list of at most {MAX_QUERY_PAIRS} pairs of text")
    encoded = "&".join(f"{encode_component(name)}={encode_component(value)}" for name, value in pairs)
    return f"?{encoded}" if encoded else ""


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)  # noqa: PLR2004 - a pair


def _headers(entry: HttpEntry, given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        _refuse("headers that are no object")
    allowed = {name.lower() for name in entry.headers}
    headers = {name.lower(): value for name, value in given.items()}
    if len(headers) < len(given) or not headers.keys() <= allowed:
        _refuse("a header that the tool does not let callers set, or one twice")
    for value in headers.values():
        if (
            not isinstance(value, str)
            or len(value) > MAX_HEADER_CHARACTERS
            or not _HEADER_VALUE.fullmatch(value)
        ):
            _refuse("a header whose value is no line of visible ASCII characters")
    return headers


def _body(arguments: Mapping[str, Any]) -> tuple[bytes, str]:
    body = arguments["body"]
    try:
        if isinstance(body, str):
            return body.encode(), TEXT_TYPE
        if isinstance(body, dict) and body.keys() == {"base64"}:
            return base64.b64decode(body["base64"], validate=True), BYTES_TYPE
        return canonicalize(body), JSON_TYPE
    except (UnencodableError, UnicodeError, binascii.Error, TypeError, ValueError):
        _refuse("a body that is no JSON, or no base64 where it says so")


def _refuse(what: str) -> NoReturn:
    raise AddressError(f"the call has {what}")
