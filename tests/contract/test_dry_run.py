"""What connectors say of a call that is prepared and not made."""

from ipaddress import ip_network
from typing import Any

from interlock.adapters.command import Commands
from interlock.adapters.http_connector import HttpConnector, HttpServer
from interlock.adapters.sandbox_place import locate_sandbox
from interlock.ports import Describable, ToolRunner
from tests.tool_calls import a_call, a_tool

WEB = a_tool("web", http={"base": "http://127.0.0.1:1/v1"})
COMMAND = a_tool(
    "commands",
    "run",
    arguments={"type": "object", "properties": {"text": {"type": "string"}}},
    command={"argv": ("echo", "--", "{text}")},
)


def web() -> ToolRunner:
    return HttpConnector({"web": HttpServer(networks=(ip_network("127.0.0.0/8"),))})


async def described(tools: ToolRunner, tool: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    prepared = await tools.prepare(a_call(tool, arguments))
    try:
        assert isinstance(prepared, Describable)
        return dict(prepared.describe())
    finally:
        await prepared.close()


async def test_a_web_service_is_told_by_method_and_url() -> None:
    """The URL is the one that would be asked for; nothing listens there, and nothing was asked."""
    arguments = {"method": "POST", "path": "/orders", "query": [["a", "b c"]], "body": {"n": 1}}
    assert await described(web(), WEB, arguments) == {
        "method": "POST",
        "url": "http://127.0.0.1:1/v1/orders?a=b%20c",
    }


async def test_a_command_is_told_by_its_words() -> None:
    """The words are those that would be run, without the sandbox round them."""
    commands = Commands(locate_sandbox(), {"commands": {}})
    assert await described(commands, COMMAND, {"text": "hello"}) == {"argv": ["echo", "--", "hello"]}
