"""What both processes do alike: log as JSON, serve HTTP, and end in good order."""

import asyncio
import contextlib
import gc
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass

import grpc
from aiohttp import web

from interlock.compose.grpc_server import ServerError
from interlock.compose.settings import Tls
from interlock.rpc.health import Health

GC_THRESHOLDS = (10_000, 20, 20)
"""Batches make many objects that live together and die together, none of them in cycles."""

LAST_CALLS_SECONDS = 0.5
"""From NOT_SERVING to the end of taking calls: gRPC cancels what has arrived by then and waits to be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a process listens, with the ports that it really has."""

    grpc: str
    http: str


Serving = Callable[[Addresses], None]


def settle_memory() -> None:
    """Take what a start has made out of the garbage collector's sight: it stays, and need not be walked."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def until_told_to_end() -> None:
    """Return at SIGTERM or SIGINT."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


async def stop_taking_calls(server: grpc.aio.Server, health: Health, limit_seconds: float) -> None:
    """Send clients elsewhere, take the calls that are on their way, and give all so many seconds to end."""
    await health.stop_serving()
    await asyncio.sleep(LAST_CALLS_SECONDS)
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
async def http_server(application: web.Application, address: str, tls: Tls | None) -> AsyncIterator[str]:
    """Serve HTTP until the end of the block; the address with its real port. Raises ServerError."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    site = web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=_ssl_context(tls), shutdown_timeout=2)
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
