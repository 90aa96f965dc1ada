"""One call of a tool of an MCP server, prepared and made once."""

import asyncio
from typing import Any

import structlog
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
)

from interlock.adapters import mcp_meta
from interlock.adapters.mcp_endpoint import cause_of
from interlock.adapters.mcp_supervised import dump
from interlock.adapters.mcp_upstream import worded
from interlock.ports import ToolCall, ToolOutcomeUnknown, ToolResult

logger = structlog.get_logger()

# The SDK tells by the last of them of an answer that it could not read.
_SAYS_NOT_WHETHER_IT_RAN = frozenset({CONNECTION_CLOSED, REQUEST_TIMEOUT, PARSE_ERROR})


class PreparedMcpCall:
    """ports.PreparedCall of a tool of an MCP server, over the connection whose listing was looked at."""

    def __init__(self, session: ClientSession, call: ToolCall) -> None:
        self._session = session
        self._call = call

    async def run(self) -> ToolResult:
        """Call the tool; its answer as MCP has it (`content`, `structuredContent`, `isError`).

        An answer that is a JSON-RPC error is the value `{"error": {"code", "message"}}` of a failed call.
        Raises ToolOutcomeUnknown: no answer in time, the server was lost, or the answer is no MCP or too large.
        Cancelled or out of time, it sends `notifications/cancelled`.
        """
        server, tool = self._call.tool.server, self._call.tool.entry.name_at_server
        try:
            async with asyncio.timeout(self._call.limit_seconds):
                # Not `call_tool`: it also checks the answer against the tool's output schema, which is no matter
                # of whether the tool ran, and may ask the server for its tools first.
                result = await self._session.send_request(
                    _request(self._call), CallToolResult, progress_callback=worded(self._call.progress)
                )
        except MCPError as error:
            return _protocol_error(error)
        except Exception as error:  # whatever it is, the tool may have run
            raise ToolOutcomeUnknown(f"server `{server}` gave no answer: {cause_of(error)}") from error
        return _result(dump(result), failed=result.is_error, server=server, tool=tool)

    async def close(self) -> None:
        """Nothing is held."""


def _request(call: ToolCall) -> CallToolRequest:
    return CallToolRequest(
        params=CallToolRequestParams(
            name=call.tool.entry.name_at_server,
            arguments=dict(call.arguments),
            _meta={mcp_meta.IDEMPOTENCY_KEY: call.idempotency_key},
        )
    )


def _result(value: dict[str, Any], *, failed: bool, server: str, tool: str) -> ToolResult:
    told = mcp_meta.read(value.get("_meta"))
    for key in told.ignored:
        # Without the value: it may hold anything (case 63).
        logger.warning("mcp_meta_ignored", server=server, tool=tool, key=key)
    return ToolResult(failed=failed, value=value, usage=told.usage, memory_writes=told.memory_writes)


def _protocol_error(error: MCPError) -> ToolResult:
    if error.error.code in _SAYS_NOT_WHETHER_IT_RAN:
        raise ToolOutcomeUnknown(cause_of(error)) from error
    return ToolResult(
        failed=True, value={"error": {"code": error.error.code, "message": error.error.message}}
    )
