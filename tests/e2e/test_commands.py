"""Commands end to end: a policy sees where their arguments lead, and they run in a sandbox as it was decided."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.client import InterlockCallError
from interlock.core.record import RecordType
from tests.e2e.processes import run_interlock
from tests.e2e.world import GATEWAY, World
from tests.open_folders import open_folder

_READER = """
files-reader:
  tools: [show, put]
  effects: [read, write]
"""

ARGUMENTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"path": {"type": "string"}, "text": {"type": "string"}},
    "required": ["path"],
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The files that commands may see, in `root`, and some beside it."""
    with open_folder() as folder:
        (folder / "root").mkdir()
        (folder / "root").chmod(0o777)
        (folder / "root" / "file").write_text("inside")
        (folder / "secret").write_text("outside")
        yield folder


@pytest.fixture(scope="module")
def files(
    opa: Path, policies: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A world whose gateway has commands that show a file, and put text into one."""
    with World(tmp_path_factory.mktemp("files"), opa=opa, policies=policies) as world:
        _add_commands(world, folder / "root")
        yield world.start()


def _add_commands(world: World, root: Path) -> None:
    both: dict[str, Any] = {"arguments": ARGUMENTS, "roles": {"/path": "path"}}
    show = {"argv": ["cat", "--", "{path}"], "roots": ["files"]}
    put = {"argv": ["tee", "--", "{path}"], "stdin": "text", "roots": ["files"], "writable": ["files"]}
    catalog = {
        "gateway": GATEWAY,
        "server": "tools",
        "roots": {"files": str(root)},
        "tools": [
            {"name": "show", "effects": ["read"], **both, "command": show},
            {"name": "put", "effects": ["write"], **both, "command": put},
        ],
    }
    (world.folder / "commands.yaml").write_text(json.dumps(catalog))
    with (world.folder / "policies" / "roles" / "data.yaml").open("a") as roles:
        roles.write(_READER)
    for part in ("service", "gateway"):
        world.settings[part]["catalog"] = ["odd.yaml", "commands.yaml"]
    world.settings["gateway"]["commands"] = {"tools": {}}


def test_what_is_decided_of_a_path_is_what_the_command_gets(files: World, folder: Path) -> None:
    """The record has the canonical path, and the command read and wrote there (case 47)."""
    agent = files.agent("files-reader")
    read = agent.run("show", {"path": ".//new/../file"})
    assert read.execution
    assert read.execution.result == {"exit_status": 0, "stdout": "inside", "stderr": ""}
    [decided] = [
        record
        for record in files.records(RecordType.DECISION)
        if record["decision_id"] == read.decision.decision_id
    ]
    assert [each["canonical"] for each in decided["input"]["destinations"]] == [f"{folder}/root/file"]

    agent.run("put", {"path": "written", "text": "$(id); echo x | node\n"})
    assert (folder / "root" / "written").read_text() == "$(id); echo x | node\n"


DENIED = {
    "../secret": "destinations.outside_roots",
    "/etc/passwd": "destinations.outside_roots",
    "%2e%2e/secret": "destinations.malformed",
    "..\\secret": "destinations.malformed",
    "out": "destinations.outside_roots",
}


@pytest.mark.parametrize("path", DENIED)
def test_a_path_that_leads_out_is_denied(files: World, folder: Path, path: str) -> None:
    """The deny says which argument, and why (case 47)."""
    link = folder / "root" / "out"
    if not link.is_symlink():
        link.symlink_to("../secret")
    decision = files.agent("files-reader").decide("show", {"path": path})
    assert decision.verdict == "deny"
    assert [(reason.code, reason.path) for reason in decision.reasons] == [(DENIED[path], "/path")]


def test_a_file_that_becomes_a_link_after_the_decision_is_not_read(files: World, folder: Path) -> None:
    """The token of before is refused, once and for all, and that is on record (case 47)."""
    agent = files.agent("files-reader")
    (folder / "root" / "swapped").write_text("inside")
    decision = agent.decide("show", {"path": "swapped"})
    (folder / "root" / "swapped").unlink()
    (folder / "root" / "swapped").symlink_to("../secret")
    with pytest.raises(InterlockCallError) as caught:
        agent.execute(decision, "show", {"path": "swapped"})
    assert caught.value.reason == "DESTINATION_CHANGED"


def test_doctor_makes_the_sandboxes(files: World) -> None:
    """`interlock doctor` makes the sandbox of each command, as the gateway does."""
    assert "tools in a sandbox of bubblewrap" in files.interlock("doctor").stdout


def test_a_gateway_with_commands_does_not_start_without_bubblewrap(files: World, tmp_path: Path) -> None:
    """It says what to install, and no command ever runs outside a sandbox; so does `interlock doctor`."""
    files.write_settings(name="bare.toml", gateway={"data_dir": str(tmp_path)})
    variables = {"PATH": str(tmp_path), "INTERLOCK_CONFIG": "bare.toml", "INTERLOCK_OPA": str(files.opa)}
    gateway = run_interlock("gateway", folder=files.folder, **variables)
    assert gateway.returncode == 1
    assert "apt-get install bubblewrap" in gateway.stderr
    assert "Traceback" not in gateway.stderr
    assert "apt-get install bubblewrap" in run_interlock("doctor", folder=files.folder, **variables).stdout
