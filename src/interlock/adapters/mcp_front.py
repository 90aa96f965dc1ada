"""The gateway as an MCP server: an unchanged client lists and calls tools, and each call is decided first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import anyio
import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ListedTool
from pydantic import ValidationError

from interlock.adapters.mcp_client_asks import ClientAsks
from interlock.adapters.mcp_connections import Connections, FrontConnection
from interlock.adapters.mcp_passthrough import Passthrough
from interlock.adapters.mcp_servers import McpServers
from interlock.core.catalog import Catalog, Effect, Tool
from interlock.core.errors import InterlockError
from interlock.core.execution import ExecutionResult, Progress
from interlock.core.outcome import OutcomeKind
from interlock.core.tool_error import ToolError
from interlock.flows.front import Edited, Front, FrontCall, call_tool, list_tools
from interlock.ports import Meter

GOAL = "interlock.goal"
"""Key of a request's `_meta` in which a client may say what the call is for."""

SHOWN_SECONDS = 5.0
"""How long a client's list of tools is taken for what else it may reach, before it is asked for again."""

PROGRESS_SECONDS = 10.0
"""What a client gets to take one piece of progress: one that has stopped reading does not hold up the tool."""

SHOWN_EDITS = 16
"""Places that a model is told of in words; all are in `_meta`."""

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class McpFront:
    """What the MCP server is made of. `asks` passes on what servers ask of the client."""

    front: Front
    catalog: Catalog
    upstreams: McpServers
    connections: Connections
    asks: ClientAsks
    meter: Meter

    def server(self) -> Server[Any]:
        """The SDK's server over this. It keeps nothing of what passes through it in traces (case 63)."""
        server: Server[Any] = Server(
            "interlock",
            version=version("interlock"),
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        server.middleware.clear()
        passthrough = Passthrough(upstreams=self.upstreams, connections=self.connections, reach=self.reach)
        passthrough.register(server)
        return server

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Server[Any]]:
        """The server, while what the upstreams say reaches its clients."""
        stop_listening = self.upstreams.listen(self.connections.hear)
        telling = asyncio.create_task(self.connections.tell())
        try:
            yield self.server()
        finally:
            stop_listening()
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def reach(self, context: Context) -> frozenset[str]:
        """The servers whose resources and prompts the client may use: those of the tools that it is shown.

        A server that has no tool in the catalog is there for whoever has a valid credential. Raises MCPError.
        """
        connection = self.connections.of(context)
        if asyncio.get_running_loop().time() - connection.offered_at > SHOWN_SECONDS:
            await self._offered(connection)
        tools = self.catalog.tools
        with_tools = {tool.server for tool in tools.values()}
        shown = {tools[name].server for name in connection.offered}
        return frozenset(shown | (set(self.upstreams.names) - with_tools))

    async def _list_tools(self, context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        """Those that the agent could ever be allowed, and that their servers still describe as the catalog does."""
        offered = await self._offered(self.connections.of(context))
        drifted = {drift.tool for drift in self.upstreams.drifted()}
        return ListToolsResult(tools=[listed(self.catalog.tools[name]) for name in sorted(offered - drifted)])

    async def _offered(self, connection: FrontConnection) -> frozenset[str]:
        try:
            names = await list_tools(connection.conversation, self.front)
        except InterlockError as error:
            raise _protocol_error(error, self.front.next_steps) from error
        connection.offered = frozenset(names) & self.catalog.tools.keys()
        connection.offered_at = asyncio.get_running_loop().time()
        return connection.offered

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """One call; what does not run is a tool's error, that a model sees and can act on."""
        connection, tool = self.connections.of(context), self.catalog.find(params.name)
        call = FrontCall(
            tool=params.name,
            arguments=params.arguments or {},
            goal=_goal(context.meta),
            progress=_progress(context),
        )
        with self.asks.during(tool.server if tool else "", context):
            answer = await call_tool(call, connection.conversation, self.front)
        if isinstance(answer, ToolError):
            return _error(answer)
        self.meter.executed(answer.done.kind.value)
        result = _result(answer.done)
        return _with_edits(result, answer.edited) if answer.edited else result

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        tool = self.catalog.find(name)
        return tool.entry.arguments if tool else None


def options(server: Server[Any]) -> InitializationOptions:
    """What a client is told when it connects: every list may change."""
    changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    return server.create_initialization_options(changes)


def listed(tool: Tool) -> ListedTool:
    """The tool as clients see it: from the catalog alone, whatever its server says of it."""
    effects = set(tool.entry.effects)
    return ListedTool(
        name=tool.name,
        description=tool.entry.description or None,
        input_schema=dict(tool.entry.arguments),
        annotations=ToolAnnotations(
            read_only_hint=effects == {Effect.READ},
            destructive_hint=bool(effects & {Effect.WRITE, Effect.DELETE, Effect.PAY, Effect.EXECUTE}),
            open_world_hint=bool(effects & {Effect.SEND, Effect.PAY}) or tool.entry.http is not None,
        ),
    )


def _goal(meta: Mapping[str, Any] | None) -> str:
    goal = (meta or {}).get(GOAL, "")
    return goal if isinstance(goal, str) else ""


def _progress(context: Context) -> Progress:
    async def tell(done: float, total: float | None, words: str) -> None:
        """A client that is gone, or reads no more, takes nothing from a call that runs on."""
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, TimeoutError):
            async with asyncio.timeout(PROGRESS_SECONDS):
                await context.session.report_progress(done, total, words or None)

    return tell


def _result(done: ExecutionResult) -> CallToolResult:
    """The tool's answer: as its MCP server gave it, and of any other tool as JSON."""
    value = orjson.loads(done.result_json) if done.result_json else None
    meta = {"interlock.execution_id": done.execution_id}
    if isinstance(value, dict) and "content" in value:
        with contextlib.suppress(ValidationError):
            answer = CallToolResult.model_validate(value, by_name=False)
            return answer.model_copy(update={"meta": {**(answer.meta or {}), **meta}})
    return CallToolResult(
        content=[TextContent(text=done.result_json.decode())],
        structured_content=value if isinstance(value, dict) else None,
        is_error=done.kind is not OutcomeKind.SUCCEEDED,
        _meta=meta,
    )


def _with_edits(result: CallToolResult, edited: Edited) -> CallToolResult:
    """The result of a call that an approver changed before it ran: a model is told so, and a program what ran."""
    paths = [edit["path"] for edit in edited.edits]
    places = ", ".join(f"`{path or '/'}`" for path in paths[:SHOWN_EDITS])
    more = f" and {len(paths) - SHOWN_EDITS} more" if len(paths) > SHOWN_EDITS else ""
    said = f"An approver changed the arguments before the call ran, at {places}{more}: this is its result."
    meta = {"interlock.edited_paths": paths, "interlock.edited_arguments": dict(edited.arguments)}
    return result.model_copy(
        update={
            "content": [*result.content, TextContent(text=said)],
            "meta": {**(result.meta or {}), **meta},
        }
    )


def _error(told: ToolError) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=told.text)], structured_content=dict(told.data), is_error=True
    )


def _protocol_error(error: InterlockError, next_steps: Mapping[str, str]) -> MCPError:
    remedy = next_steps.get(error.reason, "")
    message = f"{error.message}; {remedy}" if remedy else error.message
    return MCPError(code=INTERNAL_ERROR, message=message, data={"reason": error.reason.value})
