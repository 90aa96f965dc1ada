"""The answer of a call that was permitted and redeemed, and that an obligation keeps from running."""

from collections.abc import Mapping
from typing import Any

from interlock.core.canonical import digest_of
from interlock.core.catalog import Tool
from interlock.core.outcome import Usage

NOTHING_USED = Usage(cost=0, model_tokens=0)


def answer(tool: Tool, arguments: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """Which call would have been made. `described` is what its connector says of it.

    That is left out where the tool has sensitive arguments: it may hold them, and this answer goes on record.
    """
    return {
        **({} if tool.entry.sensitive else described),
        "dry_run": True,
        "tool": tool.name,
        "server": tool.server,
        "connector": _connector(tool),
        "arguments_digest": digest_of(arguments),
    }


def _connector(tool: Tool) -> str:
    if tool.entry.command is not None:
        return "command"
    return "mcp" if tool.entry.http is None else "http"
