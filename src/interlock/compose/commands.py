"""The commands behind a gateway: those of `[gateway.commands]`, in a sandbox or not at all."""

from collections.abc import Collection
from pathlib import Path

from interlock.adapters.command import Commands
from interlock.adapters.sandbox_place import SandboxError, locate_sandbox, try_sandbox
from interlock.compose.gateway_settings import GatewaySettings
from interlock.core.catalog import Catalog, CatalogError, Tool


async def command_servers(gateway: GatewaySettings, catalog: Catalog) -> dict[str, Commands]:
    """The way out to them by name. Each command's sandbox is made once here, and nothing run in it.

    Raises SandboxError where it cannot be made (bubblewrap is not there, or a folder is not), and CatalogError where
    a command could read what is the gateway's alone.
    """
    if not gateway.commands:
        return {}
    sandbox = locate_sandbox()
    await try_sandbox(sandbox)
    for tool in _commands(catalog.tools.values()):
        _check_private(tool, gateway)
        try:
            await try_sandbox(
                sandbox, readable=_folders(tool, writable=False), writable=_folders(tool, writable=True)
            )
        except SandboxError as error:
            raise SandboxError(f"tool `{tool.name}`: {error}") from error
    commands = Commands(sandbox, {name: server.env for name, server in gateway.commands.items()})
    return dict.fromkeys(gateway.commands, commands)


def _commands(tools: Collection[Tool]) -> list[Tool]:
    return [tool for tool in tools if tool.entry.command is not None]


def _folders(tool: Tool, *, writable: bool) -> tuple[str, ...]:
    entry = tool.entry.command
    if entry is None:
        return ()
    return tuple(tool.roots[name] for name in entry.roots if (name in entry.writable) is writable)


def _check_private(tool: Tool, gateway: GatewaySettings) -> None:
    """No command may see a credential of the gateway's or its ledger, which would be the way past it (case 61)."""
    private = [path.resolve() for path in _private(gateway)]
    for folder in _folders(tool, writable=False) + _folders(tool, writable=True):
        if any(path.is_relative_to(Path(folder).resolve()) for path in private):
            raise CatalogError(
                f"tool `{tool.name}` sees `{folder}`, in which the gateway keeps a credential or its ledger; "
                "give the tool another folder"
            )


def _private(gateway: GatewaySettings) -> list[Path]:
    files = [
        gateway.credential_file,
        gateway.data_dir,
        gateway.ledger_password_file,
        gateway.mcp.credential_file,
        gateway.tls.private_key if gateway.tls else None,
        *(server.authorization_file for server in gateway.http.values()),
    ]
    return [path for path in files if path is not None]
