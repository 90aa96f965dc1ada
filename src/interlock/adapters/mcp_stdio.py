"""An MCP server as a child process over stdio: one JSON-RPC message a line, and no line that fills our memory.

The SDK's own client keeps a line until its end, however long it is; the rest is as the SDK does it, and as the
specification wants it (2025-11-25, basic/transports#stdio, basic/lifecycle#shutdown).
"""

import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TextIO

import anyio
import structlog
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, ErrorData, JSONRPCError, jsonrpc_message_adapter

from interlock.adapters.child_process import ends_with_us
from interlock.adapters.mcp_endpoint import MAX_MESSAGE_BYTES, McpServer, McpServerError

logger = structlog.get_logger()

GIVE_UP_BYTES = 64 * MAX_MESSAGE_BYTES
"""A server whose line is longer than this is not sending messages any more: it is ended."""

_ENDS_ALONE_SECONDS = 2.0
_ENDS_ASKED_SECONDS = 2.0
_REAPED_SECONDS = 2.0
_FLUSH_SECONDS = 0.5
_POLL_SECONDS = 0.01
_EDGE_BYTES = 256

# Where the id of an answer stands: before what it answers, as most write it, or at the end, as JavaScript's SDK does.
_ID_FIRST = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*([0-9]{1,15})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*([0-9]{1,15})\s*\}\s*\Z')

_CLOSED = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)

Incoming = SessionMessage | Exception


def base_environment() -> dict[str, str]:
    """What every server gets of our environment: PATH, HOME and the like, as the SDK has it; no secret of ours."""
    return get_default_environment()


@contextlib.asynccontextmanager
async def stdio_transport(server: McpServer, stderr: TextIO) -> AsyncIterator[tuple[Any, Any]]:
    """The streams of messages from and to a process that is started here, and ended on leaving.

    Raises McpServerError, OSError: it cannot be started.
    """
    process = await anyio.open_process(
        [*ends_with_us(), program_of(server), *server.args],
        env=base_environment() | dict(server.env),
        cwd=server.cwd,
        stderr=stderr,
        start_new_session=True,
    )
    arriving, reading = anyio.create_memory_object_stream[Incoming](0)
    writing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    written = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, arriving)
        tasks.start_soon(_write, process, leaving, arriving, written)
        try:
            yield reading, writing
        finally:
            # Every wait within has its limit, so that no process is left behind by one who cancels.
            with anyio.CancelScope(shield=True):
                reading.close()
                writing.close()
                with anyio.move_on_after(_FLUSH_SECONDS):
                    await written.wait()
                await _end(process)
            tasks.cancel_scope.cancel()


class Lines:
    """Cuts bytes into lines, of which it keeps MAX_MESSAGE_BYTES at most."""

    def __init__(self, *, most: int = MAX_MESSAGE_BYTES) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator["bytes | LongLine"]:
        """The lines that end in `data`, without their ends. Raises McpServerError where one does not end."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._keep(end)
            yield self._take()
        self._keep(rest)
        if self._size > GIVE_UP_BYTES:
            raise McpServerError(f"it sent a line of more than {GIVE_UP_BYTES} bytes")

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        self._parts.append(data)
        if self._size > self._most:
            edges = b"".join(self._parts)
            self._parts = [edges[:_EDGE_BYTES], edges[_EDGE_BYTES:][-_EDGE_BYTES:]]

    def _take(self) -> "bytes | LongLine":
        line, size = b"".join(self._parts), self._size
        self._parts, self._size = [], 0
        return line if size <= self._most else LongLine(line, size)


class LongLine:
    """A line of `size` bytes that was not kept, but for its beginning and its end."""

    def __init__(self, edges: bytes, size: int) -> None:
        self.size = size
        self._edges = edges

    def answers(self) -> int | None:
        """The id of the request that it answers, where that can be seen.

        A server that lies here ends a call of its own, and no other's.
        """
        found = _ID_FIRST.match(self._edges) or _ID_LAST.search(self._edges)
        return int(found[1]) if found else None


async def _read(process: Process, arriving: MemoryObjectSendStream[Incoming]) -> None:
    assert process.stdout is not None
    lines = Lines()
    with contextlib.suppress(*_CLOSED):
        try:
            async with arriving:
                while True:
                    for line in lines.feed(await process.stdout.receive()):
                        if (message := _message(line)) is not None:
                            await arriving.send(message)
        finally:
            # One that is stuck in writing would not hear that it is to end.
            with anyio.CancelScope(shield=True):
                while True:
                    await process.stdout.receive()


def _message(line: bytes | LongLine) -> Incoming | None:
    if isinstance(line, LongLine):
        logger.warning("mcp_message_too_large", bytes=line.size, most=MAX_MESSAGE_BYTES)
        return _too_large(line.answers())
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


def _too_large(request: int | None) -> SessionMessage | None:
    """An answer in place of one that is not read: the tool may have run, and nobody waits for it in vain."""
    if request is None:
        return None
    error = ErrorData(code=CONNECTION_CLOSED, message="the answer is too large")
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))


async def _write(
    process: Process,
    leaving: MemoryObjectReceiveStream[SessionMessage],
    arriving: MemoryObjectSendStream[Incoming],
    written: anyio.Event,
) -> None:
    assert process.stdin is not None
    try:
        async with leaving:
            async for message in leaving:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n"
                await process.stdin.send(line.encode())
    except _CLOSED:
        # It reads no more, though it may live on: nobody waits for its answers.
        await arriving.aclose()
    finally:
        written.set()


async def _end(process: Process) -> None:
    """Close its input, wait, then end it and all that it started."""
    assert process.stdin is not None
    with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    if not await _has_ended(process, _ENDS_ALONE_SECONDS):
        await terminate_posix_process_tree(process, _ENDS_ASKED_SECONDS)
        await _has_ended(process, _REAPED_SECONDS)
    with contextlib.suppress(OSError), anyio.move_on_after(_REAPED_SECONDS):
        await process.aclose()


async def _has_ended(process: Process, limit_seconds: float) -> bool:
    """Whether it ended in time. Not `process.wait`, which waits for a child of its that keeps the pipe open too."""
    with anyio.move_on_after(limit_seconds):
        while process.returncode is None:  # noqa: ASYNC110 - no event tells of the process alone
            await anyio.sleep(_POLL_SECONDS)
    return process.returncode is not None


def program_of(server: McpServer) -> str:
    """The path of the command, looked up as the server's own environment has it. Raises McpServerError."""
    path = (base_environment() | dict(server.env)).get("PATH", "")
    where = str((server.cwd or Path()) / server.command) if os.sep in server.command else server.command
    program = shutil.which(where, path=path)
    if program is None:
        raise McpServerError(f"command `{server.command}` is not there")
    return program
