"""The OPA sidecar: a supervised child on a unix socket that only this user can open."""

import asyncio
import os
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from interlock.adapters.backoff import jittered
from interlock.adapters.child_process import ends_with_us
from interlock.adapters.opa_client import OpaAddress

log = structlog.get_logger()

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""A child that lived so long is restarted as if it were the first time."""

STOP_LIMIT_SECONDS = 3.0
POLL_SECONDS = 0.02

MEMORY_LIMIT_BYTES = 1024**3
ADDRESS_SPACE_BYTES = 8 * 1024**3
"""The Go runtime reserves far more addresses than it uses; this only ends a child that runs away (case 13)."""

_SAID_BYTES = 2000


class SidecarError(Exception):
    """OPA did not start; the message says what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarOptions:
    """What the child runs: the binary, the signed bundle, and the public key that the bundle must verify with."""

    opa: Path
    bundle: Path
    verification_key: Path
    signing_algorithm: str
    start_limit_seconds: float = 15.0


class OpaSidecar:
    """Runs OPA, and runs it again when it dies, with jittered backoff (case 57), until `stop`."""

    def __init__(self, options: SidecarOptions) -> None:
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="interlock-opa-"))  # mode 0700
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._delay = jittered(first=FIRST_DELAY_SECONDS, longest=LONGEST_DELAY_SECONDS)
        self.restarts = 0

    @property
    def address(self) -> OpaAddress:
        """Where the child listens, also across restarts."""
        return OpaAddress(socket=self._socket)

    @property
    def process_id(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Start the child and wait until `ready`. Raises SidecarError; `stop` is due then too."""
        _check_program(self._options.opa)
        self._process = await self._spawn()
        try:
            async with asyncio.timeout(self._options.start_limit_seconds):
                await self._until_ready(self._process, ready)
        except TimeoutError as error:
            raise SidecarError(
                "opa started, but the expected bundle revision did not answer within "
                f"{self._options.start_limit_seconds:g} s"
            ) from error
        self._supervisor = asyncio.create_task(self._supervise(self._process))

    async def stop(self) -> None:
        """End the child and remove its socket. Again is allowed."""
        if self._supervisor:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        if self._process:
            await _end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _socket(self) -> Path:
        return self._folder / "opa.sock"

    async def _spawn(self) -> Process:
        """Raises SidecarError: the system gives us no process."""
        self._socket.unlink(missing_ok=True)
        try:
            return await asyncio.create_subprocess_exec(
                *ends_with_us(address_space_bytes=ADDRESS_SPACE_BYTES),
                *self._command(),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                env=_ENVIRONMENT,
                # A terminal's Ctrl-C is for us: OPA is needed until what was taken is answered.
                start_new_session=True,
            )
        except OSError as error:
            raise SidecarError(f"opa cannot be started: {error.strerror}") from error

    def _command(self) -> list[str]:
        options = self._options
        return [
            str(options.opa.absolute()),
            "run",
            "--server",
            f"--addr=unix://{self._socket}",
            "--unix-socket-perm=600",
            "--skip-version-check",
            "--log-level=error",
            f"--verification-key={options.verification_key.absolute()}",
            f"--signing-alg={options.signing_algorithm}",
            "--bundle",
            str(options.bundle.absolute()),
        ]

    async def _until_ready(self, process: Process, ready: Callable[[], Awaitable[bool]]) -> None:
        while not (self._socket.exists() and await ready()):
            if process.returncode is not None:
                raise SidecarError(f"opa ended at once: {await _last_words(process)}")
            await asyncio.sleep(POLL_SECONDS)

    async def _supervise(self, process: Process) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            await _watch(process)
            failures = 0 if loop.time() - began > STEADY_SECONDS else failures
            delay = self._delay(failures)
            log.error("opa_died", exit_code=process.returncode, restart_in_seconds=round(delay, 3))
            await asyncio.sleep(delay)
            failures += 1
            process = await self._restart(process)

    async def _restart(self, ended: Process) -> Process:
        """A new child, or the old one where none can be had now."""
        try:
            self._process = await self._spawn()
        except SidecarError as error:
            log.error("opa_not_restarted", error=str(error))
            return ended
        self.restarts += 1
        return self._process


async def _watch(process: Process) -> None:
    """Wait for the child's end, and pass on what it says of errors."""
    assert process.stdout is not None
    while said := await process.stdout.read(2**16):
        log.warning("opa_says", text=_text(said))
    await process.wait()


async def _last_words(process: Process) -> str:
    return _text((await process.communicate())[0]) or f"it said nothing, with exit code {process.returncode}"


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        # Reading on lets go of the pipe, which a child that says much could otherwise not leave.
        await asyncio.wait_for(process.communicate(), STOP_LIMIT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.communicate()


def _check_program(opa: Path) -> None:
    if not opa.is_file():
        raise SidecarError(f"opa cannot be started: there is no file `{opa}`")
    if not os.access(opa, os.X_OK):
        raise SidecarError(f"opa cannot be started: `{opa}` is not executable")


def _text(said: bytes) -> str:
    return said[-_SAID_BYTES:].decode("utf-8", "replace").strip()


# Nothing of ours reaches the policies' engine; OPA would also take any of its flags from the environment.
_ENVIRONMENT = {"HOME": "/nonexistent", "GOMEMLIMIT": str(MEMORY_LIMIT_BYTES), "GOGC": "400"}
