"""The official MCP client, unchanged, over stdio against `interlock gateway mcp` in front of real MCP servers."""

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.e2e.mcp_fronts import HANDSHAKE, WITHOUT, over_stdio, text_of
from tests.e2e.processes import wait_until
from tests.e2e.world import World, git
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(params=[HANDSHAKE, WITHOUT])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol with a handshake, and the one without (2026-07-28)."""
    return str(request.param)


@pytest.fixture
def starts(world: World, tmp_path: Path, mode: str) -> StdioServerParameters:
    """The gateway for a contributor."""
    return over_stdio(world, world.credential("agent", "coder", "contributor"), f"front-{tmp_path.name}")


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


@contextlib.contextmanager
def started(parameters: StdioServerParameters, errors: Path) -> Iterator[subprocess.Popen[str]]:
    """The same process, with this test as its client."""
    with (
        errors.open("w") as writing,
        subprocess.Popen(
            [parameters.command, *parameters.args],
            env=parameters.env,
            cwd=parameters.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert process.stdin
    process.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of its stdout, which must be a message of the protocol."""
    assert process.stdout
    message: dict[str, Any] = json.loads(process.stdout.readline())
    assert message["jsonrpc"] == "2.0"
    return message


def shake_hands(process: subprocess.Popen[str]) -> None:
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    say(process, {"id": 0, "method": "initialize", "params": params})
    assert hear(process)["result"]["serverInfo"]["name"] == "interlock"
    say(process, {"method": "notifications/initialized"})


def test_it_ends_when_stdin_does_and_leaves_an_outcome(world: World, tmp_path: Path) -> None:
    """A client that is gone mid-call ends the process in good order, and what it began is on record (invariant 8)."""
    credential, name = world.credential("agent", "leaver", "tester"), f"leaving-{tmp_path.name}"
    parameters = over_stdio(world, credential, name, gateway={"longest_execution_seconds": 1})
    ran = len(world.runs())
    with started(parameters, tmp_path / "errors") as process:
        shake_hands(process)
        say(process, {"id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"n": 1}}})
        assert hear(process)["result"]["structuredContent"] == {"n": 1}
        say(process, {"id": 2, "method": "tools/call", "params": {"name": "hang", "arguments": {}}})
        wait_until(lambda: world.runs()[ran:] == ["echo", "hang"])
        assert process.stdin
        process.stdin.close()
        assert process.stdout
        assert [json.loads(line)["id"] for line in process.stdout] in ([], [2])
        assert process.wait(PATIENCE_SECONDS) == 0
    listed = world.interlock("executions", "list", "--config", f"{name}.toml", "--json")
    assert {each["tool"]: each["outcome"] for each in json.loads(listed.stdout)} == {
        "echo": "succeeded",
        "hang": "unknown",
    }


def test_a_signal_ends_it_while_its_client_waits(world: World, tmp_path: Path) -> None:
    """SIGTERM ends it with status 0, though stdin is open."""
    credential = world.credential("agent", "waiter", "tester")
    parameters = over_stdio(world, credential, f"waiting-{tmp_path.name}")
    with started(parameters, tmp_path / "errors") as process:
        shake_hands(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


async def test_a_cancelled_call_is_cancelled_at_its_server(world: World, tmp_path: Path) -> None:
    """A client that cancels has its call cancelled behind the gateway, and its next one served (invariant 8)."""
    credential = world.credential("agent", "canceller", "tester")
    ran = len(world.runs())
    async with Client(over_stdio(world, credential, f"cancelling-{tmp_path.name}"), mode=HANDSHAKE) as client:
        calling = asyncio.create_task(client.call_tool("hang", {}))
        await asyncio.to_thread(wait_until, lambda: world.runs()[ran:] == ["hang"])
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        assert not (await client.call_tool("echo", {})).is_error
    assert world.runs()[ran:] == ["hang", "echo"]
    assert "cancelled hang" in world.journal.read_text()


def test_without_a_credential_it_does_not_start(world: World, tmp_path: Path) -> None:
    """Nobody is served in nobody's name, and the message says what is missing (case 62)."""
    parameters = over_stdio(world, "", f"nobody-{tmp_path.name}")
    with started(parameters, tmp_path / "errors") as process:
        assert process.wait(PATIENCE_SECONDS) == 1
    assert "no agent's credential" in (tmp_path / "errors").read_text()
