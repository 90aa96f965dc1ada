"""The arguments of an HTTP tool, as the gateway's HTTP forward makes them of a request: equal, so that both agree."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

_NO_BODY = object()


def http_arguments(
    method: str,
    path: str = "",
    *,
    url: str = "",
    query: Iterable[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    body: Any = _NO_BODY,
) -> dict[str, Any]:
    """The arguments to propose, of a request that will be sent to the forward.

    `path` is for a tool with a base, percent-encoded and beginning with `/`, as it will stand in the request; `url`
    for one without. `query` are pairs of plain text. `headers` are those that the catalog lets callers set, no
    others. `body` is a JSON value, text, or bytes: sent to the forward as `application/json`, `text/plain` and
    `application/octet-stream`. Raises ValueError where there are both or neither of path and URL.
    """
    if bool(path) == bool(url):
        raise ValueError("give exactly one of `path` and `url`")
    if url and query:
        raise ValueError("the query of a `url` stands in it")
    pairs = [[name, value] for name, value in query]
    arguments: dict[str, Any] = {"method": method, **({"path": path} if path else {"url": url})}
    if pairs:
        arguments["query"] = pairs
    if headers:
        arguments["headers"] = {name.lower(): value for name, value in headers.items()}
    if body is not _NO_BODY:
        arguments["body"] = _body(body)
    return arguments


def _body(body: Any) -> Any:
    return {"base64": base64.b64encode(body).decode()} if isinstance(body, bytes) else body
