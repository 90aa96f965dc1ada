"""Who may approve, asked of OPA: the policies that ship, and whatever goes wrong is an error, never a permission."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.adapters.opa import OpaAddress, OpaEngine
from interlock.core.approval_answer import ApprovalPolicyInput, ApprovalTerms
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_input import PolicyInput
from tests.contract import misbehaving_opa as wire
from tests.contract.misbehaving_opa import BAD, SECRET, Behaviour, MisbehavingOpa
from tests.contract.sidecars import Running
from tests.policy_inputs import an_input
from tests.waiting import PATIENCE_SECONDS

SHORT_SECONDS = 0.2
"""For an OPA that answers nothing."""

FAIR_SECONDS = 2.0
"""For an OPA that answers nothing for one question, and must have the time to answer for its neighbours."""

ENGINES: dict[str, tuple[Behaviour, ErrorReason]] = {
    **{name: (behaviour, ErrorReason.POLICY_NOT_READY) for name, behaviour in wire.OTHER_REVISIONS.items()},
    **{name: (behaviour, ErrorReason.POLICY_MALFORMED) for name, behaviour in wire.MALFORMED_ANSWERS.items()},
    "is away": (wire.UNREACHABLE_ENGINES["is away"], ErrorReason.POLICY_ENGINE_UNAVAILABLE),
    "closes": (wire.UNREACHABLE_ENGINES["closes"], ErrorReason.POLICY_ENGINE_UNAVAILABLE),
}


def a_question(
    goal: str = "", *, approver: str = "alice", roles: tuple[str, ...] = ("approver",)
) -> ApprovalPolicyInput:
    """Whether somebody's approve of a commit is permitted. `goal` tells the questions of a batch apart."""
    return {
        "proposal": a_commit(goal),
        "reasons": [{"code": "effects.needs_person", "message": "A person", "path": "", "metadata": {}}],
        "authors": ["ann", "coder"],
        "approver": {"name": approver, "roles": list(roles)},
        "resolution": "approve",
        "edited": False,
        "standing": False,
        "answers": [],
        "time": {"now": "2026-03-01T12:00:00.000000Z", "unix": 1772366400},
    }


def a_commit(goal: str) -> PolicyInput:
    document = an_input(goal, role="contributor", password=SECRET)
    document["tool"] = {**document["tool"], "name": "git_commit", "effects": ["write"]}
    return document


async def told(
    engine: OpaEngine, *asked: ApprovalPolicyInput, limit_seconds: float = PATIENCE_SECONDS
) -> list[object]:
    """Whether each answer is permitted, or the reason of its error."""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        return [_told(terms) for terms in await engine.approval(asked, limit_seconds=limit_seconds)]


def _told(terms: ApprovalTerms | InterlockError) -> object:
    if isinstance(terms, ApprovalTerms):
        return terms.permitted
    assert SECRET not in f"{terms} {terms.metadata}"
    return terms.reason


@pytest.fixture
async def opa_on_wire(tmp_path: Path) -> AsyncIterator[MisbehavingOpa]:
    async with MisbehavingOpa(tmp_path / "opa.sock") as server:
        yield server


@pytest.fixture
async def engine(opa_on_wire: MisbehavingOpa) -> AsyncIterator[OpaEngine]:
    async with OpaEngine(
        OpaAddress(socket=opa_on_wire.path),
        expected_revision=lambda: wire.REVISION,
        limit_seconds=PATIENCE_SECONDS,
    ) as engine:
        yield engine


@pytest.mark.asyncio(loop_scope="module")
async def test_the_policies_that_ship_say_who_may_approve(shipped: Running) -> None:
    """Alone or in a batch, a question gets the same terms; only another person with the role may (case 50)."""
    asked = [
        a_question(),
        a_question(approver="ann"),
        a_question(roles=("approver", "delegate-of-coder")),
        a_question(roles=("operator",)),
    ]
    together = await shipped.engine.approval(asked, limit_seconds=PATIENCE_SECONDS)
    alone = [
        terms
        for each in asked
        for terms in await shipped.engine.approval([each], limit_seconds=PATIENCE_SECONDS)
    ]
    assert together == alone
    assert await told(shipped.engine, *asked) == [True, False, False, False]
    [good, *_] = together
    assert isinstance(good, ApprovalTerms)
    assert (good.quorum, good.roles, good.sufficient) == (1, ("approver", "senior-approver"), True)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_question_that_is_none_spoils_no_other(shipped: Running) -> None:
    """Of what the policies that ship know nothing, they permit nothing; what is no JSON is never sent."""
    strange = a_question()
    strange["proposal"]["arguments"] = {"number": 2**70}
    empty: ApprovalPolicyInput = {}  # type: ignore[typeddict-item]
    answers = await told(shipped.engine, a_question(), strange, empty, a_question())
    assert answers == [True, ErrorReason.POLICY_EVALUATION_FAILED, False, True]


@pytest.mark.parametrize("name", ENGINES)
async def test_an_engine_that_fails_permits_nothing(
    engine: OpaEngine, opa_on_wire: MisbehavingOpa, name: str
) -> None:
    """No unclear answer is a permission (invariant 1; cases 1, 4, 6, 10)."""
    opa_on_wire.behave, reason = ENGINES[name]
    assert await told(engine, a_question()) == [reason]
    assert await told(engine, a_question(), a_question()) == [reason, reason]


@pytest.mark.parametrize("name", wire.LATE_ENGINES)
async def test_a_late_engine_permits_nothing(
    engine: OpaEngine, opa_on_wire: MisbehavingOpa, name: str
) -> None:
    """However an answer fails to come, the wait for it ends, and nobody is let in (invariant 1, case 2)."""
    opa_on_wire.behave = wire.LATE_ENGINES[name]
    asked = (a_question(), a_question())
    late = ErrorReason.POLICY_ENGINE_TIMEOUT
    assert await told(engine, *asked, limit_seconds=SHORT_SECONDS) == [late, late]


@pytest.mark.parametrize("name", wire.FAILING_INPUTS)
async def test_a_question_that_fails_leaves_its_neighbours_their_answers(
    engine: OpaEngine, opa_on_wire: MisbehavingOpa, name: str
) -> None:
    """What goes wrong with one approval is told of that one alone (invariant 1; cases 2, 3, 8, 9)."""
    how, reason = wire.FAILING_INPUTS[name]
    opa_on_wire.behave = wire.fails(how)
    limit = FAIR_SECONDS if reason == ErrorReason.POLICY_ENGINE_TIMEOUT else PATIENCE_SECONDS
    answers = await told(engine, a_question(), a_question(BAD), a_question(), limit_seconds=limit)
    assert answers == [True, reason, True]


@pytest.mark.parametrize("name", wire.BROKEN_TERMS)
async def test_terms_out_of_contract_permit_nothing(
    engine: OpaEngine, opa_on_wire: MisbehavingOpa, name: str
) -> None:
    """Only terms that keep to their contract in every key and type are an answer (invariant 1, case 4)."""
    opa_on_wire.behave = wire.gives(wire.BROKEN_TERMS[name])
    assert await told(engine, a_question(BAD)) == [ErrorReason.POLICY_MALFORMED]
    answers = await told(engine, a_question(), a_question(BAD), a_question())
    assert answers == [True, ErrorReason.POLICY_MALFORMED, True]


@pytest.mark.parametrize(
    "name", ["one result too many", "one result too few", "null", "undefined", "conflict"]
)
async def test_an_unclear_answer_for_a_batch_has_each_asked_alone(
    engine: OpaEngine, opa_on_wire: MisbehavingOpa, name: str
) -> None:
    """Where a batch gets no clear answer but each question does, each gets its own."""
    opa_on_wire.behave = wire.for_a_batch(wire.BROKEN_BATCHES[name])
    assert await told(engine, a_question(), a_question(), a_question()) == [True, True, True]
