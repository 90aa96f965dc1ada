"""What passes through the MCP front beside tools, with the official client and a real server that has all of it."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    LoggingMessageNotificationParams,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

from tests.e2e.mcp_fronts import HANDSHAKE, WITHOUT, over_stdio, text_of
from tests.e2e.world import World
from tests.waiting import until

FULL_SERVER = Path(__file__).parents[1] / "mcp_servers" / "full_server.py"
_ROLE = """
everything:
  tools: [count, tell, consult, wait]
  effects: [read]
"""


@pytest.fixture(scope="module")
def full_world(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose server `full` has resources, prompts, completion and a log; a role may call its tools."""
    with World(tmp_path_factory.mktemp("full"), opa=opa, policies=policies) as full:
        full.settings["gateway"]["servers"]["full"] = {"command": sys.executable, "args": [str(FULL_SERVER)]}
        full.write_settings()
        done = full.interlock("catalog", "import", "full", "--output", "full.yaml")
        assert done.returncode == 0, done.stderr
        catalog = yaml.safe_load((full.folder / "full.yaml").read_text())
        for tool in catalog["tools"]:
            tool["effects"] = ["read"]
        (full.folder / "full.yaml").write_text(yaml.safe_dump(catalog))
        with (full.folder / "policies" / "roles" / "data.yaml").open("a") as roles:
            roles.write(_ROLE)
        for part in ("service", "gateway"):
            full.settings[part]["catalog"] = ["odd.yaml", "full.yaml"]
        full.start_service()
        yield full


@pytest.fixture(params=[HANDSHAKE, WITHOUT])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol with a handshake, and the one without (2026-07-28)."""
    return str(request.param)


@pytest.fixture
def starts(full_world: World, tmp_path: Path) -> StdioServerParameters:
    """The front for an agent that may use everything of the server `full`."""
    credential = full_world.credential("agent", "coder", "everything")
    return over_stdio(full_world, credential, f"front-{tmp_path.name}")


async def test_resources_and_prompts_pass_through(starts: StdioServerParameters, mode: str) -> None:
    """Lists, contents, prompts and completions are the server's own."""
    async with Client(starts, mode=mode) as client:
        assert [str(each.uri) for each in (await client.list_resources()).resources] == ["note://today"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == ["note://{day}/note"]
        assert [each.name for each in (await client.list_prompts()).prompts] == ["greet"]
        assert await read(client, "note://today") == "water the plants"
        assert await read(client, "note://monday/note") == "nothing on monday"
        prompt = await client.get_prompt("greet", {"name": "Ann"})
        assert isinstance(prompt.messages[0].content, TextContent)
        assert prompt.messages[0].content.text == "Greet Ann."
        argument = {"name": "name", "value": "A"}
        for ref in (PromptReference(name="greet"), ResourceTemplateReference(uri="note://{day}/note")):
            assert (await client.complete(ref, argument)).completion.values == ["Anna"]


async def read(client: Client, uri: str) -> str:
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


async def test_what_no_server_has_is_an_error(starts: StdioServerParameters) -> None:
    """A resource or prompt that no server lists is told as missing."""
    async with Client(starts, mode=HANDSHAKE) as client:
        with pytest.raises(MCPError, match="no server has a resource"):
            await client.read_resource("file:///etc/passwd")
        with pytest.raises(MCPError, match="no server has a prompt"):
            await client.get_prompt("other")


async def test_who_may_call_no_tool_of_a_server_gets_nothing_of_it(full_world: World, tmp_path: Path) -> None:
    """Resources and prompts are for those who are shown a tool of their server: least privilege (case 61)."""
    credential = full_world.credential("agent", "tester", "tester")
    async with Client(over_stdio(full_world, credential, f"less-{tmp_path.name}"), mode=HANDSHAKE) as client:
        assert (await client.list_resources()).resources == []
        assert (await client.list_prompts()).prompts == []
        with pytest.raises(MCPError, match="no server has a resource"):
            await client.read_resource("note://today")


async def test_progress_passes_through(starts: StdioServerParameters, mode: str) -> None:
    """How far a call is, is told while it runs."""
    heard: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with Client(starts, mode=mode) as client:
        result = await client.call_tool("count", {"to": 2}, progress_callback=listen)
        assert text_of(result) == "counted"
        await until(lambda: len(heard) == 2)
    assert heard == [(1, 2, "step 1"), (2, 2, "step 2")]


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_news_of_a_server_reach_the_client(starts: StdioServerParameters) -> None:
    """Log messages from the level that was asked for, changes of lists, and of resources that were subscribed to."""
    logs: list[Any] = []
    news: list[str] = []

    async def log(params: LoggingMessageNotificationParams) -> None:
        logs.append((params.level, params.data))

    async def hear(message: Any) -> None:
        if method := getattr(message, "method", None):
            news.append(method)

    async with Client(starts, mode=HANDSHAKE, logging_callback=log, message_handler=hear) as client:
        await client.call_tool("tell", {})
        await until(lambda: "notifications/prompts/list_changed" in news)
        assert logs == []
        assert "notifications/resources/updated" not in news
        await client.set_logging_level("warning")
        await client.call_tool("tell", {})
        await until(lambda: logs == [("warning", "beware")])
        with pytest.raises(MCPError, match="no server has a resource"):
            await client.subscribe_resource("file:///etc/passwd")
    assert "notifications/resources/list_changed" in news


async def sample(context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
    """A client's model."""
    return CreateMessageResult(role="assistant", model="m", content=TextContent(text="well enough"))


async def test_a_server_may_not_ask_the_client_unless_it_is_configured(starts: StdioServerParameters) -> None:
    """Sampling is refused by default, although the client would do it."""
    async with Client(starts, mode=HANDSHAKE, sampling_callback=sample) as client:
        result = await client.call_tool("consult", {})
    assert result.is_error
    assert "well enough" not in text_of(result)


async def test_a_server_may_ask_the_client_where_it_is_configured(full_world: World, tmp_path: Path) -> None:
    """With `client_requests`, the client whose call is at the server answers it."""
    credential = full_world.credential("agent", "coder", "everything")
    starts = over_stdio(full_world, credential, f"asks-{tmp_path.name}", client_requests=["sampling"])
    async with Client(starts, mode=HANDSHAKE, sampling_callback=sample) as client:
        result = await client.call_tool("consult", {})
    assert text_of(result) == "well enough"


async def test_a_cancelled_call_takes_nothing_from_the_next(starts: StdioServerParameters) -> None:
    """A client that waits no more is served again at once."""
    async with Client(starts, mode=HANDSHAKE) as client:
        waiting = asyncio.create_task(client.call_tool("wait", {}))
        await client.call_tool("count", {"to": 1})
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert text_of(await client.call_tool("count", {"to": 1})) == "counted"
