"""The MCP front over streamable HTTP: who comes from elsewhere, or without a credential, gets no further (case 61)."""

import hashlib
from collections.abc import Sequence
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock.adapters.mcp_connections import bearer_of

PATH = "/mcp"

MAX_SESSIONS = 2_000
"""Sessions that may be open at once (case 41); a client of protocol 2026-07-28 needs none."""

IDLE_SECONDS = 1_800.0
"""A session of which nothing was heard for so long ends; the client begins a new one."""

MAX_BODY_BYTES = 1 * 2**20
"""Of one message; arguments have at most 256 KiB."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def http_application(server: Server[Any], *, hosts: Sequence[str], origins: Sequence[str]) -> Starlette:
    """The application. `hosts` and `origins` are values of these headers that are taken beside loopback ones.

    A session belongs to the credential that began it: with another, it is not found.
    """
    security = _security(hosts, origins)
    sessions = StreamableHTTPSessionManager(
        server,
        security_settings=security,
        session_idle_timeout=IDLE_SECONDS,
        max_request_body_size=MAX_BODY_BYTES,
        max_sessions=MAX_SESSIONS,
    )
    door = _Door(StreamableHTTPASGIApp(sessions), security)
    return Starlette(routes=[Route(PATH, endpoint=door)], lifespan=lambda _: sessions.run())


def _security(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    """A page whose name was bound anew to a loopback address still names itself in Host and Origin."""
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*_LOOPBACK, *(f"{host}:*" for host in _LOOPBACK), *hosts],
        allowed_origins=[*(f"http://{host}:*" for host in _LOOPBACK), *origins],
    )


class _Door:
    """Looks at Host, Origin and the credential before anything else does."""

    def __init__(self, application: ASGIApp, security: TransportSecuritySettings) -> None:
        self._application = application
        self._security = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        refusal = await self._security.validate_request(request, is_post=request.method == "POST")
        credential = bearer_of(request.headers.getlist("authorization"))
        if refusal is None and credential is None:
            refusal = _no_credential()
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        assert credential is not None
        # By this the SDK tells whose a session is. It is no secret, and not the credential.
        name = hashlib.sha256(credential.encode()).hexdigest()
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=name, scopes=[]))
        await self._application(scope, receive, send)


def _no_credential() -> Response:
    return JSONResponse(
        {"error": "invalid_token", "error_description": "an agent's credential is needed, as a bearer token"},
        status_code=401,
        headers={"WWW-Authenticate": 'Bearer realm="interlock"'},  # RFC 6750 3
    )
