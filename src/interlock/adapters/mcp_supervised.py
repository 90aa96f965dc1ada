"""One MCP server that is kept: started or connected to, looked at, and again when it is lost, until it is stopped."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Self, TextIO

import anyio
import structlog
from mcp.client.session import ClientSession
from mcp.types import Implementation, PaginatedRequestParams, ServerNotification, ToolListChangedNotification

from interlock.adapters.mcp_client_requests import ClientRequests
from interlock.adapters.mcp_endpoint import McpEndpoint, McpServer, McpServerError, cause_of
from interlock.adapters.mcp_remote import http_transport
from interlock.adapters.mcp_stdio import stdio_transport
from interlock.core.tool_listing import digests_by_name

logger = structlog.get_logger()

START_SECONDS = 30.0
"""From starting the process to the end of the MCP handshake; a slow runtime needs some."""

STEADY_SECONDS = 30.0
"""A server that was ready so long is restarted as if it were the first time."""

LOOK_EVERY_SECONDS = 60.0
"""A server that changes its tools and does not say so is found out after so long (case 60)."""

_MAX_PAGES = 100
_MAX_TOOLS = 10_000

Listener = Callable[[str, ServerNotification], None]
Listed = Mapping[str, frozenset[str]]


class SupervisedServer:
    """One server. It has a `session` from the end of the handshake on, and is ready when its tools were looked at."""

    def __init__(
        self,
        name: str,
        endpoint: McpEndpoint,
        *,
        delays: Callable[[int], float],
        client_requests: ClientRequests,
        look: Callable[[str, Listed], None],
        heard: Listener,
        look_every_seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        """`look` is given each listing of the server's tools, before any of them can be called."""
        self.name = name
        self.session: ClientSession | None = None
        self.is_ready = asyncio.Event()
        self.cause = "it has not started yet"
        self.listed: Listed = {}
        self._endpoint = endpoint
        self._delays = delays
        self._client_requests = client_requests
        self._look = look
        self._heard = heard
        self._look_every_seconds = look_every_seconds
        self._changed = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, stderr: TextIO) -> None:
        """Begin to keep it."""
        self._scope = anyio.CancelScope()
        self._task = asyncio.create_task(self._supervise(stderr, self._scope), name=f"mcp server {self.name}")

    async def stop(self) -> None:
        """End it, gently first. The SDK does not survive a task's own `cancel`, only a scope's."""
        if self._scope and self._task:
            self._scope.cancel()
            await self._task

    async def list_tools(self) -> list[dict[str, Any]]:
        """The server's tools as its `tools/list` tells them, all pages. Raises McpServerError."""
        if self.session is None:
            raise McpServerError(f"server `{self.name}` is not ready: {self.cause}")
        try:
            async with asyncio.timeout(START_SECONDS):
                return [tool async for page in _pages(self.session) for tool in page]
        except Exception as error:
            raise McpServerError(f"server `{self.name}` did not list its tools: {cause_of(error)}") from error

    async def _supervise(self, stderr: TextIO, scope: anyio.CancelScope) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        with scope:
            while True:
                began = loop.time()
                await self._try_to_serve(stderr)
                failures = 0 if loop.time() - began > STEADY_SECONDS else failures
                wait = self._delays(failures)
                logger.error(
                    "mcp_server_ended", server=self.name, cause=self.cause, restart_in_seconds=round(wait, 3)
                )
                failures += 1
                await anyio.sleep(wait)

    async def _try_to_serve(self, stderr: TextIO) -> None:
        try:
            await self._serve(stderr)
            self.cause = "it ended or closed its output"
        except Exception as error:  # noqa: BLE001 - a server of others breaks in any way, and ends no gateway
            self.cause = cause_of(error)

    async def _serve(self, stderr: TextIO) -> None:
        """Return when the server has ended."""
        async with self._connected(stderr) as (session, ended):
            with anyio.fail_after(START_SECONDS):
                await session.initialize()
            with self._serving(session):
                with anyio.fail_after(START_SECONDS):
                    await self._look_at_tools(session)
                logger.info("mcp_server_ready", server=self.name)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._keep_looking, session)
                    await ended.wait()
                    tasks.cancel_scope.cancel()

    @contextlib.asynccontextmanager
    async def _connected(self, stderr: TextIO) -> AsyncIterator[tuple[ClientSession, asyncio.Event]]:
        async with self._transport(stderr) as (reading, writing):
            ended = asyncio.Event()

            def end() -> None:
                self._lose_session()
                ended.set()

            async with ClientSession(
                _Reading(reading, end),
                writing,
                client_info=_CLIENT,
                message_handler=self._hear,
                **self._client_requests.callbacks(self.name),
            ) as session:
                yield session, ended

    def _transport(self, stderr: TextIO) -> contextlib.AbstractAsyncContextManager[Any]:
        if isinstance(self._endpoint, McpServer):
            return stdio_transport(self._endpoint, stderr)
        return http_transport(self._endpoint)

    @contextlib.contextmanager
    def _serving(self, session: ClientSession) -> Iterator[None]:
        self.session = session
        try:
            yield
        finally:
            self._lose_session()

    def _lose_session(self) -> None:
        self.session = None
        self.is_ready.clear()

    async def _hear(self, message: ServerNotification | Exception) -> None:
        if isinstance(message, Exception):
            return
        if isinstance(message, ToolListChangedNotification):
            self.is_ready.clear()  # nothing is called by a description that may be another by now
            self._changed.set()
        self._heard(self.name, message)

    async def _keep_looking(self, session: ClientSession) -> None:
        failures = 0
        while True:
            with anyio.move_on_after(self._look_every_seconds):
                await self._changed.wait()
            try:
                with anyio.fail_after(START_SECONDS):
                    await self._look_at_tools(session)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the server may be busy: it is not ended, only not ready
                self.cause = f"it did not list its tools: {cause_of(error)}"
                self.is_ready.clear()
                self._changed.set()
                logger.warning("mcp_tools_not_listed", server=self.name, cause=self.cause)
                await anyio.sleep(self._delays(failures))
                failures += 1

    async def _look_at_tools(self, session: ClientSession) -> None:
        """Ready on return, unless the tools changed in the meantime."""
        self._changed.clear()
        listed: dict[str, frozenset[str]] = {}
        async for page in _pages(session):
            for name, digests in digests_by_name(page).items():
                listed[name] = listed.get(name, frozenset()) | digests
        self._look(self.name, listed)
        self.listed = listed
        if self.session is session and not self._changed.is_set():
            self.is_ready.set()


class _Reading:
    """A stream of messages that calls `ended` at its end, before anybody who waits for an answer hears of it."""

    def __init__(self, inner: Any, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._ended = ended

    @property
    def last_context(self) -> contextvars.Context | None:
        """As the SDK's streams over HTTP have it."""
        return getattr(self._inner, "last_context", None)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except BaseException:
            self._ended()
            raise

    async def receive(self) -> Any:
        return await self._inner.receive()

    async def aclose(self) -> None:
        await self._inner.aclose()


_CLIENT = Implementation(name="interlock-gateway", version="1")


async def _pages(session: ClientSession) -> AsyncIterator[list[dict[str, Any]]]:
    """The pages of the server's tools, as JSON. Raises McpServerError where they do not end."""
    capabilities = session.server_capabilities
    if capabilities is None or capabilities.tools is None:
        return  # it has resources or prompts only
    cursor, count = None, 0
    for _ in range(_MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        yield [dump(tool) for tool in page.tools]
        count += len(page.tools)
        if (cursor := page.next_cursor) is None:
            return
        if count > _MAX_TOOLS:
            raise McpServerError(f"it lists more than {_MAX_TOOLS} tools")
    raise McpServerError(f"it lists more than {_MAX_PAGES} pages")


def dump(message: Any) -> dict[str, Any]:
    """A message of the SDK's as the JSON that it was."""
    dumped: dict[str, Any] = message.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
