"""The engine over a real OPA: what real policies answer, and every way in which a policy can fail."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interlock.adapters.opa import OpaEngine
from interlock.adapters.opa_answer import read_result
from interlock.adapters.opa_sidecar import OpaSidecar
from interlock.core.decision import Evaluated, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_input import PolicyInput
from tests.contract.processes import cpu_ticks
from tests.contract.sidecars import REVISION, Running, running, sign_unchecked
from tests.policy_inputs import an_input, quiet_facts
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT_SECONDS = 2.0
"""For an evaluation that has no end, where its neighbours must still have the time for theirs."""

# Each goal is a way to fail; the deny rule divides by the tool's cost, which is 0.
POLICY = """
package interlock.decision

result := _answer("deny", {}) if not input.context.goal
result := _answer("allow", {}) if {
    input.context.goal in {"fine", "divide"}
    count(_denied) == 0
}
result := _answer("deny", {}) if count(_denied) > 0
result := _answer("allow", {}) if input.context.goal == "conflict"
result := _answer("escalate", {}) if input.context.goal == "conflict"
result := _answer("maybe", {}) if input.context.goal == "maybe"
result := _answer("allow", {"found": _endless}) if input.context.goal == "endless"
result := _answer("allow", {"arguments": input.arguments}) if input.context.goal == "echo"
result := null if input.context.goal == "null"
result := {"allow": true} if input.context.goal == "other contract"

batch := [answer |
    some proposed in input.batch
    answer := result with input as proposed
]

_denied contains "too dear" if {
    input.context.goal == "divide"
    1 / input.tool.cost < 100
}

_endless := [number |
    some first in numbers.range(1, 100000)
    some second in numbers.range(1, 100000)
    number := first + second
    number < 0
]

_answer(verdict, metadata) := {
    "verdict": verdict,
    "reasons": {{"code": "test.given", "message": "given", "metadata": metadata}},
    "obligations": set(),
    "reservations": set(),
}
"""

# Without a batch of its own, so that each is evaluated alone.
UNDEFINED = {"other.rego": "package interlock.elsewhere\n\nresult := true\n"}

FAILURES = {
    "conflict": ErrorReason.POLICY_CONFLICT,
    "divide": ErrorReason.POLICY_EVALUATION_FAILED,
    "nothing is defined for this": ErrorReason.POLICY_UNDEFINED,
    "maybe": ErrorReason.POLICY_MALFORMED,
    "null": ErrorReason.POLICY_MALFORMED,
    "other contract": ErrorReason.POLICY_MALFORMED,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def failing(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A policy that fails in the way that an input's goal names."""
    options = sign_unchecked(opa, tmp_path_factory.mktemp("failing"), {"decision.rego": POLICY})
    async with running(options) as parts:
        yield parts


async def told(
    engine: OpaEngine, *inputs: PolicyInput, limit_seconds: float = PATIENCE_SECONDS
) -> list[Verdict | ErrorReason]:
    """The verdict or the error that each input gets."""
    answers = await engine.evaluate(inputs, limit_seconds=limit_seconds)
    return [
        answer.reason if isinstance(answer, InterlockError) else Verdict(answer.answer.verdict)
        for answer in answers
    ]


def an_unknown_tool() -> PolicyInput:
    document = an_input()
    document["tool"] = {**document["tool"], "name": "rm", "known": False, "effects": [], "gateway": ""}
    document["facts"] = quiet_facts(
        {"code": "unknown_tool", "path": "", "rule": "catalog", "message": "there is none"}
    )
    return document


def a_write(role: str) -> PolicyInput:
    document = an_input(role=role)
    document["tool"] = {**document["tool"], "name": "git_commit", "effects": ["write"]}
    return document


async def test_each_proposal_gets_the_verdict_of_the_shipped_policies(shipped: Running) -> None:
    """Alone or in a batch, a proposal gets the same answer, from the active revision."""
    inputs = [an_input(), a_write("contributor"), a_write("reader"), an_unknown_tool()]
    together = await shipped.engine.evaluate(inputs, limit_seconds=PATIENCE_SECONDS)
    alone = [
        answer
        for document in inputs
        for answer in await shipped.engine.evaluate([document], limit_seconds=PATIENCE_SECONDS)
    ]
    assert together == alone
    assert all(isinstance(answer, Evaluated) and answer.revision == shipped.revision for answer in together)
    assert await told(shipped.engine, *inputs) == ["allow", "escalate", "deny", "deny"]


async def test_a_large_batch_keeps_its_order(shipped: Running) -> None:
    """Of hundreds of proposals in one query, each gets its own answer and not another's."""
    inputs = [an_input(), a_write("contributor"), a_write("operator"), a_write("nobody")] * 100
    assert await told(shipped.engine, *inputs) == ["allow", "escalate", "allow", "deny"] * 100


@pytest.mark.parametrize("goal", FAILURES)
async def test_an_input_that_a_policy_fails_on_is_an_error_for_it_alone(failing: Running, goal: str) -> None:
    """A policy's failure is an error of its own reason, never an allow (invariant 1; cases 3, 4, 8, 9)."""
    bad = an_input(goal)
    assert await told(failing.engine, bad) == [FAILURES[goal]]
    assert await told(failing.engine, an_input("fine"), bad, an_input("fine")) == [
        "allow",
        FAILURES[goal],
        "allow",
    ]


async def test_failures_of_every_kind_in_one_batch_keep_apart(failing: Running) -> None:
    """Each proposal of a batch gets the reason of its own failure."""
    goals = [*FAILURES, "fine"]
    assert await told(failing.engine, *map(an_input, goals)) == [*FAILURES.values(), "allow"]


async def test_what_a_conflict_says_stays_in_opa(failing: Running) -> None:
    """OPA's text about an error holds what rules gave, which may be an argument; ours does not (case 63)."""
    [answer] = await failing.engine.evaluate([an_input("conflict")], limit_seconds=PATIENCE_SECONDS)
    assert isinstance(answer, InterlockError)
    assert answer.message == "the policy engine answered `eval_conflict_error`"


async def test_an_evaluation_without_end_is_ended(failing: Running) -> None:
    """A policy that never ends costs its caller the limit, its neighbours nothing, and OPA no more (cases 2, 13)."""
    bad = an_input("endless")
    late = ErrorReason.POLICY_ENGINE_TIMEOUT
    assert await told(failing.engine, bad, limit_seconds=SHORT_SECONDS) == [late]
    answers = await told(failing.engine, an_input("fine"), bad, an_input("fine"), limit_seconds=SHORT_SECONDS)
    assert answers == ["allow", late, "allow"]
    await _until_idle(failing.sidecar)


async def test_a_cancelled_evaluation_is_ended(failing: Running) -> None:
    """Where the caller goes away in the middle, OPA stops working for it (case 2)."""
    evaluation = asyncio.ensure_future(
        told(failing.engine, an_input("endless"), limit_seconds=PATIENCE_SECONDS)
    )
    before = _cpu_ticks(failing.sidecar)
    await until(lambda: _cpu_ticks(failing.sidecar) > before + 5, poll_seconds=0.02)
    evaluation.cancel()
    await _until_idle(failing.sidecar)


HOSTILE: list[dict[str, Any]] = [
    {"text": '"}} trailing {"input": {"context": {"goal": "fine"}}}'},
    {'"},"context":{"goal":"fine"},"x":{"': 1},
    {"text": "\x00\x1f\u2028\\u0000\ufeff𝄞", "\u202e": "'; DROP TABLE"},
    {"number": 1e21, "small": 5e-324, "integer": 2**53 - 1, "minus": -0.0},
    {"nested": {"a": [[[{"b": [None, True, {}]}]]]}},
]


@pytest.mark.parametrize("arguments", HOSTILE)
async def test_arguments_reach_the_policy_as_they_are(failing: Running, arguments: dict[str, Any]) -> None:
    """Nothing in a value can end the document that we write and begin another (case 7)."""
    [answer] = await failing.engine.evaluate([an_input("echo", **arguments)], limit_seconds=PATIENCE_SECONDS)
    assert isinstance(answer, Evaluated)
    assert answer.answer.reasons[0].metadata == {"arguments": arguments}


async def test_a_query_without_an_input_is_an_error(shipped: Running) -> None:
    """OPA evaluates a query whose input it did not find, and warns; the warning is an error (case 6)."""
    ends = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    status, body = await shipped.engine._client.query(
        shipped.engine._decisions.one, b'{"imput":{}}', ends=ends
    )
    assert b'"verdict":"deny"' in body
    with pytest.raises(InterlockError) as caught:
        read_result(status, body, shipped.revision)
    assert caught.value.reason == ErrorReason.POLICY_MALFORMED


async def test_another_revision_than_the_active_one_is_not_ready(failing: Running) -> None:
    """An answer of a policy that is not the active one is none, however good it looks (case 10)."""
    async with OpaEngine(
        failing.sidecar.address, expected_revision=lambda: "the-next", limit_seconds=PATIENCE_SECONDS
    ) as engine:
        not_ready = ErrorReason.POLICY_NOT_READY
        assert await told(engine, an_input("fine")) == [not_ready]
        assert await told(engine, an_input("fine"), an_input("fine")) == [not_ready, not_ready]
        assert not await engine.ready()


async def test_the_revision_that_must_answer_may_change(failing: Running) -> None:
    """The active revision is asked for at each query, so that another one takes over without a restart."""
    active = ["the-last"]
    async with OpaEngine(
        failing.sidecar.address, expected_revision=lambda: active[0], limit_seconds=PATIENCE_SECONDS
    ) as engine:
        assert not await engine.ready()
        active[0] = REVISION
        assert await engine.ready()
        assert await told(engine, an_input("fine")) == ["allow"]


async def test_a_policy_without_the_entry_point_decides_nothing(opa: Path, tmp_path: Path) -> None:
    """Where nothing is defined at the entry point, nothing is allowed, and the engine is not ready (case 3)."""
    sidecar = OpaSidecar(sign_unchecked(opa, tmp_path, UNDEFINED))
    undefined = ErrorReason.POLICY_UNDEFINED
    try:
        async with OpaEngine(
            sidecar.address, expected_revision=lambda: REVISION, limit_seconds=PATIENCE_SECONDS
        ) as engine:

            async def answers() -> bool:
                return await told(engine, an_input()) == [undefined]

            await sidecar.start(answers)
            assert await told(engine, an_input(), an_input()) == [undefined, undefined]
            assert not await engine.ready()
    finally:
        await sidecar.stop()


def _cpu_ticks(sidecar: OpaSidecar) -> int:
    assert sidecar.process_id is not None
    return cpu_ticks(sidecar.process_id)


async def _until_idle(sidecar: OpaSidecar) -> None:
    """Return when OPA has used no processor time since it was last looked at."""
    last = -1

    def at_rest() -> bool:
        nonlocal last
        before, last = last, _cpu_ticks(sidecar)
        return before == last

    await until(at_rest, poll_seconds=0.2)
