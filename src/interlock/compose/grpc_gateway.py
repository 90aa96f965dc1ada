"""Composition root of a gateway whose way in is gRPC `Execute`."""

from interlock.compose.gateway import OpenGateway, open_gateway
from interlock.compose.process import Process, Serving, serve
from interlock.compose.settings import Settings
from interlock.rpc.endpoint import Deadlines, service_handler
from interlock.rpc.gateway_servicer import GatewayServicer


async def serve_gateway(settings: Settings, announce: Serving) -> None:
    """Run the gateway until SIGTERM or SIGINT; what was begun by then is ended and on record.

    Raises SettingsError, and the errors of what it opens, before it listens: StoreUnusable, KeySetError,
    CatalogError, ServerError.
    """
    async with open_gateway(settings) as gateway:
        await serve(grpc_process(gateway), announce)


def grpc_process(gateway: OpenGateway) -> Process:
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
