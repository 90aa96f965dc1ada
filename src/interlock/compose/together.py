"""Both processes on one machine, as separate processes: the gateway never shares memory with the signing key."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from interlock.adapters.child_process import ends_with_us
from interlock.compose.process import listen_for_signals
from interlock.compose.settings import PREFIX, ServiceSettings

LOOK_SECONDS = 0.05


async def run_both(config: Path, service: ServiceSettings) -> int:
    """Run `serve` and `gateway` until a signal, or until one ends; the status of the first that ends.

    The gateway starts when the service is there, so that it finds the keys to verify with.
    """
    processes: list[Process] = []
    told = asyncio.create_task(listen_for_signals().wait())
    try:
        # In the environment, which other users cannot read: there may be a password in it.
        store = {f"{PREFIX}SERVICE__STORE": service.store} if service.store else {}
        processes.append(await _start("serve", config, store))
        listening = asyncio.create_task(_until_listening(service))
        if await _first_of(listening, told, processes) is listening:
            processes.append(await _start("gateway", config))
            await _first_of(None, told, processes)
        return next((status for process in processes if (status := process.returncode) is not None), 0)
    finally:
        await _end_all(processes)


async def _start(verb: str, config: Path, variables: Mapping[str, str] = MappingProxyType({})) -> Process:
    command = [*ends_with_us(), sys.executable, "-m", "interlock", verb, "--config", str(config)]
    # In a session of its own, so that Ctrl-C in the terminal reaches it through us alone, once.
    return await asyncio.create_subprocess_exec(
        *command, env=os.environ | dict(variables), start_new_session=True
    )


async def _until_listening(service: ServiceSettings) -> None:
    host, _, port = service.listen.rpartition(":")
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _first_of(
    listening: asyncio.Task[None] | None, told: asyncio.Task[Literal[True]], processes: list[Process]
) -> asyncio.Task[None] | None:
    """`listening`, if that comes before a signal and before the end of any process."""
    ends = {asyncio.create_task(process.wait()) for process in processes}
    others = {listening} if listening else set()
    await asyncio.wait({told, *ends, *others}, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    return listening if listening and listening.done() else None


async def _end_all(processes: list[Process]) -> None:
    """The gateway first: what it ends is still reported to a service that listens."""
    for process in reversed(processes):
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
