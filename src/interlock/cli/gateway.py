"""interlock gateway: run an execution gateway, by the way in that agents are to use."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from interlock.cli.options import DEFAULT_CONFIG, Config, read_secret, settings_of
from interlock.cli.output import print_line
from interlock.compose.service_log import configure_logging

if TYPE_CHECKING:
    from interlock.compose.process import Addresses

application = typer.Typer(
    help="Run an execution gateway until SIGTERM or Ctrl-C; what was begun by then is ended and on record. "
    "Without a command, agents come with their tokens over gRPC.",
    invoke_without_command=True,
)


_NAMES = {"mcp": "MCP", "http": "forward"}


@application.callback()
def gateway(context: typer.Context, config: Config = DEFAULT_CONFIG) -> None:
    """Run the gateway: gRPC, and the `ways_in` of its settings; or only the one that is named."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    from interlock.compose.grpc_gateway import serve_gateway  # noqa: PLC0415 - no other verb must load it

    configure_logging()
    uvloop.run(serve_gateway(settings_of(config), _announce))


@application.command()
def mcp(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    http: Annotated[
        bool, typer.Option("--http", help="Serve MCP over streamable HTTP, at `listen` of `[gateway.mcp]`.")
    ] = False,
) -> None:
    """Be an MCP server in front of the gateway's tools: unchanged MCP clients, each call decided first.

    Without --http it serves one client over stdin and stdout, with the agent's credential from `credential_file` of
    `[gateway.mcp]` or from INTERLOCK_CREDENTIAL, and ends when stdin does.
    """
    from interlock.compose.mcp_gateway import serve_mcp_http, serve_mcp_stdio  # noqa: PLC0415 - the same

    configure_logging()
    settings = settings_of(chosen(context, config))
    if http:
        uvloop.run(serve_mcp_http(settings, _announce_mcp))
        return
    file = settings.gateway.mcp.credential_file if settings.gateway else None
    credential = read_secret(
        file, name="agent's credential", environment=os.environ.get("INTERLOCK_CREDENTIAL")
    )
    uvloop.run(serve_mcp_stdio(settings, credential))


@application.command(name="http")
def forward(context: typer.Context, config: Config = DEFAULT_CONFIG) -> None:
    """Be a web server in front of the gateway's web services, at `listen` of `[gateway.forward]`.

    An agent asks it for /TOOL/PATH with the execution token in its Authorization header; gRPC is served beside it.
    """
    from interlock.compose.grpc_gateway import serve_gateway  # noqa: PLC0415 - the same

    configure_logging()
    uvloop.run(serve_gateway(settings_of(chosen(context, config)), _announce, ways_in=["http"]))


def chosen(context: typer.Context, config: Path) -> Path:
    """The file that was named after the command, else before it."""
    before: Path = context.obj
    return before if config == DEFAULT_CONFIG else config


def _announce_mcp(url: str, http: str) -> None:
    print_line(f"gateway: MCP on {url}, HTTP on {http}")
    sys.stdout.flush()


def _announce(addresses: "Addresses", others: Mapping[str, str]) -> None:
    beside = "".join(f"{_NAMES[name]} on {address}, " for name, address in others.items())
    print_line(f"gateway: {beside}gRPC on {addresses.grpc}, HTTP on {addresses.http}")
    sys.stdout.flush()
