"""The MCP servers behind a gateway: those of `[gateway.servers]`, and those of an MCP client's file."""

from urllib.parse import urlsplit

from interlock.adapters.mcp_endpoint import McpEndpoint, McpServer, RemoteMcpServer
from interlock.adapters.mcp_servers_file import read_mcp_servers
from interlock.compose.gateway_settings import GatewaySettings, McpServerSettings
from interlock.compose.settings import SettingsError
from interlock.compose.settings_parts import is_loopback


def mcp_endpoints(gateway: GatewaySettings) -> dict[str, McpEndpoint]:
    """The servers by name.

    Raises SettingsError: a name is in both places, or an address would be asked in clear over a network.
    McpServersFileError: the file cannot be used.
    """
    endpoints = {name: _endpoint(server) for name, server in gateway.servers.items()}
    if gateway.mcp_servers is not None:
        for name, server in read_mcp_servers(gateway.mcp_servers).items():
            if name in endpoints:
                raise SettingsError(
                    f"server `{name}` is in `[gateway.servers]` and in `{gateway.mcp_servers}`; "
                    "take it out of one of them"
                )
            endpoints[name] = server
    for name, endpoint in endpoints.items():
        if isinstance(endpoint, RemoteMcpServer):
            _check_url(name, endpoint.url)
    return endpoints


def _endpoint(server: McpServerSettings) -> McpEndpoint:
    if server.url:
        return RemoteMcpServer(url=server.url, headers=server.headers)
    return McpServer(command=server.command, args=server.args, env=server.env, cwd=server.cwd)


def _check_url(name: str, url: str) -> None:
    """Arguments, results and credentials cross it (decision 0012). The URL may hold a secret: it is not told."""
    parts = urlsplit(url)
    if parts.hostname and parts.scheme == "https":
        return
    if not (parts.hostname and parts.scheme == "http" and is_loopback(f"{parts.hostname}:0")):
        raise SettingsError(
            f"`url` of server `{name}` must be https, or http to a loopback address: arguments and results cross it"
        )
