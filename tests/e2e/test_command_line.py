"""The command line: every verb explains itself, gives JSON to programs, and nothing raw to terminals."""

import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from interlock.cli.main import application
from tests.e2e.processes import environment
from tests.e2e.world import World

EVIL = "\x1b[31mred\x1b[0m\r\nforged line\x9b2J \u202egpj <script>alert(1)</script> \x07"


def verbs(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of each verb, and of each group of verbs."""
    below = getattr(command, "commands", {}).items()
    return [path, *(verb for name, group in below for verb in verbs(group, (*path, name)))]


@pytest.mark.parametrize("path", verbs(typer.main.get_command(application)), ids=" ".join)
def test_every_verb_explains_itself(path: Sequence[str]) -> None:
    """`--help` says what a verb does, in a sentence."""
    result = CliRunner().invoke(application, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert "." in result.stdout.partition("Options:")[0].partition("\n")[2]


@pytest.fixture(scope="module")
def credential_file(world: World) -> Path:
    """A file with the credential of an agent."""
    path = world.folder / "cli-agent.credential"
    world.credential("agent", "cli", "tester", file=path)
    return path


def interlock(world: World, *arguments: str | Path) -> tuple[int, str]:
    """Run a verb in this process, where it is quicker: its exit status and what it prints."""
    config = (
        []
        if arguments[0] in ("decide", "execute", "policy")
        else ["--config", str(world.folder / "interlock.toml")]
    )
    if arguments[:2] == ("token", "inspect"):
        config = []
    result = CliRunner().invoke(
        application, [*map(str, arguments), *config], env={"INTERLOCK_OPA": str(world.opa)}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def parsed(world: World, *arguments: str | Path, status: int = 0) -> Any:
    """What a verb prints, read as JSON."""
    found, printed = interlock(world, *arguments)
    assert found == status, printed
    return json.loads(printed)


def test_verbs_that_show_data_show_it_as_json(world: World, policies: Path, tmp_path: Path) -> None:
    """Each verb that prints data prints one JSON document with `--json`."""
    made = parsed(world, "credentials", "create", "--kind=auditor", "--name=json", "--tenant=acme", "--json")
    assert made["credential"].startswith("ilk_")
    listed = parsed(world, "credentials", "list", "--json")
    assert made["credential_id"] in [row["credential_id"] for row in listed]
    assert made["credential"] not in json.dumps(listed)
    assert {"git_status", "echo"} <= {row["name"] for row in parsed(world, "catalog", "list", "--json")}
    assert "signing" in {row["state"] for row in parsed(world, "keys", "list", "--json")}
    assert parsed(world, "log", "list", "--json")[0]["log_index"] == 0
    assert parsed(world, "log", "show", "0")["record"]["type"] == "policy_activation"
    assert parsed(world, "log", "verify", "--json")["verified"] is True
    assert isinstance(parsed(world, "executions", "list", "--json"), list)
    assert {row["problem"] for row in parsed(world, "doctor", "--json")} == {""}
    assert parsed(world, "policy", "check", policies, "--json") == []
    built = parsed(
        world,
        "policy",
        "build",
        policies,
        f"--output={tmp_path / 'bundle.tar.gz'}",
        f"--key-folder={tmp_path / 'key'}",
        "--json",
    )
    assert Path(built["bundle"]).is_file()
    _, exported = interlock(world, "log", "export")
    places = [json.loads(line)["log_index"] for line in exported.splitlines()]
    assert places
    assert places == list(range(len(places)))


def test_an_agent_by_hand(world: World, credential_file: Path, tmp_path: Path) -> None:
    """`decide`, `token` and `execute` do by hand what an agent does, and a script reads their answers."""
    token_file = tmp_path / "token"
    options = (f"--address={world.service.grpc}", f"--credential-file={credential_file}", "--json")
    decided = parsed(world, "decide", "echo", '{"text": "hello"}', *options, f"--token-file={token_file}")
    assert decided["verdict"] == "allow"
    assert "execution_token" not in decided
    assert token_file.stat().st_mode & 0o777 == 0o600
    assert parsed(world, "token", "inspect", token_file)["verified"] is False
    assert parsed(world, "token", "verify", token_file)["decision_id"] == decided["decision_id"]
    gateway = f"--gateway={world.gateway.grpc}"
    ran = parsed(
        world, "execute", "echo", '{"text": "hello"}', f"--token-file={token_file}", gateway, "--json"
    )
    assert (ran["outcome"], ran["result"]["structuredContent"]) == ("succeeded", {"text": "hello"})
    assert parsed(world, "decide", "no_such_tool", *options, status=10)["verdict"] == "deny"
    assert parsed(world, "decide", "git_status", *options, status=10)["verdict"] == "deny"


def test_a_real_process_takes_a_token_from_a_pipe(world: World, credential_file: Path) -> None:
    """The installed command works as the in-process one does, and an error is a sentence on stderr."""
    decided = world.interlock(
        "decide", "echo", "--json", f"--address={world.service.grpc}", f"--credential-file={credential_file}"
    )
    assert decided.returncode == 0, decided.stderr
    gateway = f"--gateway={world.gateway.grpc}"
    ran = world.interlock("execute", "echo", gateway, given=json.loads(decided.stdout)["execution_token"])
    assert ran.returncode == 0, ran.stderr
    refused = world.interlock("execute", "echo", gateway, given="a.b.c")
    assert refused.returncode == 1
    assert refused.stderr.startswith("interlock: Execute ended with PERMISSION_DENIED TOKEN_MALFORMED")
    assert "Traceback" not in refused.stderr


def test_nothing_raw_reaches_a_terminal(world: World) -> None:
    """What an agent wrote cannot act on the terminal of who reads the log (case 43)."""
    agent = world.agent("tester", name="evil")
    decision = agent.decide("echo", {EVIL: EVIL, "password": 7}, goal=EVIL)
    for arguments in (
        ("log", "list", f"--decision-id={decision.decision_id}"),
        ("log", "list", f"--decision-id={decision.decision_id}", "--json"),
        ("log", "show", str(decision.log_index)),
        ("executions", "list"),
        ("credentials", "list"),
    ):
        _, printed = interlock(world, *arguments)
        acting = [
            character
            for character in printed
            if unicodedata.category(character)[0] == "C" and character != "\n"
        ]
        assert acting == []
        assert "\nforged line" not in printed
    shown = parsed(world, "log", "show", str(decision.log_index))["record"]
    assert shown["input"]["context"]["goal"] == EVIL


def test_exact_bytes_are_not_written_to_a_terminal(world: World) -> None:
    """`log export` gives the bytes that hashes cover, control characters too, so not to a terminal (case 43)."""
    terminal, ours = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "interlock", "log", "export"],
            cwd=world.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=ours,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(terminal)
    assert done.returncode == 1
    assert "send them to a file or a pipe" in done.stderr


def test_a_decision_by_hand_shows_nothing_raw(world: World, credential_file: Path) -> None:
    """Reasons that speak of what an agent sent are shown with its control characters as code points (case 43)."""
    status, printed = interlock(
        world,
        "decide",
        "git_log",
        json.dumps({EVIL: 1}),
        f"--address={world.service.grpc}",
        f"--credential-file={credential_file}",
    )
    assert status == 10
    assert not [
        character for character in printed if unicodedata.category(character)[0] == "C" and character != "\n"
    ]
