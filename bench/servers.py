"""The servers that are measured: started as they run in earnest, and ended."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import child_named, command_line, environment

from interlock.adapters.catalog_files import write_catalog_file
from interlock.adapters.opa_binary import find_opa
from interlock.core.catalog import CatalogFile
from interlock.core.catalog_import import import_tools

PROJECT = Path(__file__).parent.parent
POLICIES = PROJECT / "policies"
SCRATCH = Path(__file__).with_name(".scratch")
PRODUCT = (sys.executable, "-m", "interlock", "serve")

START_LIMIT_SECONDS = 30.0
STOP_LIMIT_SECONDS = 15.0

_POLL_SECONDS = 0.05
_ANNOUNCED = re.compile(r"gRPC on ([^\s,]+)")
_TOOLS = PROJECT / "tests" / "data" / "mcp" / "git.json"

SETTINGS = """\
environment = "dev"

[service]
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
data_dir = "service"
catalog = ["catalog.yaml"]

[service.policy]
directory = {policies}
"""


class NotServingError(Exception):
    """A server did not start; the message says what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it listens, and the processes to measure by name."""

    address: str
    watched: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder with settings, catalog and store; `opa` is the program that is used."""

    folder: Path
    opa: Path

    @property
    def settings(self) -> Path:
        """The file of settings."""
        return self.folder / "interlock.toml"

    def interlock(self, *arguments: str) -> str:
        """Run a verb here; what it prints."""
        command = [sys.executable, "-m", "interlock", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=_environment(self.opa), stdout=subprocess.PIPE, check=True
        )
        return done.stdout.decode()


def locate_opa() -> Path:
    """INTERLOCK_OPA, else the PATH, else the project's tools folder. Raises OpaError."""
    return find_opa(os.environ, shutil.which, PROJECT / ".tools")


def opa_version() -> str:
    """What `opa version` says in its first line, `Version: 1.2.3`. Raises OpaError."""
    done = subprocess.run([locate_opa(), "version"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.partition("\n")[0].removeprefix("Version: ")


def make_place(folder: Path, opa: Path, catalog: CatalogFile, *, policies: Path = POLICIES) -> Place:
    """Settings as a newcomer has them, in a new folder."""
    folder.mkdir(parents=True)
    place = Place(folder=folder, opa=opa)
    place.settings.write_text(SETTINGS.format(policies=json.dumps(str(policies))))
    write_catalog_file(catalog, folder / "catalog.yaml")
    return place


def git_catalog() -> CatalogFile:
    """The tools of a real MCP server, as it describes them."""
    tools = json.loads(_TOOLS.read_bytes())["tools"]
    return import_tools(tools, gateway="git-gateway", server="git")


@contextlib.contextmanager
def running_service(place: Place, command: Sequence[str] = PRODUCT) -> Iterator[Server]:
    """The real decision service with its OPA, or what `command` makes of it."""
    with _running(command, place.folder, "service", _environment(place.opa)) as process:
        address = _announced(process, place.folder / "service.log")
        sidecar = child_named(process.pid, "opa")
        yield Server(address=address, watched={"service": process.pid, "opa": sidecar})


@contextlib.contextmanager
def running_echo(folder: Path, reply: Path) -> Iterator[Server]:
    """The bare server."""
    command = [sys.executable, str(Path(__file__).with_name("echo_server.py")), str(reply)]
    with _running(command, folder, "echo", dict(os.environ)) as process:
        yield Server(address=_announced(process, folder / "echo.log"), watched={"service": process.pid})


@contextlib.contextmanager
def running_opa(folder: Path, sidecar: int) -> Iterator[Server]:
    """An OPA as the service's own: its program, flags, bundle and environment, but on TCP."""
    address = f"127.0.0.1:{free_port()}"
    flags = [flag for flag in command_line(sidecar) if not flag.startswith(("--addr", "--unix-socket-perm"))]
    with _running([*flags, f"--addr={address}"], folder, "opa", environment(sidecar)) as process:
        _until_healthy(address, process, folder / "opa.log")
        yield Server(address=address, watched={"opa": process.pid})


@contextlib.contextmanager
def running(command: Sequence[str], place: Place, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the place until the end of the block, which has told that it serves."""
    with _running(command, place.folder, name, _environment(place.opa)) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise NotServingError((place.folder / f"{name}.log").read_text())
        yield process


@contextlib.contextmanager
def _running(
    command: Sequence[str], folder: Path, name: str, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the end of the block; what it says on stderr goes into `name.log`."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
    with process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address in the line that it prints when it serves."""
    assert process.stdout is not None
    if found := _ANNOUNCED.search(process.stdout.readline().decode()):
        return found.group(1)
    raise NotServingError(log.read_text())


def _until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when OPA has activated its bundle."""
    ends = time.monotonic() + START_LIMIT_SECONDS
    while not _is_healthy(address):
        if process.poll() is not None or time.monotonic() > ends:
            raise NotServingError(log.read_text())
        time.sleep(_POLL_SECONDS)


def _is_healthy(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/health?bundles", timeout=1) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def _environment(opa: Path) -> dict[str, str]:
    """Ours, without settings that somebody made for an Interlock of their own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    return own | {"INTERLOCK_OPA": str(opa)}
