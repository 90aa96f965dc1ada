"""What an MCP server lists of a tool, pinned by a digest: a tool that is described anew is another tool (case 60).

The digest covers what a model reads and what a person agreed to: name, description and `inputSchema`. Hints and
titles are not covered, for nothing is decided by them after the import.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from interlock.core.canonical import UnencodableError, digest_of
from interlock.core.catalog import Tool, ToolEntry

UNPINNABLE = "unpinnable"
"""Stands for the digest of a listing that has none; no pin is equal to it."""


def listed_digest(listed: Mapping[str, Any]) -> str:
    """Digest of what `tools/list` says of a tool (`core.canonical.digest_of`). Raises UnencodableError.

    No description and an empty one are the same.
    """
    return _digest(listed.get("name"), listed.get("description"), listed.get("inputSchema"))


def digests_by_name(listed: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """For each name the digests that it is listed with: more than one where a server lists it in two ways."""
    found: dict[str, set[str]] = {}
    for tool in listed:
        found.setdefault(str(tool.get("name")), set()).add(_digest_or_none(tool))
    return {name: frozenset(digests) for name, digests in found.items()}


def pin_of(entry: ToolEntry) -> str:
    """The digest that the tool's listing must have.

    An entry without a pin is older than pins: what it states itself must be listed.
    """
    if entry.listed_digest is not None:
        return entry.listed_digest
    return _digest(entry.name_at_server, entry.description, entry.arguments)


def as_pinned(tool: Tool, listed: Mapping[str, Collection[str]]) -> bool:
    """Whether the server lists this tool in the way that the catalog pins it, and in no other way too."""
    return set(listed.get(tool.entry.name_at_server, ())) == {pin_of(tool.entry)}


def listed_as(tool: Tool, listed: Mapping[str, Collection[str]]) -> str:
    """The digest that the tool is listed with otherwise than its pin; empty where it is not listed."""
    others = set(listed.get(tool.entry.name_at_server, ())) - {pin_of(tool.entry)}
    return min(others, default="")


def _digest(name: Any, description: Any, schema: Any) -> str:
    return digest_of({"name": name, "description": description or "", "inputSchema": schema})


def _digest_or_none(listed: Mapping[str, Any]) -> str:
    try:
        return listed_digest(listed)
    except UnencodableError:
        return UNPINNABLE
