"""An MCP server elsewhere, over streamable HTTP: what it answers is bounded, and what is no answer is told apart.

The SDK's transport makes a JSON-RPC error of each HTTP answer that it cannot use, as if the server had said that
the tool did not run. Below it, here, an answer after which nobody knows is turned into a lost connection, for that
one request; an answer which shows that there is no session any more ends the connection.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client
from mcp.types import CONNECTION_CLOSED

from interlock.adapters.mcp_endpoint import MAX_MESSAGE_BYTES, McpServerError, RemoteMcpServer

_CONNECT_SECONDS = 10.0
_WRITE_SECONDS = 30.0
_NOTIFY_SECONDS = 30.0
"""For the answer to a notification: what comes after it waits so long."""

_GOODBYE_SECONDS = 2.0
_MOST_CONNECTIONS = 100
_BAD_REQUEST = 400
_SERVER_ERROR = 500

# What a call takes is limited by its own time limit, and an open stream may be silent for days.
_TIMEOUT = httpx2.Timeout(connect=_CONNECT_SECONDS, write=_WRITE_SECONDS, pool=_CONNECT_SECONDS, read=None)


@contextlib.asynccontextmanager
async def http_transport(server: RemoteMcpServer) -> AsyncIterator[tuple[Any, Any]]:
    """The streams of messages from and to the server. Redirects are followed within its origin only (by the SDK)."""
    transport = _Careful(httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=_MOST_CONNECTIONS)))
    # Compressed, an answer could be of any size. Neither a proxy nor a password is taken from our environment.
    headers = dict(server.headers) | {"accept-encoding": "identity"}
    async with httpx2.AsyncClient(
        headers=headers, timeout=_TIMEOUT, transport=transport, trust_env=False
    ) as client:
        try:
            async with streamable_http_client(
                server.url,
                http_client=client,
                terminate_on_close=False,
                max_sse_event_size=MAX_MESSAGE_BYTES,
            ) as (reading, writing):
                yield reading, writing
        finally:
            await _say_goodbye(client, server.url, transport.session_id)


async def _say_goodbye(client: httpx2.AsyncClient, url: str, session_id: str) -> None:
    """Let the server forget the session, if it can hear us; also where we are cancelled, as the SDK would not."""
    if session_id:
        with contextlib.suppress(Exception), anyio.move_on_after(_GOODBYE_SECONDS, shield=True):
            await client.delete(url, headers={MCP_SESSION_ID: session_id})


class _Careful(httpx2.AsyncBaseTransport):
    """The transport below the SDK's."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport) -> None:
        self.session_id = ""
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises McpServerError where the server has no session with us, or compresses."""
        asked = _request_id(request)
        if request.method == "POST" and asked is None:
            request.extensions["timeout"] = dict(request.extensions["timeout"], read=_NOTIFY_SECONDS)
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise McpServerError("it compresses its answers, which it was asked not to")
        self.session_id = response.headers.get(MCP_SESSION_ID, self.session_id)
        return await _answer(response, asked)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _answer(response: httpx2.Response, asked: Any) -> httpx2.Response:
    kind, status = response.headers.get("content-type", "").lower(), response.status_code
    is_json = kind.startswith("application/json")
    if is_json:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)
    if asked is None or response.has_redirect_location:
        return response
    if _BAD_REQUEST <= status < _SERVER_ERROR and not (is_json and status == _BAD_REQUEST):
        await response.aclose()
        raise McpServerError(f"it answered with HTTP status {status}")
    if status >= _SERVER_ERROR or status == httpx2.codes.ACCEPTED or not (is_json or _is_stream(kind)):
        await response.aclose()
        return _lost(asked, status)
    return response


def _lost(asked: Any, status: int) -> httpx2.Response:
    """An answer in place of one after which nobody knows whether the request was carried out."""
    error = {"code": CONNECTION_CLOSED, "message": f"HTTP status {status} without an answer"}
    return httpx2.Response(200, json={"jsonrpc": "2.0", "id": asked, "error": error})


def _is_stream(kind: str) -> bool:
    return kind.startswith("text/event-stream")


def _request_id(request: httpx2.Request) -> Any:
    """The id of the JSON-RPC request that this is; None for a notification, an answer and all else."""
    if request.method != "POST":
        return None
    message = json.loads(request.content)
    return message.get("id") if "method" in message else None


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it is longer than a message may be."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._inner:
            size += len(part)
            if size > MAX_MESSAGE_BYTES:
                # Of the kind that the SDK takes for an answer that it cannot read.
                raise httpx2.StreamError("the answer is too large")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
