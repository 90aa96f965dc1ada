"""Composition root of a gateway whose ways in are HTTP and gRPC `Execute`."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from interlock.compose.gateway import OpenGateway, open_gateway
from interlock.compose.grpc_gateway import grpc_process
from interlock.compose.process import Addresses, http_server, serve
from interlock.compose.settings import Settings
from interlock.rpc.http_forward import forward_application

ForwardServing = Callable[[str, Addresses], None]
"""Hears the address of the way in, and those that every gateway has."""


async def serve_http_gateway(settings: Settings, announce: ForwardServing) -> None:
    """Run the gateway until SIGTERM or SIGINT; what was begun by then is ended and on record.

    Raises SettingsError, and the errors of what it opens, before it listens: StoreUnusable, KeySetError,
    CatalogError, HttpServerError, ServerError.
    """
    async with open_gateway(settings) as gateway, contextlib.AsyncExitStack() as way_in:
        own = gateway.settings
        server = http_server(
            _application(gateway), own.forward.listen, own.tls, end_seconds=own.drain_seconds
        )
        address = await way_in.enter_async_context(server)

        async def drain() -> None:
            await way_in.aclose()  # first no more is taken
            await gateway.executor.drain()

        process = grpc_process(gateway)
        says = {**process.says, "forward": address}
        await serve(replace(process, drain=drain, says=says), lambda addresses: announce(address, addresses))


def _application(gateway: OpenGateway) -> web.Application:
    return forward_application(
        gateway.executor, gateway.catalog, gateway.meter, limit_seconds=gateway.longest_call_seconds
    )
