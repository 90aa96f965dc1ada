"""The HTTP port: /healthz, /readyz, /metrics, and /.well-known/jwks.json where there are keys to publish."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from interlock.rpc.health import Health

JWKS_SECONDS = 60
"""How long a JWKS may be kept; a new key is published for longer before it signs."""


def http_application(
    *, health: Health, metrics: Callable[[], bytes], jwks: Callable[[], Mapping[str, Any]] | None
) -> web.Application:
    """The application. None of it changes anything, and none of it needs a credential."""
    application = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        status = "ready" if health.ready else "not ready"
        return web.json_response(
            {"status": status, "checks": health.results}, status=200 if health.ready else 503
        )

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", show_metrics)]
    )
    if jwks is not None:
        application.add_routes([web.get("/.well-known/jwks.json", _jwks_route(jwks))])
    return application


def _jwks_route(jwks: Callable[[], Mapping[str, Any]]) -> Callable[[web.Request], Any]:
    async def show(_: web.Request) -> web.Response:
        return web.json_response(jwks(), headers={"Cache-Control": f"public, max-age={JWKS_SECONDS}"})

    return show
