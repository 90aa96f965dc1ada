"""MCP servers over stdio that send what no SDK would: the gateway's memory, its other calls and its answers survive."""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.mcp_endpoint import MAX_MESSAGE_BYTES, McpServer, McpServerError
from interlock.adapters.mcp_servers import McpServers
from interlock.adapters.mcp_stdio import GIVE_UP_BYTES, Lines, LongLine
from interlock.ports import ToolOutcomeUnknown
from tests.mcp_servers.raw_server import TOOLS
from tests.tool_calls import a_call, a_tool, run
from tests.waiting import until

RAW_SERVER = Path(__file__).parents[1] / "mcp_servers" / "raw_server.py"
LISTED = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]


def raw(folder: Path, listed: Sequence[dict[str, Any]] = LISTED) -> McpServer:
    (folder / "listing.json").write_text(json.dumps({"tools": listed}))
    return McpServer(
        command=sys.executable, args=[str(RAW_SERVER), str(folder / "journal"), str(folder / "listing.json")]
    )


def noted(folder: Path) -> list[str]:
    journal = folder / "journal"
    return journal.read_text().splitlines() if journal.exists() else []


@pytest_asyncio.fixture
async def servers(tmp_path: Path) -> AsyncIterator[McpServers]:
    async with McpServers({"odd": raw(tmp_path)}, delays=lambda failures: 0.0) as running:
        await running.until_ready("odd")
        yield running


@pytest.mark.parametrize("tool", ["huge", "huge_from_javascript"])
async def test_an_answer_of_100_mb_costs_one_call_and_no_memory(
    servers: McpServers, tmp_path: Path, tool: str
) -> None:
    """An answer that is too large is not kept: its call is unknown at once, and the server goes on (case 32)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", tool, {})
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 8 * MAX_MESSAGE_BYTES
    assert not (await run(servers, "odd", "echo", {})).failed
    assert noted(tmp_path) == [tool, "echo"]


async def test_output_without_end_ends_the_server(servers: McpServers, tmp_path: Path) -> None:
    """A server that writes one line for ever is ended and started anew; its call is unknown."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", "endless", {})
    await servers.until_ready("odd")
    assert not (await run(servers, "odd", "echo", {})).failed


async def test_a_second_answer_is_nobodys(servers: McpServers) -> None:
    """Of two answers to one call the first counts, and the second is not taken for the next call's."""
    first = await run(servers, "odd", "twice", {})
    assert first.value["content"][0]["text"] == "first"
    assert "first" not in str((await run(servers, "odd", "echo", {})).value)


async def test_what_is_no_message_is_passed_over(servers: McpServers) -> None:
    """Lines that are no JSON-RPC, and answers that nobody asked for, disturb no call."""
    assert (await run(servers, "odd", "nonsense", {})).value["content"][0]["text"] == "sense"


async def test_the_server_hears_that_a_call_was_cancelled(servers: McpServers, tmp_path: Path) -> None:
    """Who goes away while a tool runs has it told so, by `notifications/cancelled`."""
    hanging = asyncio.create_task(run(servers, "odd", "hang", {}))
    await until(lambda: noted(tmp_path) == ["hang"], poll_seconds=0.01)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    await until(lambda: noted(tmp_path) == ["hang", "cancelled"], poll_seconds=0.01)


async def test_the_server_hears_that_a_call_took_too_long(servers: McpServers, tmp_path: Path) -> None:
    """A tool that is out of time is told so, by `notifications/cancelled` (case 25)."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", "hang", {}, limit_seconds=0.1)
    await until(lambda: noted(tmp_path) == ["hang", "cancelled"], poll_seconds=0.01)


async def test_the_token_s_id_goes_along_as_idempotency_key(servers: McpServers) -> None:
    """A tool hears the call's `jti` in `_meta`, by which it can know the call again."""
    prepared = await servers.prepare(a_call(a_tool("odd", "echo"), {}, idempotency_key="token-7"))
    said = json.loads((await prepared.run()).value["content"][0]["text"])
    assert said["_meta"]["interlock.idempotency_key"] == "token-7"


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list"])
async def test_what_a_server_asks_is_refused(servers: McpServers, method: str) -> None:
    """Sampling, elicitation and roots get a JSON-RPC error where nobody was named to answer."""
    answered = await run(servers, "odd", "ask", {"method": method})
    said = json.loads(answered.value["content"][0]["text"])
    assert said["id"] == "asked"
    assert "error" in said
    assert "result" not in said


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), min_size=1),
    st.lists(st.integers(1, 30)),
)
def test_lines_are_the_same_however_they_arrive(sent: list[bytes], sizes: list[int]) -> None:
    """However a stream is cut into pieces, its lines come out, and of the longer ones their size."""
    stream = b"".join(line + b"\n" for line in sent)
    lines, got, at = Lines(most=20), [], 0
    for size in [*sizes, len(stream)]:
        got += list(lines.feed(stream[at : at + size]))
        at += size
    assert [line.size if isinstance(line, LongLine) else line for line in got] == [
        len(line) if len(line) > 20 else line for line in sent
    ]


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"text":"%s"}}', 7),
        (b'{"jsonrpc": "2.0", "id": 7, "result": {"text": "%s"}}', 7),
        (b'{"result":{"text":"%s"},"jsonrpc":"2.0","id":7}', 7),
        (b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%s"}}', None),
        (b'{"jsonrpc":"2.0","id":"7","result":{"text":"%s"}}', None),
        (b"%s", None),
    ],
    ids=["id-first", "id-first-with-spaces", "id-last", "notification", "no-number", "no-json"],
)
def test_what_a_long_line_answers_is_seen_at_its_edges(line: bytes, request_id: int | None) -> None:
    """The call whose answer is too large is found without keeping the answer."""
    [long] = Lines(most=1000).feed(line % (b"x" * 2000) + b"\n")
    assert isinstance(long, LongLine)
    assert long.answers() == request_id


def test_a_line_without_end_is_given_up() -> None:
    """No more than a fixed number of bytes is read of a line that does not end, and little of it is kept."""
    lines, part = Lines(), b"x" * 2**20
    for _ in range(GIVE_UP_BYTES // len(part)):
        assert list(lines.feed(part)) == []
    with pytest.raises(McpServerError, match="a line of more than"):
        list(lines.feed(part))
