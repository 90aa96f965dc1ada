"""interlock approvals, verb by verb, against a real gRPC server on the real flows."""

import asyncio
import json
import os
import pty
import sys
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from interlock.adapters.policy_rules import read_modules
from interlock.cli import approvals
from interlock.cli.main import application
from interlock.client import ApprovalState, Interlock
from interlock.compose.policy_tools import changes
from interlock.core.approval_statistics import Tendency
from tests.approvals import ALICE
from tests.contract.approval_services import Service, approval_service, credential_of
from tests.fakes import ONE_APPROVES
from tests.proposals import an_answer

EVIL = "\x1b[2J\r\nforged line\x9b2J \u202egpj\u200b"


@dataclass
class Desk:
    """An approver at the command line, who is at no terminal."""

    service: Service

    async def __call__(self, *arguments: str | Path, status: int = 0, given: str = "") -> str:
        """What a verb prints, with what it says on stderr."""
        named = [*map(str, arguments), f"--address={self.service.address}"]
        environment = {"INTERLOCK_CREDENTIAL": credential_of(ALICE)}
        ran = await asyncio.to_thread(
            CliRunner().invoke, application, ["approvals", *named], env=environment, input=given
        )
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
        assert ran.exit_code == status, ran.output
        return ran.output

    async def json(self, *arguments: str | Path) -> Any:
        return json.loads(await self(*arguments, "--json"))

    async def waiting(self, number: int = 1, **proposed: Any) -> str:
        """The name of an approval that was just opened."""
        return (await self.service.escalated(number, **proposed)).approval_id


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with approval_service() as running:
        yield Desk(running)


async def test_what_waits_is_listed_by_group(desk: Desk) -> None:
    """Similar approvals stand together under their number, each with its own name; others stand alone."""
    alike = [
        await desk.waiting(number, arguments={"repo_path": ".", "max_count": number}) for number in (1, 2)
    ]
    other = await desk.waiting(3, arguments={"repo_path": "/elsewhere"})
    lines = (await desk("list")).splitlines()
    place = lines.index("2 alike:")
    assert {lines[place + 1].split()[-1], lines[place + 3].split()[-1]} == {*alike}
    assert any(line.endswith(other) for line in lines)
    listed = await desk.json("list")
    assert [each["state"] for each in listed] == ["pending"] * 3
    assert await desk.json("list", "--state=denied") == []
    assert "there are more than 1" in await desk("list", "--all", "--limit=1")


async def test_a_call_is_shown_approved_and_allowed(desk: Desk) -> None:
    """What is shown is what was proposed; approved from the command line, its agent gets the token."""
    approval_id = await desk.waiting(goal="say yes")
    shown = await desk("show", approval_id)
    assert shown.startswith(
        'tool       git_log\neffects    read\narguments\n  {\n    "repo_path": "/srv/1"\n  }\n'
    )
    assert shown.endswith('agent says (not verified)\n  "say yes"\n')
    told = await desk("approve", approval_id, "--yes", "--comment=fine")
    assert told.startswith(shown.partition("approval\n")[0])
    assert told.endswith("approved: as things are now it is allowed, when its agent asks again\n")
    assert (await desk.service.escalated(goal="say yes")).execution_token
    [used] = await desk.json("list", "--all")
    assert (used["answers"][0]["comment"], used["state"]) == ("fine", "approved")


async def test_a_no_of_the_policy_is_told(desk: Desk) -> None:
    """Approved or not, what the policy says now is said plainly, with its reasons."""
    approval_id = await desk.waiting()
    desk.service.world.policy = lambda document: an_answer("deny")
    assert "says NO, also where it is approved" in await desk("show", approval_id)
    told = await desk("approve", approval_id, "--yes")
    assert told.endswith("approved, but the policy now says no:\n  example.deny: an example\n")


async def test_a_quorum_waits_for_others(desk: Desk) -> None:
    """The first of two yeses says that it still waits."""
    desk.service.world.engine.terms = lambda document: ONE_APPROVES.model_copy(update={"quorum": 2})
    approval_id = await desk.waiting()
    assert "1/2 have approved: it still waits for others\n" in await desk("approve", approval_id, "--yes")


async def test_a_deny_needs_no_look(desk: Desk) -> None:
    """A no is said at once, and holds."""
    approval_id = await desk.waiting()
    assert await desk("deny", approval_id, "--comment=not on a Friday") == "denied\n"
    assert (await desk.service.asked_again()).verdict == "deny"
    error = await desk("approve", approval_id, "--yes", status=1)
    assert "APPROVAL_CLOSED" in error


async def test_nobody_is_asked_who_is_not_there(desk: Desk) -> None:
    """Without a terminal and without --yes nothing is approved, whatever comes in on standard input (case 52)."""
    approval_id = await desk.waiting()
    assert "nobody is here to be asked" in await desk("approve", approval_id, status=1, given="y\ny\n")
    assert "add --yes" in await desk("approve", approval_id, "--json", status=1)
    [still] = await desk.service.listed(state=ApprovalState.PENDING)
    assert (still.approval_id, still.version) == (approval_id, 1)


@pytest.mark.parametrize(("answer", "status", "state"), [("n", 1, "pending"), ("y", 0, "approved")], ids="ny")
async def test_a_person_at_a_terminal_is_asked(desk: Desk, answer: str, status: int, state: str) -> None:
    """At a terminal the question names the tool and the digest last, and only a yes is one (case 52)."""
    approval_id = await desk.waiting()
    person, terminal = pty.openpty()
    os.write(person, f"{answer}\n".encode())
    command = ("-m", "interlock", "approvals", "approve", approval_id, f"--address={desk.service.address}")
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=terminal,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "INTERLOCK_CREDENTIAL": credential_of(ALICE)},
    )
    _, asked = await running.communicate()
    for end in person, terminal:
        os.close(end)
    [approval] = await desk.service.listed()
    digest = approval.arguments_digest
    assert f"approve git_log by agent-1, digest {digest}? [y/N]" in asked.decode()
    assert (running.returncode, approval.state) == (status, state)


async def test_an_edit_from_a_file_is_shown_and_decided(desk: Desk, tmp_path: Path) -> None:
    """The difference is shown, and the changed call is what the agent may then make."""
    approval_id = await desk.waiting()
    file = tmp_path / "arguments.json"
    file.write_text('{"repo_path": "/srv/other"}')
    told = await desk("edit", approval_id, f"--arguments={file}", "--yes")
    assert told.startswith('tool  git_log\n~ "/repo_path": "/srv/1" → "/srv/other"\n')
    assert '~ "/repo_path": "/srv/1" → "/srv/other"' in await desk("show", approval_id)
    assert "nothing was changed" in await desk(
        "edit", await desk.waiting(2), "--arguments=-", "--yes", status=1, given='{"repo_path": "/srv/2"}'
    )


async def test_an_edit_in_an_editor(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EDITOR is opened on the arguments as they would be approved; what it leaves is what is sent."""
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "assert file.stat().st_mode & 0o077 == 0\n"
        "file.write_text(file.read_text().replace('/srv/1', '/srv/edited'))\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    resolved = await desk.json("edit", await desk.waiting(), "--yes")
    assert resolved["approval"]["edited"] is True
    assert (await desk.service.asked_again()).arguments_digest == resolved["approval"]["arguments_digest"]
    monkeypatch.setenv("EDITOR", "false")
    assert "ended with status 1" in await desk("edit", await desk.waiting(2), "--yes", status=1)
    monkeypatch.delenv("EDITOR")
    assert "set EDITOR" in await desk("edit", await desk.waiting(3), "--yes", status=1)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1, "a": 2}', '{"repo_path": 1e999}'])
async def test_arguments_that_are_none_are_refused(desk: Desk, text: str) -> None:
    """What is not one JSON object in one reading is sent to nobody."""
    approval_id = await desk.waiting()
    await desk("edit", approval_id, "--arguments=-", "--yes", given=text, status=1)
    [still] = await desk.service.listed()
    assert still.version == 1


async def test_the_like_is_approved_listed_and_taken_back(desk: Desk, tmp_path: Path) -> None:
    """A standing approval is given with its bounds, listed with them, and revoked."""
    schema = tmp_path / "schema.json"
    schema.write_text(
        json.dumps(
            {
                "type": "object",
                "properties": {"repo_path": {"const": "/srv/1"}},
                "required": ["repo_path"],
                "additionalProperties": False,
            }
        )
    )
    like = (f"--for-the-like={schema}", "--count=3", "--for=10m", "--this-session")
    given = (await desk.json("approve", await desk.waiting(), "--yes", *like))["standing"]
    assert (given["remaining"], given["tool"], given["session_id"]) == (3, "git_log", "session-1")
    [listed] = await desk.json("standing", "list")
    assert listed == given
    assert "3/3" in await desk("standing", "list", "--agent=agent-1")
    assert (
        await desk("standing", "revoke", given["standing_id"])
        == f"revoked {given['standing_id']}: git_log by agent-1\n"
    )
    assert await desk.json("standing", "list") == []


async def test_nothing_that_an_agent_wrote_acts(desk: Desk) -> None:
    """Whatever is in arguments and goal, no verb lets it reach a terminal as it is (case 43)."""
    approval_id = await desk.waiting(arguments={"repo_path": EVIL}, goal=EVIL)
    printed = [
        await desk(*verb)
        for verb in (
            ("list",),
            ("show", approval_id),
            ("show", approval_id, "--full"),
            ("stats",),
            ("list", "--json"),
        )
    ]
    printed.append(await desk("approve", approval_id, "--yes"))
    for text in printed:
        assert [each for each in text if unicodedata.category(each)[0] == "C" and each != "\n"] == []
        assert "\nforged line" not in text


async def test_who_watches_sees_each_once(desk: Desk) -> None:
    """What waits is printed at once, and what comes then as it comes, each once; an interrupt is no failure."""
    first = await desk.waiting(1)
    command = (
        "-m",
        "interlock",
        "approvals",
        "watch",
        "--json",
        "--every=0.5",
        f"--address={desk.service.address}",
    )
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "INTERLOCK_CREDENTIAL": credential_of(ALICE)},
    )
    assert running.stdout is not None
    seen = [json.loads(await running.stdout.readline())["approval_id"]]
    second = await desk.waiting(2)
    seen.append(json.loads(await running.stdout.readline())["approval_id"])
    running.send_signal(2)
    rest = await running.stdout.read()
    assert (seen, rest, await running.wait()) == ([first, second], b"", 0)


async def test_who_watches_is_told_that_the_service_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    """A look that reaches nobody is told, and is not the last one."""
    with Interlock("127.0.0.1:1", credential=credential_of(ALICE), timeout=0.1) as away:
        assert approvals._waiting(away) is None  # the loop around it never ends
    assert "interlock: ListApprovals ended with" in capsys.readouterr().err


async def test_what_people_answered_is_counted(desk: Desk, tmp_path: Path) -> None:
    """By reason code: what was opened and what became of it; what is always approved says what could be tried."""
    for number in (1, 2):
        await desk("approve", await desk.waiting(number), "--yes")
    await desk.waiting(3)
    [counted] = await desk.json("stats", "--least=2", f"--policies={tmp_path / 'none'}")
    assert counted == {
        "code": "example.escalate",
        "opened": 3,
        "approved": 2,
        "denied": 0,
        "edited": 0,
        "expired": 0,
        "withdrawn": 0,
        "pending": 1,
        "median_wait_seconds": 0.0,
        "tendency": "always_approved",
        "suggested_change": None,
    }
    told = await desk("stats", "--least=2", f"--policies={tmp_path / 'none'}")
    assert "example.escalate: 2 of 2 always approved" in told
    assert "interlock policy test COPY" in told
    assert await desk.json("stats", "--since=1s") == []
    assert "such as `15m`" in await desk("stats", "--since=soon", status=1)


RULE = """\
package interlock.rules.example

# METADATA
# title: An example
# custom:
#   code: example.escalate
#   change:
#     always_approved: |
#       # limits/data.yaml
#       example: {limit: 9}
escalate contains reason if reason := input
"""


async def test_a_rule_names_the_change_to_try(
    desk: Desk, tmp_path: Path, opa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is suggested for a rule that is always approved is what its METADATA says."""
    monkeypatch.setenv("INTERLOCK_OPA", str(opa))
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "example.rego").write_text(RULE)
    await desk("approve", await desk.waiting(), "--yes")
    told = await desk("stats", "--least=1", f"--policies={tmp_path}")
    assert "To try:\n    # limits/data.yaml\n    example: {limit: 9}\n" in told
    [counted] = await desk.json("stats", "--least=1", f"--policies={tmp_path}")
    assert counted["suggested_change"] == "# limits/data.yaml\nexample: {limit: 9}\n"


def test_changes_to_try_are_of_rules_that_ask_people(
    policies: Path, opa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the rules that ship suggest is YAML of the data, for one or the other answer to an escalate."""
    monkeypatch.setenv("INTERLOCK_OPA", str(opa))
    asking = {
        rule.code
        for module in read_modules(opa, policies)
        if module.holds_rules
        for rule in module.rules
        if rule.name == "escalate"
    }
    named = changes(policies)
    assert "effects.needs_person" in named
    assert named.keys() <= asking
    for each in named.values():
        assert {*each} <= {*Tendency}
        assert all(isinstance(yaml.safe_load(text), dict) for text in each.values())
