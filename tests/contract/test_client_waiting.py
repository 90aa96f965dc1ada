"""Both clients wait for approvals on one real gRPC server on loopback, whose answers each test scripts."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from typer.testing import CliRunner, Result

from interlock.cli.main import application
from interlock.client import Decision, Run, Verdict
from interlock.core.errors import ErrorReason
from interlock.v1 import decision_pb2, decision_service_pb2
from tests.contract.scripted_services import (
    ARGUMENTS,
    CREDENTIAL,
    TOKEN,
    Answer,
    Asker,
    Server,
    decides,
    gives,
    raises,
)

PENDING = {
    "verdict": decision_pb2.VERDICT_ESCALATE,
    "execution_token": "",
    "approval_id": "approval-1",
}
EDITED = {"amount": 4, "to": "a-secret-account"}


def waited(**changes: Any) -> Message:
    fields = {
        "decision_id": "d-2",
        "request_id": "r-1",
        "verdict": decision_pb2.VERDICT_ALLOW,
        "execution_token": TOKEN,
    }
    return decision_service_pb2.WaitDecisionResponse(decision=decision_pb2.Decision(**{**fields, **changes}))


def stands() -> Answer:
    """The escalated decision, as it is told shortly before the deadline of a call."""
    return gives(waited(decision_id="d-1", **PENDING))


async def escalated(ask: Asker, server: Server) -> Decision:
    server.decisions.decide.steps.append(decides(**PENDING))
    made = await ask("decide", "send_money", ARGUMENTS, request_id="r-1")
    assert isinstance(made, Decision)
    return made


async def test_waits_until_it_is_decided(ask: Asker, server: Server) -> None:
    """One wait is as many calls as the service needs, and ends with the decision that follows."""
    decision = await escalated(ask, server)
    server.decisions.wait_decision.steps.extend([stands(), gives(waited())])
    told = await ask("wait_decision", decision, timeout=30.0)
    assert (told.decision_id, told.allowed, told.execution_token) == ("d-2", True, TOKEN)
    assert [each.decision_id for each in server.decisions.wait_decision.asked] == ["d-1", "d-1"]


async def test_an_approval_that_follows_another_is_waited_for(ask: Asker, server: Server) -> None:
    """Where the proposal was escalated anew, it is that decision that is waited for."""
    decision = await escalated(ask, server)
    again = gives(waited(decision_id="d-2", **{**PENDING, "approval_id": "approval-2"}))
    server.decisions.wait_decision.steps.extend([again, gives(waited(decision_id="d-3"))])
    assert (await ask("wait_decision", decision, timeout=30.0)).decision_id == "d-3"
    assert [each.decision_id for each in server.decisions.wait_decision.asked] == ["d-1", "d-2"]


async def test_after_its_time_the_decision_is_told_as_it_stands(ask: Asker, server: Server) -> None:
    """What nobody has answered is no error, and can be waited for again."""
    decision = await escalated(ask, server)
    server.decisions.wait_decision.otherwise = stands()
    assert (await ask("wait_decision", decision, timeout=0.3)) == decision
    assert (await ask("wait_decision", "d-1", timeout=0.3)).verdict is Verdict.ESCALATE


async def test_a_service_that_is_away_for_a_moment_ends_no_wait(ask: Asker, server: Server) -> None:
    """The wait goes on at the replica that is there (invariant 9)."""
    decision = await escalated(ask, server)
    server.decisions.wait_decision.steps.extend(
        [raises(ErrorReason.DECISION_LOG_UNAVAILABLE), gives(waited())]
    )
    assert (await ask("wait_decision", decision, timeout=30.0)).allowed


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": "another"},
        {"execution_token": ""},
        {"verdict": 0},
        {"edited_arguments_json": b"[]"},
        {"steps": [decision_pb2.StepDecision(step_id="s", verdict=decision_pb2.VERDICT_ALLOW)]},
    ],
    ids=["another-request", "no-token", "unspecified", "edited-to-no-object", "other-steps"],
)
async def test_no_yes_without_a_clear_allow(ask: Asker, server: Server, changes: dict[str, Any]) -> None:
    """What is no decision on what was proposed, and whole, is an error and no allow (invariant 1)."""
    decision = await escalated(ask, server)
    server.decisions.wait_decision.steps.append(gives(waited(**changes)))
    error = await ask.error("wait_decision", decision, timeout=30.0)
    assert (error.code, error.method) == ("INTERNAL", "WaitDecision")


async def test_run_waits_when_asked_and_executes_what_the_approver_made_of_it(
    ask: Asker, server: Server
) -> None:
    """The token is for the edited arguments, and it is those that are presented with it (invariant 3)."""
    server.decisions.decide.steps.append(decides(**PENDING))
    edited = b'{"amount":4,"to":"a-secret-account"}'
    server.decisions.wait_decision.steps.append(gives(waited(edited_arguments_json=edited)))
    done = await ask("run", "send_money", ARGUMENTS, request_id="r-1", wait_seconds=30.0)
    assert isinstance(done, Run)
    assert done.decision.edited_arguments == EDITED
    [executed] = server.gateway.execute.asked
    assert (executed.execution_token, executed.arguments_json) == (TOKEN, edited)
    assert "a-secret-account" not in repr(done.decision)


async def test_run_waits_for_nobody_unless_asked(ask: Asker, server: Server) -> None:
    """An escalate is an answer, and the caller's to wait for."""
    server.decisions.decide.steps.append(decides(**PENDING))
    done = await ask("run", "send_money", ARGUMENTS)
    assert (done.decision.verdict, done.execution) == (Verdict.ESCALATE, None)
    assert not server.decisions.wait_decision.asked


async def test_takes_a_proposal_back(ask: Asker, server: Server) -> None:
    """Which approval was withdrawn comes back, or why none was."""
    decision = await escalated(ask, server)
    withdrawn = decision_service_pb2.WithdrawDecisionResponse(approval_id="approval-1")
    server.decisions.withdraw_decision.steps.extend(
        [gives(withdrawn), raises(ErrorReason.APPROVAL_CLOSED, metadata={"state": "denied"})]
    )
    assert await ask("withdraw", decision) == "approval-1"
    error = await ask.error("withdraw", "d-1")
    assert (error.reason, error.metadata) == ("APPROVAL_CLOSED", {"state": "denied"})
    assert [each.decision_id for each in server.decisions.withdraw_decision.asked] == ["d-1", "d-1"]


async def decide_by_hand(server: Server, folder: Path, *options: str) -> Result:
    credential = folder / "agent.credential"
    credential.touch(mode=0o600)
    credential.write_text(CREDENTIAL)
    server.decisions.decide.steps.append(decides(**PENDING, request_id="r-1"))
    edited = b'{"amount":4,"to":"\\u001b[31m"}'
    server.decisions.wait_decision.steps.append(gives(waited(edited_arguments_json=edited)))
    words = ["decide", "send_money", "{}", "--wait=30", "--request-id=r-1", f"--address={server.address}"]
    words += [f"--credential-file={credential}", *options]
    return await asyncio.to_thread(lambda: CliRunner().invoke(application, words))


async def test_the_command_line_waits_and_says_how_an_approver_answers(
    server: Server, tmp_path: Path
) -> None:
    """`decide --wait` names the approval at once, then the decision and the changed arguments (case 43)."""
    done = await decide_by_hand(server, tmp_path)
    assert done.exit_code == 0
    assert "interlock approvals approve approval-1" in done.stderr
    assert "an approver changed the arguments" in done.stdout
    assert "\x1b" not in done.stdout


async def test_a_program_reads_what_an_approver_changed(server: Server, tmp_path: Path) -> None:
    """With `--json`, standard output is the decision alone."""
    done = await decide_by_hand(server, tmp_path, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["edited_arguments"] == {"amount": 4, "to": "\x1b[31m"}
