"""Sessions over real processes: a user's goal, an agent's steps, what a tool reports, and who sees which."""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from interlock.client import (
    DecisionEntry,
    GoalSetBy,
    Interlock,
    InterlockCallError,
    OutcomeEntry,
    PlanningStep,
    Session,
    Step,
)
from tests.e2e.processes import wait_until
from tests.e2e.test_command_line import EVIL
from tests.e2e.world import World

PAGE = Path(__file__).parents[2] / "docs" / "sessions.md"


@pytest.fixture(scope="module")
def user(world: World) -> Interlock:
    """A client with a user's own credential."""
    return world.client(world.credential("user", "ann"))


def settled(client: Interlock, session_id: str, agent: str, outcomes: int) -> Session:
    """The session, once so many outcomes have reached the service."""

    def told() -> bool:
        timeline = client.get_session(session_id, agent=agent).timeline
        return sum(isinstance(each.entry, OutcomeEntry) for each in timeline) >= outcomes

    wait_until(told)
    return client.get_session(session_id, agent=agent)


def test_a_session_from_its_goal_to_its_outcomes(world: World, user: Interlock) -> None:
    """A user says what an agent is to do; goal, user, steps, decision and outcome are then one story."""
    agent = world.agent(name="story")
    user.start_session("say hello", agent="story", session_id=agent.session_id)
    ran = agent.run("echo", {"text": "hello"}, goal="do something else", operation="greeting:1")
    agent.record_steps([Step(number=4, kind=PlanningStep(summary="it said hello"), model_tokens=12)])
    session = settled(user, agent.session_id, "story", 1)
    assert (session.goal, session.goal_set_by, session.user) == ("say hello", GoalSetBy.USER, "ann")
    assert (session.steps, session.last_step_number) == (1, 4)
    assert session.state_digest == ran.decision.state_digest != ""
    assert session.facts["spend"]["model_tokens"] == 12
    decisions = [each.entry for each in session.timeline if isinstance(each.entry, DecisionEntry)]
    assert [made.decision_id for made in decisions] == [ran.decision.decision_id]
    recorded = next(each for each in world.records() if each["decision_id"] == ran.decision.decision_id)
    assert recorded["input"]["subject"]["user"] == "ann"
    assert agent.get_session().goal == world.auditor().get_session(agent.session_id, agent="story").goal


def outcome_of(world: World, agent: Interlock, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The record of the outcome of a call that is made now."""
    decision_id = agent.run(tool, arguments).decision.decision_id
    wait_until(lambda: world.outcomes_of(decision_id) == ["succeeded"])
    [outcome] = [
        each for each in world.records() if each["type"] == "outcome" and each["decision_id"] == decision_id
    ]
    return outcome


def test_what_a_tool_says_that_it_used_is_on_record(world: World) -> None:
    """Usage and memory writes of a result's `_meta` come with the outcome, and time as the gateway measured it."""
    said = {
        "interlock.usage": {"cost": 3, "model_tokens": 70},
        "interlock.memory_writes": [{"key": "plan", "version": 4}],
    }
    outcome = outcome_of(world, world.agent(name="spender"), "account", said)
    assert (outcome["usage"]["cost"], outcome["usage"]["model_tokens"]) == (3, 70)
    assert outcome["usage"]["compute_milliseconds"] >= 0
    assert outcome["memory_writes"] == [{"key": "plan", "version": 4, "digest": ""}]


def test_an_oversized_result_is_recorded_by_digest(world: World) -> None:
    """Of a result above 64 KiB the outcome is on record all the same, says that it was cut, and holds no text."""
    outcome = outcome_of(world, world.agent(name="verbose"), "echo", {"text": "hello " * 20_000})
    assert outcome["result_truncated"] is True
    assert len(outcome["result_digest"]) == 43
    assert "hello" not in json.dumps(outcome)


def test_no_one_else_sees_a_session(world: World, user: Interlock) -> None:
    """To another agent, user or tenant a session is as one that never was (case 54)."""
    agent = world.agent(name="private")
    user.start_session("keep it", agent="private", session_id=agent.session_id)
    for client, named in (
        (world.agent(name="curious"), "private"),
        (world.agent(name="private", tenant="umbrella"), ""),
        (world.client(world.credential("user", "bob")), "private"),
        (world.client(world.credential("user", "ann", tenant="umbrella")), "private"),
        (world.auditor(tenant="umbrella"), "private"),
    ):
        with pytest.raises(InterlockCallError) as caught:
            client.get_session(agent.session_id, agent=named)
        assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "SESSION_NOT_FOUND")


def test_a_goal_never_changes(world: World, user: Interlock) -> None:
    """A session that has begun cannot be started with another goal, nor by the agent's own words."""
    agent = world.agent(name="stubborn")
    agent.decide("echo", {}, goal="the agent's own")
    for goal in ("the user's", "the agent's own"):
        with pytest.raises(InterlockCallError) as caught:
            user.start_session(goal, agent="stubborn", session_id=agent.session_id)
        assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "SESSION_ALREADY_STARTED")
    session = agent.get_session(timeline=False)
    assert (session.goal, session.goal_set_by) == ("the agent's own", GoalSetBy.PROPOSAL)


def test_a_session_survives_a_restart(own_world: World) -> None:
    """After the service starts again, goal, steps and timeline are what they were."""
    world = own_world.start()
    user, agent = world.client(world.credential("user", "ann")), world.agent(name="lasting")
    user.start_session("stay", agent="lasting", session_id=agent.session_id)
    agent.decide("echo", {})
    agent.record_steps([Step(number=1, kind=PlanningStep(summary="look"))])
    before = agent.get_session()
    world.service.kill()
    world.start_service()
    assert agent.get_session() == before
    with pytest.raises(InterlockCallError) as caught:
        agent.record_steps([Step(number=1, kind=PlanningStep(summary="another"))])
    assert caught.value.reason == "STEP_NUMBER_WENT_BACK"


def shown(world: World, credential_file: Path, *arguments: str) -> str:
    options = (f"--address={world.service.grpc}", f"--credential-file={credential_file}")
    done = world.interlock("session", *arguments, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def user_file(world: World, tmp_path: Path) -> Path:
    """A file with a user's credential."""
    path = tmp_path / "user.credential"
    world.credential("user", "ann", file=path)
    return path


def test_a_session_by_hand(world: World, user_file: Path) -> None:
    """`session start` and `session show` do by hand what a user's program does, for a person and as JSON."""
    agent = world.agent(name="hand")
    started = shown(world, user_file, "start", agent.session_id, "--agent=hand", "--goal=say hello", "--json")
    assert json.loads(started)["goal_set_by"] == "user"
    for _ in range(3):
        agent.decide("echo", {"text": "hello"})
    agent.record_steps([Step(number=9, kind=PlanningStep(summary="enough"))])
    told = json.loads(shown(world, user_file, "show", agent.session_id, "--agent=hand", "--json"))
    assert [next(key for key in each if key not in ("time", "number")) for each in told["timeline"]] == [
        "decision",
        "decision",
        "decision",
        "step",
    ]
    drawn = shown(world, user_file, "show", agent.session_id, "--agent=hand")
    assert "goal       say hello  (set by the user)" in drawn
    assert "\N{MULTIPLICATION SIGN}3 echo" in drawn
    assert "step 9    plan: enough" in drawn
    assert "\x1b" not in drawn


def test_nothing_of_a_session_acts_on_a_terminal(world: World, user_file: Path) -> None:
    """Goal and steps are shown with their control characters as code points (case 43)."""
    agent = world.agent(name="evil-session")
    shown(world, user_file, "start", agent.session_id, "--agent=evil-session", f"--goal={EVIL}")
    agent.record_steps([Step(number=1, kind=PlanningStep(summary=EVIL))])
    for form in ((), ("--json",)):
        printed = shown(world, user_file, "show", agent.session_id, "--agent=evil-session", *form)
        acting = [each for each in printed if unicodedata.category(each)[0] == "C" and each != "\n"]
        assert acting == []
        assert "\nforged line" not in printed


def test_an_unknown_session_is_told_in_words(world: World, user_file: Path) -> None:
    """A session that is not there ends the command with status 1 and what to do."""
    options = (f"--address={world.service.grpc}", f"--credential-file={user_file}", "--agent=nobody")
    done = world.interlock("session", "show", "no-such-session", *options)
    assert done.returncode == 1
    assert "SESSION_NOT_FOUND" in done.stderr
    assert "What to do: check session_id and agent" in done.stderr


def test_the_examples_of_the_page_run(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python of docs/sessions.md is one program that runs as it stands."""
    program = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    variables: dict[str, Any] = {
        "INTERLOCK_ADDRESS": world.service.grpc,
        "INTERLOCK_GATEWAY_ADDRESS": world.gateway.grpc,
        "USER_CREDENTIAL": world.credential("user", "ann"),
        "AGENT_CREDENTIAL": world.credential("agent", "coder", "contributor"),
        "REPOSITORY": str(world.repository),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    exec(compile(program, str(PAGE), "exec"), {})
    assert "2 proposals, 3 steps" in capsys.readouterr().out
