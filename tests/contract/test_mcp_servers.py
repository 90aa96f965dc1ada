"""Real MCP servers, called through real pipes: one that works, one that does all that it should not."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.adapters.mcp_endpoint import McpServer, McpServerError
from interlock.adapters.mcp_meta import MEMORY_WRITES, USAGE
from interlock.adapters.mcp_servers import McpServers
from interlock.core.canonical import canonicalize, parse_canonical
from interlock.core.catalog import build_catalog
from interlock.core.catalog_import import import_tools
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import MemoryWrite, Usage
from interlock.core.strict_json import MAX_INTEGER
from interlock.ports import ToolCall, ToolOutcomeUnknown, ToolResult
from tests.fakes import ScriptedTools, answer_done, answer_error, answer_nothing
from tests.odd_journal import runs
from tests.tool_calls import run, run_tool
from tests.waiting import until

ROOT = Path(__file__).parents[2]
SERVERS = ROOT / "tests" / "mcp_servers"
LONG = 30.0

pytestmark = pytest.mark.asyncio(loop_scope="module")

AnyTools = McpServers | ScriptedTools


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def odd(journal: Path, **changes: Any) -> McpServer:
    return McpServer(
        **({"command": sys.executable, "args": [str(SERVERS / "odd_server.py"), str(journal)]} | changes)
    )


def process_ids(journal: Path) -> list[int]:
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith("started")]


def alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest_asyncio.fixture(loop_scope="module")
async def own(journal: Path) -> AsyncIterator[McpServers]:
    """Servers of one test, with its journal."""
    async with McpServers({"odd": odd(journal)}, delays=lambda failures: 0.0) as running:
        await running.until_ready("odd")
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[McpServers]:
    """Servers of all tests, for a start takes a second."""
    journal = tmp_path_factory.mktemp("shared") / "journal"
    async with McpServers({"odd": odd(journal)}, delays=lambda failures: 0.0) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def servers(shared: McpServers) -> McpServers:
    await shared.until_ready("odd")
    return shared


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    (made / "notes.txt").write_text("hello\n")
    identity = ["-c", "user.name=Interlock", "-c", "user.email=interlock@interlock.example"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "notes.txt"],
        [*identity, "commit", "-qm", "first notes"],
    ):
        subprocess.run(["git", *command], cwd=made, check=True)
    return made


async def test_the_git_server_works(repository: Path) -> None:
    """A published MCP server runs over a real repository: a read answers, a wrong call fails, tools are listed."""
    command = McpServer(
        command="mcp-server-git", args=["--repository", str(repository)], env={"PATH": _path()}
    )
    async with McpServers({"git": command}) as servers:
        await servers.until_ready("git")
        catalog = build_catalog(
            [import_tools(await servers.list_tools("git"), gateway="gateway-1", server="git")]
        )
        assert {"git_status", "git_commit"} <= set(catalog.tools)
        git_log = catalog.tools["git_log"]
        log = await run_tool(servers, git_log, {"repo_path": str(repository)})
        assert not log.failed
        assert "first notes" in log.value["content"][0]["text"]
        outside = await run_tool(servers, git_log, {"repo_path": "/"})
        assert outside.failed
        assert outside.value["isError"] is True


async def test_the_time_server_works() -> None:
    """Another published MCP server lists, is pinned and answers, beside its own refusal of what it does not know."""
    command = McpServer(command="mcp-server-time", args=["--local-timezone", "UTC"], env={"PATH": _path()})
    async with McpServers({"time": command}) as servers:
        await servers.until_ready("time")
        catalog = build_catalog(
            [import_tools(await servers.list_tools("time"), gateway="gateway-1", server="time")]
        )
        now = catalog.tools["get_current_time"]
        told = json.loads((await run_tool(servers, now, {"timezone": "UTC"})).value["content"][0]["text"])
        assert told["timezone"] == "UTC"
        assert (await run_tool(servers, now, {"timezone": "Moon/Crater"})).failed


def _path() -> str:
    """Where the servers of this environment are, then the machine's own."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(arguments=st.dictionaries(st.text(st.characters(codec="utf-8")), values))
async def test_the_tool_gets_the_very_value(servers: McpServers, arguments: dict[str, Any]) -> None:
    """What arrives at the tool has the canonical form that was hashed, null and fraction included (invariant 3)."""
    hashed = canonicalize(arguments)
    result = await run(servers, "odd", "echo", parse_canonical(hashed), limit_seconds=LONG)
    assert canonicalize(json.loads(result.value["content"][0]["text"], parse_int=float)) == hashed


@pytest_asyncio.fixture(params=["scripted", "mcp"], loop_scope="module")
async def tools(request: pytest.FixtureRequest, servers: McpServers) -> AnyTools:
    if request.param == "mcp":
        return servers
    behaviours = {"echo": answer_done, "fail": answer_error, "die": answer_nothing}

    async def behave(call: ToolCall) -> ToolResult:
        return await behaviours[call.tool.name](call)

    return ScriptedTools(behave=behave)


async def test_an_answer_is_a_result(tools: AnyTools) -> None:
    """A tool that answers gives its answer as MCP has it, and has not failed."""
    result = await run(tools, "odd", "echo", {"text": "done"}, limit_seconds=LONG)
    assert not result.failed
    assert result.value["content"][0]["type"] == "text"


async def test_an_error_of_the_tool_is_a_failed_result(tools: AnyTools) -> None:
    """A tool that answers with an error has failed, and its words are the result."""
    result = await run(tools, "odd", "fail", {}, limit_seconds=LONG)
    assert result.failed
    assert result.value["content"][0]["text"] == "no such file"
    assert result.value["isError"] is True


async def test_a_server_that_is_lost_in_a_call_leaves_it_unknown(tools: AnyTools) -> None:
    """When no answer can come any more, nobody claims to know whether the tool ran (invariant 8)."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(tools, "odd", "die", {}, limit_seconds=LONG)


async def test_a_lost_server_is_started_again_and_the_call_is_not(own: McpServers, journal: Path) -> None:
    """After a death the server comes back by itself, the call that it died of does not (invariant 8, case 25)."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(own, "odd", "die", {}, limit_seconds=LONG)
    await until(lambda: len(process_ids(journal)) == 2, poll_seconds=0.02)
    await own.until_ready("odd")
    assert not (await run(own, "odd", "echo", {}, limit_seconds=LONG)).failed
    assert runs(journal) == ["die", "echo"]


async def test_a_killed_server_is_not_ready_until_it_is_back(journal: Path) -> None:
    """A gateway sees at once that a server has gone, and tells so instead of calling."""
    restart = asyncio.Event()
    delays: list[int] = []

    def delay(failures: int) -> float:
        delays.append(failures)
        return 0.0 if restart.is_set() else 3600.0

    async with McpServers({"odd": odd(journal)}, delays=delay) as servers:
        await servers.until_ready("odd")
        os.kill(process_ids(journal)[0], 9)
        await until(lambda: bool(delays), poll_seconds=0.01)
        assert not await servers.ready("odd")
        with pytest.raises(InterlockError) as refused:
            await run(servers, "odd", "echo", {}, limit_seconds=LONG)
        assert refused.value.reason == ErrorReason.TOOL_UNAVAILABLE
        with pytest.raises(McpServerError, match="not ready"):
            await servers.list_tools("odd")
    assert runs(journal) == []


async def test_a_call_past_its_limit_is_unknown_and_the_server_goes_on(
    own: McpServers, journal: Path
) -> None:
    """A tool that hangs ends in its time limit as unknown, ran once, and others can still be called (case 25)."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(own, "odd", "hang", {}, limit_seconds=0.2)
    assert not (await run(own, "odd", "echo", {}, limit_seconds=LONG)).failed
    assert runs(journal) == ["hang", "echo"]


async def test_calls_do_not_wait_for_each_other(servers: McpServers) -> None:
    """While one call hangs, another is answered."""
    hanging = asyncio.create_task(run(servers, "odd", "hang", {}, limit_seconds=LONG))
    results = await asyncio.gather(
        *(run(servers, "odd", "echo", {"number": number}, limit_seconds=LONG) for number in range(20))
    )
    assert [result.value["structuredContent"] for result in results] == [
        {"number": number} for number in range(20)
    ]
    assert not hanging.done()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_a_protocol_error_is_a_failed_result(servers: McpServers) -> None:
    """A JSON-RPC error is the server's answer, and comes as a failed call with its code and words."""
    result = await run(servers, "odd", "break_protocol", {}, limit_seconds=LONG)
    assert result == ToolResult(failed=True, value={"error": {"code": -32603, "message": "broken"}})


async def test_a_protocol_error_that_does_not_say_whether_it_ran_is_unknown(servers: McpServers) -> None:
    """A timeout that the server itself tells of leaves open whether the tool ran."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", "time_out_inside", {}, limit_seconds=LONG)


async def test_large_integers_of_a_tool_arrive_whole(servers: McpServers) -> None:
    """A tool's answer is not squeezed into doubles on the way."""
    result = await run(servers, "odd", "number", {}, limit_seconds=LONG)
    assert result.value["structuredContent"] == {"id": 2**60}


async def test_what_a_tool_says_that_it_used_and_wrote_arrives(servers: McpServers) -> None:
    """Usage and memory writes in `_meta` come with the result, which still holds them."""
    said = {USAGE: {"cost": 3}, MEMORY_WRITES: [{"key": "plan", "version": 4}]}
    result = await run(servers, "odd", "account", said, limit_seconds=LONG)
    assert result.usage == Usage(cost=3)
    assert result.memory_writes == (MemoryWrite(key="plan", version=4, digest=""),)
    assert result.value["_meta"] == said


async def test_what_a_tool_says_malformed_is_warned_of_without_its_value(servers: McpServers) -> None:
    """A usage that is out of form is ignored; the log names the key, and nothing of the value (case 63)."""
    with structlog.testing.capture_logs() as logged:
        result = await run(servers, "odd", "account", {USAGE: {"cost": "confidential"}}, limit_seconds=LONG)
    assert (result.failed, result.usage) == (False, None)
    assert logged == [
        {
            "event": "mcp_meta_ignored",
            "log_level": "warning",
            "server": "odd",
            "tool": "account",
            "key": USAGE,
        }
    ]


async def test_a_server_gets_its_own_variables_and_none_of_ours(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of our environment a server sees PATH and HOME and their like; what is ours or another server's it does not."""
    monkeypatch.setenv("INTERLOCK_CREDENTIAL", "ours")
    described = {
        "odd": odd(journal, env={"TOKEN": "its own"}),
        "other": odd(journal, env={"OTHER": "another's"}),
    }
    async with McpServers(described) as servers:
        await servers.until_ready("odd")
        seen = (await run(servers, "odd", "environment", {}, limit_seconds=LONG)).value["structuredContent"]
    assert seen["TOKEN"] == "its own"
    assert set(seen) - {"TOKEN", "LC_CTYPE"} <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"}


async def test_all_pages_of_tools_are_listed(servers: McpServers) -> None:
    """A list that comes in pages is told whole, as JSON."""
    tools = await servers.list_tools("odd")
    assert [tool["name"] for tool in tools] == [
        "echo",
        "fail",
        "break_protocol",
        "time_out_inside",
        "die",
        "hang",
        "environment",
        "number",
        "account",
    ]
    assert tools[0] == {"name": "echo", "inputSchema": {"type": "object"}}


async def test_a_server_that_is_not_known_is_not_ready(servers: McpServers) -> None:
    """A name without a server is never ready, so that its tools are never called."""
    assert await servers.ready("odd")
    assert not await servers.ready("elsewhere")


@pytest.mark.parametrize(
    ("server", "cause"),
    [
        (McpServer(command="no-such-command"), "command `no-such-command` is not there"),
        (McpServer(command="./no-such-command"), "command `./no-such-command` is not there"),
        (McpServer(command=sys.executable, args=["-c", "pass"]), "JSON-RPC error -32000"),
    ],
    ids=["no-command", "no-file", "ends-at-once"],
)
async def test_a_server_that_does_not_start_is_told_why(server: McpServer, cause: str) -> None:
    """A server that cannot start is tried again, with growing delay, and whoever waits for it hears why."""
    tries: list[int] = []

    def delay(failures: int) -> float:
        tries.append(failures)
        return 0.0

    async with McpServers({"broken": server}, delays=delay) as servers:
        await until(lambda: len(tries) >= 3, poll_seconds=0.01)
        assert tries[:3] == [0, 1, 2]
        with pytest.raises(McpServerError, match=cause):
            await servers.until_ready("broken", limit_seconds=0)


async def test_leaving_ends_every_process(journal: Path, tmp_path: Path) -> None:
    """No server outlives the gateway, not even one that ignores the end of its input and SIGTERM, nor its child."""
    stubborn = tmp_path / "stubborn"
    servers = {
        "odd": odd(journal),
        "stubborn": McpServer(
            command=sys.executable, args=[str(SERVERS / "stubborn_server.py"), str(stubborn)]
        ),
    }
    async with McpServers(servers) as running:
        await running.until_ready("odd")
        await running.until_ready("stubborn")
        started = [*process_ids(journal), *map(int, stubborn.read_text().split())]
        assert len(started) == 3
        assert all(map(alive, started))
    await until(lambda: not any(map(alive, started)), poll_seconds=0.02)


async def test_leaving_while_a_server_starts_ends_it(journal: Path) -> None:
    """A server that has not answered the handshake yet is ended too."""
    silent = (
        "import os, sys, time; open(sys.argv[1], 'w').write(f'started {os.getpid()}\\n'); time.sleep(3600)"
    )
    server = McpServer(command=sys.executable, args=["-c", silent, str(journal)])
    async with McpServers({"silent": server}) as servers:
        await until(lambda: bool(process_ids(journal)), poll_seconds=0.02)
        assert not await servers.ready("silent")
    await until(lambda: not alive(process_ids(journal)[0]), poll_seconds=0.02)


GATEWAY = """
import asyncio, sys
from pathlib import Path
from interlock.adapters.mcp_meta import MEMORY_WRITES, USAGE
from interlock.adapters.mcp_servers import McpServers
from tests.contract.test_mcp_servers import odd

async def main():
    async with McpServers({"odd": odd(Path(sys.argv[1]))}) as servers:
        await servers.until_ready("odd")
        print("ready", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_killed_gateway_leaves_no_server(journal: Path) -> None:
    """After kill -9 of the gateway its servers end as well."""
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, str(journal), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert gateway.stdout is not None
    while await gateway.stdout.readline() != b"ready\n":
        assert gateway.returncode is None
    [server] = process_ids(journal)
    gateway.kill()
    await gateway.wait()
    await until(lambda: not alive(server), poll_seconds=0.02)
