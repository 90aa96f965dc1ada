"""MCP servers as child processes over stdio, through the official SDK: kept running, called once a call."""

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import anyio
import structlog
from anyio.abc import TaskStatus
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, get_default_environment, stdio_client
from mcp.shared.dispatcher import OnNotify, OnNotifyIntercept, OnRequest
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp.types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
)

from interlock.adapters import mcp_meta
from interlock.adapters.backoff import jittered
from interlock.adapters.child_process import ends_with_us
from interlock.core.errors import ErrorReason, InterlockError
from interlock.ports import ToolCall, ToolOutcomeUnknown, ToolResult

logger = structlog.get_logger()

START_SECONDS = 30.0
"""From starting the process to the end of the MCP handshake; a slow runtime needs some."""

STEADY_SECONDS = 30.0
"""A server that was ready so long is restarted as if it were the first time."""

RETRY_AFTER_SECONDS = 1.0

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0

_MAX_PAGES = 100
_SAYS_NOT_WHETHER_IT_RAN = frozenset({CONNECTION_CLOSED, REQUEST_TIMEOUT})


class McpServerError(Exception):
    """A server that cannot be used now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """How to start a server. `env` is all that it gets of variables, beside those that `base_environment` names."""

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


def base_environment() -> dict[str, str]:
    """What every server gets of our environment: PATH, HOME and the like, as the SDK has it; no secret of ours."""
    return get_default_environment()


class McpServers:
    """ports.ToolRunner over MCP servers, by name. Use as a context manager: no server outlives it.

    Each runs in a process of its own, restarted with jittered backoff when it dies (case 57). What they write to
    stderr goes to `stderr`, or nowhere: it may hold arguments.
    """

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        stderr: TextIO | None = None,
        delays: Callable[[int], float] | None = None,
    ) -> None:
        """`delays` gives the seconds to wait after so many failures in a row."""
        delays = delays or jittered(first=FIRST_DELAY_SECONDS, longest=LONGEST_DELAY_SECONDS)
        self._stderr = stderr
        self._servers = {name: _Supervised(name, server, delays) for name, server in servers.items()}
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        # The SDK logs messages that it cannot read, and they may hold arguments and results.
        logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
        stderr = self._stderr or self._exits.enter_context(_nowhere())
        for server in self._servers.values():
            server.start(stderr)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(server.stop() for server in self._servers.values()))
        finally:
            await self._exits.aclose()

    async def ready(self, server: str) -> bool:
        """Whether the server is there and its handshake is done."""
        return server in self._servers and self._servers[server].session is not None

    async def until_ready(self, server: str, *, limit_seconds: float = START_SECONDS) -> None:
        """Return when the server can be called. Raises McpServerError, with why it did not start."""
        supervised = self._servers[server]
        try:
            async with asyncio.timeout(limit_seconds):
                await supervised.is_ready.wait()
        except TimeoutError as error:
            raise McpServerError(f"server `{server}` is not ready: {supervised.cause}") from error

    async def prepare(self, call: ToolCall) -> "_PreparedMcpCall":
        """As ports.ToolRunner."""
        server = self._servers.get(call.tool.server)
        if call.sandbox is not None:
            raise InterlockError(
                reason=ErrorReason.OBLIGATION_UNSUPPORTED,
                message="a tool of an MCP server runs in no sandbox of the gateway's",
                metadata={"obligation": "sandbox"},
            )
        if server is None or server.session is None:
            raise InterlockError(
                reason=ErrorReason.TOOL_UNAVAILABLE,
                message=f"the server `{call.tool.server}` of tool `{call.tool.name}` cannot be called now; "
                "the token was not redeemed",
                retry_after=RETRY_AFTER_SECONDS,
            )
        return _PreparedMcpCall(server, call)

    async def list_tools(self, server: str) -> list[dict[str, Any]]:
        """The server's tools as its `tools/list` tells them, all pages. Raises McpServerError."""
        session = self._servers[server].session
        if session is None:
            raise McpServerError(f"server `{server}` is not ready: {self._servers[server].cause}")
        try:
            async with asyncio.timeout(START_SECONDS):
                return await _list_tools(session)
        except Exception as error:
            raise McpServerError(f"server `{server}` did not list its tools: {_cause(error)}") from error


class _PreparedMcpCall:
    """ports.PreparedCall of a tool of an MCP server."""

    def __init__(self, server: "_Supervised", call: ToolCall) -> None:
        self._server = server
        self._call = call

    async def run(self) -> ToolResult:
        """Call the tool; its answer as MCP has it (`content`, `structuredContent`, `isError`).

        An answer that is a JSON-RPC error is the value `{"error": {"code", "message"}}` of a failed call.
        Raises ToolOutcomeUnknown: no answer in time, the server was lost, or the answer is no MCP.
        """
        server, tool, session = (
            self._call.tool.server,
            self._call.tool.entry.name_at_server,
            self._server.session,
        )
        if session is None:
            raise ToolOutcomeUnknown(f"server `{server}` went away")
        request = CallToolRequest(
            params=CallToolRequestParams(name=tool, arguments=dict(self._call.arguments))
        )
        try:
            async with asyncio.timeout(self._call.limit_seconds):
                # Not `call_tool`: it also checks the answer against the tool's output schema, which is no matter
                # of whether the tool ran, and may ask the server for its tools first.
                result = await session.send_request(request, CallToolResult)
        except MCPError as error:
            return _protocol_error(error)
        except Exception as error:  # whatever it is, the tool may have run
            raise ToolOutcomeUnknown(f"server `{server}` gave no answer: {_cause(error)}") from error
        return _result(_dump(result), failed=result.is_error, server=server, tool=tool)

    async def close(self) -> None:
        """Nothing is held."""


class _Supervised:
    """One server: started, kept, started again, until it is stopped."""

    def __init__(self, name: str, server: McpServer, delays: Callable[[int], float]) -> None:
        self.session: ClientSession | None = None
        self.is_ready = asyncio.Event()
        self.cause = "it has not started yet"
        self._name = name
        self._server = server
        self._delays = delays
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, stderr: TextIO) -> None:
        self._scope = anyio.CancelScope()
        self._task = asyncio.create_task(
            self._supervise(stderr, self._scope), name=f"mcp server {self._name}"
        )

    async def stop(self) -> None:
        """End the process, gently first. The SDK does not survive a task's own `cancel`, only a scope's."""
        if self._scope and self._task:
            self._scope.cancel()
            await self._task

    async def _supervise(self, stderr: TextIO, scope: anyio.CancelScope) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        with scope:
            while True:
                began = loop.time()
                await self._try_to_serve(stderr)
                failures = 0 if loop.time() - began > STEADY_SECONDS else failures
                wait = self._delays(failures)
                logger.error(
                    "mcp_server_ended", server=self._name, cause=self.cause, restart_in_seconds=round(wait, 3)
                )
                failures += 1
                await anyio.sleep(wait)

    async def _try_to_serve(self, stderr: TextIO) -> None:
        try:
            await self._serve(stderr)
            self.cause = "it ended or closed its output"
        except Exception as error:  # noqa: BLE001 - a server of others breaks in any way, and ends no gateway
            self.cause = _cause(error)

    async def _serve(self, stderr: TextIO) -> None:
        """Return when the server has ended."""
        async with stdio_client(_parameters(self._server), errlog=stderr) as (reading, writing):
            dispatcher = _Dispatcher(reading, writing)
            async with ClientSession(dispatcher=dispatcher, client_info=_CLIENT) as session:
                with anyio.fail_after(START_SECONDS):
                    await session.initialize()
                with self._serving(session):
                    await dispatcher.ended.wait()

    @contextlib.contextmanager
    def _serving(self, session: ClientSession) -> Iterator[None]:
        logger.info("mcp_server_ready", server=self._name)
        self.session = session
        self.is_ready.set()
        try:
            yield
        finally:
            self.session = None
            self.is_ready.clear()


class _Dispatcher(JSONRPCDispatcher[TransportContext]):
    """The SDK's, which also tells when the connection has ended."""

    def __init__(self, *streams: Any) -> None:
        super().__init__(*streams)
        self.ended = asyncio.Event()

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            await super().run(on_request, on_notify, on_notify_intercept, task_status=task_status)
        finally:
            self.ended.set()


_CLIENT = Implementation(name="interlock-gateway", version="1")


def _parameters(server: McpServer) -> StdioServerParameters:
    command = [*ends_with_us(), _program(server), *server.args]
    return StdioServerParameters(command=command[0], args=command[1:], env=dict(server.env), cwd=server.cwd)


def _program(server: McpServer) -> str:
    """The path of the command, looked up as the server's own environment has it. Raises McpServerError."""
    path = (base_environment() | dict(server.env)).get("PATH", "")
    where = str((server.cwd or Path()) / server.command) if os.sep in server.command else server.command
    program = shutil.which(where, path=path)
    if program is None:
        raise McpServerError(f"command `{server.command}` is not there")
    return program


async def _list_tools(session: ClientSession) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        tools.extend(_dump(tool) for tool in page.tools)
        if (cursor := page.next_cursor) is None:
            return tools
    raise McpServerError(f"it lists more than {_MAX_PAGES} pages")


def _dump(message: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = message.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _result(value: dict[str, Any], *, failed: bool, server: str, tool: str) -> ToolResult:
    told = mcp_meta.read(value.get("_meta"))
    for key in told.ignored:
        # Without the value: it may hold anything (case 63).
        logger.warning("mcp_meta_ignored", server=server, tool=tool, key=key)
    return ToolResult(failed=failed, value=value, usage=told.usage, memory_writes=told.memory_writes)


def _protocol_error(error: MCPError) -> ToolResult:
    if error.error.code in _SAYS_NOT_WHETHER_IT_RAN:
        raise ToolOutcomeUnknown(_cause(error)) from error
    return ToolResult(
        failed=True, value={"error": {"code": error.error.code, "message": error.error.message}}
    )


def _cause(error: BaseException) -> str:
    """Why, without anything of the messages: of errors that others wrote, only the kind is told."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case McpServerError():
            return str(error)
        case OSError(strerror=str() as strerror):
            return strerror
        case TimeoutError():
            return "it did not answer in time"
        case MCPError():
            return f"JSON-RPC error {error.error.code}"
        case _:
            return type(error).__name__


@contextlib.contextmanager
def _nowhere() -> Iterator[TextIO]:
    with Path(os.devnull).open("w") as stream:
        yield stream
