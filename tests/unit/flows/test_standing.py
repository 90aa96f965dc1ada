"""Standing approvals: given with an approve, told to the policy, used up, listed and taken back (case 51)."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.core import record as records
from interlock.core.approval import ApprovalState, Resolution
from interlock.core.canonical import canonicalize
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import CallerKind
from interlock.core.plan import normalize_plan
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.session import SessionKey
from interlock.core.session_changes import StartSession
from interlock.core.standing import MOST_STANDING, StandingApproval, StandingQuery, StandingTerms
from interlock.flows.decide import decide
from interlock.flows.standing import list_standing, revoke_standing
from tests.approvals import ALICE, BOB, LIMIT_SECONDS, answer
from tests.fakes import ONE_APPROVES, no_files
from tests.plans import a_raw_plan, a_step, refer
from tests.proposals import AGENT, AUDITOR, CATALOG, MEASURING, a_proposal, an_answer
from tests.standing import EVERY_ONE, IN_DOCS, answers_standing, terms
from tests.unit.flows.approval_world import World

APPROVE, DENY = Resolution.APPROVE, Resolution.DENY


def reading(request_id: str, repo_path: str = "docs/api", **changes: Any) -> Proposal:
    """A call that reads a history."""
    return a_proposal(request_id, arguments={"repo_path": repo_path}, **changes)


def a_world() -> World:
    """Where each call needs a yes, to it or to the like of it."""
    return World(policy=answers_standing)


async def given(world: World, asked: StandingTerms | None = None, **changes: Any) -> StandingApproval:
    """The standing approval that alice gives with her approve of a call."""
    first = await world.decide(reading("r-first", **changes))
    resolved = await answer(world.parts, first.approval_id, APPROVE, standing=asked or terms())
    assert resolved.standing is not None
    return resolved.standing


async def refused(coroutine: object) -> InterlockError:
    """The error that comes of it."""
    with pytest.raises(InterlockError) as error:
        await coroutine  # type: ignore[misc]
    return error.value


async def listed(world: World, query: StandingQuery = EVERY_ONE) -> list[str]:
    """What holds for the tenant, by name."""
    found, _ = await list_standing(query, ALICE, world.parts)
    return [each.standing_id for each in found]


async def test_the_like_of_what_was_approved_is_let_through_so_often_and_no_more() -> None:
    """Case 51: within its terms it lets calls through until it is used up, and then people are asked again."""
    world = a_world()
    standing = await given(world)
    assert (standing.agent, standing.tool, standing.remaining) == (AGENT.name, "git_log", 2)
    assert standing.approvers == ("alice",)
    assert await listed(world) == [standing.standing_id]

    assert (await world.decide(reading("r-1"))).execution_token
    assert [each["remaining"] for each in told(world)] == [2]
    assert (await world.decide(reading("r-2", "docs/site"))).execution_token
    assert [each["remaining"] for each in told(world)] == [1]
    assert (await world.decide(reading("r-3"))).verdict is Verdict.ESCALATE
    assert await listed(world) == []


def told(world: World) -> list[Any]:
    """What the policy was told of standing approvals in the last batch."""
    return [each for document in world.engine.batches[-1] for each in document["facts"]["standing"]]


async def test_the_approved_call_itself_uses_none_up() -> None:
    """The approval is for its own call; the standing one is for the like of it."""
    world = a_world()
    standing = await given(world)
    assert (await world.decide(reading("r-first"))).verdict is Verdict.ALLOW
    [found], _ = await list_standing(EVERY_ONE, ALICE, world.parts)
    assert found == replace(standing, log_index=found.log_index)
    assert found.remaining == standing.count


async def test_a_decision_that_is_asked_for_again_uses_nothing_up() -> None:
    """The same request_id gives the same decision (invariant 9), and takes one call only."""
    world = a_world()
    await given(world)
    first = await world.decide(reading("r-1"))
    assert [await world.decide(reading("r-1")) for _ in range(3)] == [first] * 3
    assert (await world.decide(reading("r-2"))).verdict is Verdict.ALLOW


def with_digest(proposal: Proposal) -> Proposal:
    """The same call of a tool that somebody changed in the catalog."""
    assert proposal.tool is not None
    return replace(proposal, tool=replace(proposal.tool, digest="another"))


OTHERS: dict[str, Callable[[], Proposal]] = {
    "another catalog digest": lambda: with_digest(reading("r-1")),
    "another agent": lambda: reading("r-1", caller=replace(AGENT, name="agent-2")),
    "another tenant": lambda: reading("r-1", caller=replace(AGENT, tenant="other")),
    "another tool": lambda: a_proposal(
        "r-1", "git_commit", arguments={"repo_path": "docs/api", "message": "m"}
    ),
    "other arguments": lambda: reading("r-1", "source/api"),
    "arguments that begin alike": lambda: reading("r-1", "docs/api/../../etc"),
    "arguments that end otherwise": lambda: reading("r-1", "docs/api\n"),
    "one argument more": lambda: a_proposal("r-1", arguments={"repo_path": "docs/api", "max_count": 3}),
    "an argument of another type": lambda: a_proposal("r-1", arguments={"repo_path": ["docs/api"]}),
    "no arguments": lambda: a_proposal("r-1", arguments={}),
}


@pytest.mark.parametrize("other", OTHERS)
async def test_what_is_not_the_like_of_it_is_asked_about(other: str) -> None:
    """Case 51: widened in no way, a standing approval is not even told of where anything else is proposed."""
    world = a_world()
    await given(world)
    decision = await world.decide(OTHERS[other]())
    assert (decision.verdict, decision.execution_token) == (Verdict.ESCALATE, "")
    assert told(world) == []


async def test_what_another_user_is_behind_is_asked_about() -> None:
    """Case 51: a standing approval is for the user of its session, and one without a user for no user's."""
    world = a_world()
    await given(world)
    await begin(world, "session-of-ann", "ann")
    assert (await world.decide(reading("r-1", session_id="session-of-ann"))).verdict is Verdict.ESCALATE

    other = a_world()
    await begin(other, "session-of-ann", "ann")
    await begin(other, "session-of-bea", "bea")
    standing = await given(other, session_id="session-of-ann")
    assert standing.user == "ann"
    assert (await other.decide(reading("r-1", session_id="session-of-bea"))).verdict is Verdict.ESCALATE
    assert (await other.decide(reading("r-2", session_id="session-2"))).verdict is Verdict.ESCALATE
    assert (await other.decide(reading("r-3", session_id="session-of-ann"))).verdict is Verdict.ALLOW


async def begin(world: World, session_id: str, user: str) -> None:
    """A session that a user starts."""
    key = SessionKey(tenant=AGENT.tenant, agent=AGENT.name, session_id=session_id)
    start = StartSession(key=key, user=user, goal="", at=world.clock.now(), measuring=MEASURING)
    await world.log.state.apply([start], durable=True)


@pytest.mark.parametrize("this_session", [True, False])
async def test_it_holds_in_its_session_only_where_that_is_said(this_session: bool) -> None:
    """One that is given for this session is for no other."""
    world = a_world()
    await given(world, terms(this_session=this_session))
    decision = await world.decide(reading("r-1", session_id="session-2"))
    assert decision.verdict is (Verdict.ESCALATE if this_session else Verdict.ALLOW)
    assert (await world.decide(reading("r-2"))).verdict is Verdict.ALLOW


async def test_it_ends_to_the_second() -> None:
    """Case 51: from its expire time on it holds for nothing, is listed no more, and cannot be taken back."""
    world = a_world()
    standing = await given(world, terms(life_seconds=60))
    world.clock.move(timedelta(seconds=59, microseconds=999_999))
    assert (await world.decide(reading("r-1"))).verdict is Verdict.ALLOW
    world.clock.move(timedelta(microseconds=1))
    assert (await world.decide(reading("r-2"))).verdict is Verdict.ESCALATE
    assert await listed(world) == []
    error = await refused(revoke_standing(standing.standing_id, "", ALICE, world.parts))
    assert error.reason is ErrorReason.APPROVAL_NOT_FOUND


async def test_what_is_taken_back_holds_no_more_and_stands_on_record() -> None:
    """Case 51: after a revoke people are asked again, and the log says who took back what was left."""
    world = a_world()
    standing = await given(world)
    before = await world.decide(reading("r-1"))
    gone = await revoke_standing(standing.standing_id, "no more", BOB, world.parts)
    assert gone.remaining == 0
    assert (await world.decide(reading("r-2"))).verdict is Verdict.ESCALATE
    assert await world.decide(reading("r-1")) == before
    assert await listed(world) == []

    assert world.changes() == ["approve", "standing_revoked"]
    gave, took = (
        records.fields(each)
        for each in world.log.records
        if records.fields(each).get("change") in ("approve", "standing_revoked")
    )
    stated = gave["standing"]
    assert stated.pop("change") == "standing_given"
    assert stated == {
        "standing_id": standing.standing_id,
        "agent": AGENT.name,
        "user": "",
        "tool": "git_log",
        "catalog_digest": standing.catalog_digest,
        "session_id": "",
        "arguments_schema": {
            "type": "object",
            "properties": IN_DOCS,
            "required": ["repo_path"],
            "additionalProperties": False,
        },
        "codes": ["example.escalate"],
        "remaining": 2,
        "count": 2,
        "expire_time": "2026-03-01T12:10:00.000000Z",
        "approvers": ["alice"],
    }
    assert took["standing"] == stated | {"remaining": 1}
    assert (took["requested_by"], took["comment"]) == ("approver/bob", "no more")


async def test_it_holds_for_as_long_as_the_credentials_of_its_givers_do() -> None:
    """Case 50: what somebody gave whose credential was revoked since is told to no policy, and listed no more."""
    world = a_world()
    await given(world)
    world.credentials.revoke(ALICE.credential_id)
    decision = await world.decide(reading("r-1"))
    assert (decision.verdict, told(world)) == (Verdict.ESCALATE, [])
    assert (await list_standing(EVERY_ONE, BOB, world.parts))[0] == []


async def test_it_is_taken_back_once() -> None:
    """Of two who take it back at once, one does, and the other finds nothing."""
    world = a_world()
    standing = await given(world)
    ends = await asyncio.gather(
        *(revoke_standing(standing.standing_id, "", each, world.parts) for each in (ALICE, BOB)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in ends) == ["InterlockError", "StandingApproval"]
    assert world.changes() == ["approve", "standing_revoked"]


async def test_it_is_never_more_than_a_fact() -> None:
    """Invariant 4: a policy that does not weigh standing approvals asks people all the same, and one may still deny."""
    world = a_world()
    await given(world)
    world.policy = lambda document: an_answer("escalate")
    assert (await world.decide(reading("r-1"))).verdict is Verdict.ESCALATE
    assert len(told(world)) == 1
    world.policy = lambda document: an_answer("deny")
    assert (await world.decide(reading("r-2"))).verdict is Verdict.DENY
    assert (await list_standing(EVERY_ONE, ALICE, world.parts))[0][0].remaining == 2


async def test_what_was_used_up_meanwhile_grants_nothing() -> None:
    """Of a batch that the policy allows on one last call, the first is granted and the others are denied, on record."""
    world = a_world()
    standing = await given(world, terms(count=1))
    made = await decide(
        [reading("r-1"), reading("r-2"), reading("r-3")], world.decider, limit_seconds=LIMIT_SECONDS
    )
    decided = [each for each in made if isinstance(each, Decision)]
    assert [each.verdict for each in decided] == [Verdict.ALLOW, Verdict.DENY, Verdict.DENY]
    assert [bool(each.execution_token) for each in decided] == [True, False, False]
    [reason] = decided[1].reasons
    assert (reason.code, reason.metadata) == (
        "approvals.standing_used_up",
        {"standing_id": standing.standing_id},
    )


@pytest.mark.parametrize("other", OTHERS)
async def test_the_service_looks_again_when_it_grants(other: str) -> None:
    """Case 51, invariant 1: a policy that names a standing approval that does not hold for the call grants nothing."""
    world = a_world()
    standing = await given(world)
    reserved = [{"type": "standing", "standing_id": standing.standing_id}]
    world.policy = lambda document: an_answer("allow", reservations=reserved)
    decision = await world.decide(OTHERS[other]())
    assert (decision.verdict, decision.execution_token) == (Verdict.DENY, "")
    assert [reason.code for reason in decision.reasons] == ["approvals.standing_used_up"]
    assert (await list_standing(EVERY_ONE, ALICE, world.parts))[0][0].remaining == 2


async def test_nothing_else_is_taken_where_it_is_lacking() -> None:
    """All reservations of an allow are taken or none: a budget stays whole where a standing approval is lacking."""
    world = a_world()
    standing = await given(world, terms(count=1))
    budget: dict[str, Any] = {
        "type": "budget",
        "scope": "agent",
        "unit": "calls",
        "amount": 1,
        "limit": 1,
        "window": "sliding",
        "window_seconds": 60,
    }
    both = [{"type": "standing", "standing_id": standing.standing_id}, budget]
    world.policy = lambda document: an_answer("allow", reservations=both)
    assert (await world.decide(reading("r-1", "source"))).verdict is Verdict.DENY
    assert (await world.decide(reading("r-2"))).verdict is Verdict.ALLOW
    lacking = await world.decide(reading("r-3"))
    assert [reason.code for reason in lacking.reasons] == ["approvals.standing_used_up"]


async def test_a_budget_that_is_lacking_uses_no_call_up() -> None:
    """All reservations of an allow are taken or none: a standing approval stays whole where a budget is lacking."""
    world = a_world()
    standing = await given(world)
    places: dict[str, Any] = {"type": "concurrency", "scope": "agent", "limit": 0}
    both = [{"type": "standing", "standing_id": standing.standing_id}, places]
    world.policy = lambda document: an_answer("allow", reservations=both)
    assert (await world.decide(reading("r-1"))).verdict is Verdict.DENY
    assert (await list_standing(EVERY_ONE, ALICE, world.parts))[0][0].remaining == 2


REFUSED: dict[str, tuple[StandingTerms, str]] = {
    "no count": (terms(count=0), "standing.count"),
    "too many": (terms(count=1_001), "standing.count"),
    "no life": (terms(life_seconds=0), "standing.life_seconds"),
    "too long": (terms(life_seconds=86_401), "standing.life_seconds"),
    "anything": (terms({"repo_path": {}}), "standing.arguments_schema_json"),
    "nothing": (terms({}), "standing.arguments_schema_json"),
    "another call": (terms({"repo_path": {"const": "source"}}), "standing.arguments_schema_json"),
    "no JSON": (terms(arguments_schema_json=b"{"), "standing.arguments_schema_json"),
    "a repeated key": (
        terms(arguments_schema_json=b'{"type": "object", "type": "object"}'),
        "standing.arguments_schema_json",
    ),
    "no object": (terms(arguments_schema_json=b"true"), "standing.arguments_schema_json"),
    "too large": (terms({"repo_path": {"enum": ["x" * 17_000]}}), "standing.arguments_schema_json"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_terms_that_are_not_narrow_are_refused_and_nothing_is_approved(name: str) -> None:
    """Case 51: an answer with terms that say too little, or are not true of the call, is no answer at all."""
    world = a_world()
    asked, field = REFUSED[name]
    first = await world.decide(reading("r-1"))
    error = await refused(answer(world.parts, first.approval_id, APPROVE, standing=asked))
    assert error.reason is ErrorReason.INVALID_FIELD
    assert error.violations[0].field == field
    assert "source" not in str(error)
    assert world.changes() == []
    assert (await world.decide(reading("r-1"))).verdict is Verdict.ESCALATE


async def test_a_deny_gives_nothing() -> None:
    """Terms go with an approve only."""
    world = a_world()
    first = await world.decide(reading("r-1"))
    error = await refused(answer(world.parts, first.approval_id, DENY, standing=terms()))
    assert error.reason is ErrorReason.INVALID_FIELD


async def test_a_tool_that_is_unknown_gets_none() -> None:
    """What the catalog does not have has no digest to be bound to."""
    world = a_world()
    first = await world.decide(a_proposal("r-1", "git_push", arguments={"repo_path": "docs/api"}))
    error = await refused(answer(world.parts, first.approval_id, APPROVE, standing=terms()))
    assert error.violations[0].field == "standing"


async def test_a_sensitive_argument_is_bound_by_what_is_seen_of_it() -> None:
    """Case 63: the like of a call with a secret is one with the same secret, and no record has it in clear."""
    world = a_world()
    first = await world.decide(committing(world, "r-1", "docs/api", "hunter2"))
    clear = terms(IN_DOCS | {"message": {"const": "hunter2"}})
    error = await refused(answer(world.parts, first.approval_id, APPROVE, standing=clear))
    assert "hunter2" not in str(error)

    seen = committing(world, "r-1", "docs/api", "hunter2").disclosed_arguments["message"]
    concealed = terms(IN_DOCS | {"message": {"const": seen}})
    assert (await answer(world.parts, first.approval_id, APPROVE, standing=concealed)).standing
    assert not any(b"hunter2" in each.content for each in world.log.records)
    same = committing(world, "r-2", "docs/site", "hunter2")
    assert (await world.decide(same)).verdict is Verdict.ALLOW
    other = committing(world, "r-3", "docs/api", "another secret")
    assert (await world.decide(other)).verdict is Verdict.ESCALATE


def committing(world: World, request_id: str, repo_path: str, message: str) -> Proposal:
    """A call with a sensitive argument, concealed as the world conceals it."""
    raw = a_proposal(request_id, "git_commit", arguments={"repo_path": repo_path, "message": message}).raw
    assert raw is not None
    made = world.decider.following.normalize(raw)
    assert isinstance(made, Proposal)
    return made


async def test_a_plan_gets_none() -> None:
    """Terms are of one tool's arguments; of a plan nobody knows which step they would be for."""
    world = a_world()
    [decision] = await decide([a_plan_of(a_step("one"))], world.decider, limit_seconds=LIMIT_SECONDS)
    assert isinstance(decision, Decision)
    error = await refused(answer(world.parts, decision.approval_id, APPROVE, standing=terms()))
    assert error.violations[0].field == "standing"


def a_plan_of(*steps: Any) -> Any:
    """A plan of the catalog that the world has."""
    return normalize_plan(a_raw_plan(*steps), CATALOG, lambda data: f"concealed-{len(data)}", no_files)


async def test_steps_of_a_plan_use_one_call_each() -> None:
    """Two steps of a plan cannot both have the last call, and without the one there is not the other."""
    for count, verdict in ((2, Verdict.ALLOW), (1, Verdict.DENY)):
        world = a_world()
        await given(world, terms(count=count))
        steps = [a_step(name, arguments={"repo_path": f"docs/{name}"}) for name in ("one", "two")]
        [decision] = await decide([a_plan_of(*steps)], world.decider, limit_seconds=LIMIT_SECONDS)
        assert isinstance(decision, Decision)
        assert decision.verdict is verdict
        assert len(await listed(world)) == (1 if verdict is Verdict.DENY else 0)


async def test_what_is_not_filled_in_yet_satisfies_nothing() -> None:
    """Case 59: a step whose arguments are still to come is no call that anybody said yes to."""
    world = a_world()
    anything = {"repo_path": {"enum": ["docs/api", refer("one", "/path")]}}
    await given(world, terms(anything))
    plan = a_plan_of(
        a_step("one", arguments={"repo_path": "docs/api"}),
        a_step("two", ["one"], arguments={"repo_path": refer("one", "/path")}),
    )
    [decision] = await decide([plan], world.decider, limit_seconds=LIMIT_SECONDS)
    assert isinstance(decision, Decision)
    assert decision.verdict is Verdict.ESCALATE
    documents = world.engine.batches[-1]
    assert [len(document["facts"]["standing"]) for document in documents] == [1, 0]


def two_must(document: Any) -> Any:
    """Two people must approve."""
    return ONE_APPROVES.model_copy(update={"quorum": 2, "sufficient": len(document["answers"]) == 1})


async def test_all_who_approve_ask_for_the_same_or_nothing_is_given() -> None:
    """Case 51: nobody's name stands for terms that somebody else chose; it is given with the last approve, by all."""
    world = a_world()
    world.engine.terms = two_must
    first = await world.decide(reading("r-1"))
    half = await answer(world.parts, first.approval_id, APPROVE, standing=terms())
    assert half.standing is None
    assert await listed(world) == []
    for other in (terms(count=3), terms(life_seconds=601), terms(this_session=True)):
        error = await refused(answer(world.parts, first.approval_id, APPROVE, BOB, standing=other))
        assert error.violations[0].field == "standing"
    whole = await answer(world.parts, first.approval_id, APPROVE, BOB, standing=terms())
    assert whole.approval.state is ApprovalState.APPROVED
    assert whole.standing is not None
    assert whole.standing.approvers == ("alice", "bob")


async def test_who_did_not_ask_for_it_gives_none() -> None:
    """An approve that asks for nothing more gives nothing more, and keeps others from giving it in its name."""
    world = a_world()
    world.engine.terms = two_must
    first = await world.decide(reading("r-1"))
    await answer(world.parts, first.approval_id, APPROVE)
    error = await refused(answer(world.parts, first.approval_id, APPROVE, BOB, standing=terms()))
    assert error.violations[0].field == "standing"
    whole = await answer(world.parts, first.approval_id, APPROVE, BOB)
    assert whole.standing is None


async def test_an_edited_call_is_what_the_terms_are_for() -> None:
    """Terms with an edit must be true of the edited arguments, not of those that were proposed."""
    world = a_world()
    first = await world.decide(reading("r-1", "source"))
    edited = canonicalize({"repo_path": "docs/api"})
    resolved = await answer(
        world.parts, first.approval_id, APPROVE, edited_arguments_json=edited, standing=terms()
    )
    assert resolved.standing is not None


async def test_what_was_proposed_does_not_stand_for_what_it_was_edited_to() -> None:
    """Case 51: an edited proposal is weighed by the arguments that would run, not by those that were sent."""
    world = a_world()
    await given(world)
    seen: list[PolicyInput] = []

    def asks_always(document: PolicyInput) -> Any:
        seen.append(document)
        return an_answer("allow" if document["approval"] else "escalate")

    world.policy = asks_always
    first = await world.decide(reading("r-1"))
    edited = canonicalize({"repo_path": "source"})
    await answer(world.parts, first.approval_id, APPROVE, edited_arguments_json=edited)
    assert len(seen[0]["facts"]["standing"]) == 1
    assert (await world.decide(reading("r-1"))).edited_arguments_json == edited
    assert seen[-1]["facts"]["standing"] == []


async def test_so_many_hold_at_once_and_no_more() -> None:
    """One more than may hold for an agent and a tool is refused with its approve; those that are over leave room."""
    world = a_world()
    world.policy = lambda document: an_answer("escalate")
    for number in range(MOST_STANDING):
        await one_more(world, number, terms(life_seconds=60 + number))
    assert len(await listed(world)) == MOST_STANDING
    error = await refused(one_more(world, MOST_STANDING, terms()))
    assert error.violations[0].field == "standing"
    assert world.changes() == ["approve"] * MOST_STANDING
    world.clock.move(timedelta(seconds=60))
    await one_more(world, MOST_STANDING, terms())
    assert len(await listed(world)) == MOST_STANDING


async def one_more(world: World, number: int, asked: StandingTerms) -> None:
    """One more standing approval for the same agent and tool."""
    first = await world.decide(reading(f"r-{number}", session_id=f"session-{number}"))
    assert first.approval_id
    folder = "docs/" + "abcdefghijklmnopqrstuvwxyz"[number]
    first = await world.decide(reading(f"r-of-{number}", folder))
    await answer(world.parts, first.approval_id, APPROVE, standing=asked)


async def test_pages_come_newest_first_and_are_for_one_question() -> None:
    """Case 54: lists are of the caller's tenant and the agent asked for, and a page's token fits no other question."""
    world = a_world()
    world.policy = lambda document: an_answer("escalate")
    names = []
    for number in range(3):
        caller = replace(AGENT, name=f"agent-{number % 2}")
        first = await world.decide(reading(f"r-{number}", f"docs/{'abc'[number]}", caller=caller))
        resolved = await answer(world.parts, first.approval_id, APPROVE, standing=terms())
        assert resolved.standing is not None
        names.append(resolved.standing.standing_id)
    two = replace(EVERY_ONE, page_size=2)
    page, following = await list_standing(two, AUDITOR, world.parts)
    assert [each.standing_id for each in page] == [names[2], names[1]]
    rest, end = await list_standing(replace(two, page_token=following), AUDITOR, world.parts)
    assert ([each.standing_id for each in rest], end) == ([names[0]], "")
    assert await listed(world, replace(EVERY_ONE, agent="agent-0")) == [names[2], names[0]]
    for other in (replace(two, agent="agent-0"), replace(two, page_token="00")):
        stale = replace(other, page_token=other.page_token or following)
        assert (await refused(list_standing(stale, ALICE, world.parts))).reason is ErrorReason.INVALID_FIELD
    foreign = replace(ALICE, tenant="other")
    assert await list_standing(EVERY_ONE, foreign, world.parts) == ([], "")
    error = await refused(list_standing(replace(two, page_token=following), foreign, world.parts))
    assert error.reason is ErrorReason.INVALID_FIELD


async def test_what_is_unknown_or_of_another_tenant_is_not_found() -> None:
    """Case 54: who takes back what is not of its tenant learns nothing, and changes nothing."""
    world = a_world()
    standing = await given(world)
    foreign = replace(ALICE, tenant="other")
    errors = [
        await refused(revoke_standing(standing.standing_id, "", foreign, world.parts)),
        await refused(revoke_standing("unknown", "", ALICE, world.parts)),
    ]
    assert errors[0] == errors[1]
    assert errors[0].reason is ErrorReason.APPROVAL_NOT_FOUND
    assert await listed(world) == [standing.standing_id]


@pytest.mark.parametrize("kind", sorted(set(CallerKind) - {CallerKind.APPROVER}))
async def test_nobody_but_an_approver_takes_one_back(kind: CallerKind) -> None:
    """Case 50: no agent, user, gateway, auditor or operator changes a standing approval."""
    world = a_world()
    standing = await given(world)
    caller = replace(ALICE, kind=kind)
    error = await refused(revoke_standing(standing.standing_id, "", caller, world.parts))
    assert error.reason is ErrorReason.CALLER_NOT_PERMITTED


async def test_the_policy_says_who_may_give_one() -> None:
    """Whether this approver may approve the like of a call, and not just the call, is asked of the policy."""
    world = a_world()
    refusal = {
        "permitted": False,
        "sufficient": False,
        "reasons": [{"code": "approval.no_standing", "message": "not for this role"}],
    }
    world.engine.terms = lambda document: (
        ONE_APPROVES.model_validate(ONE_APPROVES.model_dump() | refusal)
        if document["standing"]
        else ONE_APPROVES
    )
    first = await world.decide(reading("r-1"))
    error = await refused(answer(world.parts, first.approval_id, APPROVE, standing=terms()))
    assert error.reason is ErrorReason.APPROVER_NOT_PERMITTED
    assert (await answer(world.parts, first.approval_id, APPROVE)).approval.state is ApprovalState.APPROVED
