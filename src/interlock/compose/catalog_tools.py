"""Making and checking catalog files."""

from collections.abc import Sequence
from pathlib import Path

from interlock.adapters.catalog_files import load_catalog, write_catalog_file
from interlock.adapters.mcp_endpoint import McpEndpoint
from interlock.adapters.mcp_servers import McpServers
from interlock.compose.mcp_endpoints import mcp_endpoints
from interlock.compose.settings import Settings, SettingsError
from interlock.core.catalog import Catalog, CatalogFile
from interlock.core.catalog_import import import_tools


async def import_catalog(settings: Settings, server: str) -> CatalogFile:
    """The tools that an MCP server of `[gateway.servers]` lists. Raises McpServerError, CatalogError."""
    gateway = settings.gateway
    endpoints = {} if gateway is None else mcp_endpoints(gateway)
    if gateway is None or server not in endpoints:
        raise SettingsError(f"there is no server `{server}` in `[gateway.servers]`")
    return await import_from(endpoints[server], gateway=gateway.name, server=server)


async def import_from(started: McpEndpoint, *, gateway: str, server: str) -> CatalogFile:
    """The tools that this MCP server lists. Raises McpServerError, CatalogError."""
    async with McpServers({server: started}) as servers:
        await servers.until_ready(server)
        return import_tools(await servers.list_tools(server), gateway=gateway, server=server)


def write_catalog(file: CatalogFile, path: Path, *, replace: bool) -> None:
    """Write a catalog file. Raises CatalogError where it is there already and not to be replaced."""
    if path.exists() and not replace:
        raise SettingsError(
            f"`{path}` is there already; `--replace` writes it anew, and what was edited in it is lost"
        )
    write_catalog_file(file, path)


def read_catalog(settings: Settings) -> Catalog:
    """The catalog of the decision service. Raises CatalogError."""
    paths: Sequence[Path] = ()
    if settings.service is not None:
        paths = settings.service.catalog
    elif settings.gateway is not None:
        paths = settings.gateway.catalog
    return load_catalog(paths)
