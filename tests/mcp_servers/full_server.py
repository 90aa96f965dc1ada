"""A real MCP server with all that there is beside tools; over stdio, or over HTTP on the port of the first argument.

Its tools tell the client more than an answer, and ask it.
"""

import asyncio
import sys
import warnings
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    TextContent,
)

warnings.simplefilter("ignore")  # what the protocol's next version does otherwise

server = MCPServer("full", instructions="ask for everything")


@server.tool()
async def count(to: int, context: Context[Any, Any]) -> str:
    """Count, and tell how far it is."""
    for number in range(1, to + 1):
        await context.report_progress(number, to, f"step {number}")
    return "counted"


@server.tool()
async def tell(context: Context[Any, Any]) -> str:
    """Tell of everything that a server can tell of."""
    related = context.request_id
    await context.session.send_log_message("warning", "beware", related_request_id=related)
    for told in (
        context.session.send_resource_list_changed,
        context.session.send_prompt_list_changed,
    ):
        await told()
    await context.session.send_resource_updated("note://today")
    return "told"


@server.tool()
async def consult(context: Context[Any, Any]) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text="well?"))
    answer = await context.session.create_message([message], max_tokens=5)
    return answer.content.text if isinstance(answer.content, TextContent) else ""


@server.tool()
async def wait() -> str:
    """Wait for ever, or for being cancelled."""
    await asyncio.Event().wait()
    return "never"


@server.resource("note://today")
def today() -> str:
    """A note."""
    return "water the plants"


@server.resource("note://{day}/note")
def note(day: str) -> str:
    """The note of a day."""
    return f"nothing on {day}"


@server.prompt()
def greet(name: str) -> str:
    """A greeting."""
    return f"Greet {name}."


@server.completion()  # type: ignore[no-untyped-call,untyped-decorator]
async def complete(
    reference: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion:
    return Completion(values=[f"{argument.value}nna"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(lambda: server.run_streamable_http_async(port=int(sys.argv[1])))
    else:
        anyio.run(server.run_stdio_async)
