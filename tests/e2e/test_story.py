"""What an agent lives through, all of it through the public interfaces: the story of the demo."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock.adapters.signing_key import open_or_create
from interlock.client import Decision, Interlock, InterlockCallError, Outcome, Verdict
from interlock.core import token
from tests.e2e.processes import wait_until
from tests.e2e.world import World, git


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def refusal(client: Interlock, decision: Decision | str, tool: str, arguments: dict[str, Any]) -> str:
    """Why the gateway does not run it."""
    with pytest.raises(InterlockCallError) as caught:
        client.execute(decision, tool, arguments)
    assert not caught.value.may_have_run
    return caught.value.reason


@pytest.fixture
def status(world: World) -> dict[str, Any]:
    """Arguments of a call of `git_status`."""
    return {"repo_path": str(world.repository)}


def test_a_read_is_allowed_and_really_runs(
    world: World, contributor: Interlock, status: dict[str, Any]
) -> None:
    """An allowed call reaches the real tool, and its real output comes back (invariant 3)."""
    run = contributor.run("git_status", status, goal="see what changed")
    assert (run.decision.verdict, codes(run.decision)) == (Verdict.ALLOW, ["effects.read_granted"])
    assert run.execution
    assert run.execution.outcome == Outcome.SUCCEEDED
    assert "modified:   README" in run.execution.result["content"][0]["text"]
    assert [result.type for result in run.execution.obligation_results] == ["timeout"]


def test_a_write_escalates(world: World, contributor: Interlock) -> None:
    """What the role may propose but not do alone waits for a person, and comes with no token (invariant 1)."""
    arguments = {"repo_path": str(world.repository), "message": "change it"}
    run = contributor.run("git_commit", arguments)
    assert (run.decision.verdict, codes(run.decision)) == (Verdict.ESCALATE, ["effects.needs_person"])
    assert run.execution is None
    assert git(world.repository, "log", "--format=%s") == "Say what this is\n"


def test_a_tool_outside_the_role_is_denied(contributor: Interlock, status: dict[str, Any]) -> None:
    """A tool that no role of the agent has is denied, whatever it says of itself (invariants 4 and 6)."""
    decision = contributor.decide("git_reset", status)
    assert (decision.verdict, codes(decision)) == (Verdict.DENY, ["permissions.tool_not_granted"])


def test_arguments_that_fail_the_schema_say_what_to_repair(contributor: Interlock) -> None:
    """A deny for bad arguments names the place and the rule, so that a model can mend its call (invariant 10)."""
    decision = contributor.decide("git_log", {"repo_path": 7})
    [reason] = [reason for reason in decision.reasons if reason.path]
    assert decision.verdict == Verdict.DENY
    assert (reason.code, reason.path, reason.metadata["rule"]) == ("validation.schema", "/repo_path", "type")


def test_an_unknown_tool_is_denied(contributor: Interlock) -> None:
    """A tool that the catalog does not have is an answer, not an error, and never an allow (invariant 10)."""
    decision = contributor.decide("delete_everything", {})
    assert decision.verdict == Verdict.DENY
    assert "validation.unknown_tool" in codes(decision)


def test_a_token_runs_once(contributor: Interlock, status: dict[str, Any]) -> None:
    """The allowed token presented again is refused, with the first execution named (invariant 3)."""
    run = contributor.run("git_status", status)
    assert run.execution
    with pytest.raises(InterlockCallError) as caught:
        contributor.execute(run.decision, "git_status", status)
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "TOKEN_ALREADY_REDEEMED")
    assert caught.value.metadata["execution_id"] == run.execution.execution_id


@pytest.mark.parametrize(
    ("tool", "changes"),
    [
        ("git_status", {"repo_path": "/"}),
        ("git_status", {"more": None}),
        ("git_log", {}),
    ],
    ids=["a changed argument", "one more argument", "another tool"],
)
def test_another_call_than_the_decided_one_is_refused(
    contributor: Interlock, status: dict[str, Any], tool: str, changes: dict[str, Any]
) -> None:
    """A token is for one exact call: nothing of it may be changed after the decision (case 26, invariant 3)."""
    decision = contributor.decide("git_status", status)
    assert refusal(contributor, decision, tool, status | changes) == "CALL_MISMATCH"


def test_one_canonical_form_is_decided_and_run(tester: Interlock) -> None:
    """`1.0` and `1`, in any order of keys, are the same call in digest and execution (cases 26 and 28)."""
    decision = tester.decide("echo", {"amount": 1.0, "zero": -0.0, "text": "hello"})
    execution = tester.execute(decision, "echo", {"text": "hello", "zero": 0, "amount": 1})
    assert execution.result["structuredContent"] == {"amount": 1, "text": "hello", "zero": 0}


def test_an_expired_token_is_refused(world: World, contributor: Interlock, status: dict[str, Any]) -> None:
    """A token whose time is over runs nothing, though its signature is good (case 22)."""
    decision = contributor.decide("git_status", status)
    old = signed_at(world, decision.execution_token, datetime.now(UTC) - timedelta(minutes=2))
    assert refusal(contributor, old, "git_status", status) == "TOKEN_EXPIRED"
    assert contributor.execute(decision, "git_status", status).outcome == Outcome.SUCCEEDED


def test_a_tampered_token_is_refused(contributor: Interlock, status: dict[str, Any]) -> None:
    """A token with another signature, padding, or no algorithm is refused (cases 34 and 36)."""
    decision = contributor.decide("git_status", status)
    header, payload, signature = decision.execution_token.split(".")
    flipped = f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    unsigned = "eyJhbGciOiJub25lIn0." + payload + "."
    assert refusal(contributor, flipped, "git_status", status) == "TOKEN_SIGNATURE_INVALID"
    assert refusal(contributor, decision.execution_token + "==", "git_status", status) == "TOKEN_MALFORMED"
    assert refusal(contributor, unsigned, "git_status", status) == "TOKEN_MALFORMED"


def test_the_log_tells_the_story_and_verifies(
    world: World, contributor: Interlock, status: dict[str, Any]
) -> None:
    """Decisions, outcomes and refusals are on record, and the log verifies while it is written (case 20)."""
    run = contributor.run("git_status", status)
    refusal(contributor, run.decision, "git_status", status)
    wait_until(lambda: len(world.outcomes_of(run.decision.decision_id)) == 2)
    assert world.outcomes_of(run.decision.decision_id) == ["succeeded", "refused"]
    verified = world.interlock("log", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.startswith("verified: ")


def signed_at(world: World, execution_token: str, begin: datetime) -> str:
    """The same token as the service would have signed it then, with its own key."""
    signer = open_or_create(world.folder / "service" / "keys", lambda: datetime.now(UTC))
    _, payload = token.inspect(execution_token)
    life = payload["exp"] - payload["iat"]
    first = int(begin.timestamp())
    signed = token.signing_input(payload | {"iat": first, "nbf": first, "exp": first + life}, signer.kid)
    return token.compact(signed, signer.sign(signed))
