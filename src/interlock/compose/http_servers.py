"""The web services behind a gateway: those of `[gateway.http]`."""

from pathlib import Path

from interlock.adapters.http_connector import HttpConnector, HttpServer
from interlock.compose.gateway_settings import GatewaySettings, HttpServerSettings
from interlock.compose.grpc_server import ServerError


def http_connector(gateway: GatewaySettings) -> HttpConnector:
    """The way out to them.

    Raises ServerError where a file with a credential cannot be used, HttpServerError where one with CAs cannot.
    """
    return HttpConnector({name: _server(server) for name, server in gateway.http.items()})


def _server(server: HttpServerSettings) -> HttpServer:
    return HttpServer(
        authorization=_credential(server.authorization_file) if server.authorization_file else "",
        ca=server.ca,
        networks=server.networks,
        redirects=server.redirects,
    )


def _credential(path: Path) -> str:
    try:
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise ServerError(f"`{path}` cannot be read: {error}") from error
    if not value or not value.isprintable():
        raise ServerError(f"`{path}` holds no one line, expected the value of an Authorization header")
    return value
