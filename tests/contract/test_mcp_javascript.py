"""A published MCP server in JavaScript, whose SDK writes messages in another order than Python's."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interlock.adapters.mcp_endpoint import MAX_MESSAGE_BYTES, McpServer
from interlock.adapters.mcp_servers import McpServers
from interlock.core.catalog import Catalog, build_catalog
from interlock.core.catalog_import import import_tools
from interlock.ports import ToolOutcomeUnknown
from tests.tool_calls import run_tool

NODE = shutil.which("node")
FILESYSTEM = (
    Path(__file__).parents[1] / "npm/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
)

if NODE is not None:  # where there is no node, `make setup` installs nothing of npm's
    node = NODE

    @pytest_asyncio.fixture
    async def servers(tmp_path: Path) -> AsyncIterator[McpServers]:
        (tmp_path / "notes.txt").write_text("water the plants")
        (tmp_path / "huge.txt").write_text("x" * 2 * MAX_MESSAGE_BYTES)
        server = McpServer(command=node, args=[str(FILESYSTEM), str(tmp_path)])
        async with McpServers({"files": server}) as running:
            await running.until_ready("files")
            yield running

    @pytest_asyncio.fixture
    async def catalog(servers: McpServers) -> Catalog:
        listed = await servers.list_tools("files")
        return build_catalog([import_tools(listed, gateway="gateway-1", server="files")])

    async def test_the_filesystem_server_works(servers: McpServers, catalog: Catalog, tmp_path: Path) -> None:
        """A published server in JavaScript is imported, pinned and called; what it refuses is a failed result."""
        read = catalog.tools["read_text_file"]
        found = await run_tool(servers, read, {"path": str(tmp_path / "notes.txt")})
        assert found.value["content"][0]["text"] == "water the plants"
        assert (await run_tool(servers, read, {"path": "/etc/passwd"})).failed
        assert servers.drifted() == ()

    async def test_its_answers_that_are_too_large_are_known_by_their_end(
        servers: McpServers, catalog: Catalog, tmp_path: Path
    ) -> None:
        """A file of 8 MiB makes its call unknown at once, for its answer is seen to be this call's (case 32)."""
        read = catalog.tools["read_text_file"]
        with pytest.raises(ToolOutcomeUnknown, match="JSON-RPC error -32000"):
            await run_tool(servers, read, {"path": str(tmp_path / "huge.txt")})
        found = await run_tool(servers, read, {"path": str(tmp_path / "notes.txt")})
        assert not found.failed
