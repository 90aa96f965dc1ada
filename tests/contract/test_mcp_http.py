"""MCP servers over streamable HTTP, on real sockets: a call, a loss, and all that is no answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from interlock.adapters.mcp_endpoint import MAX_MESSAGE_BYTES, McpServerError, RemoteMcpServer
from interlock.adapters.mcp_servers import McpServers
from interlock.core.errors import ErrorReason, InterlockError
from interlock.ports import ToolOutcomeUnknown
from tests.contract.http_mcp_server import Exchange, HttpMcpServer
from tests.tool_calls import run
from tests.waiting import until

MUCH = 100 * 2**20


def echo(exchange: Exchange) -> None:
    exchange.result({"content": [], "structuredContent": exchange.message["params"]["arguments"]})


def refuse(exchange: Exchange) -> None:
    error = b'{"jsonrpc":"2.0","id":%d,"error":{"code":-32602,"message":"no"}}' % exchange.message["id"]
    exchange.answer(400, error, "application/json")


def hang(exchange: Exchange) -> None:
    exchange.rfile.read(1)


def hang_up(exchange: Exchange) -> None:
    exchange.close_connection = True


TOOLS = {
    "echo": echo,
    "refuse": refuse,
    "hang": hang,
    "hang_up": hang_up,
    "break": lambda exchange: exchange.answer(500, b"oops"),
    "break_in_json": lambda exchange: exchange.answer(502, b"{}", "application/json"),
    "accept": lambda exchange: exchange.answer(202, b""),
    "show_a_page": lambda exchange: exchange.answer(200, b"<html>", "text/html"),
    "garble": lambda exchange: exchange.answer(200, b"{", "application/json"),
    "huge": lambda exchange: exchange.stream(MUCH, "application/json"),
    "huge_event": lambda exchange: exchange.stream(MUCH, "text/event-stream"),
    "no_event": lambda exchange: exchange.answer(200, b"", "text/event-stream"),
    "redirect": lambda exchange: exchange.answer(307, b"", location="http://169.254.169.254/mcp"),
    "compress": lambda exchange: exchange.answer(
        200, b"x", "application/json", **{"content-encoding": "gzip"}
    ),
}


def noting(failed: list[int]) -> Callable[[int], float]:
    """Delays that note the failures that they are asked for."""

    def delay(failures: int) -> float:
        failed.append(failures)
        return 0.01

    return delay


@pytest.fixture
def server() -> Iterator[HttpMcpServer]:
    with HttpMcpServer(TOOLS) as running:
        yield running


@pytest_asyncio.fixture
async def servers(server: HttpMcpServer) -> AsyncIterator[McpServers]:
    remote = RemoteMcpServer(url=server.url, headers={"authorization": "Bearer its-own"})
    async with McpServers({"odd": remote}, delays=lambda failures: 0.01) as running:
        await running.until_ready("odd")
        yield running


async def test_a_remote_server_is_called_with_its_own_headers(
    server: HttpMcpServer, servers: McpServers
) -> None:
    """A call is answered, and each request carries the headers that the settings state for this server."""
    result = await run(servers, "odd", "echo", {"number": 7})
    assert (result.failed, result.value["structuredContent"]) == (False, {"number": 7})
    assert {headers["authorization"] for headers in server.heard} == {"Bearer its-own"}


async def test_a_refusal_in_json_rpc_is_a_failed_result(servers: McpServers) -> None:
    """What the server says of the call itself is its answer."""
    result = await run(servers, "odd", "refuse", {})
    assert result.failed
    assert result.value["error"]["code"] == -32602


NO_ANSWERS = sorted(TOOLS.keys() - {"echo", "refuse", "hang", "redirect"})


@pytest.mark.parametrize("tool", NO_ANSWERS)
async def test_what_is_no_answer_leaves_the_call_unknown(
    server: HttpMcpServer, servers: McpServers, tool: str
) -> None:
    """Where the server's reply does not say that the tool did not run, nobody claims so (invariant 8, case 25)."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", tool, {})
    await servers.until_ready("odd")
    assert not (await run(servers, "odd", "echo", {})).failed
    assert [each for each in server.noted if each in TOOLS] == [tool, "echo"]


@pytest.mark.parametrize("tool", ["huge", "huge_event"])
async def test_no_more_is_read_than_a_message_may_have(
    server: HttpMcpServer, servers: McpServers, tool: str
) -> None:
    """Of an answer of 100 MB only the first part leaves the server (case 32)."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", tool, {})
    await until(lambda: any(each.startswith("sent") for each in server.noted), poll_seconds=0.01)
    [sent] = [int(each.split()[1]) for each in server.noted if each.startswith("sent")]
    assert sent < MAX_MESSAGE_BYTES * 8


async def test_a_redirect_elsewhere_is_not_followed(servers: McpServers) -> None:
    """A server that points to another place does not bring its headers and arguments there."""
    assert (await run(servers, "odd", "redirect", {})).failed


async def test_one_call_without_an_answer_costs_no_other(servers: McpServers) -> None:
    """While one call waits, another breaks and a third is answered."""
    hanging = asyncio.create_task(run(servers, "odd", "hang", {}))
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", "break", {})
    assert not (await run(servers, "odd", "echo", {})).failed
    assert not hanging.done()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_a_remote_server_hears_of_a_call_that_took_too_long(
    server: HttpMcpServer, servers: McpServers
) -> None:
    """A tool that is out of time is told so, by `notifications/cancelled`, over HTTP too."""
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", "hang", {}, limit_seconds=0.1)
    await until(lambda: "notifications/cancelled" in server.noted, poll_seconds=0.01)


async def test_a_forgotten_session_is_begun_anew(server: HttpMcpServer, servers: McpServers) -> None:
    """A server that started again knows no session of ours: it gets a new one, and the call is not made again."""
    server.session = "session-2"
    with pytest.raises(ToolOutcomeUnknown):
        await run(servers, "odd", "echo", {})
    await servers.until_ready("odd")
    assert not (await run(servers, "odd", "echo", {})).failed
    assert [each for each in server.noted if each == "echo"] == ["echo"]


async def test_a_server_that_went_is_connected_to_when_it_is_back() -> None:
    """A remote server that is away is not ready, and is again when it answers (case 57)."""
    with HttpMcpServer(TOOLS) as first:
        port = first.server_port
    failed: list[int] = []
    async with McpServers(
        {"odd": RemoteMcpServer(url=f"http://127.0.0.1:{port}/mcp")}, delays=noting(failed)
    ) as servers:
        await until(lambda: bool(failed), poll_seconds=0.01)
        with pytest.raises(McpServerError, match="ConnectError"):
            await servers.until_ready("odd", limit_seconds=0)
        with pytest.raises(InterlockError) as refused:
            await run(servers, "odd", "echo", {})
        assert refused.value.reason == ErrorReason.TOOL_UNAVAILABLE
        with HttpMcpServer(TOOLS, port):
            await servers.until_ready("odd")
            assert not (await run(servers, "odd", "echo", {})).failed


async def test_leaving_ends_the_session(server: HttpMcpServer) -> None:
    """The gateway tells a remote server that its session is over."""
    async with McpServers({"odd": RemoteMcpServer(url=server.url)}) as servers:
        await servers.until_ready("odd")
    assert server.noted[-1] == "DELETE"


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_a_server_that_does_not_let_us_in_is_told_by_its_status(status: int) -> None:
    """Whoever waits for a server that refuses us hears the HTTP status, and nothing of its words or our headers."""

    class Refusing(HttpMcpServer):
        def finish_request(self, request: Any, client_address: Any) -> None:
            Refused(request, client_address, self)

    class Refused(Exchange):
        def do_POST(self) -> None:  # noqa: N802 - as in the base
            self.rfile.read(int(self.headers["content-length"]))
            self.answer(status, b"secret-words")

    with Refusing(TOOLS) as refusing:
        remote = RemoteMcpServer(url=refusing.url, headers={"authorization": "Bearer secret-words"})
        failed: list[int] = []
        async with McpServers({"odd": remote}, delays=noting(failed)) as servers:
            await until(lambda: bool(failed), poll_seconds=0.01)
            with pytest.raises(McpServerError, match=f"HTTP status {status}") as told:
                await servers.until_ready("odd", limit_seconds=0)
    assert "secret" not in str(told.value)
    assert "secret" not in repr(remote)
