"""Composition root of what all ways in to a gateway share. It can neither decide nor sign (invariant 5)."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from interlock.adapters import catalog_files
from interlock.adapters.backoff import jittered
from interlock.adapters.clock import RandomIdentifiers, SystemClock
from interlock.adapters.connectors import Connectors
from interlock.adapters.file_digests import FileContents
from interlock.adapters.file_paths import resolve_path
from interlock.adapters.freeze_watch import FreezeWatch
from interlock.adapters.mcp_client_requests import ClientRequests
from interlock.adapters.mcp_servers import McpServers
from interlock.adapters.metrics import PrometheusMeter
from interlock.adapters.verifying_keys import FixedVerifyingKeys, RemoteVerifyingKeys
from interlock.compose.catalog_places import check_names, check_place
from interlock.compose.commands import command_servers
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.grpc_server import ServerError
from interlock.compose.http_servers import http_connector
from interlock.compose.ledger import GatewayLedger, look_again, open_ledger
from interlock.compose.mcp_endpoints import mcp_endpoints
from interlock.compose.places import gateway_of
from interlock.compose.process import background
from interlock.compose.settings import Settings
from interlock.compose.settings_parts import is_loopback
from interlock.compose.tokens import expected_by, remote_keys
from interlock.core.catalog import Catalog
from interlock.core.obligation_kinds import ABILITIES
from interlock.flows.deliver import Deliverer
from interlock.flows.execute import Executor, Gateway
from interlock.rpc.control_client import ControlClient
from interlock.rpc.health import Check
from interlock.rpc.outcome_reporter import OutcomeReporter

VerifyingKeys = FixedVerifyingKeys | RemoteVerifyingKeys

_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 30.0
_RECONNECTING = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1_000))
"""A gateway that hears nothing of freezes does nothing: it goes on soon after the decision service is back."""

_TELLING_SECONDS = 5.0
"""What a call gets beyond the tool's limit, so that its caller hears of a tool that took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGateway:
    """The parts of a gateway that every way in shares, open. `channel` leads to the decision service.

    `checks` say whether it can do its work; `drain` of `executor` returns when all that has begun has ended.
    """

    settings: GatewaySettings
    catalog: Catalog
    upstreams: McpServers
    executor: Executor
    channel: grpc.aio.Channel
    checks: Mapping[str, Check]
    meter: PrometheusMeter

    @property
    def longest_call_seconds(self) -> float:
        """The most that a call may take, with the time that its caller is told in."""
        return self.settings.longest_execution_seconds + _TELLING_SECONDS


@contextlib.asynccontextmanager
async def open_gateway(
    settings: Settings, *, client_requests: ClientRequests | None = None
) -> AsyncIterator[OpenGateway]:
    """Open the parts of the gateway, for one or more ways in, until the end of the block.

    `client_requests` answers what MCP servers ask of the client, which is refused without.

    Raises SettingsError, and the errors of what it opens: StoreUnusable, KeySetError, CatalogError, HttpServerError,
    SandboxError, ServerError.
    """
    gateway = gateway_of(settings)
    endpoints = mcp_endpoints(gateway)
    catalog = _own_catalog(gateway, endpoints)
    async with contextlib.AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(open_ledger(gateway))
        keys = await stack.enter_async_context(_running_keys(gateway))
        upstreams = await stack.enter_async_context(
            McpServers(endpoints, tools=catalog.tools.values(), client_requests=client_requests)
        )
        tools = Connectors(
            {
                **dict.fromkeys(upstreams.names, upstreams),
                **dict.fromkeys(gateway.http, http_connector(gateway)),
                **await command_servers(gateway, catalog),
            }
        )
        channel = await stack.enter_async_context(_open_channel(gateway))
        deliverer = Deliverer(
            ledger, OutcomeReporter(channel, credential=_read(gateway.credential_file)), _delays()
        )
        await stack.enter_async_context(background(deliverer.run()))
        await stack.enter_async_context(background(look_again(ledger, deliverer.wake)))
        freezes = FreezeWatch(
            ControlClient(channel, credential=_read(gateway.credential_file)),
            obligations=ABILITIES,
            drifted=upstreams.drifted,
        )
        await freezes.ask()  # so that the first calls are not refused for want of an answer
        await stack.enter_async_context(background(freezes.run()))
        executor = Executor(
            Gateway(
                keys=keys,
                expected=expected_by(settings, gateway),
                catalog=catalog,
                ledger=ledger,
                tools=tools,
                freezes=freezes,
                resolve=resolve_path,
                files=FileContents(),
                clock=SystemClock(),
                identifiers=RandomIdentifiers(),
                limit_seconds=gateway.longest_execution_seconds,
                delays=_delays(),
                after_outcome=deliverer.wake,
            )
        )
        yield OpenGateway(
            settings=gateway,
            catalog=catalog,
            upstreams=upstreams,
            executor=executor,
            channel=channel,
            checks=_checks(upstreams.names, ledger, keys, tools, freezes),
            meter=PrometheusMeter(),
        )


def _checks(
    servers: Collection[str],
    ledger: GatewayLedger,
    keys: VerifyingKeys,
    tools: Connectors,
    freezes: FreezeWatch,
) -> dict[str, Check]:
    async def has_keys() -> bool:
        return keys.ready

    async def has_tools() -> bool:
        return all([await tools.ready(name) for name in servers])

    async def knows_freezes() -> bool:
        return freezes.known

    return {"ledger": ledger.writable, "keys": has_keys, "tools": has_tools, "freezes": knows_freezes}


@contextlib.asynccontextmanager
async def _running_keys(gateway: GatewaySettings) -> AsyncIterator[VerifyingKeys]:
    if gateway.jwks_file is not None:
        yield FixedVerifyingKeys.from_file(gateway.jwks_file)
        return
    async with remote_keys(gateway).running() as keys:
        yield keys


@contextlib.asynccontextmanager
async def _open_channel(gateway: GatewaySettings) -> AsyncIterator[grpc.aio.Channel]:
    channel = _channel(gateway)
    try:
        yield channel
    finally:
        await channel.close()


def _channel(gateway: GatewaySettings) -> grpc.aio.Channel:
    """A channel to the decision service. The credential never crosses a network in clear."""
    if gateway.decision_service_ca is not None:
        roots = _read(gateway.decision_service_ca).encode()
        credentials = grpc.ssl_channel_credentials(roots)
        return grpc.aio.secure_channel(gateway.decision_service, credentials, _RECONNECTING)
    if not is_loopback(gateway.decision_service):
        return grpc.aio.secure_channel(
            gateway.decision_service, grpc.ssl_channel_credentials(), _RECONNECTING
        )
    return grpc.aio.insecure_channel(gateway.decision_service, _RECONNECTING)


def _own_catalog(gateway: GatewaySettings, endpoints: Collection[str]) -> Catalog:
    """The tools of this gateway. Raises CatalogError where one is on a server that is not configured."""
    check_names(gateway, endpoints)
    catalog = catalog_files.load_catalog(gateway.catalog)
    own = {name: tool for name, tool in catalog.tools.items() if tool.gateway == gateway.name}
    for tool in own.values():
        check_place(tool, gateway, endpoints)
    return Catalog(tools=own)


def _delays() -> Callable[[int], float]:
    return jittered(first=_FIRST_DELAY_SECONDS, longest=_LONGEST_DELAY_SECONDS)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ServerError(f"`{path}` cannot be read: {error.strerror}") from error
