"""Processes of `python -m interlock`, as an operator runs them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

_ANNOUNCED = re.compile(r"(?:gRPC|MCP) on (\S+), HTTP on (\S+)\n")
_POLL_SECONDS = 0.02


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when `holds` does. Raises TimeoutError."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(_POLL_SECONDS)


def environment(**variables: str) -> dict[str, str]:
    """Ours, without settings that somebody made for an Interlock of their own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    return own | variables


def run_interlock(
    *arguments: str | Path, folder: Path, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "interlock", *map(str, arguments)],
        cwd=folder,
        env=environment(**variables),
        input=given,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_SECONDS,
        check=False,
    )


class Server:
    """One `serve` or `gateway` that listens. What it says is in the files `output` and `errors`.

    `grpc` is the address of its way in, which for MCP is a URL.
    """

    def __init__(
        self, verb: str, folder: Path, name: str, variables: Mapping[str, str], *options: str
    ) -> None:
        """Start it in `folder` and wait for the line that announces where it listens."""
        self.output, self.errors = folder / f"{name}.out", folder / f"{name}.err"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "interlock", verb, *options],
                cwd=folder,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        try:
            wait_until(lambda: self._announced() is not None or self.process.poll() is not None)
            announced = self._announced()
            assert announced, f"`{verb}` ended with {self.process.returncode}: {self.said()}"
        except BaseException:
            self.kill()
            raise
        self.grpc, self.http = announced

    def _announced(self) -> tuple[str, str] | None:
        found = _ANNOUNCED.search(self.output.read_text())
        return (found[1], found[2]) if found else None

    def said(self) -> str:
        """What it wrote to stderr so far."""
        return self.errors.read_text()

    def children(self, name: str) -> list[int]:
        """Process ids of its children that run the program `name` (proc(5))."""
        listed = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        found = [int(number) for children in listed for number in children.read_text().split()]
        return [number for number in found if _program(number) == name]

    def end(self) -> int:
        """SIGTERM; its exit status."""
        self.process.terminate()
        return self.exit_status()

    def exit_status(self) -> int:
        """Wait for its end."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL, as a power cut or the kernel would. Again is allowed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)


def _program(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
