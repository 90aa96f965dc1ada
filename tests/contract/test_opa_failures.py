"""Whatever OPA does on the wire: one good answer, or an error that says why (invariant 1)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.adapters.opa import OpaAddress, OpaEngine
from interlock.core.decision import Evaluated
from interlock.core.errors import ErrorReason, InterlockError
from tests.contract import misbehaving_opa as wire
from tests.contract.misbehaving_opa import BAD, SECRET, Behaviour, MisbehavingOpa, Query
from tests.policy_inputs import an_input
from tests.waiting import PATIENCE_SECONDS, until

SHORT_SECONDS = 0.2
"""For an OPA that answers nothing."""

FAIR_SECONDS = 2.0
"""For an OPA that answers nothing for one input, and must have the time to answer for its neighbours."""

INPUTS = [an_input("first"), an_input(BAD, password=SECRET), an_input("third")]

ENGINES: dict[str, tuple[Behaviour, ErrorReason]] = {
    name: (behaviour, reason)
    for behaviours, reason in (
        (wire.UNREACHABLE_ENGINES, ErrorReason.POLICY_ENGINE_UNAVAILABLE),
        (wire.OTHER_REVISIONS, ErrorReason.POLICY_NOT_READY),
        (wire.MALFORMED_ANSWERS, ErrorReason.POLICY_MALFORMED),
    )
    for name, behaviour in behaviours.items()
}


@dataclass(frozen=True, slots=True)
class Wire:
    """An engine, and the OPA at the other end."""

    engine: OpaEngine
    opa: MisbehavingOpa

    async def evaluate(self, count: int, *, limit_seconds: float = PATIENCE_SECONDS) -> list[object]:
        """What each of so many inputs gets, the bad one among them: `allow`, or the reason of its error."""
        inputs = INPUTS[1:2] if count == 1 else INPUTS
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            answers = await self.engine.evaluate(inputs, limit_seconds=limit_seconds)
        return [_told(answer) for answer in answers]


def _told(answer: Evaluated | InterlockError) -> object:
    if isinstance(answer, Evaluated):
        assert answer.revision == wire.REVISION
        return answer.answer.verdict
    assert SECRET not in f"{answer} {answer.metadata}"
    assert "\n" not in answer.message
    return answer.reason


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "opa.sock"


@pytest.fixture
async def opa(path: Path) -> AsyncIterator[MisbehavingOpa]:
    async with MisbehavingOpa(path) as server:
        yield server


def an_engine(path: Path, *, limit_seconds: float = PATIENCE_SECONDS) -> OpaEngine:
    return OpaEngine(
        OpaAddress(socket=path), expected_revision=lambda: wire.REVISION, limit_seconds=limit_seconds
    )


@pytest.fixture
async def line(opa: MisbehavingOpa, path: Path) -> AsyncIterator[Wire]:
    async with an_engine(path) as engine:
        yield Wire(engine, opa)


@pytest.mark.parametrize("count", [1, 3])
async def test_good_answers_come_through(line: Wire, count: int) -> None:
    """Each input of a batch gets its answer, by one query."""
    assert await line.evaluate(count) == ["allow"] * count
    assert len(line.opa.queries) == 1


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ENGINES)
async def test_an_engine_that_fails_gives_errors_until_it_is_well(line: Wire, name: str, count: int) -> None:
    """No unclear answer is an allow, within the limit; when the engine is well again, so are we.

    Invariant 1; cases 1, 3, 4, 5, 6, 10.
    """
    line.opa.behave, reason = ENGINES[name]
    assert await line.evaluate(count) == [reason] * count
    assert not await line.engine.ready()
    line.opa.behave = wire.good
    assert await line.evaluate(count) == ["allow"] * count
    assert await line.engine.ready()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", wire.LATE_ENGINES)
async def test_a_late_engine_gives_errors_within_the_limit(
    opa: MisbehavingOpa, path: Path, name: str, count: int
) -> None:
    """However an answer fails to come, the wait for it ends (invariant 1; cases 2, 5)."""
    opa.behave = wire.LATE_ENGINES[name]
    async with an_engine(path, limit_seconds=SHORT_SECONDS) as engine:
        assert await Wire(engine, opa).evaluate(count) == [ErrorReason.POLICY_ENGINE_TIMEOUT] * count
        assert not await engine.ready()
    await until(lambda: opa.open_connections == 0)


@pytest.mark.parametrize("name", wire.FAILING_INPUTS)
async def test_an_input_that_fails_leaves_its_neighbours_their_answers(line: Wire, name: str) -> None:
    """What goes wrong with one proposal is told of that one alone (invariant 1; cases 2, 3, 8, 9, 13)."""
    how, reason = wire.FAILING_INPUTS[name]
    line.opa.behave = wire.fails(how)
    limit = FAIR_SECONDS if reason == ErrorReason.POLICY_ENGINE_TIMEOUT else PATIENCE_SECONDS
    assert await line.evaluate(1, limit_seconds=limit) == [reason]
    assert await line.evaluate(3, limit_seconds=limit) == ["allow", reason, "allow"]


@pytest.mark.parametrize("name", wire.BROKEN_RESULTS)
async def test_a_result_out_of_contract_is_an_error(line: Wire, name: str) -> None:
    """Only a result that keeps to its contract in every key and type is an answer (invariant 1; case 4)."""
    line.opa.behave = wire.gives(wire.BROKEN_RESULTS[name])
    assert await line.evaluate(1) == [ErrorReason.POLICY_MALFORMED]
    assert await line.evaluate(3) == ["allow", ErrorReason.POLICY_MALFORMED, "allow"]


@pytest.mark.parametrize("name", wire.BROKEN_BATCHES)
async def test_an_unclear_answer_for_a_batch_has_each_evaluated_alone(line: Wire, name: str) -> None:
    """Where a batch gets no clear answer but each input does, each gets its own."""
    line.opa.behave = wire.for_a_batch(wire.BROKEN_BATCHES[name])
    limit = FAIR_SECONDS if name == "too slow" else PATIENCE_SECONDS
    assert await line.evaluate(3, limit_seconds=limit) == ["allow"] * 3


@pytest.mark.parametrize("count", [1, 3])
async def test_no_socket_is_an_engine_that_is_away(path: Path, count: int) -> None:
    """Where nothing was ever started, everything is an error (case 1)."""
    async with an_engine(path) as engine:
        answers = await engine.evaluate(INPUTS[:count], limit_seconds=PATIENCE_SECONDS)
    assert [_told(answer) for answer in answers] == [ErrorReason.POLICY_ENGINE_UNAVAILABLE] * count


async def test_a_socket_that_nobody_listens_on_is_an_engine_that_is_away(path: Path) -> None:
    """A socket that a dead OPA left behind answers nothing (case 1)."""
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with an_engine(path) as engine:
        [answer] = await engine.evaluate(INPUTS[:1], limit_seconds=PATIENCE_SECONDS)
    assert _told(answer) == ErrorReason.POLICY_ENGINE_UNAVAILABLE


@pytest.mark.parametrize("reason", ["POLICY_ENGINE_UNAVAILABLE", "POLICY_NOT_READY"])
async def test_what_may_pass_says_when_to_try_again(line: Wire, reason: str) -> None:
    """A client is told how long to wait for an engine that is away or not ready."""
    line.opa.behave = next(behaviour for behaviour, given in ENGINES.values() if given == reason)
    [answer] = await line.engine.evaluate(INPUTS[:1], limit_seconds=PATIENCE_SECONDS)
    assert isinstance(answer, InterlockError)
    assert answer.retry_after is not None


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_refused_credential_names_its_setting(line: Wire, status: str) -> None:
    """Who runs the service reads which setting to look at."""

    async def refuse(query: Query) -> None:
        await query.respond(b"", status)

    line.opa.behave = refuse
    [answer] = await line.engine.evaluate(INPUTS[:1], limit_seconds=PATIENCE_SECONDS)
    assert isinstance(answer, InterlockError)
    assert "`opa_token_file`" in answer.message


@pytest.mark.parametrize("count", [1, 3])
async def test_the_callers_limit_holds_where_it_is_shorter(
    opa: MisbehavingOpa, path: Path, count: int
) -> None:
    """A caller who waits for a moment is not kept for the engine's own limit (case 2)."""
    opa.behave = wire.LATE_ENGINES["never answers"]
    async with an_engine(path, limit_seconds=10 * PATIENCE_SECONDS) as engine:
        answers = await Wire(engine, opa).evaluate(count, limit_seconds=0.1)
    assert answers == [ErrorReason.POLICY_ENGINE_TIMEOUT] * count


@pytest.mark.parametrize("count", [1, 3])
async def test_no_query_is_sent_for_a_caller_whose_time_is_over(line: Wire, count: int) -> None:
    """Work that nobody waits for is not begun (case 2)."""
    await line.evaluate(1)
    assert await line.evaluate(count, limit_seconds=0.0) == [ErrorReason.POLICY_ENGINE_TIMEOUT] * count
    assert len(line.opa.queries) == 1
    assert await line.evaluate(1) == ["allow"]
    assert line.opa.connections == 1


async def test_a_cancelled_evaluation_is_taken_back(opa: MisbehavingOpa, path: Path) -> None:
    """Where the caller goes away in the middle, OPA is let go of too (case 2)."""
    opa.behave = wire.LATE_ENGINES["never answers"]
    async with an_engine(path, limit_seconds=10 * PATIENCE_SECONDS) as engine:
        evaluation = asyncio.ensure_future(engine.evaluate(INPUTS, limit_seconds=10 * PATIENCE_SECONDS))
        await until(lambda: opa.open_connections == 1)
        evaluation.cancel()
        await until(lambda: opa.open_connections == 0)
        await asyncio.wait({evaluation})
    assert evaluation.cancelled()


async def test_many_inputs_without_end_leave_a_neighbour_its_answer(line: Wire) -> None:
    """A few proposals that a policy never ends on do not take a whole batch with them (case 13)."""
    line.opa.behave = wire.fails(wire.LATE_ENGINES["never answers"])
    inputs = [*[an_input(BAD)] * 5, an_input("sixth")]
    answers = await line.engine.evaluate(inputs, limit_seconds=FAIR_SECONDS)
    assert [_told(answer) for answer in answers] == [*[ErrorReason.POLICY_ENGINE_TIMEOUT] * 5, "allow"]


async def test_a_connection_that_was_closed_while_idle_costs_nothing(line: Wire) -> None:
    """A query that met the close of an idle connection is sent once more, at once (case 1)."""

    async def close_used_ones(query: Query) -> None:
        used = [earlier.writer for earlier in line.opa.queries[:-1]]
        if query.writer in used:
            query.writer.close()
        else:
            await wire.good(query)

    line.opa.behave = close_used_ones
    assert await line.evaluate(1) == ["allow"]
    assert await line.evaluate(1) == ["allow"]
    assert line.opa.connections == 2


@pytest.mark.parametrize(
    ("name", "attempts"), [("closes", 2), ("resets the connection", 2), ("redirects", 1), ("is away", 1)]
)
async def test_an_engine_that_is_away_is_not_asked_again_and_again(
    line: Wire, name: str, attempts: int
) -> None:
    """At most one fast retry, and none of what OPA answered, so that failures are not amplified (cases 1, 57)."""
    line.opa.behave = wire.UNREACHABLE_ENGINES[name]
    await line.evaluate(3)
    assert len(line.opa.queries) == attempts


async def test_a_conflict_is_not_tried_again(line: Wire) -> None:
    """A conflict is the policy's and comes again each time, so it is asked for once (case 8)."""
    line.opa.behave = wire.fails(wire.FAILING_INPUTS["conflict"][0])
    await line.evaluate(1)
    assert len(line.opa.queries) == 1


@pytest.mark.parametrize("value", [2**70, "\ud800", {1: 2}, float], ids=["huge", "surrogate", "key", "type"])
async def test_an_input_that_is_no_json_spoils_no_batch(line: Wire, value: object) -> None:
    """What cannot be written as JSON is never sent, and its neighbours get their answers (case 7)."""
    inputs = [an_input("first"), an_input("second", value=value), an_input("third")]
    answers = await line.engine.evaluate(inputs, limit_seconds=PATIENCE_SECONDS)
    assert [_told(answer) for answer in answers] == ["allow", ErrorReason.POLICY_EVALUATION_FAILED, "allow"]


async def test_no_expected_revision_is_met_by_none(opa: MisbehavingOpa, path: Path) -> None:
    """A service that does not know its policy takes no answer, not even one without a revision (case 10)."""
    opa.behave = wire.OTHER_REVISIONS["an empty revision"]
    address = OpaAddress(socket=path)
    async with OpaEngine(address, expected_revision=str, limit_seconds=PATIENCE_SECONDS) as engine:
        assert await Wire(engine, opa).evaluate(1) == [ErrorReason.POLICY_NOT_READY]
