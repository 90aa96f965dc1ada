"""A real web server on this machine whose handler a test gives, and that notes what reached it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class WebService:
    """Where it listens, and the requests that came, with their bodies."""

    port: int
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The requests' methods and raw targets."""
        return [f"{request.method} {request.raw_path}" for request in self.requests]


@contextlib.asynccontextmanager
async def web_service(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[WebService]:
    """Serve with this handler until the end of the block."""
    service = WebService(port=0)

    async def noted(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        service.requests.append(request)  # type: ignore[arg-type] # a BaseRequest has all that is looked at
        service.bodies.append(await request.read())
        return await handler(request)  # type: ignore[arg-type] # as above

    runner = web.ServerRunner(web.Server(noted), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        await runner.cleanup()


Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def socket_service(speak: Speak) -> AsyncIterator[int]:
    """Serve raw bytes until the end of the block; the port."""
    spoken: set[asyncio.Task[None]] = set()

    async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        spoken.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                await speak(reader, writer)
        finally:
            writer.close()
            spoken.discard(task)

    server = await asyncio.start_server(close_after, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in spoken:
            task.cancel()
        await asyncio.gather(*spoken, return_exceptions=True)
