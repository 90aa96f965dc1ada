"""The gateway as an MCP server, as an operator or an MCP client starts it, and what tests read of its answers."""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from tests.e2e.processes import Server, environment
from tests.e2e.world import World

NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
HANDSHAKE, WITHOUT = "legacy", "auto"
"""How the client begins: with the handshake of the protocol before 2026-07-28, or as that has it, where it can."""


def over_stdio(
    world: World, credential: str, name: str, *, gateway: Mapping[str, Any] = NO_CHANGES, **mcp: Any
) -> StdioServerParameters:
    """How an MCP client starts the gateway: with a ledger of its own, and the credential in its environment."""
    changes = {"data_dir": name, "mcp": {"escalation_wait_seconds": 0} | mcp} | dict(gateway)
    settings = world.write_settings(name=f"{name}.toml", gateway=changes)
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "interlock", "gateway", "mcp", "--config", str(settings)],
        env=environment(INTERLOCK_CREDENTIAL=credential),
        cwd=world.folder,
    )


@contextlib.contextmanager
def over_http(world: World, name: str, **mcp: Any) -> Iterator[Server]:
    """A gateway that serves MCP over streamable HTTP; `grpc` of the server is its URL."""
    anywhere = {"listen": "127.0.0.1:0", "escalation_wait_seconds": 0}
    changes = {"data_dir": name, "http_listen": "127.0.0.1:0", "mcp": anywhere | mcp}
    settings = world.write_settings(name=f"{name}.toml", gateway=changes)
    server = Server("gateway", world.folder, name, {}, "mcp", "--http", "--config", str(settings))
    try:
        yield server
    finally:
        server.kill()


@contextlib.asynccontextmanager
async def connected(
    url: str, credential: str, mode: str = HANDSHAKE, **options: Any
) -> AsyncIterator[Client]:
    """The official client over streamable HTTP, with the agent's credential as its bearer token."""
    headers = {"Authorization": f"Bearer {credential}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode, **options) as client:
            yield client


def text_of(result: CallToolResult) -> str:
    """What a model reads of the answer."""
    return "\n".join(each.text for each in result.content if isinstance(each, TextContent))
