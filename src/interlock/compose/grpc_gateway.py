"""Composition root of a gateway whose way in is gRPC `Execute`, and beside it the others that its settings name."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from interlock.adapters.mcp_client_asks import ClientAsks
from interlock.compose.gateway import OpenGateway, open_gateway
from interlock.compose.gateway_settings import WayIn
from interlock.compose.mcp_gateway import mcp_over_http, permitted_asks
from interlock.compose.places import gateway_of
from interlock.compose.process import Addresses, Process, http_server, serve
from interlock.compose.settings import Settings
from interlock.rpc.endpoint import Deadlines, service_handler
from interlock.rpc.gateway_servicer import GatewayServicer
from interlock.rpc.http_forward import forward_application

GatewayServing = Callable[[Addresses, Mapping[str, str]], None]
"""Hears the addresses that every gateway has, and those of the other ways in by their names."""


async def serve_gateway(
    settings: Settings, announce: GatewayServing, *, ways_in: Collection[WayIn] | None = None
) -> None:
    """Run the gateway until SIGTERM or SIGINT; what was begun by then is ended and on record.

    It is one gateway, with one ledger, whatever the ways in to it; they are those of the settings unless named.
    Raises SettingsError, and the errors of what it opens, before it listens: StoreUnusable, KeySetError,
    CatalogError, HttpServerError, SandboxError, ServerError.
    """
    beside = gateway_of(settings).ways_in if ways_in is None else ways_in
    asks = ClientAsks()
    async with (
        open_gateway(settings, client_requests=permitted_asks(settings, asks)) as gateway,
        AsyncExitStack() as taking,
    ):
        others: dict[str, str] = {
            name: await taking.enter_async_context(_open(name, gateway, asks)) for name in beside
        }

        async def drain() -> None:
            await taking.aclose()  # first no more is taken
            await gateway.executor.drain()

        process = _process(gateway)
        says = {**process.says, **{f"way_in_{name}": address for name, address in others.items()}}
        await serve(replace(process, drain=drain, says=says), lambda addresses: announce(addresses, others))


@contextlib.asynccontextmanager
async def _open(name: WayIn, gateway: OpenGateway, asks: ClientAsks) -> AsyncIterator[str]:
    """Take calls by this way until the end of the block; where. Raises ServerError."""
    if name == "mcp":
        async with mcp_over_http(gateway, asks) as url:
            yield url
        return
    forward = forward_application(
        gateway.executor, gateway.catalog, gateway.meter, limit_seconds=gateway.longest_call_seconds
    )
    own = gateway.settings
    async with http_server(forward, own.forward.listen, own.tls, end_seconds=own.drain_seconds) as address:
        yield address


def _process(gateway: OpenGateway) -> Process:
    """What a gateway serves over gRPC. What does not end in its time when it ends is `unknown` at the next start."""
    longest = gateway.longest_call_seconds
    handler = service_handler(
        GatewayServicer(gateway.executor, gateway.meter),
        meter=gateway.meter,
        deadlines=Deadlines(default=longest, longest=longest),
        authenticate=None,
    )
    return Process(
        settings=gateway.settings,
        handlers=[handler],
        checks=gateway.checks,
        metrics=gateway.meter.expose,
        jwks=None,
        drain=gateway.executor.drain,
        says={"gateway": gateway.settings.name, "tenant": gateway.settings.tenant},
    )
