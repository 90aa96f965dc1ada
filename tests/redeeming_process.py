"""A gateway's replica on a ledger in PostgreSQL: it executes calls of tokens whose ids other replicas have too.

Run with a URL, and `race TOKENS CALLERS` or `hold TOKEN`. It says when it has opened the ledger, waits for a line,
and prints JSON objects, one a line. `hold` tells when its tool runs, which ends with another line.
"""

import asyncio
import json
import sys
from collections import Counter

import structlog

from interlock.adapters.clock import RandomIdentifiers
from interlock.adapters.ledger_postgres import PostgresLedger
from interlock.adapters.postgres_address import parse_address
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.errors import InterlockError
from interlock.core.execution import Call
from interlock.flows.execute import Executor, Gateway
from interlock.ports import ToolCall, ToolResult
from tests.fakes import NoFiles, OneKeyPair, OpenFreezes, ScriptedTools, SettableClock, no_files
from tests.tokens import EXPECTED, a_token

PATIENCE_SECONDS = 60.0
ARGUMENTS = {"path": "notes.txt"}
CATALOG = build_catalog(
    [
        CatalogFile(
            gateway="gateway-1",
            server="files",
            tools=(ToolEntry(name="files/write", arguments={"type": "object"}, effects=(Effect.WRITE,)),),
        )
    ]
)
KEYS = OneKeyPair()


def a_call(token_id: str) -> Call:
    return Call(
        execution_token=a_token(KEYS, CATALOG.tools["files/write"], digest_of(ARGUMENTS), jti=token_id),
        tool="files/write",
        arguments_json=canonicalize(ARGUMENTS),
    )


def an_executor(ledger: PostgresLedger, tools: ScriptedTools) -> Executor:
    return Executor(
        Gateway(
            keys=KEYS,
            expected=EXPECTED,
            catalog=CATALOG,
            ledger=ledger,
            tools=tools,
            freezes=OpenFreezes(),
            resolve=no_files,
            files=NoFiles(),
            clock=SettableClock(),
            identifiers=RandomIdentifiers(),
            limit_seconds=PATIENCE_SECONDS,
            delays=lambda failures: 0.1,
            after_outcome=lambda: None,
        )
    )


async def race(executor: Executor, tools: ScriptedTools, tokens: int, callers: int) -> None:
    """Each caller presents each token; tell what ran, and what the others heard."""

    async def present(token_id: str) -> str:
        try:
            return str((await executor.execute(a_call(token_id))).kind)
        except InterlockError as error:
            return error.reason.value

    names = [f"token-{number}" for number in range(tokens)]
    heard = await asyncio.gather(*(present(name) for name in names for _ in range(callers)))
    tell(ran=[call.idempotency_key for call in tools.calls], heard=Counter(heard))


async def hold(call: ToolCall) -> ToolResult:
    """A tool that is done when it is told so."""
    tell(running=call.idempotency_key)
    await asyncio.to_thread(sys.stdin.readline)
    return ToolResult(failed=False, value={})


def tell(**what: object) -> None:
    """One line, written at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(url: str, work: str, *arguments: str) -> None:
    ledger = PostgresLedger(parse_address(url), gateway="gateway-1", limit_seconds=PATIENCE_SECONDS)
    await ledger.start()
    tools = ScriptedTools()
    executor = an_executor(ledger, tools)
    tell(opened=True)
    await asyncio.to_thread(sys.stdin.readline)
    if work == "race":
        await race(executor, tools, *map(int, arguments))
    else:
        tools.behave = hold
        await executor.execute(a_call(*arguments))
        tell(ended=True)
    await ledger.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
