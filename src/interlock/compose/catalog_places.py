"""Whether each tool of a gateway has the server that it is on, and whether that may be reached with a credential."""

from collections.abc import Collection

from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.settings import SettingsError
from interlock.compose.settings_parts import is_loopback
from interlock.core.catalog import CatalogError, Tool
from interlock.core.web_address import parse


def check_names(gateway: GatewaySettings, mcp_servers: Collection[str]) -> None:
    """Raises SettingsError where a server of the MCP client's file has the name of another kind of server."""
    for name in mcp_servers:
        if name in gateway.http or name in gateway.commands:
            raise SettingsError(
                f"server `{name}` is an MCP server, and in `[gateway.http]` or `[gateway.commands]`; rename one"
            )


def check_place(tool: Tool, gateway: GatewaySettings, mcp_servers: Collection[str]) -> None:
    """Raises CatalogError where a tool's server is not set up, or must not get its calls."""
    servers, where = _servers_of_its_kind(tool, gateway, mcp_servers)
    if tool.server not in servers:
        raise CatalogError(f"tool `{tool.name}` is on server `{tool.server}`, which {where}")
    if tool.entry.http is not None and gateway.http[tool.server].authorization_file is not None:
        _check_credential(tool, tool.entry.http.base)


def _servers_of_its_kind(
    tool: Tool, gateway: GatewaySettings, mcp_servers: Collection[str]
) -> tuple[Collection[str], str]:
    if tool.entry.http is not None and tool.entry.command is not None:
        raise CatalogError(f"tool `{tool.name}` has `http` and `command`, expected one of them at most")
    if tool.entry.http is not None:
        return gateway.http, "`[gateway.http]` lacks"
    if tool.entry.command is not None:
        return gateway.commands, "`[gateway.commands]` lacks"
    return mcp_servers, "`[gateway.servers]` and `mcp_servers` lack"


def _check_credential(tool: Tool, base: str) -> None:
    """A credential is for one service, and crosses no network in clear: no caller says where it goes."""
    if not base:
        raise CatalogError(
            f"tool `{tool.name}` has no `base`, and its server an `authorization_file`: a caller could have the "
            "credential sent anywhere; give the tool a `base`, or another server"
        )
    address = parse(base)
    if address.scheme != "https" and not is_loopback(f"{address.host}:0"):
        raise CatalogError(
            f"tool `{tool.name}`: its `base` must be https, or http to a loopback address: a credential crosses it"
        )
