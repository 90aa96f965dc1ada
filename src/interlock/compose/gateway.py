"""Composition root of an execution gateway. It can neither decide nor sign (invariant 5)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import structlog

from interlock.adapters import catalog_files
from interlock.adapters.backoff import jittered
from interlock.adapters.clock import RandomIdentifiers, SystemClock
from interlock.adapters.ledger_sqlite import SqliteLedger
from interlock.adapters.mcp_servers import McpServer, McpServers
from interlock.adapters.metrics import PrometheusMeter
from interlock.adapters.verifying_keys import FixedVerifyingKeys, RemoteVerifyingKeys
from interlock.compose.grpc_server import ServerError, build_server
from interlock.compose.places import gateway_of, ledger_file
from interlock.compose.process import (
    Addresses,
    Serving,
    background,
    http_server,
    settle_memory,
    stop_taking_calls,
    until_told_to_end,
)
from interlock.compose.settings import GatewaySettings, Settings, is_loopback
from interlock.compose.tokens import expected_by, remote_keys
from interlock.core.catalog import Catalog, CatalogError
from interlock.flows.deliver import Deliverer
from interlock.flows.execute import Executor, Gateway
from interlock.rpc.endpoint import Deadlines, service_handler
from interlock.rpc.gateway_servicer import GatewayServicer
from interlock.rpc.health import Health
from interlock.rpc.http_endpoints import http_application
from interlock.rpc.outcome_reporter import OutcomeReporter

logger = structlog.get_logger()

VerifyingKeys = FixedVerifyingKeys | RemoteVerifyingKeys

_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 30.0
_TELLING_SECONDS = 5.0
"""What a call gets beyond the tool's limit, so that its caller hears of a tool that took too long."""


async def serve_gateway(settings: Settings, announce: Serving) -> None:
    """Run the gateway until SIGTERM or SIGINT; what was begun by then is ended and on record.

    Raises SettingsError, and the errors of what it opens, before it listens: StoreUnusable, KeySetError,
    CatalogError, ServerError.
    """
    gateway = gateway_of(settings)
    catalog = _own_catalog(gateway)
    async with contextlib.AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(_open_ledger(gateway))
        keys = await stack.enter_async_context(_running_keys(gateway))
        tools = await stack.enter_async_context(McpServers(_servers(gateway)))
        deliverer = Deliverer(ledger, await _reporter(gateway, stack), _delays())
        await stack.enter_async_context(background(deliverer.run()))
        executor = Executor(
            Gateway(
                keys=keys,
                expected=expected_by(settings, gateway),
                catalog=catalog,
                ledger=ledger,
                tools=tools,
                clock=SystemClock(),
                identifiers=RandomIdentifiers(),
                limit_seconds=gateway.longest_execution_seconds,
                delays=_delays(),
                after_outcome=deliverer.wake,
            )
        )
        await _serve(gateway, executor, ledger, keys, tools, announce, stack)


async def _serve(
    gateway: GatewaySettings,
    executor: Executor,
    ledger: SqliteLedger,
    keys: VerifyingKeys,
    tools: McpServers,
    announce: Serving,
    stack: contextlib.AsyncExitStack,
) -> None:
    async def has_keys() -> bool:
        return keys.ready

    async def has_tools() -> bool:
        return all([await tools.ready(name) for name in gateway.servers])

    meter = PrometheusMeter()
    longest = gateway.longest_execution_seconds + _TELLING_SECONDS
    handlers = [
        service_handler(
            GatewayServicer(executor, meter),
            meter=meter,
            deadlines=Deadlines(default=longest, longest=longest),
            authenticate=None,
        )
    ]
    health = Health(
        [name for name, _ in handlers], {"ledger": ledger.writable, "keys": has_keys, "tools": has_tools}
    )
    server, grpc_address = build_server(
        address=gateway.listen, tls=gateway.tls, handlers=handlers, health=health
    )
    application = http_application(health=health, metrics=meter.expose, jwks=None)
    http_address = await stack.enter_async_context(http_server(application, gateway.http_listen, gateway.tls))
    await health.ask()
    await stack.enter_async_context(background(health.watch()))
    await server.start()
    if gateway.tls is None:
        logger.warning("no_tls", listen=grpc_address, says="without TLS only this machine is served")
    logger.info("serving", grpc=grpc_address, http=http_address, gateway=gateway.name, tenant=gateway.tenant)
    settle_memory()
    announce(Addresses(grpc=grpc_address, http=http_address))
    await until_told_to_end()
    await _drain(server, health, executor, gateway.drain_seconds)


async def _drain(server: grpc.aio.Server, health: Health, executor: Executor, limit_seconds: float) -> None:
    """Take no more, and end what was begun; what does not end in time is `unknown` at the next start."""
    logger.info("draining")
    await stop_taking_calls(server, health, limit_seconds)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(executor.drain(), limit_seconds)
    logger.info("ended")


@contextlib.asynccontextmanager
async def _open_ledger(gateway: GatewaySettings) -> AsyncIterator[SqliteLedger]:
    gateway.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    ledger = await asyncio.to_thread(
        SqliteLedger, ledger_file(gateway), limit_seconds=gateway.ledger_limit_seconds
    )
    try:
        now = SystemClock().now()
        await ledger.recover(now)
        await ledger.prune(now)
        yield ledger
    finally:
        await ledger.close()


@contextlib.asynccontextmanager
async def _running_keys(gateway: GatewaySettings) -> AsyncIterator[VerifyingKeys]:
    if gateway.jwks_file is not None:
        yield FixedVerifyingKeys.from_file(gateway.jwks_file)
        return
    async with remote_keys(gateway).running() as keys:
        yield keys


async def _reporter(gateway: GatewaySettings, stack: contextlib.AsyncExitStack) -> OutcomeReporter:
    channel = _channel(gateway)
    stack.push_async_callback(channel.close)
    return OutcomeReporter(channel, credential=_read(gateway.credential_file))


def _channel(gateway: GatewaySettings) -> grpc.aio.Channel:
    """A channel to the decision service. The credential never crosses a network in clear."""
    if gateway.decision_service_ca is not None:
        roots = _read(gateway.decision_service_ca).encode()
        return grpc.aio.secure_channel(gateway.decision_service, grpc.ssl_channel_credentials(roots))
    if not is_loopback(gateway.decision_service):
        return grpc.aio.secure_channel(gateway.decision_service, grpc.ssl_channel_credentials())
    return grpc.aio.insecure_channel(gateway.decision_service)


def _servers(gateway: GatewaySettings) -> dict[str, McpServer]:
    return {
        name: McpServer(command=server.command, args=server.args, env=server.env, cwd=server.cwd)
        for name, server in gateway.servers.items()
    }


def _own_catalog(gateway: GatewaySettings) -> Catalog:
    """The tools of this gateway. Raises CatalogError where one is on a server that is not configured."""
    catalog = catalog_files.load_catalog(gateway.catalog)
    own = {name: tool for name, tool in catalog.tools.items() if tool.gateway == gateway.name}
    for tool in own.values():
        if tool.server not in gateway.servers:
            raise CatalogError(
                f"tool `{tool.name}` is on server `{tool.server}`, which `[gateway.servers]` lacks"
            )
    return Catalog(tools=own)


def _delays() -> Callable[[int], float]:
    return jittered(first=_FIRST_DELAY_SECONDS, longest=_LONGEST_DELAY_SECONDS)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ServerError(f"`{path}` cannot be read: {error.strerror}") from error
