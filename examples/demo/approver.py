"""A scripted approver, who answers as a person would: with the command line, in a process of its own."""

import json
import subprocess
import sys
import threading

from world import World

LOOK_SECONDS = 0.2
LOOKS = 150


def approve_next(world: World) -> threading.Thread:
    """Approve, in the background, the next call that waits."""
    approver = threading.Thread(target=lambda: approve(world, until_pending(world)))
    approver.start()
    return approver


def approve(world: World, approval_id: str) -> None:
    """Say yes to what is shown."""
    run(world, "approve", approval_id, "--yes", "--comment", "looks right")


def deny(world: World, approval_id: str) -> None:
    """Say no."""
    run(world, "deny", approval_id, "--comment", "the message says nothing")


def until_pending(world: World) -> str:
    """The approval that waits, once one does."""
    for _ in range(LOOKS):
        waiting = json.loads(run(world, "list", "--json"))
        if waiting:
            return str(waiting[0]["approval_id"])
        threading.Event().wait(LOOK_SECONDS)
    raise TimeoutError("nothing waits for an approval")


def run(world: World, verb: str, *arguments: str) -> str:
    """What a verb of `interlock approvals` prints."""
    to = ("--address", world.service, "--credential-file", str(world.approver))
    command = [sys.executable, "-m", "interlock", "approvals", verb, *arguments, *to]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
