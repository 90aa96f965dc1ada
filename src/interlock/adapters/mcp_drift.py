"""Tools that their servers list otherwise than the catalog pins them: switched off, and not on again (case 60)."""

from collections.abc import Collection, Iterable, Mapping

import structlog

from interlock.core.catalog import Tool
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.tool_listing import as_pinned, listed_as, pin_of
from interlock.ports import ToolDrift

logger = structlog.get_logger()


class DriftWatch:
    """Remembers each tool that was once listed otherwise, as long as this process lives (decision 0017)."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        """`tools` are those of the catalog, which are looked at whenever a listing comes."""
        self._tools = tuple(tools)
        self._drifted: dict[str, ToolDrift] = {}

    def look(self, server: str, listed: Mapping[str, Collection[str]]) -> None:
        """Switch off what `listed` has otherwise than pinned: digests by name, as tool_listing has them."""
        for tool in self._tools:
            if tool.server == server:
                self._look_at(tool, listed)

    def check(self, tool: Tool, listed: Mapping[str, Collection[str]]) -> None:
        """Raises InterlockError: TOOL_DRIFTED where the tool is off, or is not listed as it is pinned."""
        if self._look_at(tool, listed) is not None:
            raise InterlockError(
                reason=ErrorReason.TOOL_DRIFTED,
                message=f"the server `{tool.server}` describes `{tool.name}` otherwise than the catalog does; it is "
                "off until a person has read it again with `interlock catalog import`",
            )

    def drifted(self) -> tuple[ToolDrift, ...]:
        """What is off, in the order in which it was seen."""
        return tuple(self._drifted.values())

    def _look_at(self, tool: Tool, listed: Mapping[str, Collection[str]]) -> ToolDrift | None:
        # By the digest of the entry: one that was imported anew is another tool.
        if tool.digest not in self._drifted and not as_pinned(tool, listed):
            drift = ToolDrift(
                tool=tool.name, pinned_digest=pin_of(tool.entry), listed_digest=listed_as(tool, listed)
            )
            self._drifted[tool.digest] = drift
            logger.error(
                "tool_drifted",
                server=tool.server,
                tool=tool.name,
                pinned_digest=drift.pinned_digest,
                listed_digest=drift.listed_digest,
            )
        return self._drifted.get(tool.digest)
