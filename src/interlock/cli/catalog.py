"""interlock catalog: the tools that exist."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config, settings_of
from interlock.cli.output import print_json, print_line, print_table

application = typer.Typer(help="The tools that exist.", no_args_is_help=True)


@application.command("import")
def import_(
    server: Annotated[str, typer.Argument(help="Name of an MCP server in `[gateway.servers]`.")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Write the file anew, and lose what was edited in it.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Ask an MCP server for its tools and write a catalog file of them.

    Look it through: the effects come from the server's own hints, at worst `write, delete`, and a server may lie.
    """
    from interlock.compose import catalog_tools  # noqa: PLC0415 - it loads the MCP SDK

    file = asyncio.run(catalog_tools.import_catalog(settings_of(config), server))
    catalog_tools.write_catalog(file, output, replace=replace)
    print_line(f"{len(file.tools)} tools of `{server}` are in {output}; check the effects of each")


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
