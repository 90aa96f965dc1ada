"""The MCP front over stdin and stdout: nothing but the protocol is on them, and reading can be stopped."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, Self

from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

from interlock.adapters.mcp_front import options

MAX_LINE_BYTES = 8 * 2**20


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client until its end of stdin is closed. What had begun by then goes on."""
    async with contextlib.AsyncExitStack() as stack:
        stdin: Any = await stack.enter_async_context(_lines_of_stdin())
        reading, writing = await stack.enter_async_context(stdio_server(stdin=stdin))
        await server.run(reading, writing, options(server))


class _Lines:
    """Lines of UTF-8, as an async iterator. The SDK's own reads in a thread that nothing can stop (SIGTERM)."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        try:
            line = await self._reader.readline()
        except ValueError:  # longer than any message may be; what follows cannot be told apart any more
            line = b""
        if not line:
            raise StopAsyncIteration
        return line.decode(errors="replace")


@contextlib.asynccontextmanager
async def _lines_of_stdin() -> AsyncIterator[_Lines | None]:
    """Stdin, which nobody else gets; None where it is a file, that has no end to wait for."""
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    except (OSError, ValueError):
        pipe.close()
        yield None
        return
    with _diverted(sys.stdin.fileno()):
        try:
            yield _Lines(reader)
        finally:
            transport.close()


@contextlib.contextmanager
def _diverted(descriptor: int) -> Any:
    """Let the descriptor lead nowhere, so that no child reads what is meant for us."""
    with open(os.devnull, "rb") as nowhere:  # noqa: PTH123 - by descriptor
        os.dup2(nowhere.fileno(), descriptor)
    yield
