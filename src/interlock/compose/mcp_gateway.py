"""Composition root of a gateway whose way in is MCP. It can neither decide nor sign (invariant 5)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
import uvicorn
from mcp.server.lowlevel.server import Server
from starlette.types import ASGIApp

from interlock.adapters.backoff import jittered
from interlock.adapters.clock import RandomIdentifiers
from interlock.adapters.mcp_client_asks import ClientAsks
from interlock.adapters.mcp_client_requests import ClientRequests
from interlock.adapters.mcp_connections import Connections
from interlock.adapters.mcp_front import McpFront
from interlock.adapters.mcp_http import PATH, http_application
from interlock.adapters.mcp_pipes import serve_stdio
from interlock.client.errors import NEXT_STEPS
from interlock.compose.gateway import OpenGateway, open_gateway
from interlock.compose.grpc_server import ServerError
from interlock.compose.process import background, http_server, listen_for_signals, settle_memory
from interlock.compose.settings import Settings
from interlock.compose.settings_parts import Tls
from interlock.flows.front import Front
from interlock.rpc.health import Health
from interlock.rpc.http_endpoints import http_application as health_application
from interlock.rpc.remote_decisions import RemoteDecisions

logger = structlog.get_logger()

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_READY_SECONDS = 10.0
_WITHDRAWING_SECONDS = 2.0
_LOOK_SECONDS = 0.05
_KEEP_ALIVE_SECONDS = 120
_BACKLOG = 1_024

_FRONT_STEPS = dict.fromkeys(
    ("FREEZES_UNKNOWN", "LEDGER_UNAVAILABLE", "TOOL_UNAVAILABLE", "TOKEN_EXPIRED"), "make the same call again"
)
"""Who calls through the front knows of no token that could be presented again."""


async def serve_mcp_stdio(settings: Settings, credential: str) -> None:
    """Serve one client over stdin and stdout, in the name of the agent whose credential this is.

    Until stdin ends, or SIGTERM or SIGINT; what was begun by then is ended and on record. Raises as `open_gateway`.
    """
    told_to_end = listen_for_signals()
    asks = ClientAsks()
    async with (
        open_gateway(settings, client_requests=permitted_asks(settings, asks)) as gateway,
        _front(gateway, asks, credential) as server,
    ):
        settle_memory()
        logger.info("serving", mcp="stdio", gateway=gateway.settings.name, tenant=gateway.settings.tenant)
        await _first(serve_stdio(server), told_to_end)
        await _drain(gateway)


async def serve_mcp_http(settings: Settings, announce: Callable[[str, str], None]) -> None:
    """Serve clients over streamable HTTP until SIGTERM or SIGINT; what was begun by then is ended and on record.

    `announce` gets the URL of the front, and the address of health and metrics. Raises as `open_gateway`, and
    ServerError.
    """
    told_to_end = listen_for_signals()
    asks = ClientAsks()
    async with (
        open_gateway(settings, client_requests=permitted_asks(settings, asks)) as gateway,
        _health(gateway) as health_address,
    ):
        async with mcp_over_http(gateway, asks) as url:
            settle_memory()
            own = gateway.settings
            logger.info("serving", mcp=url, http=health_address, gateway=own.name, tenant=own.tenant)
            announce(url, health_address)
            await told_to_end.wait()
        await _drain(gateway)


def permitted_asks(settings: Settings, asks: ClientAsks) -> ClientRequests:
    """What the settings let MCP servers ask of a client, answered by `asks`."""
    return asks.permitted(settings.gateway.mcp.client_requests if settings.gateway else ())


@contextlib.asynccontextmanager
async def mcp_over_http(gateway: OpenGateway, asks: ClientAsks) -> AsyncIterator[str]:
    """Serve clients over streamable HTTP until the end of the block; the URL. Raises ServerError."""
    own = gateway.settings
    async with _front(gateway, asks, "") as server:
        application = http_application(server, hosts=own.mcp.hosts, origins=own.mcp.origins)
        async with asgi_server(application, own.mcp.listen, own.tls, own.drain_seconds) as address:
            yield f"{'https' if own.tls else 'http'}://{address}{PATH}"


@contextlib.asynccontextmanager
async def _front(gateway: OpenGateway, asks: ClientAsks, credential: str) -> AsyncIterator[Server[Any]]:
    identifiers = RandomIdentifiers()
    front = McpFront(
        front=Front(
            gateway=gateway.settings.name,
            decisions=RemoteDecisions(gateway.channel),
            execute=gateway.executor.execute_unless_withdrawn,
            identifiers=identifiers,
            escalation_wait_seconds=gateway.settings.mcp.escalation_wait_seconds,
            pauses=jittered(first=_FIRST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS),
            next_steps=NEXT_STEPS | _FRONT_STEPS,
        ),
        catalog=gateway.catalog,
        upstreams=gateway.upstreams,
        connections=Connections(credential=credential, identifiers=identifiers),
        asks=asks,
        meter=gateway.meter,
    )
    try:
        async with front.running() as server:
            await _until_ready(gateway)
            yield server
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(front.front.withdrawals.drain(), _WITHDRAWING_SECONDS)


async def _until_ready(gateway: OpenGateway) -> None:
    """A client that starts us calls at once: give the servers behind us some time to start, and no more than that."""
    health = Health([], gateway.checks)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY_SECONDS):
            await health.ask()
            while not health.ready:
                await asyncio.sleep(_LOOK_SECONDS)
                await health.ask()


@contextlib.asynccontextmanager
async def _health(gateway: OpenGateway) -> AsyncIterator[str]:
    """Serve health and metrics; the address with its real port."""
    health = Health([], gateway.checks)
    application = health_application(health=health, metrics=gateway.meter.expose, jwks=None)
    await health.ask()
    own = gateway.settings
    async with http_server(application, own.http_listen, own.tls) as address, background(health.watch()):
        yield address


async def _first(serving: Any, told_to_end: asyncio.Event) -> None:
    """Serve until that ends, or until a signal."""
    tasks = {asyncio.create_task(serving), asyncio.create_task(told_to_end.wait())}
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


async def _drain(gateway: OpenGateway) -> None:
    logger.info("draining")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(gateway.executor.drain(), gateway.settings.drain_seconds)
    logger.info("ended")


class _Server(uvicorn.Server):
    """Uvicorn's, which leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def asgi_server(
    application: ASGIApp, address: str, tls: Tls | None, drain_seconds: float
) -> AsyncIterator[str]:
    """Serve an ASGI application until the end of the block; the address with its real port. Raises ServerError."""
    listener = _listener(address)
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        loop="none",
        ws="none",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.private_key if tls else None,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        listener.close()
        raise ServerError(f"`tls` cannot be used: {error}") from error
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"{address.rpartition(':')[0]}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        listener.close()


def _listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServerError(f"`{address}` cannot be listened on: {error.strerror}") from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library takes it so
    return listener
