"""Both processes on one machine, as separate processes: the gateway never shares memory with the signing key."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path


async def run_both(config: Path) -> int:
    """Run `serve` and `gateway` until a signal, or until one ends; the status of the first that ends."""
    processes: list[Process] = []
    try:
        processes.append(await _start("serve", config))
        processes.append(await _start("gateway", config))
        return await _first_end(processes)
    finally:
        await _end_all(processes)


async def _start(verb: str, config: Path) -> Process:
    # In a session of its own, so that Ctrl-C in the terminal reaches it through us alone, once.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "interlock", verb, "--config", str(config), start_new_session=True
    )


async def _first_end(processes: list[Process]) -> int:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    ends = [asyncio.create_task(process.wait()) for process in processes]
    signalled = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait([*ends, signalled], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    return next((end.result() for end in ends if end in done), 0)


async def _end_all(processes: list[Process]) -> None:
    """The gateway first: what it ends is still reported to a service that listens."""
    for process in reversed(processes):
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
