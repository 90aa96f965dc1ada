"""What passes through the gateway undecided, with a real server of the SDK's, over stdio and over HTTP."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CompletionArgument,
    CreateMessageRequestParams,
    CreateMessageResult,
    LoggingMessageNotification,
    PromptReference,
    ResourceUpdatedNotification,
    ServerNotification,
    TextContent,
    TextResourceContents,
)

from interlock.adapters.mcp_client_requests import ClientRequests
from interlock.adapters.mcp_endpoint import McpEndpoint, McpServer, McpServerError, RemoteMcpServer
from interlock.adapters.mcp_servers import McpServers
from interlock.core.catalog import Catalog, build_catalog
from interlock.core.catalog_import import import_tools
from interlock.ports import ToolResult
from tests.tool_calls import run_tool
from tests.waiting import until

FULL_SERVER = Path(__file__).parents[1] / "mcp_servers" / "full_server.py"


async def sample(server: str, params: CreateMessageRequestParams) -> CreateMessageResult:
    return CreateMessageResult(
        role="assistant", content=TextContent(text=f"{server}: well"), model="m", stop_reason="endTurn"
    )


@asynccontextmanager
async def serving(kind: str) -> AsyncIterator[McpEndpoint]:
    if kind == "stdio":
        yield McpServer(command=sys.executable, args=[str(FULL_SERVER)])
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FULL_SERVER), str(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield RemoteMcpServer(url=f"http://127.0.0.1:{port}/mcp")
    finally:
        process.kill()
        await process.wait()


@pytest_asyncio.fixture(params=["stdio", "http"], scope="module", loop_scope="module")
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[McpServers]:
    async with (
        serving(request.param) as endpoint,
        McpServers(
            {"full": endpoint},
            delays=lambda failures: 0.05,
            client_requests=ClientRequests(sampling=sample),
        ) as running,
    ):
        await running.until_ready("full")
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def catalog(servers: McpServers) -> Catalog:
    listed = await servers.upstream("full").list_tools()
    return build_catalog([import_tools(listed, gateway="gateway-1", server="full")])


pytestmark = pytest.mark.asyncio(loop_scope="module")


def text(result: ToolResult) -> str:
    return str(result.value["content"][0]["text"])


async def test_resources_pass_through(servers: McpServers) -> None:
    """A server's resources are listed and read as it has them, templates too."""
    upstream = servers.upstream("full")
    assert [each.uri for each in (await upstream.list_resources()).resources] == ["note://today"]
    templates = (await upstream.list_resource_templates()).resource_templates
    assert [each.uri_template for each in templates] == ["note://{day}/note"]
    [content] = (await upstream.read_resource("note://monday/note")).contents
    assert isinstance(content, TextResourceContents)
    assert content.text == "nothing on monday"


async def test_prompts_and_completion_pass_through(servers: McpServers) -> None:
    """A server's prompts are listed, filled in and completed by it."""
    upstream = servers.upstream("full")
    assert [each.name for each in (await upstream.list_prompts()).prompts] == ["greet"]
    [message] = (await upstream.get_prompt("greet", {"name": "Anna"})).messages
    assert message.content == TextContent(text="Greet Anna.")
    completed = await upstream.complete(
        PromptReference(name="greet"), CompletionArgument(name="name", value="A")
    )
    assert completed.completion.values == ["Anna"]
    assert upstream.instructions == "ask for everything"
    assert upstream.capabilities.prompts is not None


async def test_an_error_of_the_server_passes_through(servers: McpServers) -> None:
    """What a server answers with a JSON-RPC error comes as that error, with its words."""
    with pytest.raises(MCPError) as told:
        await servers.upstream("full").get_prompt("no-such-prompt", {})
    assert told.value.error.message == "Unknown prompt: no-such-prompt"


async def test_progress_passes_through(servers: McpServers, catalog: Catalog) -> None:
    """Whoever listens hears how far a call is, before its answer."""
    heard: list[tuple[float, float | None, str]] = []

    async def listen(done: float, total: float | None, words: str) -> None:
        heard.append((done, total, words))

    assert text(await run_tool(servers, catalog.tools["count"], {"to": 3}, progress=listen)) == "counted"
    assert heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


async def test_what_a_server_tells_reaches_the_listeners(servers: McpServers, catalog: Catalog) -> None:
    """Log messages and news of resources and prompts are heard with the server's name, until one listens no more."""
    heard: list[tuple[str, ServerNotification]] = []
    stop = servers.listen(lambda server, notification: heard.append((server, notification)))
    await run_tool(servers, catalog.tools["tell"], {})
    await until(lambda: len(heard) == 4, poll_seconds=0.01)
    stop()
    assert {server for server, _ in heard} == {"full"}
    told = {notification.method: notification for _, notification in heard}
    log = told["notifications/message"]
    assert isinstance(log, LoggingMessageNotification)
    assert (log.params.level, log.params.data) == ("warning", "beware")
    updated = told["notifications/resources/updated"]
    assert isinstance(updated, ResourceUpdatedNotification)
    assert updated.params.uri == "note://today"
    assert {"notifications/resources/list_changed", "notifications/prompts/list_changed"} <= told.keys()
    await run_tool(servers, catalog.tools["tell"], {})
    assert len(heard) == 4


async def test_a_server_may_ask_what_somebody_answers(servers: McpServers, catalog: Catalog) -> None:
    """With a handler for sampling, a server's question gets its answer."""
    assert text(await run_tool(servers, catalog.tools["consult"], {})) == "full: well"


async def test_a_server_that_is_not_there_is_told_so() -> None:
    """What passes through a server that is not ready fails with why, and it shows no capability."""
    async with McpServers({"gone": McpServer(command="no-such-command")}) as servers:
        upstream = servers.upstream("gone")
        with pytest.raises(McpServerError, match="server `gone` is not ready"):
            await upstream.list_resources()
        assert (upstream.ready, upstream.instructions) == (False, "")
        assert upstream.capabilities.tools is None
