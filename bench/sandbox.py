"""What a command's sandbox costs: `.venv/bin/python bench/sandbox.py [RUNS]` prints a Markdown table, in some seconds.

`/usr/bin/true` through the connector (words made, path looked up, sandbox made, limits set, run, everything gone),
against a bare process that is started and waited for, one after the other and in turns.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from interlock.adapters.command import Commands
from interlock.adapters.file_paths import resolve_path
from interlock.adapters.sandbox_place import locate_sandbox
from interlock.core.catalog import CatalogFile, Tool, build_catalog
from interlock.core.destinations import destinations_of
from interlock.ports import ToolCall

RUNS = 150
WARM_UP = 10
GOAL_MILLISECONDS = 60
PROGRAM = "/usr/bin/true"

Run = Callable[[], Awaitable[None]]


def main(runs: int) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        bare, sandboxed = uvloop.run(measure(a_call(Path(name).resolve()), runs))
    print("| start of a command | p50 | p95 | p99 | goal |\n| --- | --- | --- | --- | --- |")
    print(row("a bare process", bare, ""))
    print(row("in its sandbox, through the connector", sandboxed, f"p50 ≤ {GOAL_MILLISECONDS} ms"))


def a_call(folder: Path) -> ToolCall:
    """A call of a command that sees one folder, and names a file in it."""
    (folder / "file").touch()
    tool = a_tool(str(folder))
    arguments = {"path": "file"}
    return ToolCall(
        tool=tool,
        arguments=arguments,
        destinations=destinations_of(tool, arguments, resolve_path),
        idempotency_key="token-1",
        limit_seconds=30.0,
        max_result_bytes=2**20,
    )


def a_tool(folder: str) -> Tool:
    """The command."""
    file = {
        "gateway": "gateway-1",
        "server": "commands",
        "roots": {"files": folder},
        "tools": [
            {
                "name": "nothing",
                "effects": ["read"],
                "arguments": {"type": "object", "properties": {"path": {"type": "string"}}},
                "roles": {"/path": "path"},
                "command": {"argv": [PROGRAM, "{path}"], "roots": ["files"]},
            }
        ],
    }
    return build_catalog([CatalogFile.model_validate(file)]).tools["nothing"]


async def measure(call: ToolCall, runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each run, bare and in the sandbox."""
    commands = Commands(locate_sandbox(), {"commands": {}})

    async def sandboxed() -> None:
        prepared = await commands.prepare(call)
        result = await prepared.run()
        await prepared.close()
        if result.failed:
            raise RuntimeError(f"the command failed: {result.value}")

    times: dict[Run, list[float]] = {bare: [], sandboxed: []}
    for run in [bare, sandboxed] * (WARM_UP + runs):
        times[run].append(await timed(run))
    return times[bare][WARM_UP:], times[sandboxed][WARM_UP:]


async def bare() -> None:
    """Start a process and wait for its end."""
    process = await asyncio.create_subprocess_exec(PROGRAM)
    await process.wait()


async def timed(run: Run) -> float:
    """Milliseconds of one run."""
    begin = time.perf_counter()
    await run()
    return (time.perf_counter() - begin) * 1_000


def row(name: str, times: Sequence[float], goal: str) -> str:
    """A row of the table."""
    cuts = statistics.quantiles(times, n=100)
    told = " | ".join(f"{cuts[percent - 1]:.1f} ms" for percent in (50, 95, 99))
    return f"| {name} | {told} | {goal} |"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
