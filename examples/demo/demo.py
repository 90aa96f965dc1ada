"""The demo: a decision service, a gateway before a real MCP server, and a scripted agent that meets every answer.

Everything goes through the public interfaces: the `interlock` command and the Python client.
"""

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from story import Step, tell
from world import TOKEN_LIFE_SECONDS, World, make_world

from interlock.client import Interlock

START_SECONDS = 60.0
PORTS = (7410, 7411, 7420, 7421, 7422)


def main() -> None:
    """Make the world, play the story in it, and serve on or end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="go on serving until Ctrl-C")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="folder to make the demo in")
    options = parser.parse_args()
    world = make_world(options.folder.resolve(), free_ports())
    with running(world):
        show(tell(world))
        verified = interlock(world, "log", "verify")
        print(f"The decision log: {verified}")
        if options.serve:
            serve(world)


def free_ports() -> tuple[int, ...]:
    """The usual ports, or any others where those are taken."""
    sockets = [socket.socket() for _ in PORTS]
    try:
        for opened, port in zip(sockets, PORTS, strict=True):
            opened.bind(("127.0.0.1", port))
    except OSError:
        for opened in sockets:
            opened.close()
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = tuple(opened.getsockname()[1] for opened in sockets)
    for opened in sockets:
        opened.close()
    return ports


@contextlib.contextmanager
def running(world: World) -> Iterator[None]:
    """`interlock up` until the end of the block; its log goes into a file."""
    with (world.folder / "interlock.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "interlock", "up", "--config", str(world.config)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            with Interlock(world.service, credential=world.agent, gateway=world.gateway) as client:
                client.wait_ready(START_SECONDS)
            yield
        except Exception:
            print(f"What the services said is in {log.name}", file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait()


def show(steps: list[Step]) -> None:
    """What happened, as a table."""
    table = Table(title="What the agent proposed, and what came of it", title_justify="left", show_lines=True)
    for name, ratio in (("#", None), ("The agent", 4), ("Interlock", 2), ("Why", 5), ("What came of it", 5)):
        table.add_column(name, ratio=ratio, overflow="fold")
    for number, step in enumerate(steps, start=1):
        table.add_row(str(number), *(Text(cell) for cell in (step.did, step.answer, step.why, step.result)))
    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(table)


def interlock(world: World, *arguments: str) -> str:
    """What a verb of the command prints."""
    command = [sys.executable, "-m", "interlock", *arguments, "--config", str(world.config)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def serve(world: World) -> None:
    """Say what can be tried, and wait for Ctrl-C."""
    config = f"--config {shown(world.config)}"
    agent = f"--address {world.service} --credential-file {shown(world.folder / 'agent.credential')}"
    call = f"git_log '{json.dumps({'repo_path': str(shown(world.repository))})}'"
    token = shown(world.folder / "token")
    print(
        f"""
Serving until Ctrl-C:
  decision service  gRPC {world.service}, HTTP {world.service_http} (/readyz, /metrics, /.well-known/jwks.json)
  gateway           gRPC {world.gateway}, MCP http://{world.front}/mcp, HTTP {world.gateway_http}

Try in another terminal, here (the demo's tokens live {TOKEN_LIFE_SECONDS} seconds, so decide and execute go together):
  rm -f {token}
  .venv/bin/interlock decide {call} {agent} --token-file {token} &&
    .venv/bin/interlock execute {call} --gateway {world.gateway} --token-file {token}
  .venv/bin/interlock log list {config}
  .venv/bin/interlock executions list {config}
  .venv/bin/interlock doctor {config}
""",
        flush=True,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    print("Ending.")


def shown(path: Path) -> Path:
    """The path as one types it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    main()
