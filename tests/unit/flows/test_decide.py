"""The story of a batch of proposals, and that nothing is granted that is not on record."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.core import record as records
from interlock.core import token
from interlock.core.decision import Decision, Evaluated, PolicyAnswer, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Record, RecordType
from interlock.core.token import Claims, ExpectedBy
from interlock.flows.decide import decide
from tests.deciders import a_decider
from tests.fakes import (
    NOON,
    CountingIdentifiers,
    MemoryDecisionLog,
    OneKeyPair,
    ScriptedEngine,
    SettableClock,
)
from tests.proposals import (
    AGENT,
    GATEWAY,
    REVISION,
    TERMS,
    a_proposal,
    always,
    an_answer,
    by_effect,
)

EXPECTED = ExpectedBy(
    audience=GATEWAY.name,
    tenant=AGENT.tenant,
    environment=TERMS.environment,
    issuer=TERMS.issuer,
    leeway=timedelta(0),
)
CONFLICT = InterlockError(reason=ErrorReason.POLICY_CONFLICT, message="two rules conflict")
SECRET = "correct horse battery staple"


class RefusingKeyPair(OneKeyPair):
    """Keys that cannot be read while `away`."""

    away = False

    def sign(self, data: bytes) -> bytes:
        if self.away:
            raise InterlockError(reason=ErrorReason.INTERNAL, message="no token can be signed")
        return super().sign(data)


@dataclass
class World:
    """All that deciding meets, of which each test changes something."""

    log: MemoryDecisionLog = field(default_factory=MemoryDecisionLog)
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(by_effect))
    keys: RefusingKeyPair = field(default_factory=RefusingKeyPair)
    clock: SettableClock = field(default_factory=SettableClock)
    identifiers: CountingIdentifiers = field(default_factory=CountingIdentifiers)

    async def decide(self, *proposals: Proposal) -> list[Decision | InterlockError]:
        decider = a_decider(
            log=self.log,
            state=self.log.state,
            engine=self.engine,
            signer=self.keys,
            clock=self.clock,
            identifiers=self.identifiers,
        )
        return await decide(proposals, decider, limit_seconds=1.0)

    async def decide_one(self, proposal: Proposal) -> Decision:
        [decision] = await self.decide(proposal)
        assert isinstance(decision, Decision)
        return decision

    def claims(self, decision: Decision) -> Claims:
        return token.verify(decision.execution_token, self.keys, EXPECTED, reference_time=self.clock.now())

    def stated(self) -> list[dict[str, Any]]:
        return [records.fields(record) for record in self.log.records]

    def types(self) -> list[RecordType]:
        return [record.type for record in self.log.records]


@pytest.fixture
def world() -> World:
    return World()


def reason_of(outcome: Decision | InterlockError) -> ErrorReason:
    assert isinstance(outcome, InterlockError)
    return outcome.reason


async def test_an_allowed_call_gets_a_token_for_exactly_that_call(world: World) -> None:
    """An allow on record yields a token that binds this call to its gateway, once (invariant 3)."""
    proposal = a_proposal()
    decision = await world.decide_one(proposal)
    assert decision == Decision(
        decision_id="id-1",
        request_id="request-1",
        verdict=Verdict.ALLOW,
        reasons=decision.reasons,
        obligations=decision.obligations,
        policy_revision=REVISION,
        arguments_digest=proposal.arguments_digest,
        log_index=0,
        execution_token=decision.execution_token,
        token_expire_time=NOON + TERMS.token_life,
        state_digest=decision.state_digest,
    )
    assert decision.state_digest
    claims = world.claims(decision)
    assert (claims.jti, claims.tool, claims.args_digest) == ("id-2", "git_log", proposal.arguments_digest)
    assert (claims.sub, claims.act.sub, claims.tenant, claims.txn) == (
        "agent-1",
        "agent-1",
        "acme",
        "session-1",
    )
    assert [obligation.as_json() for obligation in claims.obligations] == [{"type": "timeout", "seconds": 30}]


async def test_the_tokens_claims_are_those_on_record(world: World) -> None:
    """What the token says, the record of its decision says too, place in the log included."""
    await world.decide_one(a_proposal("before", "git_commit"))
    decision = await world.decide_one(a_proposal())
    claims, stated = world.claims(decision), world.stated()[1]
    terms = stated["token"]
    assert terms.pop("kid") == token.key_id(decision.execution_token) == world.keys.kid
    assert claims.model_dump(mode="json", exclude_none=True) == {
        **terms,
        "sub": stated["agent"],
        "act": {"sub": stated["agent"]},
        "tenant": stated["tenant"],
        "txn": stated["input"]["context"]["session_id"],
        "decision_id": stated["decision_id"],
        "log_index": stated["log_index"],
        "policy_rev": stated["bundles"]["interlock"]["revision"],
        "tool": stated["input"]["tool"]["name"],
        "args_digest": stated["input"]["arguments_digest"],
        "obligations": stated["result"]["obligations"],
    }


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ESCALATE])
async def test_what_is_not_allowed_gets_no_token(world: World, verdict: Verdict) -> None:
    """DENY and ESCALATE are decisions, recorded, without a token or the terms of one (invariants 1 and 10)."""
    world.engine.answer = always(an_answer(verdict, obligations=[{"type": "timeout", "seconds": 1}]))
    decision = await world.decide_one(a_proposal())
    assert (decision.verdict, decision.execution_token, decision.token_expire_time) == (verdict, "", None)
    assert world.types() == [RecordType.DECISION]
    assert world.stated()[0]["token"] is None


async def test_an_escalate_names_the_approval_that_it_waits_for(world: World) -> None:
    """The approval is named in the answer and on record, the same when the request comes again (invariant 9)."""
    world.engine.answer = always(an_answer("escalate"))
    first = await world.decide_one(a_proposal())
    again = await world.decide_one(a_proposal())
    assert first.approval_id
    assert (again.approval_id, world.stated()[0]["approval_id"]) == (first.approval_id, first.approval_id)


@pytest.mark.parametrize("verdict", ["allow", "deny"])
async def test_what_nobody_has_to_approve_names_no_approval(world: World, verdict: str) -> None:
    """An allow and a deny wait for nobody."""
    world.engine.answer = always(an_answer(verdict))
    assert (await world.decide_one(a_proposal())).approval_id == ""
    assert "approval_id" not in world.stated()[0]


async def test_a_decisions_record_has_the_fields_of_opas_decision_log(world: World) -> None:
    """A record is a superset of OPA's decision log event (EventV1), under the same names."""
    await world.decide_one(a_proposal("request-1", "git_commit", {"repo_path": ".", "message": "fix"}))
    event = world.stated()[0]
    assert event["labels"] == dict(TERMS.labels)
    assert event["decision_id"] == "id-1"
    assert event["bundles"] == {"interlock": {"revision": REVISION}}
    assert event["path"] == "interlock/decision/result"
    assert event["requested_by"] == "agent/agent-1"
    assert event["timestamp"] == "2026-03-01T12:00:00.000000Z"
    assert event["erased"] == ["/input/arguments/message"]
    assert event["input"] == world.engine.batches[0][0]
    assert event["result"] == an_answer("escalate").answer.model_dump(mode="json")


async def test_no_record_no_grant(world: World) -> None:
    """Where the record cannot be written there is no decision, whatever the policy said (invariant 2)."""
    world.log.full = True
    with pytest.raises(InterlockError) as raised:
        await world.decide(a_proposal("request-1"), a_proposal("request-2", "git_commit"))
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
    assert world.log.records == []


async def test_a_log_that_cannot_be_read_decides_nothing(world: World) -> None:
    """Where it cannot be known whether a request was decided before, the policy is not even asked."""
    world.log.away = True
    with pytest.raises(InterlockError) as raised:
        await world.decide(a_proposal())
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
    assert world.engine.batches == []


async def test_the_log_that_recovers_decides_again(world: World) -> None:
    """A request that found the log full is decided when it asks again, as if for the first time."""
    world.log.full = True
    with pytest.raises(InterlockError):
        await world.decide(a_proposal())
    world.log.full = False
    assert (await world.decide_one(a_proposal())).verdict is Verdict.ALLOW
    assert len(world.log.records) == 1


async def test_the_same_request_gives_the_same_token_byte_for_byte(world: World) -> None:
    """Asked again, also after the policy changed, a request has its first decision (invariant 9, case 15)."""
    first = await world.decide_one(a_proposal())
    world.engine.answer = always(an_answer("deny", revision="revision-2"))
    world.clock.move(timedelta(seconds=29))
    assert await world.decide_one(a_proposal()) == first
    assert len(world.log.records) == len(world.engine.batches) == 1


async def test_a_denied_request_stays_denied(world: World) -> None:
    """Asking again with the same request_id gets no second opinion (invariant 9)."""
    world.engine.answer = always(an_answer("deny"))
    first = await world.decide_one(a_proposal())
    world.engine.answer = always(an_answer("allow"))
    assert await world.decide_one(a_proposal()) == first


async def test_a_crash_between_record_and_token_loses_nothing(world: World) -> None:
    """What was recorded and never signed is signed when asked for again, with the same `jti` (case 15)."""
    world.keys.away = True
    with pytest.raises(InterlockError):
        await world.decide(a_proposal())
    world.keys.away = False
    decision = await world.decide_one(a_proposal())
    assert world.claims(decision).jti == world.stated()[0]["token"]["jti"]
    assert world.types() == [RecordType.DECISION]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(a_proposal(tool="git_commit"), id="tool"),
        pytest.param(a_proposal(arguments={"repo_path": ".."}), id="arguments"),
        pytest.param(a_proposal(session_id="session-2"), id="session"),
        pytest.param(a_proposal(goal="read it again"), id="goal"),
    ],
)
async def test_a_request_id_with_another_payload_is_an_error(world: World, other: Proposal) -> None:
    """A request_id stands for one proposal; with another it yields no decision at all (invariant 9)."""
    await world.decide_one(a_proposal())
    [outcome] = await world.decide(other)
    assert reason_of(outcome) is ErrorReason.REQUEST_ID_REUSED
    assert len(world.log.records) == 1


@pytest.mark.parametrize(
    "other", [replace(AGENT, tenant="other"), replace(AGENT, name="agent-2")], ids=["tenant", "agent"]
)
async def test_a_request_id_belongs_to_its_agent(world: World, other: Any) -> None:
    """Two callers that choose the same request_id do not meet each other's decisions (case 54)."""
    mine = await world.decide_one(a_proposal())
    theirs = await world.decide_one(a_proposal(caller=other))
    assert mine.decision_id != theirs.decision_id
    assert [record.tenant for record in world.log.records] == ["acme", other.tenant]


async def test_a_request_twice_in_a_batch_is_decided_once(world: World) -> None:
    """Duplicates within a batch share one record and one token (invariant 9)."""
    first, other, second = await world.decide(a_proposal(), a_proposal("request-2"), a_proposal())
    assert first == second != other
    assert len(world.log.records) == 2


async def test_a_request_id_twice_in_a_batch_with_two_payloads_keeps_the_first(world: World) -> None:
    """Within a batch too, the second payload under one request_id is an error, and the first a decision."""
    first, second = await world.decide(a_proposal(), a_proposal(tool="git_commit"))
    assert isinstance(first, Decision)
    assert reason_of(second) is ErrorReason.REQUEST_ID_REUSED
    assert len(world.log.records) == 1


async def test_a_request_in_two_batches_at_once_is_decided_once(world: World) -> None:
    """Two batches in flight that hold the same request get the same decision (invariant 9)."""
    [first], [second] = await asyncio.gather(world.decide(a_proposal()), world.decide(a_proposal()))
    assert first == second
    assert (len(world.engine.batches), len(world.log.records)) == (2, 1)


async def test_one_error_of_the_policy_leaves_its_neighbours_theirs(world: World) -> None:
    """An error is no verdict: it is on record as a failure, and its neighbours have decisions (invariant 10)."""
    world.engine.answer = lambda document: (
        CONFLICT if document["tool"]["name"] == "git_commit" else by_effect(document)
    )
    outcomes = await world.decide(
        a_proposal("request-1"), a_proposal("request-2", "git_commit"), a_proposal("request-3", "unknown")
    )
    assert [getattr(outcome, "verdict", outcome) for outcome in outcomes] == [
        Verdict.ALLOW,
        CONFLICT,
        Verdict.DENY,
    ]
    assert world.types() == [RecordType.DECISION, RecordType.FAILURE, RecordType.DECISION]
    failure = world.stated()[1]
    assert failure["error"] == {"code": "POLICY_CONFLICT", "message": "two rules conflict"}
    assert failure["request_id"] == "request-2"
    assert (failure["decision_id"], failure["once"]) == ("", "")
    assert failure["input"]["tool"]["name"] == "git_commit"
    assert "token" not in failure


async def test_a_request_that_failed_may_ask_again(world: World) -> None:
    """A failure decides nothing, so the same request_id is decided later; both attempts are on record."""
    world.engine.answer = always(CONFLICT)
    assert await world.decide(a_proposal()) == [CONFLICT]
    world.engine.answer = by_effect
    assert (await world.decide_one(a_proposal())).verdict is Verdict.ALLOW
    assert world.types() == [RecordType.FAILURE, RecordType.DECISION]


async def test_an_allow_of_a_tool_that_does_not_exist_yields_nothing(world: World) -> None:
    """A policy that allows an unknown tool is out of contract: no token, and a failure on record (invariant 1)."""
    world.engine.answer = always(an_answer("allow"))
    good, bad = await world.decide(a_proposal("request-1"), a_proposal("request-2", "no_such_tool"))
    assert isinstance(good, Decision)
    assert reason_of(bad) is ErrorReason.POLICY_MALFORMED
    assert world.types() == [RecordType.DECISION, RecordType.FAILURE]


async def test_a_call_that_fails_its_schema_is_for_the_policy_to_deny(world: World) -> None:
    """An unknown tool and broken arguments reach the policy as facts, and the decision is on record."""
    await world.decide(
        a_proposal("request-1", "no_such_tool"), a_proposal("request-2", arguments={"max_count": "many"})
    )
    unknown, broken = (stated["input"]["facts"]["violations"] for stated in world.stated())
    assert [(violation["code"], violation["path"]) for violation in unknown] == [("unknown_tool", "")]
    assert {(violation["path"], violation["rule"]) for violation in broken} == {
        ("", "required"),
        ("/max_count", "type"),
    }


async def test_a_batch_is_one_query_and_one_append_in_the_order_asked(world: World) -> None:
    """What was decided before is recalled, the rest is one query and one append; results keep their places."""
    before = await world.decide_one(a_proposal("request-3"))
    outcomes = await world.decide(*(a_proposal(f"request-{number}") for number in range(1, 6)))
    assert [outcome.request_id for outcome in outcomes if isinstance(outcome, Decision)] == [
        f"request-{number}" for number in range(1, 6)
    ]
    assert outcomes[2] == before
    assert [len(batch) for batch in world.engine.batches] == [1, 4]
    assert (world.log.appends, len(world.log.records)) == (2, 5)


async def test_what_was_all_decided_before_asks_nobody(world: World) -> None:
    """Repeats cost neither a query nor a write."""
    proposals = [a_proposal(f"request-{number}") for number in range(3)]
    first = await world.decide(*proposals)
    assert await world.decide(*proposals) == first
    assert (len(world.engine.batches), world.log.appends) == (1, 1)


@pytest.mark.parametrize(
    ("message", "erased"),
    [
        pytest.param(SECRET, "/input/arguments/message", id="valid"),
        pytest.param([SECRET], "/input/arguments", id="type"),
        pytest.param(SECRET * 10, "/input/arguments", id="length"),
    ],
)
async def test_a_sensitive_argument_is_nowhere(world: World, message: Any, erased: str) -> None:
    """Neither policy, record, answer nor error holds it, also where it fails the schema (case 63)."""
    proposal = a_proposal(tool="git_commit", arguments={"repo_path": ".", "message": message})
    for answer in (an_answer("allow"), CONFLICT):
        world.engine.answer = always(answer)
        outcomes = await world.decide(replace(proposal, request_id=f"request-{answer!r:.9}"))
        assert SECRET not in repr(outcomes)
    assert world.types() == [RecordType.DECISION, RecordType.FAILURE]
    assert all(SECRET.encode() not in record.content for record in world.log.records)
    assert SECRET not in json.dumps(world.engine.batches)
    assert all("concealed" in json.dumps(stated["input"]["arguments"]) for stated in world.stated())
    assert [stated["erased"] for stated in world.stated()] == [[erased]] * 2


async def test_a_decision_replays_from_its_record(world: World) -> None:
    """The policy, given the recorded input, gives the recorded result (invariant 7)."""
    tools = ["git_log", "git_commit", "no_such_tool"]
    await world.decide(*(a_proposal(f"request-{tool.replace('_', '-')}", tool) for tool in tools))
    for stated in world.stated():
        replayed = by_effect(stated["input"])
        assert isinstance(replayed, Evaluated)
        assert replayed.answer == PolicyAnswer.model_validate(stated["result"])
    assert {stated["result"]["verdict"] for stated in world.stated()} == set(Verdict)


async def test_the_clock_that_the_policy_saw_is_on_record(world: World) -> None:
    """The recorded input holds the time of the decision, and the token begins at it (invariant 7)."""
    world.clock.move(timedelta(seconds=5, microseconds=7))
    await world.decide_one(a_proposal())
    stated = world.stated()[0]
    assert stated["input"]["time"] == {
        "now": "2026-03-01T12:00:05.000007Z",
        "unix": int(NOON.timestamp()) + 5,
    }
    assert stated["timestamp"] == stated["input"]["time"]["now"]
    assert (stated["token"]["iat"], stated["token"]["exp"]) == (
        stated["input"]["time"]["unix"],
        stated["input"]["time"]["unix"] + 30,
    )


def _other_verdict(record: Record) -> Record:
    return replace(record, content=record.content.replace(b'"deny"', b'"allow"'))


def _other_name(record: Record) -> Record:
    return replace(record, content=record.content.replace(b'"request-1"', b'"request-9"'))


def _no_json(record: Record) -> Record:
    return replace(record, content=b"\x00")


@pytest.mark.parametrize("damage", [_other_verdict, _other_name, _no_json])
async def test_a_record_that_was_edited_grants_nothing(
    world: World, damage: Callable[[Record], Record]
) -> None:
    """A damaged record yields an error for its own request, and its neighbours have decisions (case 20)."""
    world.engine.answer = always(an_answer("deny"))
    await world.decide_one(a_proposal())
    world.log.records[0] = damage(world.log.records[0])
    world.engine.answer = always(an_answer("allow"))
    bad, good = await world.decide(a_proposal(), a_proposal("request-2"))
    assert reason_of(bad) is ErrorReason.INTERNAL
    assert isinstance(good, Decision)


@pytest.mark.parametrize("value", [2**53, -(2**53), float("inf"), float("nan")])
@pytest.mark.parametrize("place", ["metadata", "obligation"])
def test_an_answer_that_could_not_go_on_record_is_no_answer(place: str, value: float) -> None:
    """What has no canonical form is refused with its own answer, before it can spoil a batch's records."""
    answer: dict[str, Any] = {
        "verdict": "deny",
        "reasons": [{"code": "example.deny", "message": "an example", "metadata": {}}],
        "obligations": [{"type": "cap"}],
        "reservations": [],
    }
    PolicyAnswer.model_validate(answer)
    if place == "metadata":
        answer["reasons"][0]["metadata"] = {"limit": [value]}
    else:
        answer["obligations"][0]["limit"] = value
    with pytest.raises(ValidationError, match="canonical form"):
        PolicyAnswer.model_validate(answer)


@dataclass(frozen=True)
class Step:
    """One batch, and what is broken while it is decided."""

    asked: Sequence[tuple[int, str]]
    """request number and tool of each proposal"""
    verdicts: Sequence[str]
    """what the engine answers in turn; `error` is none"""
    log_away: bool
    log_full: bool
    keys_away: bool


_STEPS = st.builds(
    Step,
    asked=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["git_log", "git_commit", "no_such_tool"])), max_size=4
    ),
    verdicts=st.lists(st.sampled_from(["allow", "allow", "deny", "escalate", "error"]), min_size=1),
    log_away=st.integers(0, 5).map(lambda number: number == 5),
    log_full=st.integers(0, 3).map(lambda number: number == 3),
    keys_away=st.integers(0, 5).map(lambda number: number == 5),
)


@settings(deadline=None)
@given(st.lists(_STEPS, min_size=1, max_size=6))
def test_there_is_never_a_token_without_its_allow_on_record(steps: list[Step]) -> None:
    """Whatever breaks when, a token has one durable ALLOW, and a request has one token (invariants 2 and 9)."""
    asyncio.run(_play(steps))


async def _play(steps: list[Step]) -> None:
    world = World()
    tokens: dict[str, str] = {}
    for step in steps:
        world.log.away, world.log.full, world.keys.away = step.log_away, step.log_full, step.keys_away
        world.engine.answer = _in_turn(step.verdicts)
        proposals = [a_proposal(f"request-{number}", tool) for number, tool in step.asked]
        for decision in await _decisions(world, proposals):
            if decision.execution_token:
                _check_grant(world, decision)
                assert tokens.setdefault(decision.request_id, decision.execution_token) == (
                    decision.execution_token
                )


def _in_turn(verdicts: Sequence[str]) -> Callable[[PolicyInput], Evaluated | InterlockError]:
    turns = itertools.cycle(verdicts)
    return lambda document: CONFLICT if (verdict := next(turns)) == "error" else an_answer(verdict)


async def _decisions(world: World, proposals: Sequence[Proposal]) -> list[Decision]:
    try:
        outcomes = await world.decide(*proposals)
    except InterlockError as error:
        assert error.reason in {ErrorReason.DECISION_LOG_UNAVAILABLE, ErrorReason.INTERNAL}  # noqa: PT017
        return []
    return [outcome for outcome in outcomes if isinstance(outcome, Decision)]


def _check_grant(world: World, decision: Decision) -> None:
    claims, stated = world.claims(decision), world.stated()[decision.log_index]
    assert (stated["type"], stated["result"]["verdict"]) == ("decision", "allow")
    assert (stated["token"]["jti"], stated["request_id"]) == (claims.jti, decision.request_id)
    assert (stated["input"]["tool"]["name"], stated["input"]["arguments_digest"]) == (
        claims.tool,
        claims.args_digest,
    )
