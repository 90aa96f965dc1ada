"""The gateway's story: one exact call, once, and its end on record."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.core.canonical import canonicalize, digest, digest_of, parse_canonical
from interlock.core.catalog import Catalog, CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call, ExecutionResult
from interlock.core.freeze import Freeze, FreezeScope
from interlock.core.outcome import MemoryWrite, ObligationResult, Outcome, OutcomeKind, Usage
from interlock.flows.execute import Executor, Gateway
from interlock.ports import ToolCall, ToolResult
from tests.fakes import (
    NOON,
    CountingIdentifiers,
    MemoryLedger,
    NoFiles,
    OneKeyPair,
    OpenFreezes,
    ScriptedTools,
    SettableClock,
    answer_error,
    answer_nothing,
    no_files,
)
from tests.tokens import BEGIN, EXPECTED, a_token
from tests.tool_calls import a_call
from tests.waiting import until

ARGUMENTS: dict[str, Any] = {"path": "notes.txt", "text": "hello", "times": 100}
DONE = canonicalize({"content": [{"type": "text", "text": "done"}]})

REFUSED = [
    pytest.param({"tool": "files/delete"}, {}, ErrorReason.CALL_MISMATCH, id="another-tool"),
    pytest.param(
        {"arguments_json": canonicalize(ARGUMENTS | {"text": "hellp"})},
        {},
        ErrorReason.CALL_MISMATCH,
        id="one-byte",
    ),
    pytest.param(
        {"arguments_json": canonicalize(ARGUMENTS | {"mode": "append"})},
        {},
        ErrorReason.CALL_MISMATCH,
        id="extra-default",
    ),
    pytest.param(
        {"arguments_json": b'{"a":1,"A":2}'}, {}, ErrorReason.MALFORMED_ARGUMENTS, id="not-strict-json"
    ),
    pytest.param({"arguments_json": b"[]"}, {}, ErrorReason.MALFORMED_ARGUMENTS, id="no-object"),
    pytest.param(
        {}, {"exp": BEGIN - 10, "iat": BEGIN - 40, "nbf": BEGIN - 40}, ErrorReason.TOKEN_EXPIRED, id="expired"
    ),
    pytest.param(
        {},
        {"exp": BEGIN + 40, "iat": BEGIN + 10, "nbf": BEGIN + 10},
        ErrorReason.TOKEN_NOT_YET_VALID,
        id="early",
    ),
    pytest.param({}, {"exp": BEGIN + 61}, ErrorReason.TOKEN_MALFORMED, id="long-life"),
    pytest.param({}, {"catalog_digest": "c" * 43}, ErrorReason.CATALOG_MISMATCH, id="other-catalog"),
    pytest.param(
        {"tool": "files/unknown"},
        {"tool": "files/unknown"},
        ErrorReason.CATALOG_MISMATCH,
        id="tool-not-in-catalog",
    ),
    pytest.param(
        {},
        {"obligations": [{"type": "redact", "path": "/text"}]},
        ErrorReason.OBLIGATION_UNSUPPORTED,
        id="obligation",
    ),
]


def a_catalog() -> Catalog:
    entry = ToolEntry(name="files/write", arguments={"type": "object"}, effects=(Effect.WRITE,))
    return build_catalog([CatalogFile(gateway="gateway-1", server="files", tools=(entry,))])


@dataclass
class World:
    """A gateway of fakes, and the keys of its decision service."""

    keys: OneKeyPair
    ledger: MemoryLedger
    tools: ScriptedTools
    clock: SettableClock
    executor: Executor
    catalog: Catalog
    woken: list[None]
    freezes: OpenFreezes

    def token(self, **claims: Any) -> str:
        return a_token(self.keys, self.catalog.tools["files/write"], digest_of(ARGUMENTS), **claims)

    def call(self, changes: Mapping[str, Any] | None = None, **claims: Any) -> Call:
        presented = {
            "execution_token": self.token(**claims),
            "tool": "files/write",
            "arguments_json": canonicalize(ARGUMENTS),
        }
        return Call(**(presented | dict(changes or {})))

    async def refused(self, call: Call) -> InterlockError:
        with pytest.raises(InterlockError) as caught:
            await self.executor.execute(call)
        return caught.value


@pytest.fixture
def world() -> World:
    keys, ledger, tools, clock, catalog = (
        OneKeyPair(),
        MemoryLedger(),
        ScriptedTools(),
        SettableClock(),
        a_catalog(),
    )
    woken: list[None] = []
    freezes = OpenFreezes()
    gateway = Gateway(
        keys=keys,
        expected=EXPECTED,
        catalog=catalog,
        ledger=ledger,
        tools=tools,
        freezes=freezes,
        resolve=no_files,
        files=NoFiles(),
        clock=clock,
        identifiers=CountingIdentifiers("execution"),
        limit_seconds=30.0,
        delays=lambda failures: 0.0,
        after_outcome=lambda: woken.append(None),
    )
    return World(
        keys=keys,
        ledger=ledger,
        tools=tools,
        clock=clock,
        executor=Executor(gateway),
        catalog=catalog,
        woken=woken,
        freezes=freezes,
    )


async def test_a_good_token_runs_its_call_once_and_leaves_its_outcome(world: World) -> None:
    """A token that is good here and now runs the call, and the whole outcome waits in the outbox."""
    result = await world.executor.execute(world.call())
    assert result == ExecutionResult(
        execution_id="execution-1", kind=OutcomeKind.SUCCEEDED, result_json=DONE, obligation_results=()
    )
    assert world.tools.calls == [a_call(world.catalog.tools["files/write"], ARGUMENTS)]
    assert await world.ledger.undelivered(10) == [
        Outcome(
            execution_id="execution-1",
            decision_id="decision-1",
            token_id="token-1",
            kind=OutcomeKind.SUCCEEDED,
            result_digest=digest(DONE),
            refusal="",
            start_time=NOON,
            end_time=NOON,
            result=DONE,
            usage=Usage(compute_milliseconds=0),
        )
    ]
    assert len(world.woken) == 1


async def test_an_outcome_tells_what_the_call_used_and_wrote(world: World) -> None:
    """Time is the gateway's own measure; cost, tokens and memory are as the tool says."""
    writes = (MemoryWrite(key="plan", version=4, digest="d"),)

    async def works(call: ToolCall) -> ToolResult:
        world.clock.move(timedelta(seconds=2, microseconds=3_999))
        usage = Usage(cost=5, model_tokens=70, compute_milliseconds=9)
        return ToolResult(failed=True, value="x", usage=usage, memory_writes=writes)

    world.tools.behave = works
    await world.executor.execute(world.call())
    [outcome] = await world.ledger.undelivered(10)
    assert outcome.usage == Usage(cost=5, model_tokens=70, compute_milliseconds=2_003)
    assert outcome.memory_writes == writes


async def test_a_clock_that_is_set_back_makes_no_negative_time(world: World) -> None:
    """A call that seems to have ended before it began used no time (case 22)."""

    async def works(call: ToolCall) -> ToolResult:
        world.clock.move(-timedelta(hours=1))
        return ToolResult(failed=False, value=None)

    world.tools.behave = works
    await world.executor.execute(world.call())
    [outcome] = await world.ledger.undelivered(10)
    assert outcome.usage == Usage(compute_milliseconds=0)


async def test_of_a_long_result_the_beginning_is_reported(world: World) -> None:
    """The caller gets all of a long answer, the decision service its digest and its first 65,536 bytes."""

    async def works(call: ToolCall) -> ToolResult:
        return ToolResult(failed=False, value="é" * 100_000)

    world.tools.behave = works
    result = await world.executor.execute(world.call())
    [outcome] = await world.ledger.undelivered(10)
    assert outcome.result == result.result_json[:65_536]
    assert (outcome.result_truncated, outcome.result_digest) == (True, digest(result.result_json))


async def test_what_is_not_known_used_nothing_that_is_known(world: World) -> None:
    """Where no answer came there is no result and no usage: what was reserved counts as used."""
    world.tools.behave = answer_nothing
    await world.executor.execute(world.call())
    [outcome] = await world.ledger.undelivered(10)
    assert (outcome.kind, outcome.result, outcome.usage) == (OutcomeKind.UNKNOWN, b"", None)


async def test_what_runs_is_what_was_hashed_whatever_bytes_came(world: World) -> None:
    """Other bytes of one canonical form are the same call; the tool gets the canonical value (case 28)."""
    spelled = b'{ "times" : 1e2,\n "text":"\\u0068ello", "path" : "notes.txt" }'
    await world.executor.execute(world.call({"arguments_json": spelled}))
    [call] = world.tools.calls
    assert canonicalize(call.arguments) == canonicalize(ARGUMENTS)
    assert type(call.arguments["times"]) is int


@pytest.mark.parametrize(("changes", "claims", "reason"), REFUSED)
async def test_a_refused_call_runs_nothing_and_is_reported_once(
    world: World, changes: dict[str, Any], claims: dict[str, Any], reason: ErrorReason
) -> None:
    """What the token does not permit is refused, and leaves one report however often it is tried.

    Invariant 3, cases 22, 26 and 27.
    """
    call = world.call(changes, **claims)
    for _ in range(5):
        assert (await world.refused(call)).reason == reason
    assert world.tools.calls == []
    [reported] = await world.ledger.undelivered(10)
    assert (reported.kind, reported.refusal, reported.token_id, reported.decision_id) == (
        OutcomeKind.REFUSED,
        reason,
        "token-1",
        "decision-1",
    )


async def test_a_refused_call_leaves_the_token_for_the_right_one(world: World) -> None:
    """A call with changed arguments does not use the token up."""
    await world.refused(world.call({"arguments_json": b"{}"}))
    assert (await world.executor.execute(world.call())).kind == OutcomeKind.SUCCEEDED


async def test_refusals_for_different_reasons_are_reported_each(world: World) -> None:
    """Two reasons of one token are two security events (case 26)."""
    await world.refused(world.call({"arguments_json": b"{}"}))
    await world.refused(world.call(obligations=[{"type": "levitate"}]))
    assert [outcome.refusal for outcome in await world.ledger.undelivered(10)] == [
        ErrorReason.CALL_MISMATCH,
        ErrorReason.OBLIGATION_UNSUPPORTED,
    ]


@pytest.mark.parametrize(
    "claims",
    [{"aud": "gateway-2"}, {"tenant": "other"}, {"env": "dev"}, {"iss": "https://elsewhere.example"}],
    ids=lambda claims: next(iter(claims)),
)
async def test_a_token_of_another_place_is_refused_and_not_reported(
    world: World, claims: dict[str, Any]
) -> None:
    """A token for another gateway, tenant or environment is refused, and not ours to report (case 38)."""
    assert (await world.refused(world.call(**claims))).reason == ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY
    assert world.ledger.executions == []


async def test_an_unverified_token_is_refused_and_not_reported(world: World) -> None:
    """What nobody signed leaves nothing behind, so that a flood of it fills no disk."""
    call = world.call()
    forged = call.execution_token[:-4] + ("AAAA" if not call.execution_token.endswith("AAAA") else "BBBB")
    refusal = await world.refused(replace(call, execution_token=forged))
    assert refusal.reason in (ErrorReason.TOKEN_SIGNATURE_INVALID, ErrorReason.TOKEN_MALFORMED)
    assert world.ledger.executions == []
    assert world.tools.calls == []


async def test_a_replay_is_refused_and_names_the_first_execution(world: World) -> None:
    """A redeemed token runs nothing again, and the error names the execution that had it (invariant 3)."""
    first = await world.executor.execute(world.call())
    refusal = await world.refused(world.call())
    assert refusal.reason == ErrorReason.TOKEN_ALREADY_REDEEMED
    assert refusal.metadata == {"execution_id": first.execution_id}
    assert len(world.tools.calls) == 1
    assert [outcome.kind for outcome in await world.ledger.undelivered(10)] == [
        OutcomeKind.SUCCEEDED,
        OutcomeKind.REFUSED,
    ]


async def test_a_token_that_expires_while_its_call_runs_is_reported_as_redeemed(world: World) -> None:
    """Presented again after its time it is refused, and no report says that its call will never run (case 56)."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def works(call: ToolCall) -> ToolResult:
        begun.set()
        await go_on.wait()
        return ToolResult(failed=False, value="done")

    world.tools.behave = works
    running = asyncio.ensure_future(world.executor.execute(world.call()))
    await begun.wait()
    world.clock.move(timedelta(minutes=2))
    assert (await world.refused(world.call())).reason == ErrorReason.TOKEN_EXPIRED
    [refusal] = await world.ledger.undelivered(10)
    assert (refusal.kind, refusal.refusal) == (OutcomeKind.REFUSED, ErrorReason.TOKEN_ALREADY_REDEEMED)
    go_on.set()
    assert (await running).kind == OutcomeKind.SUCCEEDED


async def test_fifty_callers_of_one_token_run_the_tool_once(world: World) -> None:
    """Of fifty at once one runs the tool, and the other 49 are refused with its execution_id (case 23)."""
    results = await asyncio.gather(
        *(world.executor.execute(world.call()) for _ in range(50)), return_exceptions=True
    )
    [won] = [result for result in results if isinstance(result, ExecutionResult)]
    lost = [result for result in results if isinstance(result, InterlockError)]
    assert len(lost) == 49
    assert {(error.reason, error.metadata["execution_id"]) for error in lost} == {
        (ErrorReason.TOKEN_ALREADY_REDEEMED, won.execution_id)
    }
    assert len(world.tools.calls) == 1
    assert len(world.ledger.executions) == 2


@pytest.mark.parametrize(
    ("obligations", "limit"),
    [
        ([{"type": "timeout", "seconds": 5}], 5),
        ([{"type": "timeout", "seconds": 0.5}], 0.5),
        ([{"type": "timeout", "seconds": 600}], 30),
        ([{"type": "timeout", "seconds": 20}, {"type": "timeout", "seconds": 10}], 10),
    ],
)
async def test_a_timeout_obligation_limits_the_tool(
    world: World, obligations: list[dict[str, Any]], limit: float
) -> None:
    """The tool gets the time that the obligations leave it, and the caller hears that they were met."""
    result = await world.executor.execute(world.call(obligations=obligations))
    assert [call.limit_seconds for call in world.tools.calls] == [limit]
    assert result.obligation_results == tuple(
        ObligationResult(type="timeout", detail=f"limited to {limit:g} s") for _ in obligations
    )


@pytest.mark.parametrize(
    "obligation",
    [
        {"type": "timeout"},
        {"type": "timeout", "seconds": 0},
        {"type": "timeout", "seconds": -1},
        {"type": "timeout", "seconds": 600.5},
        {"type": "timeout", "seconds": "5"},
        {"type": "timeout", "seconds": True},
        {"type": "timeout", "seconds": None},
        {"type": "timeout", "seconds": 5, "grace": 1},
        {"type": "cap"},
        {"type": "sandbox"},
        {"type": "require_idempotency_key"},
    ],
    ids=str,
)
async def test_an_obligation_that_is_not_fully_understood_refuses(
    world: World, obligation: dict[str, Any]
) -> None:
    """An unknown type, an unknown parameter or a bad value is never skipped."""
    refusal = await world.refused(world.call(obligations=[{"type": "timeout", "seconds": 5}, obligation]))
    assert refusal.reason == ErrorReason.OBLIGATION_UNSUPPORTED
    assert refusal.metadata == {"obligation": obligation["type"]}
    assert world.tools.calls == []


SECRET = "ghp_" + "a1B2" * 9
REDACTING = {"type": "redact_result", "patterns": ["secrets"]}


async def test_what_is_redacted_reaches_neither_caller_nor_outcome(world: World) -> None:
    """The answer is cleared before it is digested, returned, kept and reported; so is what it says it wrote."""

    async def works(call: ToolCall) -> ToolResult:
        writes = (MemoryWrite(key=SECRET, version=1, digest=""),)
        return ToolResult(failed=False, value={"text": SECRET}, memory_writes=writes)

    world.tools.behave = works
    result = await world.executor.execute(world.call(obligations=[REDACTING]))
    [outcome] = await world.ledger.undelivered(10)
    left = canonicalize({"text": "[redacted]"})
    assert (result.result_json, outcome.result, outcome.result_digest) == (left, left, digest(left))
    assert outcome.memory_writes == (MemoryWrite(key="[redacted]", version=1, digest=""),)
    told = (ObligationResult(type="redact_result", detail="1 place redacted"),)
    assert (result.obligation_results, outcome.obligation_results) == (told, told)
    assert SECRET not in repr(world.ledger.executions)


async def test_of_an_answer_that_is_to_be_cleared_no_word_comes_before(world: World) -> None:
    """Progress is told in numbers only: a tool's words on the way may hold what would be redacted in its answer."""
    heard: list[tuple[float, float | None, str]] = []

    async def hear(done: float, total: float | None, words: str) -> None:
        heard.append((done, total, words))

    async def works(call: ToolCall) -> ToolResult:
        assert call.progress
        await call.progress(1, 2, SECRET)
        return ToolResult(failed=False, value=None)

    world.tools.behave = works
    await world.executor.execute(replace(world.call(obligations=[REDACTING]), progress=hear))
    await world.executor.execute(replace(world.call(jti="token-2"), progress=hear))
    assert heard == [(1, 2, ""), (1, 2, SECRET)]


async def test_the_connector_hears_of_the_cap(world: World) -> None:
    """It need not read more of an answer than may be returned."""
    await world.executor.execute(world.call(obligations=[{"type": "max_result_bytes", "bytes": 100}]))
    assert [call.max_result_bytes for call in world.tools.calls] == [100]


async def test_a_dry_run_redeems_and_runs_nothing(world: World) -> None:
    """The caller hears which call would have been made, the token is used, and nothing was spent."""
    call = world.call(obligations=[{"type": "dry_run"}])
    result = await world.executor.execute(call)
    assert parse_canonical(result.result_json) == {
        "dry_run": True,
        "tool": "files/write",
        "server": "files",
        "connector": "mcp",
        "arguments_digest": digest_of(ARGUMENTS),
    }
    assert world.tools.calls == []
    [outcome] = await world.ledger.undelivered(10)
    assert outcome.kind == result.kind == OutcomeKind.SUCCEEDED
    assert outcome.usage == Usage(cost=0, model_tokens=0, compute_milliseconds=0)
    assert outcome.obligation_results == (ObligationResult(type="dry_run", detail="nothing ran"),)
    assert (await world.refused(call)).reason == ErrorReason.TOKEN_ALREADY_REDEEMED


async def test_what_no_answer_came_of_kept_to_its_obligations(world: World) -> None:
    """An unknown outcome tells as well what was done, and that there was nothing to redact."""
    world.tools.behave = answer_nothing
    await world.executor.execute(world.call(obligations=[{"type": "timeout", "seconds": 5}, REDACTING]))
    [outcome] = await world.ledger.undelivered(10)
    assert outcome.obligation_results == (
        ObligationResult(type="timeout", detail="limited to 5 s"),
        ObligationResult(type="redact_result", detail="no answer came"),
    )


async def test_a_tool_that_cannot_be_called_leaves_the_token_unused(world: World) -> None:
    """While the tool's server is away nothing is redeemed or reported, and the same token works later."""
    world.tools.up = False
    refusal = await world.refused(world.call())
    assert refusal.reason == ErrorReason.TOOL_UNAVAILABLE
    assert refusal.retry_after
    assert world.ledger.executions == []
    world.tools.up = True
    assert (await world.executor.execute(world.call())).kind == OutcomeKind.SUCCEEDED


async def test_without_a_ledger_nothing_runs(world: World) -> None:
    """A ledger that cannot be written refuses every call, and works again when it is back (case 16)."""
    world.ledger.away = True
    assert (await world.refused(world.call())).reason == ErrorReason.LEDGER_UNAVAILABLE
    assert world.tools.calls == []
    world.ledger.away = False
    assert (await world.executor.execute(world.call())).kind == OutcomeKind.SUCCEEDED


async def test_a_tool_that_answers_an_error_has_failed(world: World) -> None:
    """An error that the tool itself answers is its result, with outcome `failed`."""
    world.tools.behave = answer_error
    result = await world.executor.execute(world.call())
    assert result.kind == OutcomeKind.FAILED
    assert b"no such file" in result.result_json
    [outcome] = await world.ledger.undelivered(10)
    assert (outcome.kind, outcome.result_digest) == (OutcomeKind.FAILED, digest(result.result_json))


async def test_a_call_without_an_answer_is_unknown_and_never_runs_again(world: World) -> None:
    """A timeout or a lost server gives outcome `unknown`, and the token stays used (invariant 8, case 25)."""
    world.tools.behave = answer_nothing
    result = await world.executor.execute(world.call())
    assert (result.kind, result.result_json) == (OutcomeKind.UNKNOWN, b"")
    assert (await world.refused(world.call())).reason == ErrorReason.TOKEN_ALREADY_REDEEMED
    assert len(world.tools.calls) == 1
    assert (await world.ledger.undelivered(10))[0].kind == OutcomeKind.UNKNOWN


async def test_a_defect_after_redeeming_still_leaves_an_outcome(world: World) -> None:
    """Whatever breaks after the redemption, the execution ends as `unknown` (invariant 8)."""

    async def break_down(call: ToolCall) -> ToolResult:
        raise ZeroDivisionError

    world.tools.behave = break_down
    with pytest.raises(ZeroDivisionError):
        await world.executor.execute(world.call())
    [outcome] = await world.ledger.undelivered(10)
    assert outcome.kind == OutcomeKind.UNKNOWN


async def test_an_execution_outlives_its_caller(world: World) -> None:
    """A caller that goes away in the middle does not stop the tool, and the outcome is kept (invariant 8)."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def take_long(call: ToolCall) -> ToolResult:
        begun.set()
        await go_on.wait()
        return ToolResult(failed=False, value="late")

    world.tools.behave = take_long
    caller = asyncio.create_task(world.executor.execute(world.call()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await world.ledger.undelivered(10) == []
    go_on.set()
    await world.executor.drain()
    [outcome] = await world.ledger.undelivered(10)
    assert (outcome.kind, outcome.result_digest) == (OutcomeKind.SUCCEEDED, digest(b'"late"'))


async def test_nobody_hears_of_an_outcome_before_it_is_durable(world: World) -> None:
    """When the ledger goes away while the tool runs, the caller hears only when the outcome is kept."""

    async def lose_the_ledger(call: ToolCall) -> ToolResult:
        world.ledger.away = True
        return ToolResult(failed=False, value="done")

    world.tools.behave = lose_the_ledger
    caller = asyncio.create_task(world.executor.execute(world.call()))
    await until(lambda: world.ledger.failures > 3)
    assert not caller.done()
    world.ledger.away = False
    assert (await caller).kind == OutcomeKind.SUCCEEDED
    assert len(world.tools.calls) == 1
    assert len(await world.ledger.undelivered(10)) == 1


async def test_errors_hold_no_argument_and_no_token(world: World) -> None:
    """No refusal repeats an argument's value or any of the token (case 63)."""
    secret = b'{"path":"notes.txt","text":"hunter2","times":100}'
    for changes in ({"arguments_json": secret}, {"arguments_json": secret + b"}"}, {"tool": "files/other"}):
        call = world.call(changes)
        refusal = await world.refused(call)
        told = f"{refusal} {refusal.violations} {refusal.metadata} {refusal.__cause__}"
        assert "hunter2" not in told
        assert not any(part in told for part in call.execution_token.split("."))


FROZEN = Freeze(log_index=1_000, scope=FreezeScope.ALL, tenant="", name="", comment="", start_time=NOON)


@pytest.mark.parametrize("late", [False, True], ids=["before", "while-preparing"])
async def test_a_frozen_token_is_refused_and_reported(world: World, late: bool) -> None:
    """A freeze that the gateway hears of before it redeems stops the call, which is on record as refused (case 12)."""

    def freeze() -> None:
        world.freezes.known = (FROZEN,)

    if late:
        world.tools.while_preparing = freeze
    else:
        freeze()
    error = await world.refused(world.call())
    assert (error.reason, world.tools.calls) == (ErrorReason.TOKEN_FROZEN, [])
    [refused] = await world.ledger.undelivered(10)
    assert (refused.kind, refused.refusal) == (OutcomeKind.REFUSED, ErrorReason.TOKEN_FROZEN)


@pytest.mark.parametrize("late", [False, True], ids=["before", "while-preparing"])
async def test_while_nothing_is_heard_a_token_keeps(world: World, late: bool) -> None:
    """A gateway that does not know what is frozen neither redeems nor reports; the token is good later (case 12)."""

    def hear_nothing() -> None:
        world.freezes.known = None

    if late:
        world.tools.while_preparing = hear_nothing
    else:
        hear_nothing()
    call = world.call()
    assert (await world.refused(call)).reason is ErrorReason.FREEZES_UNKNOWN
    assert (world.ledger.executions, world.tools.calls) == ([], [])
    world.freezes.known, world.tools.while_preparing = (), lambda: None
    assert (await world.executor.execute(call)).kind is OutcomeKind.SUCCEEDED
