"""Making and checking catalog files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.adapters.catalog_files import load_catalog, read_catalog_file, write_catalog_file
from interlock.adapters.mcp_endpoint import McpEndpoint
from interlock.adapters.mcp_servers import McpServers
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.mcp_endpoints import mcp_endpoints
from interlock.compose.places import gateway_of
from interlock.compose.settings import Settings, SettingsError
from interlock.core.catalog import Catalog, CatalogFile
from interlock.core.catalog_changes import CatalogChanges, changes, keep_edits
from interlock.core.catalog_import import import_tools, names_of

Listing = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A catalog file that was written; `changes` are those against the one that was there, None where none was."""

    server: str
    path: Path
    file: CatalogFile
    changes: CatalogChanges | None


async def import_catalog(settings: Settings, server: str, output: Path, *, replace: bool) -> Imported:
    """Write a catalog file of the tools that an MCP server lists.

    Raises SettingsError: no such server, or the file is there already and not to be replaced. McpServerError,
    CatalogError.
    """
    gateway = gateway_of(settings)
    endpoints = mcp_endpoints(gateway)
    if server not in endpoints:
        raise SettingsError(f"there is no server `{server}` in `[gateway.servers]` or `mcp_servers`")
    [imported] = await _import(settings, gateway, {server: (endpoints[server], output)}, replace=replace)
    return imported


async def import_all(settings: Settings, folder: Path, *, replace: bool) -> list[Imported]:
    """Write a catalog file `SERVER.yaml` of each MCP server, all of them or none. Raises as `import_catalog`."""
    gateway = gateway_of(settings)
    places = {name: (endpoint, folder / f"{name}.yaml") for name, endpoint in mcp_endpoints(gateway).items()}
    if not places:
        raise SettingsError("there are no servers in `[gateway.servers]` or `mcp_servers`")
    return await _import(settings, gateway, places, replace=replace)


def read_catalog(settings: Settings) -> Catalog:
    """The catalog of the decision service. Raises CatalogError."""
    return load_catalog(_catalog_paths(settings))


async def _import(
    settings: Settings,
    gateway: GatewaySettings,
    places: Mapping[str, tuple[McpEndpoint, Path]],
    *,
    replace: bool,
) -> list[Imported]:
    previous = {
        server: read_catalog_file(path)
        for server, (_, path) in places.items()
        if _is_there(path, replace=replace)
    }
    listed = await _listings({server: endpoint for server, (endpoint, _) in places.items()})
    names = names_of(
        {server: [str(tool["name"]) for tool in tools] for server, tools in listed.items()},
        taken=_taken(settings, gateway, places),
        kept={
            server: {entry.name_at_server: entry.name for entry in file.tools}
            for server, file in previous.items()
        },
    )
    imported = []
    for server, (_, path) in places.items():
        file = import_tools(listed[server], gateway=gateway.name, server=server, names=names[server])
        imported.append(_replacing(server, path, file, previous.get(server)))
    _write(imported)
    return imported


def _write(imported: Sequence[Imported]) -> None:
    for each in imported:
        each.path.parent.mkdir(parents=True, exist_ok=True)
        write_catalog_file(each.file, each.path)


def _is_there(path: Path, *, replace: bool) -> bool:
    if path.exists() and not replace:
        raise SettingsError(
            f"`{path}` is there already; `--replace` makes it anew, and keeps what you wrote of its tools"
        )
    return path.exists()


def _replacing(server: str, path: Path, file: CatalogFile, previous: CatalogFile | None) -> Imported:
    if previous is None:
        return Imported(server=server, path=path, file=file, changes=None)
    kept = keep_edits(previous, file)
    return Imported(server=server, path=path, file=kept, changes=changes(previous, kept))


async def _listings(endpoints: Mapping[str, McpEndpoint]) -> dict[str, Listing]:
    listed = {}
    async with McpServers(endpoints) as servers:
        for name in endpoints:
            await servers.until_ready(name)
            listed[name] = await servers.list_tools(name)
    return listed


def _taken(
    settings: Settings, gateway: GatewaySettings, places: Mapping[str, tuple[McpEndpoint, Path]]
) -> set[str]:
    """The names of tools that the settings' catalog has from elsewhere than the servers that are imported."""
    written = {path.resolve() for _, path in places.values()}
    taken: set[str] = set()
    for path in {*_catalog_paths(settings), *gateway.catalog}:
        # One that is not there yet is what this import is for.
        if path.resolve() in written or not path.exists():
            continue
        file = read_catalog_file(path)
        if file.gateway != gateway.name or file.server not in places:
            taken.update(entry.name for entry in file.tools)
    return taken


def _catalog_paths(settings: Settings) -> Sequence[Path]:
    if settings.service is not None:
        return settings.service.catalog
    return settings.gateway.catalog if settings.gateway is not None else ()
