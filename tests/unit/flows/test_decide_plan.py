"""A plan is decided as a whole, and each of its steps runs at most once, in its turn, as it was planned (case 59)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.core import record as records
from interlock.core.decision import Decision, Evaluated, PolicyAnswer, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import Finding, OutcomeKind
from interlock.core.plan_conclusion import combine, steps_of
from interlock.core.policy_input import PolicyInput
from interlock.core.record import RecordType
from interlock.core.timeline import DecisionMade, Place, page
from tests.plans import MAIL_GATEWAY, PlanWorld, a_plan, a_step, codes, refer
from tests.proposals import AGENT, a_proposal, an_answer
from tests.unit.flows.session_world import ALLOW, DENY, allowing

FETCH = a_step("fetch")
USE = a_step("use", ["fetch"], arguments={"repo_path": refer("fetch", "/path")})
BUDGET = {
    "type": "budget",
    "scope": "session",
    "unit": "calls",
    "amount": 1,
    "limit": 2,
    "window": "whole",
    "window_seconds": 0,
}


@pytest.fixture
def world() -> PlanWorld:
    return PlanWorld()


def by_step(**answers: Evaluated | InterlockError) -> Callable[[PolicyInput], Evaluated | InterlockError]:
    """A policy that allows, but for these steps."""

    def answer(document: PolicyInput) -> Evaluated | InterlockError:
        plan = document["plan"]
        return answers.get(plan["step"], ALLOW) if plan else ALLOW

    return answer


async def test_every_step_of_an_allowed_plan_gets_a_token_for_its_place(world: PlanWorld) -> None:
    """Each token binds its call to plan digest, step and predecessors (case 59)."""
    decision = await world.plan(a_step("second", ["first"]), a_step("first"))
    assert decision.verdict is Verdict.ALLOW
    assert decision.execution_token == ""
    assert [step.step_id for step in decision.steps] == ["first", "second"]
    first, second = map(world.claims, decision.steps)
    assert first.plan is not None
    assert second.plan is not None
    assert (first.plan.step, first.plan.after) == ("first", ())
    assert (second.plan.step, second.plan.after) == ("second", ("first",))
    assert {first.plan.digest, second.plan.digest} == {decision.arguments_digest}
    assert {first.plan.decision_id, second.plan.decision_id} == {decision.decision_id}
    assert first.jti != second.jti
    assert first.decision_id != second.decision_id


async def test_a_plan_and_its_steps_go_on_record_together(world: PlanWorld) -> None:
    """One transaction holds the plan's record, then each step's with its place in the plan (invariant 2)."""
    decision = await world.plan(FETCH, USE)
    assert world.log.appends == 1
    whole, *steps = map(records.fields, world.log.records)
    assert [step["plan"]["step"] for step in steps] == ["fetch", "use"]
    assert [step["decision_id"] for step in steps] == [each["decision_id"] for each in steps_of(whole)]
    assert [step["plan"]["wanted"] for step in steps] == [["/path"], []]
    assert {step["plan"]["decision_id"] for step in steps} == {decision.decision_id}
    assert {record.type for record in world.log.records} == {RecordType.DECISION}


async def test_the_policy_sees_where_a_step_stands(world: PlanWorld) -> None:
    """`input.plan` tells a step's place; it is null for a call of its own."""
    decision = await world.plan(FETCH, USE)
    await world.propose(request_id="single")
    assert [document["plan"] for document in world.inputs] == [
        {
            "decision_id": decision.decision_id,
            "digest": decision.arguments_digest,
            "step": "fetch",
            "steps": 2,
            "position": 0,
            "depth": 0,
            "after": [],
            "refers": False,
            "filled": False,
        },
        {
            "decision_id": decision.decision_id,
            "digest": decision.arguments_digest,
            "step": "use",
            "steps": 2,
            "position": 1,
            "depth": 1,
            "after": ["fetch"],
            "refers": True,
            "filled": False,
        },
        None,
    ]


async def test_a_step_that_refers_gets_no_token_with_the_plan(world: PlanWorld) -> None:
    """What is not known yet is not signed: such a step is allowed, and proposed again (case 59)."""
    decision = await world.plan(FETCH, USE)
    assert [(step.verdict, bool(step.execution_token)) for step in decision.steps] == [
        (Verdict.ALLOW, True),
        (Verdict.ALLOW, False),
    ]


async def test_a_step_after_one_at_another_gateway_gets_no_token_with_the_plan(world: PlanWorld) -> None:
    """No gateway knows what ran at another: such a step is proposed again once that is on record."""
    mail = a_step("mail", ["fetch"], tool="send_mail", arguments={})
    decision = await world.plan(FETCH, mail)
    assert [bool(step.execution_token) for step in decision.steps] == [True, False]
    await world.executed(decision.steps[0])
    again = await world.step(decision.decision_id, "mail", {}, tool="send_mail")
    claims = world.claims(again)
    assert claims.aud == MAIL_GATEWAY.name
    assert claims.plan is not None
    assert claims.plan.after == ()


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(DENY, Verdict.DENY), (an_answer("escalate"), Verdict.ESCALATE)],
    ids=["deny", "escalate"],
)
async def test_a_plan_with_a_step_that_is_not_allowed_grants_nothing(
    world: PlanWorld, answer: Evaluated, verdict: Verdict
) -> None:
    """All steps are allowed, or none; an allowed one says which other kept it."""
    world.policy = by_step(b=answer)
    decision = await world.plan(a_step("a"), a_step("b"), a_step("c"))
    assert decision.verdict is verdict
    assert [reason.metadata["step"] for reason in decision.reasons] == ["b"]
    assert [codes(step) for step in decision.steps] == [
        ["plans.refused"],
        [f"example.{verdict}"],
        ["plans.refused"],
    ]
    assert [step.execution_token for step in decision.steps] == ["", "", ""]
    assert [step["token"] for step in map(records.fields, world.log.records)] == [None] * 4


async def test_a_deny_of_one_step_beats_an_escalate_of_another(world: PlanWorld) -> None:
    """Deny beats escalate beats allow, in a plan too."""
    world.policy = by_step(a=an_answer("escalate"), b=DENY)
    decision = await world.plan(a_step("a"), a_step("b"))
    assert decision.verdict is Verdict.DENY


async def test_a_plan_takes_all_that_its_steps_reserve_or_nothing(world: PlanWorld) -> None:
    """A budget that does not suffice for one step refuses the whole plan, and nothing of it stays taken."""
    world.policy = lambda _: allowing(BUDGET)
    refused = await world.plan(a_step("a"), a_step("b"), a_step("c"))
    assert refused.verdict is Verdict.DENY
    assert [codes(step) for step in refused.steps] == [["plans.refused"], ["plans.refused"], ["quota.budget"]]
    assert [reason.metadata["step"] for reason in refused.reasons] == ["c"]
    granted = await world.plan(a_step("a"), a_step("b"), request_id="request-2")
    assert granted.verdict is Verdict.ALLOW


async def test_a_step_without_a_token_reserves_nothing(world: PlanWorld) -> None:
    """What is decided anew takes its budget then."""
    world.policy = lambda _: allowing(BUDGET)
    uses = [
        a_step(f"use-{each}", ["fetch"], arguments={"repo_path": refer("fetch", "/path")}) for each in "ab"
    ]
    assert (await world.plan(FETCH, *uses)).verdict is Verdict.ALLOW


async def test_the_same_request_gives_the_same_plan_decision(world: PlanWorld) -> None:
    """Asked again, decision, steps and tokens are the same, and nothing is on record twice (invariant 9)."""
    first = await world.plan(FETCH, USE, a_step("last", ["use"]))
    size = len(world.log.records)
    world.clock.move(timedelta(seconds=3))
    assert await world.plan(FETCH, USE, a_step("last", ["use"])) == first
    assert len(world.log.records) == size


async def test_one_plan_twice_in_a_batch_is_decided_once(world: PlanWorld) -> None:
    """Two that race for one name get one answer, and no step of the other stays behind (invariant 9)."""
    answers = await world.decide(a_plan(FETCH, USE), a_plan(FETCH, USE))
    assert answers[0] == answers[1]
    assert len(world.log.records) == 3


async def test_another_plan_of_the_same_name_is_an_error(world: PlanWorld) -> None:
    """A step that is put in after the decision makes another plan (case 59, invariant 9)."""
    first, second = await world.decide(a_plan(FETCH, USE), a_plan(FETCH, USE, a_step("extra")))
    assert isinstance(first, Decision)
    assert isinstance(second, InterlockError)
    assert second.reason is ErrorReason.REQUEST_ID_REUSED
    [third] = await world.decide(a_proposal("request-1"))
    assert isinstance(third, InterlockError)
    assert third.reason is ErrorReason.REQUEST_ID_REUSED
    assert len(world.log.records) == 3


async def test_a_plan_spoils_nothing_of_its_batch(world: PlanWorld) -> None:
    """One step that cannot be decided fails its plan alone, and is on record (invariant 10)."""
    conflict = InterlockError(reason=ErrorReason.POLICY_CONFLICT, message="two rules conflict")
    world.policy = by_step(b=conflict)
    single, plan, other = await world.decide(
        a_proposal("single"), a_plan(a_step("a"), a_step("b")), a_plan(a_step("c"), request_id="other")
    )
    assert isinstance(single, Decision)
    assert plan == conflict
    assert isinstance(other, Decision)
    assert [record.type for record in world.log.records] == [
        RecordType.DECISION,
        RecordType.FAILURE,
        RecordType.DECISION,
        RecordType.DECISION,
    ]


async def test_a_plans_verdict_is_found_again_from_its_records(world: PlanWorld) -> None:
    """The answers on record of the steps give the plan's answer (invariant 7)."""
    for number, answer in enumerate([ALLOW, DENY, an_answer("escalate")]):
        world.policy = by_step(a=answer)
        decision = await world.plan(a_step("a"), a_step("b"), request_id=f"request-{number}")
        whole = world.on_record(decision.decision_id)
        answers = {
            step["step"]: PolicyAnswer.model_validate(world.on_record(step["decision_id"])["result"])
            for step in steps_of(whole)
        }
        assert combine(answers) == PolicyAnswer.model_validate(whole["result"])


async def test_a_filled_step_is_decided_anew_with_its_real_values(world: PlanWorld) -> None:
    """Once its predecessor succeeded, the step with the result's value gets its token, from the policy (case 59)."""
    decision = await world.plan(FETCH, USE)
    await world.executed(decision.steps[0], result={"path": "found"})
    again = await world.step(decision.decision_id, "use", {"repo_path": "found"})
    assert again.verdict is Verdict.ALLOW
    claims = world.claims(again)
    assert claims.plan is not None
    assert (claims.plan.step, claims.plan.after) == ("use", ())
    plan = world.inputs[-1]["plan"]
    assert plan is not None
    assert (plan["refers"], plan["filled"]) == (True, True)
    assert world.inputs[-1]["arguments"] == {"repo_path": "found"}


async def test_a_filled_step_that_the_policy_denies_is_denied(world: PlanWorld) -> None:
    """A plan's allow says nothing about values that nobody had seen."""
    decision = await world.plan(FETCH, USE)
    await world.executed(decision.steps[0], result={"path": "found"})
    world.policy = by_step(use=DENY)
    again = await world.step(decision.decision_id, "use", {"repo_path": "found"})
    assert codes(again) == ["example.deny"]


@pytest.mark.parametrize(
    "call",
    [
        {"arguments": {"repo_path": "another"}},
        {"arguments": {"repo_path": "found", "max_count": 1}},
        {"arguments": {}},
        {"arguments": {"repo_path": refer("fetch", "/path")}},
        {"arguments": {"repo_path": "found"}, "tool": "send_mail"},
    ],
    ids=["another value", "one argument more", "no place", "unresolved", "another tool"],
)
async def test_a_step_that_drifted_is_refused(world: PlanWorld, call: dict[str, Any]) -> None:
    """Nothing but the planned call with the results' values gets a token (case 59)."""
    decision = await world.plan(FETCH, USE)
    await world.executed(decision.steps[0], result={"path": "found"})
    again = await world.step(decision.decision_id, "use", **call)
    assert (again.verdict, codes(again), again.execution_token) == (Verdict.DENY, ["plans.drifted"], "")
    assert again.retry_after is None


async def test_a_step_that_is_not_due_is_refused_until_it_is(world: PlanWorld) -> None:
    """No step is granted before its predecessors succeeded; it hears that they may soon have."""
    decision = await world.plan(FETCH, USE)
    early = await world.step(decision.decision_id, "use", {"repo_path": "found"})
    assert (codes(early), early.retry_after) == (["plans.not_due"], 1)
    await world.executed(decision.steps[0], result={"path": "found"})
    assert (await world.step(decision.decision_id, "use", {"repo_path": "found"})).verdict is Verdict.ALLOW


@pytest.mark.parametrize("kind", [OutcomeKind.FAILED, OutcomeKind.UNKNOWN])
async def test_a_step_after_one_that_did_not_succeed_is_never_due(
    world: PlanWorld, kind: OutcomeKind
) -> None:
    """Waiting does not help where a predecessor failed, or may have."""
    decision = await world.plan(FETCH, USE)
    await world.executed(decision.steps[0], kind)
    again = await world.step(decision.decision_id, "use", {"repo_path": "found"})
    assert (codes(again), again.retry_after) == (["plans.not_due"], None)


@pytest.mark.parametrize(
    ("result", "truncated"),
    [({"other": 1}, False), ({"path": "found"}, True), ("text", False)],
    ids=["not there", "cut off", "another shape"],
)
async def test_a_reference_to_what_nobody_knows_is_never_filled(
    world: PlanWorld, result: Any, truncated: bool
) -> None:
    """A result that lacks the value, or came cut off, proves no argument (case 59)."""
    decision = await world.plan(FETCH, USE)
    await world.executed(decision.steps[0], result=result, truncated=truncated)
    again = await world.step(decision.decision_id, "use", {"repo_path": "found"})
    assert codes(again) == ["plans.unresolvable"]


async def test_no_step_is_granted_twice_while_its_token_may_run(world: PlanWorld) -> None:
    """The token of the plan and one of the step alone are never good at the same time (invariant 8)."""
    decision = await world.plan(FETCH)
    again = await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})
    assert codes(again) == ["plans.step_taken"]
    assert again.retry_after is not None
    world.clock.move(timedelta(seconds=again.retry_after))
    later = await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})
    assert later.verdict is Verdict.ALLOW
    assert codes(await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})) == [
        "plans.step_taken"
    ]


async def test_a_token_that_expired_at_its_gateway_frees_its_step(world: PlanWorld) -> None:
    """Only the gateway's word that it is too late frees a step before its time."""
    decision = await world.plan(FETCH)
    await world.executed(decision.steps[0], OutcomeKind.REFUSED, refusal=ErrorReason.CALL_MISMATCH)
    assert codes(await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})) == [
        "plans.step_taken"
    ]
    await world.executed(decision.steps[0], OutcomeKind.REFUSED, refusal=ErrorReason.TOKEN_EXPIRED)
    later = await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})
    assert later.verdict is Verdict.ALLOW


@pytest.mark.parametrize("kind", [OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.UNKNOWN])
async def test_a_step_that_ran_is_never_granted_again(world: PlanWorld, kind: OutcomeKind) -> None:
    """A step runs at most once, however it ended and however long ago (invariant 8)."""
    decision = await world.plan(FETCH)
    await world.executed(decision.steps[0], kind)
    world.clock.move(timedelta(hours=1))
    again = await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})
    assert (codes(again), again.retry_after) == (["plans.step_taken"], None)


async def test_a_plan_is_over_after_a_day(world: PlanWorld) -> None:
    """Of a plan whose cell was forgotten nothing is granted (invariant 1)."""
    decision = await world.plan(FETCH)
    world.clock.move(timedelta(hours=25))
    await world.log.state.prune(world.clock.now(), limit=1_000)
    assert codes(await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})) == ["plans.over"]


@pytest.mark.parametrize(
    "change",
    [
        {"caller": replace(AGENT, tenant="rival")},
        {"caller": replace(AGENT, name="agent-2")},
        {"decision_id": "unknown"},
        {"step_id": "unknown"},
    ],
    ids=["tenant", "agent", "plan", "step"],
)
async def test_a_step_of_no_plan_of_the_agents_is_an_error(world: PlanWorld, change: dict[str, Any]) -> None:
    """Another's plan looks like none at all (case 54)."""
    decision = await world.plan(FETCH)
    stated: dict[str, Any] = {"decision_id": decision.decision_id, "step_id": "fetch"} | change
    with pytest.raises(InterlockError) as raised:
        await world.step(arguments={"repo_path": "fetch"}, **stated)
    assert raised.value.reason is ErrorReason.PLAN_NOT_FOUND
    assert len(world.log.records) == 2


async def test_a_plan_that_was_refused_has_no_steps_to_propose(world: PlanWorld) -> None:
    """What the policy refused as a whole is not had by its parts."""
    world.policy = by_step(b=DENY)
    decision = await world.plan(a_step("a"), a_step("b"))
    with pytest.raises(InterlockError, match="PLAN_NOT_FOUND"):
        await world.step(decision.decision_id, "a", {"repo_path": "a"})


async def test_a_steps_own_decision_is_no_plan(world: PlanWorld) -> None:
    """Only the plan's own decision_id names it."""
    decision = await world.plan(FETCH)
    with pytest.raises(InterlockError, match="PLAN_NOT_FOUND"):
        await world.step(decision.steps[0].decision_id, "fetch", {"repo_path": "fetch"})


async def test_a_plan_whose_record_was_edited_grants_nothing(world: PlanWorld) -> None:
    """A record that does not match its hash is no plan (case 20)."""
    decision = await world.plan(FETCH)
    world.log.records[0] = replace(world.log.records[0], content=world.log.records[0].content + b" ")
    with pytest.raises(InterlockError, match="PLAN_NOT_FOUND"):
        await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})
    world.log.records[0] = replace(world.log.records[0], once="")


async def test_a_step_whose_record_was_edited_takes_its_plans_tokens_along(world: PlanWorld) -> None:
    """Asked again, a plan with an edited step grants nothing (case 20)."""
    await world.plan(FETCH)
    world.log.records[1] = replace(world.log.records[1], leaf_hash=bytes(32))
    [again] = await world.decide(a_plan(FETCH))
    assert isinstance(again, InterlockError)
    assert again.reason is ErrorReason.INTERNAL


async def test_a_plan_and_its_steps_stand_in_the_sessions_timeline(world: PlanWorld) -> None:
    """The plan is one entry that says what it is, and each step one of its own, with its tool."""
    await world.plan(FETCH, USE)
    entries, _ = page(
        world.log.records, (), begin=Place(), not_before=world.log.records[0].timestamp, size=10, more=False
    )
    made = [each.event for each in entries if isinstance(each.event, DecisionMade)]
    assert [each.tool for each in made] == ["plan of 2 steps", "git_log", "git_log"]
    assert [each.number for each in entries] == [0, 1, 2]


@pytest.mark.parametrize(
    ("found", "due"), [(Finding.SUCCEEDED, True), (Finding.FAILED, False), (Finding.NOT_RUN, False)]
)
async def test_what_a_person_found_makes_the_next_step_due(
    world: PlanWorld, found: Finding, due: bool
) -> None:
    """A step of unknown end counts as succeeded once somebody saw that it did; it never runs again (invariant 8)."""
    mail = a_step("mail", ["fetch"], tool="send_mail", arguments={})
    decision = await world.plan(FETCH, mail)
    await world.executed(decision.steps[0], OutcomeKind.UNKNOWN, found=found)
    again = await world.step(decision.decision_id, "mail", {}, tool="send_mail")
    assert codes(again) == (["example.allow"] if due else ["plans.not_due"])
    assert codes(await world.step(decision.decision_id, "fetch", {"repo_path": "fetch"})) == [
        "plans.step_taken"
    ]
