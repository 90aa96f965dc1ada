"""Between messages and core types: nothing is lost on the way, and what is out of bounds is told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.decision import Decision, StepDecision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import (
    MAX_RESULT_KEPT_BYTES,
    Finding,
    MemoryWrite,
    ObligationResult,
    Outcome,
    OutcomeKind,
    Reconciliation,
    Usage,
)
from interlock.core.plan import RawPlan, RawStep
from interlock.core.plan_step import StepReference
from interlock.core.proposal import RawProposal
from interlock.rpc import wire
from interlock.v1 import decision_pb2, decision_service_pb2, outcome_pb2, proposal_pb2
from tests.fakes import NOON
from tests.proposals import AGENT

OUTCOME = Outcome(
    execution_id="execution-1",
    decision_id="decision-1",
    token_id="token-1",
    kind=OutcomeKind.SUCCEEDED,
    result_digest="d" * 43,
    refusal="",
    start_time=NOON,
    end_time=NOON + timedelta(seconds=3, microseconds=7),
)
DECISION = Decision(
    decision_id="decision-1",
    request_id="request-1",
    verdict=Verdict.DENY,
    reasons=(),
    obligations=(),
    policy_revision="revision-1",
    arguments_digest="digest",
    log_index=7,
)

counts = st.none() | st.integers(0, 2**53 - 1)
writes = st.builds(
    MemoryWrite,
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=256),
    version=st.integers(0, 2**53 - 1),
    digest=st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=128),
)
results = st.builds(
    ObligationResult,
    type=st.text(st.characters(codec="utf-8"), max_size=64),
    detail=st.text(st.characters(codec="utf-8"), max_size=1_024),
)
reports: dict[str, Any] = {
    "result": st.binary(max_size=100),
    "result_truncated": st.booleans(),
    "usage": st.none() | st.builds(Usage, cost=counts, model_tokens=counts, compute_milliseconds=counts),
    "memory_writes": st.lists(writes, max_size=4).map(tuple),
    "obligation_results": st.lists(results, max_size=4).map(tuple),
}


@given(st.fixed_dictionaries(reports))
def test_an_outcome_arrives_as_it_was_sent(report: dict[str, Any]) -> None:
    """Whatever a gateway reports of a call is what the decision service reads, unknown usage as unknown."""
    sent = replace(OUTCOME, **report)
    received = wire.reported_outcome(wire.outcome_report(sent))
    assert received == sent
    assert received.result == sent.result


def test_a_result_that_is_too_long_is_cut_and_recorded() -> None:
    """More than 65,536 bytes are cut and marked, whatever the gateway said: what ran must come on record."""
    long = replace(OUTCOME, result=b"x" * (MAX_RESULT_KEPT_BYTES + 1))
    received = wire.reported_outcome(wire.outcome_report(long))
    assert received.result == b"x" * MAX_RESULT_KEPT_BYTES
    assert received.result_truncated
    just = replace(OUTCOME, result=b"x" * MAX_RESULT_KEPT_BYTES)
    assert not wire.reported_outcome(wire.outcome_report(just)).result_truncated


def test_obligations_that_say_too_much_are_cut_and_recorded() -> None:
    """Neither number nor length of what is told of obligations keeps an outcome off the record."""
    told = replace(OUTCOME, obligation_results=(ObligationResult(type="t" * 65, detail="d" * 1_025),) * 65)
    received = wire.reported_outcome(wire.outcome_report(told)).obligation_results
    assert received == (ObligationResult(type="t" * 64, detail="d" * 1_024),) * 64


@pytest.mark.parametrize("finding", list(Finding))
def test_a_finding_arrives_as_it_was_sent(finding: Finding) -> None:
    """What a person found of an unknown outcome is what the decision service reads."""
    found = Reconciliation(finding=finding, comment="not there", found_by="", time=NOON)
    sent = replace(OUTCOME, kind=OutcomeKind.UNKNOWN, reconciliation=found)
    assert wire.reported_outcome(wire.outcome_report(sent)) == sent


def a_finding(**changes: Any) -> decision_service_pb2.ReportOutcomeRequest:
    stated: dict[str, Any] = {"finding": outcome_pb2.FINDING_FAILED, "comment": "c"} | changes
    return a_report(outcome=outcome_pb2.OUTCOME_UNKNOWN, reconciliation=outcome_pb2.Reconciliation(**stated))


def a_report(**changes: Any) -> decision_service_pb2.ReportOutcomeRequest:
    message = wire.outcome_report(OUTCOME)
    message.MergeFrom(decision_service_pb2.ReportOutcomeRequest(**changes))
    return message


@pytest.mark.parametrize(
    ("report", "field"),
    [
        (a_report(usage=outcome_pb2.Usage(cost=-1)), "usage.cost"),
        (a_report(usage=outcome_pb2.Usage(model_tokens=2**53)), "usage.model_tokens"),
        (a_report(usage=outcome_pb2.Usage(compute_milliseconds=-1)), "usage.compute_milliseconds"),
        (a_report(memory_writes=[outcome_pb2.MemoryWrite(version=1)]), "memory_writes[0].key"),
        (
            a_report(
                memory_writes=[outcome_pb2.MemoryWrite(key="k"), outcome_pb2.MemoryWrite(key="k" * 257)]
            ),
            "memory_writes[1].key",
        ),
        (a_report(memory_writes=[outcome_pb2.MemoryWrite(key="k", version=-1)]), "memory_writes[0].version"),
        (
            a_report(memory_writes=[outcome_pb2.MemoryWrite(key="k", digest="d" * 129)]),
            "memory_writes[0].digest",
        ),
        (a_report(memory_writes=[outcome_pb2.MemoryWrite(key="k")] * 257), "memory_writes"),
        (a_report(execution_id="e" * 65), "execution_id"),
        (a_report(reconciliation=outcome_pb2.Reconciliation()), "reconciliation"),
        (a_finding(finding=outcome_pb2.FINDING_UNSPECIFIED), "reconciliation.finding"),
        (a_finding(comment=""), "reconciliation.comment"),
        (a_finding(comment="c" * 1_025), "reconciliation.comment"),
        (a_finding(found_by="f" * 129), "reconciliation.found_by"),
    ],
)
def test_an_outcome_out_of_bounds_is_told_with_its_place(
    report: decision_service_pb2.ReportOutcomeRequest, field: str
) -> None:
    """What no gateway of ours sends is INVALID_FIELD with its path."""
    with pytest.raises(InterlockError) as caught:
        wire.reported_outcome(report)
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_result_is_in_no_repr() -> None:
    """What a tool answered is in no text that is made of an outcome (case 63)."""
    assert "confidential" not in repr(replace(OUTCOME, result=b"confidential"))


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, 0.0), (2.5, 2.5), (0.0004, 0.0), (1e300, 315_576_000_000.0)]
)
def test_a_decision_says_when_to_try_again(seconds: float, expected: float) -> None:
    """Seconds travel as a duration, to the millisecond, and at most as long as one can be."""
    message = wire.decision(replace(DECISION, retry_after=seconds, state_digest="s"))
    assert message.HasField("retry_after")
    assert message.retry_after.ToMilliseconds() / 1_000 == expected
    assert message.state_digest == "s"


def test_a_decision_that_waiting_does_not_help_says_no_time() -> None:
    """No time is not the time 0."""
    assert not wire.decision(DECISION).HasField("retry_after")


def test_a_proposal_names_its_operation() -> None:
    """The operation key comes through as it was sent."""
    request = decision_service_pb2.DecideRequest(
        proposal=proposal_pb2.Proposal(tool_call=proposal_pb2.ToolCall(tool="t"), operation="pay:bill-7")
    )
    assert wire.raw_proposal(AGENT, request).operation == "pay:bill-7"


def a_plan_request(*steps: proposal_pb2.PlanStep) -> decision_service_pb2.DecideRequest:
    """A request to decide a plan."""
    proposal = proposal_pb2.Proposal(session_id="session-1", plan=proposal_pb2.Plan(steps=steps))
    return decision_service_pb2.DecideRequest(request_id="request-1", proposal=proposal)


def test_a_plan_is_read_step_by_step() -> None:
    """Each step comes with its name, its call and what it comes after, as it was sent."""
    call = proposal_pb2.ToolCall(tool="git_log", arguments_json=b"{}")
    step = proposal_pb2.PlanStep(step_id="b", tool_call=call, after=["a"])
    raw = wire.raw_request(AGENT, a_plan_request(step))
    assert isinstance(raw, RawPlan)
    assert raw.steps == (RawStep(step_id="b", tool="git_log", arguments_json=b"{}", after=("a",)),)
    assert (raw.request_id, raw.session_id, raw.caller) == ("request-1", "session-1", AGENT)


def test_a_step_that_is_proposed_again_names_its_plan() -> None:
    """`plan_step` goes with a call; with a plan it is an error."""
    request = a_plan_request(proposal_pb2.PlanStep(step_id="a"))
    request.proposal.plan_step.decision_id = "plan-1"
    request.proposal.plan_step.step_id = "a"
    with pytest.raises(InterlockError, match=r"proposal\.plan_step"):
        wire.raw_request(AGENT, request)
    request.proposal.tool_call.tool = "git_log"
    raw = wire.raw_request(AGENT, request)
    assert isinstance(raw, RawProposal)
    assert raw.plan_step == StepReference(decision_id="plan-1", step_id="a")


def test_a_flood_of_steps_is_refused_before_it_is_read() -> None:
    """Of ten thousand steps nothing is made (case 59)."""
    with pytest.raises(InterlockError, match=r"proposal\.plan\.steps"):
        wire.raw_request(AGENT, a_plan_request(*[proposal_pb2.PlanStep(step_id="a")] * 10_000))


def test_a_request_of_neither_a_call_nor_a_plan_is_refused() -> None:
    """What is proposed must be said."""
    with pytest.raises(InterlockError, match=r"proposal\.tool_call"):
        wire.raw_request(AGENT, decision_service_pb2.DecideRequest(request_id="request-1"))


def test_each_step_of_a_plan_is_told() -> None:
    """What was decided of a step goes out whole, its token too."""
    step = StepDecision(
        step_id="a",
        decision_id="decision-2",
        verdict=Verdict.ALLOW,
        reasons=(),
        obligations=(),
        arguments_digest="digest",
        execution_token="token",
    )
    plan = Decision(
        decision_id="decision-1",
        request_id="request-1",
        verdict=Verdict.ALLOW,
        reasons=(),
        obligations=(),
        policy_revision="revision-1",
        arguments_digest="plan-digest",
        log_index=1,
        steps=(step,),
    )
    assert list(wire.decision(plan).steps) == [
        decision_pb2.StepDecision(
            step_id="a",
            decision_id="decision-2",
            verdict=decision_pb2.VERDICT_ALLOW,
            arguments_digest="digest",
            execution_token="token",
        )
    ]
