"""HTTP/1.1 to addresses that were looked at, and to no other: what is sent goes where the check went (case 46).

The name stays in the Host header, in TLS and in the certificate's check; it is not looked up again. Nothing of the
environment is heeded, proxies least of all. A connection is for one request: one that was kept open may be closed
under it, and a second sending would be a second call.
"""

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpcore2
import httpx2
from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from interlock.core.public_address import IPAddress

CONNECT_SECONDS = 10.0
"""For each address; where one does not answer, the next is tried."""


class PinnedTransport(httpx2.AsyncBaseTransport):
    """httpx2's transport to these addresses. `sent` tells whether anything of a request went out."""

    def __init__(self, addresses: Sequence[IPAddress], tls: ssl.SSLContext) -> None:
        self.sent = False
        self._addresses = addresses
        self._tls = tls
        self._connection: httpcore2.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it over a connection of its own. Raises what httpcore2 raises."""
        await self.aclose()
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        self._connection = httpcore2.AsyncHTTPConnection(
            origin=url.origin,
            ssl_context=self._tls,
            network_backend=_OnlyTo(self._addresses, self._note_sent),
        )
        asked = httpcore2.Request(
            method=request.method,
            url=url,
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        )
        answer = await self._connection.handle_async_request(asked)
        return httpx2.Response(
            status_code=answer.status, headers=answer.headers, stream=_Stream(answer), request=request
        )

    async def aclose(self) -> None:
        """Close the connection, wherever its answer stands."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None

    def _note_sent(self) -> None:
        self.sent = True


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _OnlyTo(AsyncNetworkBackend):
    """Connects to these addresses, whatever host is asked for."""

    def __init__(self, addresses: Sequence[IPAddress], note_sent: Any) -> None:
        self._addresses = addresses
        self._note_sent = note_sent
        self._network = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - never looked up: that is what this is for
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's parameter
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        failure: Exception = httpcore2.ConnectError("there is no address")
        for address in self._addresses:
            try:
                stream = await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _NotedStream(stream, self._note_sent)
        raise failure


class _NotedStream(AsyncNetworkStream):
    """A connection that tells when the first byte of a request is written; a TLS handshake is none."""

    def __init__(self, stream: AsyncNetworkStream, note_sent: Any) -> None:
        self._stream = stream
        self._note_sent = note_sent

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        self._note_sent()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> AsyncNetworkStream:
        return _NotedStream(
            await self._stream.start_tls(ssl_context, server_hostname, timeout), self._note_sent
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
