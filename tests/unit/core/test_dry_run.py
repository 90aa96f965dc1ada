"""A dry run tells which call would have been made, and nothing that must not go on record."""

import pytest

from interlock.core import dry_run
from interlock.core.canonical import digest_of
from interlock.core.catalog import Tool
from interlock.core.connector_entries import CommandEntry, HttpEntry
from tests.tool_calls import a_tool


@pytest.mark.parametrize(
    ("tool", "connector"),
    [
        (a_tool(), "mcp"),
        (a_tool(http=HttpEntry()), "http"),
        (a_tool(command=CommandEntry(argv=("true",))), "command"),
    ],
    ids=["mcp", "http", "command"],
)
def test_the_call_is_told_by_tool_server_connector_and_digest(tool: Tool, connector: str) -> None:
    """What the connector says of the call stands beside what the gateway knows, and hides none of it."""
    assert dry_run.answer(tool, {"a": 1}, {"url": "https://example.com/", "tool": "another"}) == {
        "dry_run": True,
        "tool": "echo",
        "server": "odd",
        "connector": connector,
        "arguments_digest": digest_of({"a": 1}),
        "url": "https://example.com/",
    }


def test_sensitive_arguments_are_in_no_description() -> None:
    """A command's words may hold them, and this answer goes on record (case 63)."""
    tool = a_tool(sensitive=("/password",))
    assert "argv" not in dry_run.answer(tool, {"password": "x"}, {"argv": ["login", "x"]})
