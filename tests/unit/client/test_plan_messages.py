"""Plans go out as they were given, and what comes back is taken only where it is one answer to them."""

import json
from typing import Any

import pytest

from interlock.client import (
    InterlockCallError,
    PlanStep,
    Reference,
    StepDecision,
    Verdict,
    filled,
    messages,
    values,
)
from interlock.v1 import decision_pb2, decision_service_pb2

STEPS = [
    PlanStep(step_id="a", tool="search", arguments={"query": "x"}),
    PlanStep(
        step_id="b", tool="mail", arguments={"text": [Reference(step="a", pointer="/0/t~1x")]}, after=["a"]
    ),
]
RESULTS = {"a": [{"t/x": "found"}]}


def request() -> decision_service_pb2.DecideRequest:
    return messages.plan_request(STEPS, request_id="r-1", session_id="s-1", goal="tell")


def a_step(step_id: str, **changes: Any) -> decision_pb2.StepDecision:
    stated: dict[str, Any] = {
        "step_id": step_id,
        "decision_id": f"d-{step_id}",
        "verdict": decision_pb2.VERDICT_ALLOW,
    }
    return decision_pb2.StepDecision(**(stated | changes))


def answer(*steps: decision_pb2.StepDecision, **changes: Any) -> values.Decision:
    stated: dict[str, Any] = {
        "decision_id": "d-1",
        "request_id": "r-1",
        "verdict": decision_pb2.VERDICT_ALLOW,
        "steps": steps,
    }
    message = decision_pb2.Decision(**(stated | changes))
    return messages.read_decision(decision_service_pb2.DecideResponse(decision=message), request())


def test_a_plan_goes_out_step_by_step() -> None:
    """Names, calls, order and references arrive in the form that the service reads."""
    steps = request().proposal.plan.steps
    assert [(step.step_id, step.tool_call.tool, list(step.after)) for step in steps] == [
        ("a", "search", []),
        ("b", "mail", ["a"]),
    ]
    assert json.loads(steps[1].tool_call.arguments_json) == {
        "text": [{"$result": {"step": "a", "pointer": "/0/t~1x"}}]
    }
    assert request().proposal.goal == "tell"


def test_a_step_goes_out_with_its_plan() -> None:
    """A step that is proposed again is a call that names plan and step."""
    call = values.ToolCall(tool="mail", arguments={"text": "found"}, request_id="r-2")
    proposal = messages.step_request(call, "d-1", "b", session_id="s-1").proposal
    assert (proposal.plan_step.decision_id, proposal.plan_step.step_id) == ("d-1", "b")
    assert proposal.tool_call.tool == "mail"


def test_each_step_comes_with_its_own_token() -> None:
    """A plan has no token of its own, and a step may wait for one."""
    plan = answer(a_step("a", execution_token="token"), a_step("b"))
    assert plan.allowed
    assert plan.execution_token == ""
    assert messages.execute_request(plan.step("a"), "search", {}).execution_token == "token"
    with pytest.raises(ValueError, match="decide_step"):
        messages.execute_request(plan.step("b"), "mail", {})
    with pytest.raises(ValueError, match="has no token"):
        messages.execute_request(plan, "mail", {})
    with pytest.raises(KeyError):
        plan.step("c")


def test_no_token_is_in_a_repr() -> None:
    """What is logged of a plan's decision grants nothing (case 63)."""
    assert "token-of-a" not in repr(answer(a_step("a", execution_token="token-of-a"), a_step("b")))


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        ([a_step("a")], {}),
        ([a_step("a"), a_step("b"), a_step("c")], {}),
        ([], {"execution_token": "token"}),
        ([a_step("a"), a_step("b")], {"execution_token": "token"}),
        ([a_step("a"), a_step("b", verdict=decision_pb2.VERDICT_DENY)], {}),
        ([a_step("a"), a_step("b", verdict=decision_pb2.VERDICT_UNSPECIFIED)], {}),
        (
            [a_step("a", execution_token="token"), a_step("b", verdict=decision_pb2.VERDICT_DENY)],
            {"verdict": decision_pb2.VERDICT_DENY},
        ),
        (
            [a_step("a"), a_step("b", verdict=decision_pb2.VERDICT_DENY, execution_token="token")],
            {"verdict": decision_pb2.VERDICT_DENY},
        ),
    ],
    ids=[
        "a step less",
        "a step more",
        "no steps",
        "a token of its own",
        "a denied step",
        "an unknown verdict",
        "a token in a denied plan",
        "a denied step with a token",
    ],
)
def test_an_answer_that_contradicts_itself_is_an_error(
    steps: list[decision_pb2.StepDecision], changes: dict[str, Any]
) -> None:
    """Whatever is no well-formed answer to this very plan is never a yes (invariant 1)."""
    with pytest.raises(InterlockCallError):
        answer(*steps, **changes)


def test_references_are_filled_from_results() -> None:
    """Each gives way to the very value that it leads to; all else stays as it is."""
    assert filled(STEPS[1].arguments, RESULTS) == {"text": ["found"]}
    assert filled({"n": 1, "all": Reference(step="a")}, RESULTS) == {"n": 1, "all": RESULTS["a"]}


@pytest.mark.parametrize("pointer", ["/1", "/0/none", "/0/t~1x/deep", "/-1", "/x"])
def test_a_reference_that_leads_nowhere_fills_nothing(pointer: str) -> None:
    """What is not there is an error before it is sent."""
    with pytest.raises(LookupError):
        filled({"x": Reference(step="a", pointer=pointer)}, RESULTS)
    with pytest.raises(LookupError):
        filled({"x": Reference(step="b")}, RESULTS)


def test_a_steps_token_needs_an_allow() -> None:
    """A step's decision is valid from the moment it is made."""
    with pytest.raises(ValueError, match="came with an execution token"):
        StepDecision(
            step_id="a",
            decision_id="d",
            verdict=Verdict.DENY,
            reasons=(),
            obligations=(),
            execution_token="token",
            arguments_digest="",
        )
