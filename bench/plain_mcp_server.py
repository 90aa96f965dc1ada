"""An MCP server over stdio with one tool, `echo`, which answers at once: what a gateway is measured in front of."""

import anyio
from mcp.server.mcpserver import MCPServer

server = MCPServer("plain")


@server.tool()
def echo(text: str) -> str:
    """Answer with the same text."""
    return text


if __name__ == "__main__":
    anyio.run(server.run_stdio_async)
