"""interlock catalog: the tools that exist."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config, settings_of
from interlock.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from interlock.compose.catalog_tools import Imported

application = typer.Typer(help="The tools that exist.", no_args_is_help=True)


@application.command("import")
def import_(
    output: Annotated[Path, typer.Option(help="File to write; with `--all`, folder of the files.")],
    server: Annotated[
        str, typer.Argument(help="Name of an MCP server in `[gateway.servers]` or `mcp_servers`.")
    ] = "",
    all: Annotated[
        bool, typer.Option("--all", help="Import every server, each into a file of its name.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make the file anew; what you wrote of its tools is kept.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Ask MCP servers for their tools and write catalog files of them.

    Look them through: the effects come from the servers' own hints, at worst `write, delete`, and a server may lie.
    What changed against the file that is replaced is told: read it before the tools are called again.
    """
    from interlock.compose import catalog_tools  # noqa: PLC0415 - it loads the MCP SDK

    if bool(server) == all:
        raise typer.BadParameter("expected the name of one server, or --all")
    settings = settings_of(config)
    if all:
        imports = asyncio.run(catalog_tools.import_all(settings, output, replace=replace))
    else:
        imports = [asyncio.run(catalog_tools.import_catalog(settings, server, output, replace=replace))]
    for each in imports:
        _tell(each)


def _tell(imported: "Imported") -> None:
    print_line(
        f"{len(imported.file.tools)} tools of `{imported.server}` are in {imported.path}; check the effects of each"
    )
    renamed = [entry for entry in imported.file.tools if entry.listed_name]
    for entry in renamed:
        print_line(f"  named: {entry.listed_name} is {entry.name}")
    if (changes := imported.changes) is None:
        return
    if changes.nothing:
        print_line("  nothing changed at the server")
    for name in changes.added:
        print_line(f"  added: {name}")
    for name in changes.removed:
        print_line(f"  removed: {name}")
    for name, what in changes.changed.items():
        print_line(f"  changed: {name} ({', '.join(what)})")


@application.command("list")
def list_(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check the catalog files and list their tools."""
    from interlock.compose import catalog_tools  # noqa: PLC0415 - it loads the MCP SDK

    tools = catalog_tools.read_catalog(settings_of(config)).tools.values()
    rows = [
        {
            "name": tool.name,
            "effects": [effect.value for effect in tool.entry.effects],
            "gateway": tool.gateway,
            "server": tool.server,
            "labels": dict(tool.entry.labels),
            "cost": tool.entry.cost,
            "digest": tool.digest,
        }
        for tool in tools
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ("name", "effects", "gateway", "server", "digest")
        print_table(
            columns, ([", ".join(v) if isinstance(v := row[c], list) else v for c in columns] for row in rows)
        )
