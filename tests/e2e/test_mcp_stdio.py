"""The official MCP client, unchanged, over stdio against `interlock gateway mcp` in front of real MCP servers."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

from tests.e2e.processes import environment, wait_until
from tests.e2e.world import World, git
from tests.waiting import PATIENCE_SECONDS


def front(world: World, credential: str, name: str, **changes: Any) -> StdioServerParameters:
    """How an MCP client starts the gateway: a ledger of its own, and the agent's credential in its environment."""
    stated = {"data_dir": name, "mcp": {"escalation_wait_seconds": 0}} | changes
    settings = world.write_settings(name=f"{name}.toml", gateway=stated)
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "interlock", "gateway", "mcp", "--config", str(settings)],
        env=environment(INTERLOCK_CREDENTIAL=credential),
        cwd=world.folder,
    )


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol with a handshake, and the one without (2026-07-28)."""
    return str(request.param)


@pytest.fixture
def starts(world: World, tmp_path: Path, mode: str) -> StdioServerParameters:
    """The gateway for a contributor."""
    return front(world, world.credential("agent", "coder", "contributor"), f"front-{tmp_path.name}")


def text_of(result: CallToolResult) -> str:
    return "\n".join(each.text for each in result.content if isinstance(each, TextContent))


async def until_ready(client: Client) -> None:
    """Return when the servers behind the front answer: a call before that says that it did not run."""


async def test_a_role_sees_its_tools_and_no_other(starts: StdioServerParameters, mode: str) -> None:
    """`tools/list` has what the agent's roles could ever be allowed, as the catalog describes it."""
    async with Client(starts, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert "git_status" in tools
    assert "git_commit" in tools
    assert not {"git_reset", "echo"} & tools.keys()
    assert tools["git_status"].input_schema["required"] == ["repo_path"]
    assert tools["git_status"].annotations
    assert tools["git_status"].annotations.read_only_hint is True


async def test_an_allowed_call_reaches_the_real_tool(
    world: World, starts: StdioServerParameters, mode: str
) -> None:
    """A read comes back as the server gave it, and its outcome is on record (invariant 3)."""
    async with Client(starts, mode=mode) as client:
        result = await client.call_tool("git_status", {"repo_path": str(world.repository)})
    assert not result.is_error
    assert "modified:   README" in text_of(result)


async def test_a_denied_call_says_what_to_change(starts: StdioServerParameters, mode: str) -> None:
    """A DENY is a tool's error that a model can act on."""
    async with Client(starts, mode=mode) as client:
        result = await client.call_tool("git_log", {"repo_path": 7})
        outside = await client.call_tool("git_reset", {"repo_path": "."})
    assert result.is_error
    assert result.structured_content["verdict"] == "deny"
    assert "validation.schema at `/repo_path`" in text_of(result)
    assert outside.is_error
    assert "permissions.tool_not_granted" in text_of(outside)


async def test_an_escalated_call_tells_its_approval_and_can_be_resumed(
    world: World, starts: StdioServerParameters, mode: str
) -> None:
    """An ESCALATE names the approval; the same call in the same connection is the same request (invariant 9)."""
    arguments = {"repo_path": str(world.repository), "message": "change it"}
    async with Client(starts, mode=mode) as client:
        first = await client.call_tool("git_commit", arguments)
        again = await client.call_tool("git_commit", arguments)
    assert first.is_error
    assert first.structured_content["verdict"] == "escalate"
    assert first.structured_content["approval_id"]
    assert first.structured_content["approval_id"] in text_of(first)
    assert again.structured_content == first.structured_content
    assert git(world.repository, "log", "--format=%s") == "Say what this is\n"
