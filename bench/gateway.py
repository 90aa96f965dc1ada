"""Measure what the gateway adds to a call of an MCP tool, and what idle connections to it cost.

The same client calls the same MCP server, first by itself and then with `interlock gateway mcp` in its place: every
call is then decided, recorded, redeemed, run, and its outcome kept, all durable. Prints the results, and writes them
into bench/README.md.
"""

import argparse
import asyncio
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TextIO

import httpx2
from gateway_place import GatewayPlace, make_gateway_place, serving, serving_front
from marks import write_between_marks
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from processes import open_sockets, resident_mib
from report import machine, met_or_missed, table
from servers import SCRATCH, NotServingError, locate_opa

from interlock.adapters.opa_binary import OpaError

OVERHEAD_AT_MOST_MS = 6.0
IDLE_AT_MOST_KIB = 60.0
PLAN = {"rounds": 10, "calls": 100, "connections": 1_000, "tokens": 10_000, "runs": 150}
QUICK_PLAN = {"rounds": 2, "calls": 5, "connections": 8, "tokens": 100, "runs": 3}
WARM_UP_CALLS = 10
KEPT_OPEN = httpx2.Limits(keepalive_expiry=3_600)
SETTLE_SECONDS = 2.0


def main() -> None:
    """Measure, print and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    try:
        text = measure_all(options)
    except (OpaError, NotServingError) as error:
        sys.exit(f"bench: {error}")
    print(text)
    if not options.no_write:
        write_between_marks("gateway", text)


def parse() -> argparse.Namespace:
    """The options, with the plan of a short run filled in where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run, whose numbers mean nothing")
    parser.add_argument("--no-write", action="store_true", help="leave bench/README.md as it is")
    parser.add_argument("--folder", type=Path, default=SCRATCH, help="where to keep what is measured on")
    options = parser.parse_args()
    vars(options).update(QUICK_PLAN if options.quick else PLAN)
    return options


def measure_all(options: argparse.Namespace) -> str:
    """Everything, in a folder that is gone afterwards. Raises OpaError, NotServingError."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        made = make_gateway_place(Path(scratch) / "gateway", locate_opa())
        with serving(made):
            overhead = asyncio.run(measure_overhead(made, options.rounds, options.calls))
            idle = measure_idle(made, options.connections)
        redeem = printed("redeem.py", options.tokens, Path(scratch))
        sandbox = printed("sandbox.py", options.runs, Path(scratch))
    return f"{machine()}\n\n{overhead}\n\n{idle}\n\n{redeem}\n\n{sandbox}"


def printed(tool: str, amount: int, folder: Path) -> str:
    """What another bench prints, in a process of its own, which it may pin to a core."""
    command = [sys.executable, str(Path(__file__).with_name(tool)), str(amount)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


async def measure_overhead(made: GatewayPlace, rounds: int, calls: int) -> str:
    """One call at a time over stdio, in rounds that take turns between the two."""
    times: dict[str, list[list[float]]] = {"direct": [], "gateway": []}
    async with AsyncExitStack() as stack:
        sessions = {
            "direct": await opened(stack, made.direct()),
            "gateway": await opened(stack, made.through_gateway()),
        }
        for session in sessions.values():
            await call_times(session, WARM_UP_CALLS)
        for _ in range(rounds):
            for name, session in sessions.items():
                times[name].append(await call_times(session, calls))
    rows = [
        (title, f"{p50(times[name]):.2f}", f"{p99(times[name]):.2f}")
        for name, title in (("direct", "the MCP server itself"), ("gateway", "through the gateway"))
    ]
    added = [
        statistics.median(gateway) - statistics.median(direct)
        for gateway, direct in zip(times["gateway"], times["direct"], strict=True)
    ]
    reached = statistics.median(added)
    return (
        f"{rounds} rounds of {calls} calls each, one at a time:\n\n"
        f"{table(('one tools/call over stdio', 'p50 ms', 'p99 ms'), rows)}\n\n"
        f"- The gateway adds {reached:.2f} ms (rounds from {min(added):.2f} to {max(added):.2f}) at p50; "
        f"target ≤ {OVERHEAD_AT_MOST_MS:g} ms: {met_or_missed(met=reached <= OVERHEAD_AT_MOST_MS)}"
    )


async def opened(stack: AsyncExitStack, server: StdioServerParameters) -> ClientSession:
    """A session with a server that the client has started, as any MCP client does."""
    log = nowhere(stack)
    reading, writing = await stack.enter_async_context(stdio_client(server, errlog=log))
    session = await stack.enter_async_context(ClientSession(reading, writing))
    await session.initialize()
    return session


def nowhere(stack: AsyncExitStack) -> TextIO:
    """Where what a server says on stderr goes."""
    return stack.enter_context(Path(os.devnull).open("w"))


async def call_times(session: ClientSession, calls: int) -> list[float]:
    """Milliseconds of each call, of which none may fail."""
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        answer = await session.call_tool("echo", {"text": secrets.token_urlsafe(12)})
        times.append((time.perf_counter() - begun) * 1e3)
        assert not getattr(answer, "is_error", True), answer
    return times


def measure_idle(made: GatewayPlace, connections: int) -> str:
    """Memory that idle clients over HTTP cost, of the protocol's last version and of those before."""
    rows = []
    for mode, title in (
        ("auto", "2026-07-28, without sessions"),
        ("legacy", "before that, with a session each"),
    ):
        with serving_front(made) as process_id:
            opened, kib = asyncio.run(measure_idle_clients(made, process_id, connections, mode))
        met = met_or_missed(met=kib <= IDLE_AT_MOST_KIB)
        rows.append((title, f"{connections:,}", f"{opened:,}", f"{kib:.0f}", met))
    header = ("protocol version of the idle clients", "clients", "connections", "KiB each", "target ≤ 60")
    return table(header, rows)


async def measure_idle_clients(
    made: GatewayPlace, process_id: int, clients: int, mode: str
) -> tuple[int, float]:
    """Connections that so many clients keep open when they have listed the tools, and KiB for each of them."""
    async with AsyncExitStack() as stack:
        await opened_over_http(stack, made, mode)  # what the first makes is made once
        await asyncio.sleep(SETTLE_SECONDS)
        before, sockets = resident_mib(process_id), open_sockets(process_id)
        for _ in range(clients):
            await opened_over_http(stack, made, mode)
        await asyncio.sleep(SETTLE_SECONDS)
        opened = open_sockets(process_id) - sockets
        return opened, (resident_mib(process_id) - before) * 1_024 / max(1, opened)


async def opened_over_http(stack: AsyncExitStack, made: GatewayPlace, mode: str) -> Client:
    """A client over streamable HTTP, with the agent's credential, on connections of its own."""
    headers = {"Authorization": f"Bearer {made.agent}"}
    http = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30, limits=KEPT_OPEN)
    await stack.enter_async_context(http)
    transport = streamable_http_client(made.front, http_client=http)
    client = await stack.enter_async_context(Client(transport, mode=mode))
    await client.list_tools()
    return client


def p50(rounds: list[list[float]]) -> float:
    """Median of all calls."""
    return statistics.median(time for times in rounds for time in times)


def p99(rounds: list[list[float]]) -> float:
    """What one call in a hundred takes at least."""
    return statistics.quantiles([time for times in rounds for time in times], n=100)[-1]


if __name__ == "__main__":
    main()
