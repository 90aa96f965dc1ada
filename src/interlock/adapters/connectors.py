"""ports.ToolRunner over all ways out: each server's calls go to the connector that has it."""

from collections.abc import Mapping

from interlock.core.errors import tool_unavailable
from interlock.ports import PreparedCall, ToolCall, ToolRunner


class Connectors:
    """The connectors by the names of their servers; no two have a server of one name."""

    def __init__(self, by_server: Mapping[str, ToolRunner]) -> None:
        self._by_server = by_server

    async def ready(self, server: str) -> bool:
        """Whether the server can be called now; False too for a server that is not known."""
        connector = self._by_server.get(server)
        return connector is not None and await connector.ready(server)

    async def prepare(self, call: ToolCall) -> PreparedCall:
        """As the server's connector does. Raises InterlockError: TOOL_UNAVAILABLE where there is none."""
        connector = self._by_server.get(call.tool.server)
        if connector is None:
            raise tool_unavailable(f"this gateway has no server `{call.tool.server}`")
        return await connector.prepare(call)
