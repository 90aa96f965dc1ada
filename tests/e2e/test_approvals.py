"""People answer what agents propose: real processes, a real repository, the command line of an approver."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client

from interlock.client import Decision, Interlock, InterlockCallError, Outcome, Verdict
from interlock.core.record import RecordType
from tests.e2e.mcp_fronts import over_stdio, text_of
from tests.e2e.processes import run_interlock, wait_until
from tests.e2e.world import World, git
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def asking(
    opa: Path, policies: Path, git_catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A world of these tests' own, whose repository they commit to."""
    folder = tmp_path_factory.mktemp("asking")
    with World(folder, opa=opa, policies=policies, git_catalog=git_catalog) as own:
        own.credential("approver", "alice", "approver", file=folder / "alice.credential")
        yield own.start()


@pytest.fixture(scope="module")
def agent(asking: World) -> Interlock:
    """An agent that may commit, if a person says so."""
    return asking.agent("contributor")


def approvals(world: World, *arguments: str, credential: str = "alice") -> Any:
    """What a verb of approvals prints with `--json`, in a process of its own, as in an approver's terminal."""
    done = run_interlock(
        "approvals",
        *arguments,
        "--address",
        world.service.grpc,
        "--credential-file",
        str(world.folder / f"{credential}.credential"),
        "--json",
        folder=world.folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stage(world: World, text: str) -> None:
    """Something to commit."""
    (world.repository / "README").write_text(text)
    git(world.repository, "add", "README")


def commit_arguments(world: World, message: str) -> dict[str, Any]:
    return {"repo_path": str(world.repository), "message": message}


def subjects(world: World) -> list[str]:
    """What was committed, the newest first."""
    return git(world.repository, "log", "--format=%s").splitlines()


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


async def test_an_agents_real_commit_waits_until_a_person_lets_it_through(asking: World) -> None:
    """Two terminals: an MCP client's `git_commit` waits in the gateway, `interlock approvals approve` lets it run."""
    stage(asking, "third\n")
    credential = asking.credential("agent", "committer", "contributor")
    starts = over_stdio(asking, credential, "waiting", escalation_wait_seconds=PATIENCE_SECONDS)
    async with Client(starts) as client:
        call = asyncio.create_task(
            client.call_tool("git_commit", commit_arguments(asking, "Approved by a person"))
        )
        [waiting] = await asyncio.to_thread(until_pending, asking)
        assert "Approved by a person" not in subjects(asking)
        shown = await asyncio.to_thread(approvals, asking, "show", waiting["approval_id"])
        assert shown["calls"][0]["arguments"]["message"] == "Approved by a person"
        await asyncio.to_thread(approvals, asking, "approve", waiting["approval_id"], "--yes")
        result = await call
    assert not result.is_error, text_of(result)
    assert subjects(asking)[0] == "Approved by a person"


def until_pending(world: World) -> Any:
    """What waits, once something does."""
    wait_until(lambda: bool(approvals(world, "list")))
    return approvals(world, "list")


def test_what_a_person_denies_is_denied(asking: World, agent: Interlock) -> None:
    """A deny reaches the agent that waits as a decision of the policy, with its reason, and nothing runs."""
    decision = agent.decide("git_commit", commit_arguments(asking, "Not this"))
    assert decision.verdict is Verdict.ESCALATE
    approvals(asking, "deny", decision.approval_id, "--comment", "not on a Friday")
    told = agent.wait_decision(decision, timeout=PATIENCE_SECONDS)
    assert (told.verdict, codes(told)) == (Verdict.DENY, ["approvals.denied"])
    assert "Not this" not in subjects(asking)


def test_an_approver_changes_the_arguments_and_those_run(asking: World, agent: Interlock) -> None:
    """The edited call is what the token is for; the proposed one is refused by the gateway (invariant 3)."""
    stage(asking, "fourth\n")
    proposed = commit_arguments(asking, "wip")
    decision = agent.decide("git_commit", proposed)
    edited = asking.folder / "edited.json"
    edited.write_text(json.dumps(commit_arguments(asking, "Say what changed")))
    approvals(asking, "edit", decision.approval_id, "--arguments", str(edited), "--yes")
    told = agent.wait_decision(decision, timeout=PATIENCE_SECONDS)
    assert told.edited_arguments == commit_arguments(asking, "Say what changed")
    with pytest.raises(InterlockCallError) as caught:
        agent.execute(told, "git_commit", proposed)
    assert caught.value.reason == "CALL_MISMATCH"
    done = agent.execute(told, "git_commit", told.edited_arguments)
    assert done.outcome is Outcome.SUCCEEDED
    assert subjects(asking)[0] == "Say what changed"


def test_the_record_tells_who_approved_what_and_what_came_of_it(asking: World, agent: Interlock) -> None:
    """Escalate, answer, allow, token and outcome are joined by the approval's name (a record for every transition)."""
    stage(asking, "fifth\n")
    arguments = commit_arguments(asking, "On record")
    decision = agent.decide("git_commit", arguments)
    approvals(asking, "approve", decision.approval_id, "--comment", "looked at it", "--yes")
    told = agent.wait_decision(decision, timeout=PATIENCE_SECONDS)
    agent.execute(told, "git_commit", arguments)
    wait_until(lambda: asking.outcomes_of(told.decision_id) == ["succeeded"])
    of_it = [
        record
        for record in asking.records()
        if decision.approval_id
        in (record.get("approval_id"), record.get("follows"), (record.get("token") or {}).get("approval_id"))
    ]
    assert [record["type"] for record in of_it] == ["decision", "approval", "decision"]
    escalated, answered, allowed = of_it
    assert (answered["requested_by"], answered["comment"]) == ("approver/alice", "looked at it")
    assert answered["binding"]["arguments_digest"] == escalated["input"]["arguments_digest"]
    assert allowed["input"]["approval"]["answers"][0]["approver"] == "alice"
    assert allowed["token"]["approval_id"] == decision.approval_id


def test_killed_between_approve_and_token_gives_the_one_decision(asking: World, agent: Interlock) -> None:
    """After kill -9 between an approve and its token, and after it, there is one decision and token (invariant 9)."""
    arguments = commit_arguments(asking, "Once")
    asked = agent.decide("git_commit", arguments, request_id="killed-between")
    approvals(asking, "approve", asked.approval_id, "--yes")
    kill_and_restart(asking)
    session = {"session_id": agent.session_id}
    again = asking.client(agent_credential(asking), **session)
    first = again.decide("git_commit", arguments, request_id="killed-between")
    assert first.verdict is Verdict.ALLOW
    kill_and_restart(asking)
    again = asking.client(agent_credential(asking), **session)
    second = again.decide("git_commit", arguments, request_id="killed-between")
    assert second == first
    decisions = [
        record for record in asking.records(RecordType.DECISION) if record["request_id"] == "killed-between"
    ]
    assert [record["verdict"] for record in decisions] == ["escalate", "allow"]


def kill_and_restart(world: World) -> None:
    world.service.process.send_signal(signal.SIGKILL)
    world.service.process.wait()
    world.mend()


def agent_credential(world: World) -> str:
    """A new credential of the same agent."""
    return world.credential("agent", "coder", "contributor")
