"""Commands in a sandbox: bubblewrap's namespaces around them, limits upon them, and nothing left of them."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, cast

from interlock.adapters.sandbox_options import MADE_UP, SandboxedCommand, limited, options

KEPT_OF_TOO_MUCH_BYTES = 65_536
"""So much of the beginning is kept of an output that was longer than its limit."""

KILLED = 128 + signal.SIGKILL

_NOBODY = 65_534
_CHUNK_BYTES = 65_536


class NotStarted(Exception):
    """The sandbox could not be made, so nothing ran. The message is what bubblewrap says of it."""


class TimeLimitReached(Exception):
    """The command was killed at its limit of real time, and everything that it had started with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command wrote, or the beginning of it where it was `truncated`."""

    data: bytes = field(repr=False)
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended. `exit_status` is 128 and the signal's number where a signal ended it, as in a shell."""

    exit_status: int
    stdout: Output
    stderr: Output


class Sandbox:
    """Runs commands, each in a sandbox of its own.

    A gateway that runs as root gives that up for them: the kernel sets no limit on the processes of root.
    """

    def __init__(self, bwrap: str, prlimit: str) -> None:
        self._bwrap = bwrap
        self._prlimit = prlimit

    async def run(self, command: SandboxedCommand) -> Ended:
        """Run it to its end, and end everything that it started.

        An output that passes its limit ends the command: it is killed then. Raises NotStarted, and TimeLimitReached,
        which leave nothing running either.
        """
        with contextlib.ExitStack() as stack:
            try:
                running = self._start(command, stack)
            except OSError as error:
                raise NotStarted(error.strerror) from error
            try:
                async with asyncio.timeout(command.limits.wall_seconds):
                    return await running.to_its_end(command.limits.output_bytes)
            except TimeoutError as error:
                raise TimeLimitReached from error
            finally:
                await asyncio.shield(running.kill())

    def _start(self, command: SandboxedCommand, stack: contextlib.ExitStack) -> "_Running":
        """Start bubblewrap, in this thread: it ends with the thread that started it (PR_SET_PDEATHSIG, prctl(2))."""
        released, release = _pipe(stack)
        told, tell = os.pipe()
        stack.callback(os.close, told)
        files = {path: _in_memory(stack, text.encode()) for path, text in MADE_UP.items()}
        stated = options(command, files, release=released, hold=release, status=tell)
        data = _in_memory(stack, b"".join(os.fsencode(option) + b"\0" for option in stated))
        try:
            process = stack.enter_context(
                subprocess.Popen(  # noqa: S603 - words, no shell
                    [self._bwrap, "--args", str(data), "--", *limited(self._prlimit, command)],
                    env={},
                    stdin=_in_memory(stack, command.stdin),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(released, release, tell, data, *files.values()),
                    **_another_user(),
                )
            )
        finally:
            os.close(tell)
        monitor = os.pidfd_open(process.pid)
        stack.callback(os.close, monitor)
        return _Running(process, stack, monitor=monitor, release=release, told=told)


class _Running:
    """A command in its sandbox, from its start to the end of everything in it."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        stack: contextlib.ExitStack,
        *,
        monitor: int,
        release: int,
        told: int,
    ) -> None:
        self._process = process
        self._stack = stack
        self._monitor = monitor
        self._release = release
        self._told = told
        self._first: int | None = (
            None  # in the sandbox: with it the kernel ends all others, pid_namespaces(7)
        )
        self._found = asyncio.create_task(self._find())
        self._reading: list[asyncio.Task[Output]] = []

    async def to_its_end(self, output_bytes: int) -> Ended:
        """Let it run. Raises NotStarted."""
        for stream in (self._process.stdout, self._process.stderr):
            reading = _read(cast("IO[bytes]", stream).fileno(), output_bytes, self._signal)
            self._reading.append(asyncio.create_task(reading))
        await asyncio.shield(self._found)
        os.write(self._release, b"\n")
        await self._gone()
        stdout, stderr = await asyncio.gather(*self._reading)
        exit_status = _exit_status(await _line(self._told))
        if stdout.truncated or stderr.truncated:
            exit_status = KILLED
        if exit_status is None:
            raise NotStarted(stderr.data.decode(errors="replace").strip())
        return Ended(exit_status=exit_status, stdout=stdout, stderr=stderr)

    async def kill(self) -> None:
        """End everything that is left, and return when it is gone."""
        await self._found  # killed before, bubblewrap would leave that process behind
        self._signal()
        await self._gone()
        await asyncio.gather(*self._reading, return_exceptions=True)
        if self._first is not None:
            with contextlib.suppress(
                ChildProcessError
            ):  # it is ours only where we are the init of a container
                os.waitid(os.P_PIDFD, self._first, os.WEXITED)  # noqa: ASYNC222 - it has ended

    async def _find(self) -> None:
        """The first process in the sandbox. It waits to be released: where we were killed before, nothing ever runs."""
        told = await _line(self._told)
        with contextlib.suppress(ProcessLookupError, ValueError):  # it is gone already, or never came
            self._first = os.pidfd_open(json.loads(told)["child-pid"])
            self._stack.callback(os.close, self._first)

    def _signal(self) -> None:
        for process in (self._first, self._monitor):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)

    async def _gone(self) -> None:
        for process in (self._monitor, self._first):
            if process is not None:
                await _readable(process)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _in_memory(stack: contextlib.ExitStack, data: bytes) -> int:
    """A descriptor to read `data` from."""
    descriptor = os.memfd_create("interlock")
    stack.callback(os.close, descriptor)
    with os.fdopen(os.dup(descriptor), "wb") as stream:
        stream.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _another_user() -> dict[str, Any]:
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}


async def _read(stream: int, limit: int, end: Callable[[], None]) -> Output:
    """All that is written, or the beginning of it where that is more than `limit` bytes; `end` is called then."""
    kept = bytearray()
    while chunk := await _some(stream):
        if len(kept) <= limit:
            kept += chunk
        if len(kept) > limit:
            end()
    if len(kept) <= limit:
        return Output(data=bytes(kept), truncated=False)
    return Output(data=bytes(kept[: min(limit, KEPT_OF_TOO_MUCH_BYTES)]), truncated=True)


async def _some(stream: int) -> bytes:
    """The next bytes of a pipe, empty at its end."""
    await _readable(stream)
    return os.read(stream, _CHUNK_BYTES)


async def _line(stream: int) -> bytes:
    """The next line of a pipe, without it where the pipe ended."""
    line = b""
    while not line.endswith(b"\n") and (more := await _some(stream)):
        line += more
    return line


async def _readable(descriptor: int) -> None:
    """Return when there is something to read; of a process's pidfd, when it has ended (pidfd_open(2))."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


def _exit_status(told: bytes) -> int | None:
    """The command's, None where it was not reached: bubblewrap tells it only where the program was there."""
    try:
        status = json.loads(told)["exit-code"]
    except ValueError:
        return None
    return status if isinstance(status, int) else None
