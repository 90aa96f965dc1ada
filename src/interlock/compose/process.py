"""What both processes do alike: serve gRPC and HTTP, say whether they are ready, and end in good order."""

import asyncio
import contextlib
import gc
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from aiohttp import web

from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.grpc_server import ServerError, build_server
from interlock.compose.settings import ServiceSettings
from interlock.compose.settings_parts import Tls
from interlock.rpc.health import Check, Health
from interlock.rpc.http_endpoints import http_application

logger = structlog.get_logger()

GC_THRESHOLDS = (10_000, 20, 20)
"""Batches make many objects that live together and die together, none of them in cycles."""

LAST_CALLS_SECONDS = 0.5
"""From NOT_SERVING to the end of taking calls: gRPC cancels what has arrived by then and waits to be taken."""

KEEPALIVE_SECONDS = 30.0
"""An HTTP connection that has sent no whole request for so long is closed (case 41)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a process listens, with the ports that it really has."""

    grpc: str
    http: str


Serving = Callable[[Addresses], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process serves, and how it ends.

    `settings` say where it listens; `handlers` come with the full names of their services; `checks` say whether
    it is ready; `metrics` and `jwks` are shown over HTTP; `stop_waiting` answers the calls that only wait;
    `drain` returns when all that was taken is ended; `says` stands in the log line that tells that it serves.
    """

    settings: ServiceSettings | GatewaySettings
    handlers: Sequence[tuple[str, grpc.GenericRpcHandler]]
    checks: Mapping[str, Check]
    metrics: Callable[[], bytes]
    jwks: Callable[[], Mapping[str, Any]] | None
    drain: Callable[[], Awaitable[None]]
    says: Mapping[str, str]
    stop_waiting: Callable[[], None] = lambda: None


async def serve(process: Process, announce: Serving) -> None:
    """Serve gRPC and HTTP until SIGTERM or SIGINT; what was taken by then is ended. Raises ServerError."""
    settings = process.settings
    health = Health([name for name, _ in process.handlers], process.checks)
    server, grpc_address = build_server(
        address=settings.listen, tls=settings.tls, handlers=process.handlers, health=health
    )
    application = http_application(health=health, metrics=process.metrics, jwks=process.jwks)
    told_to_end = listen_for_signals()
    async with http_server(application, settings.http_listen, settings.tls) as http_address:
        await health.ask()
        async with background(health.watch()):
            await server.start()
            _tell(process, grpc_address, http_address)
            settle_memory()
            announce(Addresses(grpc=grpc_address, http=http_address))
            await told_to_end.wait()
            await _end(process, server, health)


def settle_memory() -> None:
    """Take what a start has made out of the garbage collector's sight: it stays, and need not be walked."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def listen_for_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set from now on."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    return told


async def _end(process: Process, server: grpc.aio.Server, health: Health) -> None:
    """Take no more, and end what was taken, as far as its time goes."""
    logger.info("draining")
    limit = process.settings.drain_seconds
    await stop_taking_calls(server, health, limit, process.stop_waiting)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.drain(), limit)
    logger.info("ended")


def _tell(process: Process, grpc_address: str, http_address: str) -> None:
    if process.settings.tls is None:
        logger.warning("no_tls", listen=grpc_address, says="without TLS only this machine is served")
    logger.info("serving", grpc=grpc_address, http=http_address, **process.says)


async def stop_taking_calls(
    server: grpc.aio.Server, health: Health, limit_seconds: float, stop_waiting: Callable[[], None]
) -> None:
    """Send clients elsewhere, take the calls that are on their way, and give all so many seconds to end."""
    await health.stop_serving()
    await asyncio.sleep(LAST_CALLS_SECONDS)
    stop_waiting()  # no sooner: who is told to ask again, and is still taken here, would come back at once
    await server.stop(limit_seconds)


@contextlib.asynccontextmanager
async def background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run a coroutine until the end of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def http_server(
    application: web.Application, address: str, tls: Tls | None, *, end_seconds: float = 2.0
) -> AsyncIterator[str]:
    """Serve HTTP until the end of the block; the address with its real port. Raises ServerError.

    Requests that are being answered then get `end_seconds` to end.
    """
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=end_seconds
    )
    await runner.setup()
    host, _, port = address.rpartition(":")
    site = web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=_ssl_context(tls))
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ServerError(f"`{address}` cannot be listened on: {error.strerror}") from error
    try:
        yield f"{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _ssl_context(tls: Tls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(tls.certificate, tls.private_key)
    except (OSError, ssl.SSLError) as error:
        raise ServerError(f"`{tls.certificate}` and `{tls.private_key}` cannot be used: {error}") from error
    return context
