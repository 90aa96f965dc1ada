"""From a request to the gateway to the arguments of the HTTP tool that it is for, exactly as they were decided.

The request is `/TOOL` and behind it, for a tool with a `base`, path and query; for one without, `/` and the URL.
Everything is taken as it stands in the request line, before any library has made it nicer (case 45).
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from interlock.core import strict_json
from interlock.core.catalog import Catalog, Tool
from interlock.core.connector_entries import HttpEntry
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError

_TARGET = re.compile(r"/(?P<tool>[A-Za-z0-9_.-]{1,128})(?P<rest>(?:[/?][!-~]*)?)")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_JSON = re.compile(r"(?:application|text)/(?:json|[a-z0-9.-]+\+json)")
_TEXT = re.compile(r"text/.*|application/(?:x-www-form-urlencoded|xml|yaml|[a-z0-9.-]+\+xml)")


def split_target(target: str) -> tuple[str, str]:
    """The tool's name and what follows it, of a request's target. Raises InterlockError: MALFORMED_REQUEST."""
    match = _TARGET.fullmatch(target)
    if match is None:
        _refuse("target", "is not `/TOOL`, and a path or a URL of visible ASCII characters behind it")
    return match["tool"], match["rest"]


def http_tool(catalog: Catalog, name: str) -> Tool:
    """The HTTP tool of this name. Raises InterlockError: MALFORMED_REQUEST."""
    tool = catalog.find(name)
    if tool is None or tool.entry.http is None:
        _refuse("target", "names no HTTP tool of this gateway")
    return tool


def arguments_of(
    entry: HttpEntry,
    *,
    method: str,
    rest: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    content_type: str,
) -> dict[str, Any]:
    """The arguments: `method`, where it goes, and `headers` and `body` where there are some.

    Raises InterlockError: MALFORMED_REQUEST or MALFORMED_ARGUMENTS.
    """
    arguments: dict[str, Any] = {"method": method, **_where(entry, rest)}
    if taken := _headers(entry, headers):
        arguments["headers"] = taken
    if body:
        arguments["body"] = _body(body, content_type.partition(";")[0].strip().lower())
    return arguments


def _where(entry: HttpEntry, rest: str) -> Mapping[str, Any]:
    if not entry.base:
        if len(rest) < 2 or rest[0] != "/":  # noqa: PLR2004 - a slash, and something
            _refuse("target", "has no URL behind the tool's name")
        return {"url": rest[1:]}
    path, mark, query = rest.partition("?")
    pairs = _pairs(query) if mark else []
    return {"path": path or "/", **({"query": pairs} if pairs else {})}


def _pairs(query: str) -> list[list[str]]:
    """The pairs of a query as forms write it (WHATWG URL 5.1): `+` is a blank."""
    return [
        [_decoded(name), _decoded(value)]
        for name, _, value in (piece.partition("=") for piece in query.split("&") if piece)
    ]


def _decoded(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        _refuse("target", "has a `%` without two hexadecimal digits behind it in its query")
    octets = re.sub(
        rb"%([0-9A-Fa-f]{2})",
        lambda escape: bytes.fromhex(escape[1].decode()),
        text.replace("+", " ").encode(),
    )
    try:
        return octets.decode()
    except UnicodeDecodeError:
        _refuse("target", "has something percent-encoded in its query that is no UTF-8")


def _headers(entry: HttpEntry, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those that the catalog lets callers set; of any other, the gateway's way out knows nothing."""
    allowed = {name.lower() for name in entry.headers}
    taken: dict[str, str] = {}
    for name, value in headers:
        if name.lower() in taken:
            _refuse("headers", "have one header twice")
        if name.lower() in allowed:
            taken[name.lower()] = value
    return taken


def _body(body: bytes, essence: str) -> Any:
    if _JSON.fullmatch(essence):
        value = strict_json.parse(body, field="body")
        if isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"base64"}):
            _refuse("body", 'is a JSON string or `{"base64": ...}`, which mean text and bytes here')
        return value
    if _TEXT.fullmatch(essence):
        try:
            return body.decode()
        except UnicodeDecodeError:
            _refuse("body", "is text that is no UTF-8")
    return {"base64": base64.b64encode(body).decode()}


def _refuse(field: str, description: str) -> NoReturn:
    violation = FieldViolation(field=field, description=description)
    raise InterlockError(
        reason=ErrorReason.MALFORMED_REQUEST, message=f"`{field}` {description}", violations=(violation,)
    )
