"""ports.ToolRunner over web services: what was decided is sent once, to addresses that were looked at (case 46)."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import h11
import httpcore2
import httpx2

from interlock.adapters.http_answer import read_body, value_of
from interlock.adapters.name_resolution import Resolve, resolve_name
from interlock.adapters.pinned_transport import PinnedTransport
from interlock.core import http_call
from interlock.core.connector_entries import HttpEntry
from interlock.core.errors import ErrorReason, InterlockError, tool_unavailable
from interlock.core.http_call import HttpCall
from interlock.core.obligation_kinds import unsupported
from interlock.core.public_address import IPAddress, is_public
from interlock.core.web_address import DEFAULT_PORTS, AddressError, WebAddress, parse
from interlock.ports import ToolCall, ToolOutcomeUnknown, ToolResult

RESOLVE_SECONDS = 5.0
RETRY_AFTER_SECONDS = 1.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER = 303
_POST_BECOMES_GET = frozenset({301, 302})
_FAILED = 400


class HttpServerError(Exception):
    """A web service that cannot be used as it is set up; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServer:
    """A web service. `authorization` is the header's value; `networks` may be reached although not public.

    `ca` is a PEM file of the CAs that its certificate is checked with, instead of the machine's own.
    """

    authorization: str = field(default="", repr=False)
    ca: Path | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    redirects: int = 0

    def allows(self, address: IPAddress) -> bool:
        """Whether the address may be connected to."""
        return is_public(address) or any(address in network for network in self.networks)


class HttpConnector:
    """ports.ToolRunner over web services, by name."""

    def __init__(self, servers: Mapping[str, HttpServer], *, resolve: Resolve = resolve_name) -> None:
        """Raises HttpServerError where a CA file cannot be read."""
        self._servers = servers
        self._tls = {name: _tls(name, server) for name, server in servers.items()}
        self._resolve = resolve

    async def ready(self, server: str) -> bool:
        """Whether there is such a server; whether it answers shows when it is called."""
        return server in self._servers

    async def prepare(self, call: ToolCall) -> "PreparedHttpCall":
        """As ports.ToolRunner: the name is looked up, once, and every address of it is one that is allowed."""
        server, entry = self._servers.get(call.tool.server), call.tool.entry.http
        if server is None or entry is None:
            raise tool_unavailable(
                f"this gateway has no web service `{call.tool.server}`", retry_after=RETRY_AFTER_SECONDS
            )
        if call.sandbox is not None:
            raise unsupported("sandbox", "a tool of a web service runs in no sandbox of the gateway's")
        try:
            asked = http_call.read(entry, call.arguments)
        except AddressError as error:
            raise InterlockError(reason=ErrorReason.ADDRESS_REFUSED, message=str(error)) from error
        addresses = await self._addresses(asked.address, server)
        transport = PinnedTransport(addresses, self._tls[call.tool.server])
        return PreparedHttpCall(call, asked, _Service(entry=entry, server=server), transport)

    async def _addresses(self, address: WebAddress, server: HttpServer) -> Sequence[IPAddress]:
        """Where the name leads, in the order to try. One bad address spoils all: a name is good or it is not."""
        found = [address.literal] if address.literal else await self._looked_up(address.host)
        if not found or not all(map(server.allows, found)):
            raise InterlockError(
                reason=ErrorReason.ADDRESS_REFUSED,
                message="the host is, or leads to, an address that is not public, and that is in none of the "
                "server's `networks`",
            )
        return found

    async def _looked_up(self, host: str) -> Sequence[IPAddress]:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                return await self._resolve(host)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            raise tool_unavailable(
                "the address of the host is not found", retry_after=RETRY_AFTER_SECONDS
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    entry: HttpEntry
    server: HttpServer


class PreparedHttpCall:
    """ports.PreparedCall of a tool that is a web service."""

    def __init__(
        self, call: ToolCall, asked: HttpCall, service: _Service, transport: PinnedTransport
    ) -> None:
        self._call = call
        self._asked = asked
        self._service = service
        self._transport = transport

    async def run(self) -> ToolResult:
        """Send the request; the answer as `http_answer.value_of` has it, failed from status 400 on.

        Where there was no connection, nothing was sent, and the call failed. Raises ToolOutcomeUnknown where it was
        sent and no whole answer came in time.
        """
        try:
            async with asyncio.timeout(self._call.limit_seconds):
                return await self._answer()
        except _BROKEN as error:
            if self._transport.sent:
                raise ToolOutcomeUnknown(f"the service gave no answer: {type(error).__name__}") from error
            return ToolResult(failed=True, value={"error": f"{_why(error)}; nothing was sent"})

    def describe(self) -> Mapping[str, Any]:
        """As ports.Describable: the request's method and URL."""
        return {"method": self._asked.method, "url": str(self._asked.address)}

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.aclose()

    async def _answer(self) -> ToolResult:
        """The first answer that is no redirect to follow."""
        asked = self._asked
        for _ in range(self._service.server.redirects):
            response = await self._send(asked)
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return await self._result(response)
            try:
                asked = _next(asked, response, self._service.entry)
            except AddressError as error:
                return await self._result(response, redirect=f"not followed: {error}")
        return await self._result(await self._send(asked))

    async def _send(self, asked: HttpCall) -> httpx2.Response:
        headers = dict(asked.headers)
        headers |= {
            "accept-encoding": "gzip, deflate",
            "connection": "close",
            "user-agent": "interlock-gateway",
        }
        headers.setdefault("accept", "*/*")
        if asked.body is not None:
            headers.setdefault("content-type", asked.body_type)
        if asked.method not in http_call.SAFE_METHODS:
            headers["idempotency-key"] = self._call.idempotency_key
        if self._service.server.authorization and asked.address.origin == self._asked.address.origin:
            headers["authorization"] = self._service.server.authorization
        request = httpx2.Request(asked.method, str(asked.address), headers=headers, content=asked.body)
        return await self._transport.handle_async_request(request)

    async def _result(self, response: httpx2.Response, *, redirect: str = "") -> ToolResult:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        most = self._call.max_result_bytes
        body = await read_body(response.aiter_raw(), encoding, at_most=most)
        value = value_of(response.status_code, response.headers, body, at_most=most)
        if redirect:
            value["redirect"] = redirect
        return ToolResult(failed=response.status_code >= _FAILED, value=value)


_BROKEN: tuple[type[Exception], ...] = (
    httpx2.HTTPError,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    h11.ProtocolError,
    OSError,
    ssl.SSLError,
)


def _next(asked: HttpCall, response: httpx2.Response, entry: HttpEntry) -> HttpCall:
    """The request that a redirect asks for (RFC 9110 15.4). Raises AddressError where it may not be followed.

    Only to the host that was decided, and to the same addresses of it; to any other, the agent proposes a call anew.
    """
    address = asked.address.resolve(response.headers["location"])
    if not _is_same_service(asked.address, address):
        raise AddressError("the address is another service's; propose a call to it")
    if entry.base and not address.is_below(parse(entry.base)):
        raise AddressError("the address leads out of the tool's base")
    status, method = response.status_code, asked.method
    if (status == _SEE_OTHER and method != "HEAD") or (status in _POST_BECOMES_GET and method == "POST"):
        headers = {name: value for name, value in asked.headers.items() if not name.startswith("content-")}
        return replace(asked, method="GET", address=address, headers=headers, body=None, body_type="")
    return replace(asked, address=address)


def _is_same_service(first: WebAddress, then: WebAddress) -> bool:
    """The same origin, or the same host over TLS where it was in clear."""
    if first.origin == then.origin:
        return True
    upgraded = (then.scheme, then.port) == ("https", DEFAULT_PORTS["https"])
    return first.host == then.host and first.port == DEFAULT_PORTS["http"] and upgraded


def _why(error: Exception) -> str:
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        return "the service's certificate is not one for this host that can be trusted"
    return "the service could not be connected to"


def _tls(name: str, server: HttpServer) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=server.ca)
    except (OSError, ssl.SSLError) as error:
        raise HttpServerError(
            f"CA file `{server.ca}` of web service `{name}` cannot be used: {error}"
        ) from error
