"""What the HTTP port has: a few pages to read, and nothing that answers an approval."""

from typing import Any

from aiohttp import web

from interlock.rpc.health import Health
from interlock.rpc.http_endpoints import http_application

PAGES = {"/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"}


def no_keys() -> dict[str, Any]:
    """A JWKS of no keys."""
    return {"keys": []}


def an_application() -> web.Application:
    """The application of a service with keys to publish."""
    return http_application(health=Health([], {}), metrics=lambda: b"", jwks=no_keys)


def test_the_http_port_only_shows() -> None:
    """Each route is a GET or HEAD of a page that says how the service is: none is of an approval (case 52)."""
    routes = [
        (route.method, route.resource.canonical)
        for route in an_application().router.routes()
        if route.resource
    ]
    assert {method for method, _ in routes} == {"GET", "HEAD"}
    assert {path for _, path in routes} == PAGES
