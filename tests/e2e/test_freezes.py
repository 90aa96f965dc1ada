"""An operator stops agents, on real processes: the service denies at once, and a gateway refuses what was allowed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.client import Decision, FreezeScope, Interlock, InterlockCallError, Outcome
from interlock.core.record import RecordType
from tests.e2e.processes import wait_until
from tests.e2e.world import World


@pytest.fixture(scope="module")
def stoppable(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world in which everything may be frozen."""
    with World(tmp_path_factory.mktemp("stoppable"), opa=opa, policies=policies) as world:
        yield world.start()


@pytest.fixture
def operator(stoppable: World) -> Iterator[Interlock]:
    """An operator of every tenant; what a test froze is not frozen for the next."""
    interlock = stoppable.client(stoppable.credential("operator", "officer", "every-tenant"))
    yield interlock
    for freeze in interlock.list_freezes():
        interlock.unfreeze(freeze.scope, freeze.name, tenant=freeze.tenant)


def allowed(agent: Interlock) -> Decision:
    decision = agent.decide("echo", {})
    assert decision.execution_token
    return decision


def refusal(agent: Interlock, decision: Decision) -> str:
    """Why the gateway does not do what was decided."""
    with pytest.raises(InterlockCallError) as caught:
        agent.execute(decision, "echo", {})
    assert not caught.value.may_have_run
    return caught.value.reason


def times_it_knew_nothing(world: World) -> int:
    """How often the gateway said that it is not ready, as it does not know what is frozen."""
    return world.gateway.said().count('"freezes": false')


@pytest.mark.parametrize(
    ("scope", "name"), [("agent", "frozen"), ("tool", "echo"), ("tenant", ""), ("all", "")]
)
def test_what_is_frozen_is_denied_and_refused(
    stoppable: World, operator: Interlock, scope: str, name: str
) -> None:
    """New decisions are denied at once, and a gateway refuses the token of before, which has not expired (case 12)."""
    world, before = stoppable, len(stoppable.runs())
    agent = world.agent(name="frozen")
    decision = allowed(agent)
    frozen = operator.freeze(scope, name, comment="it runs away")
    denied = agent.decide("echo", {})
    assert [(reason.code, reason.metadata) for reason in denied.reasons] == [
        ("freezes.active", {"scope": scope, "log_index": frozen.log_index})
    ]
    world.until_heard()
    assert refusal(agent, decision) == "TOKEN_FROZEN"
    assert world.runs()[before:] == []
    wait_until(lambda: world.outcomes_of(decision.decision_id) == ["refused"])


def test_others_go_on(stoppable: World, operator: Interlock) -> None:
    """A freeze of one agent stops no other, and no token of another (case 12)."""
    other = stoppable.agent(name="other")
    before, _ = allowed(other), operator.freeze(FreezeScope.AGENT, "frozen")
    stoppable.until_heard()
    assert other.execute(before, "echo", {}).outcome == Outcome.SUCCEEDED
    assert other.execute(allowed(other), "echo", {}).outcome == Outcome.SUCCEEDED


def test_unfreezing_does_not_bring_old_tokens_back(stoppable: World, operator: Interlock) -> None:
    """After a freeze what is proposed anew is allowed, and what was allowed before it stays refused (case 12)."""
    agent = stoppable.agent(name="frozen")
    old = allowed(agent)
    operator.freeze(FreezeScope.ALL, comment="void what is out there")
    operator.unfreeze(FreezeScope.ALL, comment="done")
    stoppable.until_heard()
    assert refusal(agent, old) == "TOKEN_FROZEN"
    again = agent.decide("echo", {}, request_id=old.request_id)
    assert refusal(agent, again) == "TOKEN_FROZEN"
    assert agent.execute(allowed(agent), "echo", {}).outcome == Outcome.SUCCEEDED


def test_a_freeze_outlives_the_service(stoppable: World, operator: Interlock) -> None:
    """After kill -9 and a start of the service all is frozen that was (invariant 2)."""
    agent = stoppable.agent(name="frozen")
    frozen = operator.freeze(FreezeScope.AGENT, "frozen", comment="it runs away")
    stoppable.service.kill()
    stoppable.start_service()
    assert operator.list_freezes() == [frozen]
    assert agent.decide("echo", {}).verdict == "deny"


def test_a_gateway_that_hears_nothing_does_nothing(stoppable: World) -> None:
    """Cut off from the service a gateway refuses, and is not ready; when it hears again it goes on (invariant 1)."""
    world, before = stoppable, len(stoppable.runs())
    agent = world.agent()
    decision = allowed(agent)
    said = times_it_knew_nothing(world)
    os.kill(world.service.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: times_it_knew_nothing(world) > said)
        assert refusal(agent, decision) == "FREEZES_UNKNOWN"
        assert world.runs()[before:] == []
    finally:
        os.kill(world.service.process.pid, signal.SIGCONT)
    world.until_heard()
    assert agent.execute(decision, "echo", {}).outcome == Outcome.SUCCEEDED


def test_a_gateway_whose_credential_ended_does_nothing(own_world: World) -> None:
    """A gateway that the service no longer knows refuses, and says why once (case 42, invariant 1)."""
    world = own_world.start()
    agent = world.agent()
    decision = allowed(agent)
    listed = json.loads(world.interlock("credentials", "list", "--json").stdout)
    [gateway] = [each["credential_id"] for each in listed if each["kind"] == "gateway"]
    assert world.interlock("credentials", "revoke", gateway).returncode == 0
    wait_until(lambda: times_it_knew_nothing(world) > 0)
    assert refusal(agent, decision) == "FREEZES_UNKNOWN"
    assert world.gateway.said().count('"event": "freezes_not_heard"') == 1
    assert "CREDENTIAL_INVALID" in world.gateway.said()


def test_a_freeze_is_on_record(stoppable: World, operator: Interlock) -> None:
    """Who froze what and why stands in the log, and who ended it (invariant 2)."""
    frozen = operator.freeze(FreezeScope.TOOL, "echo", comment="it answers nonsense")
    operator.unfreeze(FreezeScope.TOOL, "echo", comment="mended")
    *_, began, ended = stoppable.records(RecordType.FREEZE)
    told = {
        "scope": "tool",
        "frozen_tenant": "acme",
        "frozen_name": "echo",
        "requested_by": "operator/officer",
    }
    assert began.items() >= (told | {"change": "began", "comment": "it answers nonsense"}).items()
    assert (
        ended.items() >= (told | {"change": "ended", "comment": "mended", "freeze": frozen.log_index}).items()
    )
    assert began["log_index"] == frozen.log_index


@pytest.mark.parametrize("kind", ["agent", "gateway", "auditor", "user"])
def test_no_other_kind_freezes(stoppable: World, kind: str) -> None:
    """A credential of any kind but operator neither freezes nor ends a freeze (invariant 6)."""
    roles = ["tester"] if kind == "agent" else []
    caller = stoppable.client(stoppable.credential(kind, "somebody", *roles))
    for method in (caller.freeze, caller.unfreeze):
        with pytest.raises(InterlockCallError) as caught:
            method(FreezeScope.TENANT)
        assert caught.value.reason == "CALLER_NOT_PERMITTED"


def test_an_operator_stops_only_the_own_tenant(stoppable: World) -> None:
    """Without the role `every-tenant` neither another tenant nor all of them can be frozen (case 54, invariant 6)."""
    caller = stoppable.client(stoppable.credential("operator", "local"))
    for scope, tenant in ((FreezeScope.ALL, ""), (FreezeScope.TENANT, "globex")):
        with pytest.raises(InterlockCallError) as caught:
            caller.freeze(scope, tenant=tenant)
        assert caught.value.reason == "CALLER_NOT_PERMITTED"
    with pytest.raises(InterlockCallError) as caught:
        caller.list_freezes("globex")
    assert caught.value.reason == "CALLER_NOT_PERMITTED"


def test_freezing_from_the_command_line(stoppable: World, tmp_path: Path) -> None:
    """`interlock freeze`, `freezes` and `unfreeze` do what they say, and end with status 1 where they cannot."""
    world, file = stoppable, tmp_path / "operator"
    world.credential("operator", "officer", file=file)
    options = ("--address", world.service.grpc, "--credential-file", file)
    frozen = world.interlock("freeze", "--agent", "coder", "--comment", "it runs away", *options)
    assert (frozen.returncode, frozen.stderr) == (0, "")
    assert "agent coder of tenant acme" in frozen.stdout
    [listed] = json.loads(world.interlock("freezes", "--json", *options).stdout)
    assert (listed["scope"], listed["name"], listed["comment"]) == ("agent", "coder", "it runs away")
    assert "it runs away" in world.interlock("freezes", *options).stdout
    ended = world.interlock("unfreeze", "--agent", "coder", *options)
    assert (ended.returncode, "no longer frozen" in ended.stdout) == (0, True)
    again = world.interlock("unfreeze", "--agent", "coder", *options)
    assert (again.returncode, "interlock freezes" in again.stderr) == (1, True)
    assert world.interlock("freeze", "--all", *options).returncode == 1
    assert "began: agent coder" in world.interlock("log", "list", "--type", "freeze").stdout
    for wrong in ((), ("--agent", "a", "--tool", "b"), ("--all", "--tenant", "acme")):
        assert "name one thing" in world.interlock("freeze", *wrong, *options).stderr
