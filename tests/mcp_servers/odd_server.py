"""A real MCP server over stdio whose tools echo, fail, hang and die.

Each start and each call of a tool appends a line to the file that the first argument names.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import mcp.server.stdio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    REQUEST_TIMEOUT,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

Arguments = dict[str, Any]


def echo(arguments: Arguments) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=json.dumps(arguments))], structured_content=arguments)


def fail(arguments: Arguments) -> CallToolResult:
    return CallToolResult(content=[TextContent(text="no such file")], is_error=True)


def break_protocol(arguments: Arguments) -> CallToolResult:
    raise MCPError(code=INTERNAL_ERROR, message="broken")


def time_out_inside(arguments: Arguments) -> CallToolResult:
    raise MCPError(code=REQUEST_TIMEOUT, message="something behind it was slow")


def die(arguments: Arguments) -> NoReturn:
    os._exit(1)


def hang(arguments: Arguments) -> NoReturn:
    raise NotImplementedError  # never got to: `call` waits for ever


def environment(arguments: Arguments) -> CallToolResult:
    return CallToolResult(content=[], structured_content=dict(os.environ))


def number(arguments: Arguments) -> CallToolResult:
    return CallToolResult(content=[], structured_content={"id": 2**60})


def account(arguments: Arguments) -> CallToolResult:
    """What the caller asks it to say in `_meta`."""
    return CallToolResult(content=[], _meta=arguments)


TOOLS: dict[str, Callable[[Arguments], CallToolResult]] = {
    tool.__name__: tool
    for tool in (echo, fail, break_protocol, time_out_inside, die, hang, environment, number, account)
}


class OddServer:
    """What the SDK calls."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self.note(f"started {os.getpid()}")

    def note(self, line: str) -> None:
        with self._journal.open("a") as journal:
            journal.write(line + "\n")

    async def call(self, context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        self.note(params.name)
        if params.name == "hang":
            await self._hang()
        return TOOLS[params.name](params.arguments or {})

    async def _hang(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.note("cancelled hang")
            raise

    async def list_tools(
        self, context: ServerRequestContext[Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """Two tools a page."""
        start = int(params.cursor) if params and params.cursor else 0
        names = list(TOOLS)
        page = [Tool(name=name, input_schema={"type": "object"}) for name in names[start : start + 2]]
        more = str(start + 2) if start + 2 < len(names) else None
        return ListToolsResult(tools=page, next_cursor=more)


async def main() -> None:
    odd = OddServer(Path(sys.argv[1]))
    server = Server("odd", on_call_tool=odd.call, on_list_tools=odd.list_tools)
    async with mcp.server.stdio.stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
