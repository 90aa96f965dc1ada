"""Plans over real processes: decided as a whole, run step by step, each step once and as it was decided (case 59)."""

import json
from pathlib import Path

import pytest

from interlock.client import (
    Decision,
    DecisionEntry,
    Interlock,
    InterlockCallError,
    Outcome,
    PlanStep,
    Reference,
    StepDecision,
    ToolCall,
    Verdict,
    filled,
    messages,
)
from interlock.client.connection import bearer
from interlock.client.session_values import OutcomeEntry
from interlock.v1 import decision_service_pb2
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub
from tests.e2e.processes import wait_until
from tests.e2e.world import World
from tests.waiting import PATIENCE_SECONDS

LEARNED = Reference(step="learn", pointer="/structuredContent/text")
PLAN = [
    PlanStep(step_id="learn", tool="echo", arguments={"text": "learned"}),
    PlanStep(step_id="check", tool="echo", arguments={"text": "checked"}, after=["learn"]),
    PlanStep(step_id="use", tool="echo", arguments={"told": [LEARNED, "twice", LEARNED]}, after=["check"]),
]


def token_of(step: StepDecision) -> StepDecision:
    """The step, which has a token."""
    assert step.execution_token
    return step


def until_reported(agent: Interlock, outcomes: int) -> None:
    """Return when so many outcomes of the agent's session are on record."""

    def told() -> bool:
        timeline = agent.get_session().timeline
        return sum(isinstance(each.entry, OutcomeEntry) for each in timeline) >= outcomes

    wait_until(told)


def test_a_plan_whose_last_step_uses_what_its_first_learned(world: World) -> None:
    """Each step runs in its turn; the last is decided anew with the first's real result, and nothing else (case 59)."""
    agent = world.agent(name="planner")
    plan = agent.decide_plan(PLAN, goal="learn, check, use")
    assert plan.verdict is Verdict.ALLOW
    assert [bool(step.execution_token) for step in plan.steps] == [True, True, False]

    with pytest.raises(InterlockCallError) as early:
        agent.execute(token_of(plan.step("check")), "echo", {"text": "checked"})
    assert early.value.reason == "STEP_NOT_DUE"
    learned = agent.execute(token_of(plan.step("learn")), "echo", {"text": "learned"})
    checked = agent.execute(token_of(plan.step("check")), "echo", {"text": "checked"})
    assert (learned.outcome, checked.outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    until_reported(agent, 2)

    drifted = agent.decide_step(plan, "use", "echo", {"told": ["invented", "twice", "learned"]})
    assert (drifted.verdict, [reason.code for reason in drifted.reasons]) == (Verdict.DENY, ["plans.drifted"])
    arguments = filled(PLAN[2].arguments, {"learn": learned.result})
    assert arguments == {"told": ["learned", "twice", "learned"]}
    step = agent.decide_step(plan, "use", "echo", arguments)
    assert step.verdict is Verdict.ALLOW
    assert agent.execute(step, "echo", arguments).outcome is Outcome.SUCCEEDED
    until_reported(agent, 3)
    again = agent.decide_step(plan, "use", "echo", arguments)
    assert [reason.code for reason in again.reasons] == ["plans.step_taken"]

    shown = [each.entry for each in agent.get_session().timeline if isinstance(each.entry, DecisionEntry)]
    assert [each.tool for each in shown][:4] == ["plan of 3 steps", "echo", "echo", "echo"]


def test_the_same_request_gives_the_same_plan(world: World) -> None:
    """A plan that is sent again, after a lost reply, has the same decisions and the same tokens (invariant 9)."""
    agent = world.agent(name="planner-again")
    assert agent.decide_plan(PLAN, request_id="plan-1") == agent.decide_plan(PLAN, request_id="plan-1")
    with pytest.raises(InterlockCallError) as other:
        agent.decide_plan([*PLAN, PlanStep(step_id="more", tool="echo", arguments={})], request_id="plan-1")
    assert other.value.reason == "REQUEST_ID_REUSED"


def test_a_plan_in_a_batch_is_one_item_of_it(world: World) -> None:
    """Calls and plans are decided side by side, each with its own answer or error."""
    credential = world.credential("agent", "planner-in-batch", "tester")
    bad = [PlanStep(step_id="a", tool="echo", arguments={}, after=["a"])]
    requests = [
        messages.plan_request(PLAN, request_id="plan", session_id="batch"),
        messages.plan_request(bad, request_id="bad", session_id="batch"),
        messages.decide_request(ToolCall(tool="echo", arguments={"text": "single"}), session_id="batch"),
    ]
    stub = DecisionServiceStub(world.channel())
    response = stub.DecideBatch(
        decision_service_pb2.DecideBatchRequest(requests=requests),
        metadata=bearer(credential),
        timeout=PATIENCE_SECONDS,
    )
    plan, error, single = messages.read_batch(response, requests)
    assert isinstance(plan, Decision)
    assert [step.step_id for step in plan.steps] == ["learn", "check", "use"]
    assert isinstance(error, InterlockCallError)
    assert error.reason == "INVALID_FIELD"
    assert isinstance(single, Decision)
    assert single.allowed


def test_a_plan_with_a_step_that_is_denied_grants_nothing(world: World) -> None:
    """One call of a tool that nobody has refuses every step."""
    agent = world.agent(name="planner-denied")
    plan = agent.decide_plan([PLAN[0], PlanStep(step_id="no", tool="no_such_tool", arguments={})])
    assert plan.verdict is Verdict.DENY
    assert [step.execution_token for step in plan.steps] == ["", ""]
    assert [reason.code for reason in plan.step("learn").reasons] == ["plans.refused"]


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        ([PlanStep(step_id="a", tool="echo", arguments={}, after=["a"])], "proposal.plan.steps[0].after[0]"),
        (
            [
                PlanStep(step_id="a", tool="echo", arguments={}, after=["b"]),
                PlanStep(step_id="b", tool="echo", arguments={}, after=["a"]),
            ],
            "proposal.plan.steps[0].after",
        ),
        ([PlanStep(step_id="a", tool="echo", arguments={})] * 2, "proposal.plan.steps[1].step_id"),
        (
            [PlanStep(step_id=f"s{n}", tool="echo", arguments={}) for n in range(10_000)],
            "proposal.plan.steps",
        ),
        (
            [PlanStep(step_id="a", tool="echo", arguments={"x": Reference(step="b")})],
            "proposal.plan.steps[0].tool_call.arguments_json#/x",
        ),
        (
            [PlanStep(step_id="a", tool="echo", arguments={"x": {"$result": {"plan": []}}})],
            "proposal.plan.steps[0].tool_call.arguments_json#/x",
        ),
    ],
    ids=["self", "cycle", "twice", "ten thousand", "unknown reference", "nested plan"],
)
def test_a_poisoned_plan_is_refused(world: World, steps: list[PlanStep], where: str) -> None:
    """No plan that is no small acyclic graph is decided, and the error says where (case 59)."""
    agent = world.agent(name="poisoner")
    with pytest.raises(InterlockCallError) as refused:
        agent.decide_plan(steps)
    assert refused.value.reason == "INVALID_FIELD"
    assert [violation.field for violation in refused.value.violations] == [where]


def test_a_plan_from_the_command_line(world: World, tmp_path: Path) -> None:
    """`decide --plan` reads a plan from a file, and shows what was decided of each step."""
    credential = tmp_path / "credential"
    world.credential("agent", "planner-by-hand", "tester", file=credential)
    plan = tmp_path / "plan.json"
    steps = [
        {"step_id": "learn", "tool": "echo", "arguments": {"text": "learned"}},
        {
            "step_id": "use",
            "tool": "echo",
            "arguments": {"text": {"$result": {"step": "learn", "pointer": "/structuredContent/text"}}},
            "after": ["learn"],
        },
    ]
    plan.write_text(json.dumps(steps))
    common = ["--address", world.service.grpc, "--credential-file", str(credential)]
    done = world.interlock("decide", "--plan", plan, *common, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [("execution_token" in step) for step in told["steps"]] == [True, False]
    early = world.interlock(
        "decide", "echo", '{"text": "learned"}', "--plan-step", f"{told['decision_id']}/use", *common
    )
    assert early.returncode == 10
    assert "plans.not_due" in early.stdout
    listed = world.interlock(
        "log", "list", "--decision-id", told["decision_id"], "--config", str(world.folder / "interlock.toml")
    )
    assert "plan of 2 steps" in listed.stdout
    plan.write_text('[{"step_id": "learn"}]')
    assert world.interlock("decide", "--plan", plan, *common).returncode == 1
