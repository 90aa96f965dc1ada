"""Calls for tests of what makes them: all of a good one is given, and a test changes what it is about."""

from collections.abc import Mapping
from typing import Any

from interlock.core.catalog import CatalogFile, Effect, Tool, ToolEntry, build_catalog
from interlock.ports import ToolCall, ToolResult, ToolRunner


def a_tool(
    server: str = "odd", name: str = "echo", *, roots: Mapping[str, str] | None = None, **entry: Any
) -> Tool:
    """The tool of this name, of a catalog with nothing else."""
    stated = ToolEntry(**({"name": name, "arguments": {"type": "object"}, "effects": (Effect.READ,)} | entry))
    file = CatalogFile(gateway="gateway-1", server=server, roots=dict(roots or {}), tools=(stated,))
    return build_catalog([file]).tools[name]


def a_call(tool: Tool, arguments: Mapping[str, Any], /, **changes: Any) -> ToolCall:
    """A call of the tool with half a minute of time."""
    stated: dict[str, Any] = {
        "tool": tool,
        "arguments": arguments,
        "idempotency_key": "token-1",
        "limit_seconds": 30.0,
        "max_result_bytes": 3 * 2**20,
    }
    return ToolCall(**(stated | changes))


async def run(
    tools: ToolRunner, server: str, tool: str, arguments: Mapping[str, Any], *, limit_seconds: float = 30.0
) -> ToolResult:
    """Prepare a call of the tool, and make it."""
    return await run_tool(tools, a_tool(server, tool), arguments, limit_seconds=limit_seconds)


async def run_tool(
    tools: ToolRunner, tool: Tool, arguments: Mapping[str, Any], /, **changes: Any
) -> ToolResult:
    """Prepare a call of this tool of a catalog, and make it."""
    prepared = await tools.prepare(a_call(tool, arguments, **changes))
    try:
        return await prepared.run()
    finally:
        await prepared.close()
