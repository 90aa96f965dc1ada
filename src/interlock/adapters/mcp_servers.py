"""ports.ToolRunner over MCP servers, through the official SDK: each kept running, called once a call."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from mcp.types import ServerNotification

from interlock.adapters.backoff import jittered
from interlock.adapters.mcp_calls import PreparedMcpCall
from interlock.adapters.mcp_client_requests import ClientRequests
from interlock.adapters.mcp_drift import DriftWatch
from interlock.adapters.mcp_endpoint import McpEndpoint, McpServerError
from interlock.adapters.mcp_supervised import LOOK_EVERY_SECONDS, START_SECONDS, Listener, SupervisedServer
from interlock.adapters.mcp_upstream import McpUpstream
from interlock.core.catalog import Tool
from interlock.core.errors import tool_unavailable
from interlock.core.obligation_kinds import unsupported
from interlock.ports import ToolCall, ToolDrift

RETRY_AFTER_SECONDS = 1.0

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0

LOOKED_SECONDS = 5.0
"""What a call waits for a server that said that its tools changed, and is being looked at."""

# They log messages that they cannot read, and the addresses that are asked: both may hold secrets (case 63).
_TALKATIVE = ("mcp", "client", "httpx2", "httpcore2")


class McpServers:
    """MCP servers by name. Use as a context manager: no server outlives it.

    Each is started again, or connected to again, with jittered backoff when it is lost (case 57). What those that
    run here write to stderr goes to `stderr`, or nowhere: it may hold arguments.
    """

    def __init__(
        self,
        servers: Mapping[str, McpEndpoint],
        *,
        tools: Iterable[Tool] = (),
        stderr: TextIO | None = None,
        delays: Callable[[int], float] | None = None,
        client_requests: ClientRequests | None = None,
        look_every_seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        """`tools` are the catalog's, whose listings are watched; `delays` gives seconds for failures in a row.

        `client_requests` answers what servers ask, which is refused without.
        """
        delays = delays or jittered(first=FIRST_DELAY_SECONDS, longest=LONGEST_DELAY_SECONDS)
        self._stderr = stderr
        self._watch = DriftWatch(tools)
        self._listeners: set[Listener] = set()
        self._servers = {
            name: SupervisedServer(
                name,
                endpoint,
                delays=delays,
                client_requests=client_requests or ClientRequests(),
                look=self._watch.look,
                heard=self._heard,
                look_every_seconds=look_every_seconds,
            )
            for name, endpoint in servers.items()
        }
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
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

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the servers."""
        return tuple(self._servers)

    async def ready(self, server: str) -> bool:
        """Whether the server is there, its handshake is done, and its tools were looked at."""
        return server in self._servers and self._servers[server].is_ready.is_set()

    async def until_ready(self, server: str, *, limit_seconds: float = START_SECONDS) -> None:
        """Return when the server can be called. Raises McpServerError, with why it did not start."""
        supervised = self._servers[server]
        try:
            async with asyncio.timeout(limit_seconds):
                await supervised.is_ready.wait()
        except TimeoutError as error:
            raise McpServerError(f"server `{server}` is not ready: {supervised.cause}") from error

    async def prepare(self, call: ToolCall) -> PreparedMcpCall:
        """As ports.ToolRunner."""
        if call.sandbox is not None:
            raise unsupported("sandbox", "a tool of an MCP server runs in no sandbox of the gateway's")
        server = self._servers.get(call.tool.server)
        if server is None or not await _looked_at(server) or server.session is None:
            raise tool_unavailable(
                f"the server `{call.tool.server}` of tool `{call.tool.name}` cannot be called now",
                retry_after=RETRY_AFTER_SECONDS,
            )
        self._watch.check(call.tool, server.listed)
        return PreparedMcpCall(server.session, call)

    def drifted(self) -> tuple[ToolDrift, ...]:
        """The tools that are off, because their servers list them otherwise than the catalog pins them."""
        return self._watch.drifted()

    async def list_tools(self, server: str) -> list[dict[str, Any]]:
        """The server's tools as its `tools/list` tells them, all pages. Raises McpServerError."""
        return await self._servers[server].list_tools()

    def upstream(self, server: str) -> McpUpstream:
        """What of this server passes through undecided. Raises KeyError where there is none of the name."""
        return McpUpstream(self._servers[server])

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Give `listener` what servers notify of: their names and the notifications, until what is returned is called.

        It must neither wait nor raise.
        """
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _heard(self, server: str, notification: ServerNotification) -> None:
        for listener in tuple(self._listeners):
            listener(server, notification)


async def _looked_at(server: SupervisedServer) -> bool:
    """Whether the server's tools were looked at since they last changed; waits a little for one that is there."""
    if server.session is None:
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOKED_SECONDS):
            await server.is_ready.wait()
    return server.is_ready.is_set()


@contextlib.contextmanager
def _nowhere() -> Iterator[TextIO]:
    with Path(os.devnull).open("w") as stream:
        yield stream
