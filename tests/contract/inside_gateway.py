"""The gateway's inside for tests: its flow, its ledger on disk, and a real MCP server that notes each call."""

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.ledger_sqlite import SqliteLedger
from interlock.adapters.mcp_endpoint import McpServer
from interlock.adapters.mcp_servers import McpServers
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import Catalog, CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call
from interlock.core.outcome import OutcomeKind
from interlock.flows.execute import Executor, Gateway
from tests.fakes import CountingIdentifiers, NoFiles, OneKeyPair, OpenFreezes, SettableClock, no_files
from tests.tokens import EXPECTED, a_token

ODD_SERVER = Path(__file__).parents[1] / "mcp_servers" / "odd_server.py"
ARGUMENTS: dict[str, Any] = {"text": "hello", "nothing": None, "amount": 0.1}
SECONDS = 30.0


def a_catalog(*names: str) -> Catalog:
    entries = tuple(
        ToolEntry(name=name, arguments={"type": "object"}, effects=(Effect.WRITE,)) for name in names
    )
    return build_catalog([CatalogFile(gateway=EXPECTED.audience, server="odd", tools=entries)])


class Inside:
    """A gateway's parts, opened on the ledger at `path`, and the keys of its decision service."""

    catalog = a_catalog("echo", "die", "hang")

    def __init__(self, path: Path, tools: McpServers, keys: OneKeyPair) -> None:
        self.ledger = SqliteLedger(path, limit_seconds=SECONDS)
        self.keys = keys
        self.tools = tools
        self.clock = SettableClock()
        self.executor = Executor(
            Gateway(
                keys=keys,
                expected=EXPECTED,
                catalog=self.catalog,
                ledger=self.ledger,
                tools=tools,
                freezes=OpenFreezes(),
                resolve=no_files,
                files=NoFiles(),
                clock=self.clock,
                identifiers=CountingIdentifiers(f"execution-of-{path.stem}"),
                limit_seconds=SECONDS,
                delays=lambda failures: 0.0,
                after_outcome=lambda: None,
            )
        )

    def call(self, tool: str, /, **claims: Any) -> Call:
        return self.call_with(tool, ARGUMENTS, **claims)

    def call_with(self, tool: str, arguments: dict[str, Any], /, **claims: Any) -> Call:
        return Call(
            execution_token=a_token(self.keys, self.catalog.tools[tool], digest_of(arguments), **claims),
            tool=tool,
            arguments_json=canonicalize(arguments),
        )

    async def refused(self, call: Call) -> ErrorReason:
        with pytest.raises(InterlockError) as caught:
            await self.executor.execute(call)
        return caught.value.reason

    async def kinds(self) -> list[OutcomeKind]:
        return [outcome.kind for outcome in await self.ledger.undelivered(100)]


@contextlib.asynccontextmanager
async def running_inside(ledger: Path, journal: Path) -> AsyncIterator[Inside]:
    """A gateway's parts until the end of the block, before the server `odd`, which notes each call in `journal`."""
    server = McpServer(command=sys.executable, args=[str(ODD_SERVER), str(journal)])
    async with McpServers({"odd": server}, delays=lambda failures: 0.0) as tools:
        await tools.until_ready("odd")
        opened = Inside(ledger, tools, OneKeyPair())
        yield opened
        await opened.ledger.close()
