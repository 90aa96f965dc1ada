"""The ledger's contract, which the fake and both ledgers keep alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from interlock.adapters.ledger_postgres import PostgresLedger
from interlock.adapters.ledger_rows import ReconciliationRefused
from interlock.adapters.ledger_sqlite import (
    SqliteLedger,
)
from interlock.adapters.postgres_address import PostgresAddress
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import (
    Finding,
    MemoryWrite,
    ObligationResult,
    Outcome,
    OutcomeKind,
    Reconciliation,
    Usage,
)
from interlock.core.token import PlanStep
from interlock.ports import Redemption
from tests.fakes import NOON, MemoryLedger

AnyLedger = MemoryLedger | SqliteLedger | PostgresLedger

LATER = NOON + timedelta(seconds=3, microseconds=7)


def a_redemption(number: int = 1, **changes: Any) -> Redemption:
    redemption = Redemption(
        token_id=f"token-{number}",
        execution_id=f"execution-{number}",
        decision_id=f"decision-{number}",
        tool="files/write",
        expire_time=NOON + timedelta(seconds=30),
        start_time=NOON,
    )
    return replace(redemption, **changes)


def an_end(number: int = 1, **changes: Any) -> Outcome:
    outcome = Outcome(
        execution_id=f"execution-{number}",
        decision_id=f"decision-{number}",
        token_id=f"token-{number}",
        kind=OutcomeKind.SUCCEEDED,
        result_digest="d" * 43,
        refusal="",
        start_time=NOON,
        end_time=LATER,
    )
    return replace(outcome, **changes)


def a_refusal(number: int, reason: ErrorReason, **changes: Any) -> Outcome:
    return an_end(
        number,
        **({"execution_id": f"refusal-{number}", "kind": OutcomeKind.REFUSED, "result_digest": ""} | changes),
        refusal=reason.value,
    )


def an_unknown(number: int = 1) -> Outcome:
    return an_end(number, kind=OutcomeKind.UNKNOWN, result_digest="")


A_REPORT: dict[str, Any] = {
    "result": b'{"content":"caf\xc3',
    "result_truncated": True,
    "usage": Usage(cost=3, compute_milliseconds=40),
    "memory_writes": (
        MemoryWrite(key="plan", version=4, digest="d"),
        MemoryWrite(key="é", version=0, digest=""),
    ),
    "obligation_results": (
        ObligationResult(type="timeout", detail="limited to 30 s"),
        ObligationResult(type="redact_result", detail=""),
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def ledger(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[AnyLedger]:
    match request.param:
        case "memory":
            opened: AnyLedger = MemoryLedger()
        case "sqlite":
            opened = SqliteLedger(path, limit_seconds=10)
        case _:
            opened = await PostgresReplicas.entered(request.getfixturevalue("database"))
    yield opened
    await opened.close()


class PostgresReplicas(PostgresLedger):
    """A replica that finds what an earlier one left, as SQLite's next process does: `recover` looks as that one."""

    @classmethod
    async def entered(cls, database: PostgresAddress) -> Self:
        ledger = cls(database, gateway="gateway-1", limit_seconds=10, gone_after_seconds=0)
        await ledger.start()
        return ledger

    async def recover(self, at: datetime) -> list[Outcome]:
        await super().close()
        self.__init__(self._address, gateway="gateway-1", limit_seconds=10, gone_after_seconds=0)  # type: ignore[misc]
        await self.start()
        return await super().recover(at)


async def test_a_token_is_redeemed_once(ledger: AnyLedger) -> None:
    """The first redemption gets None, every later one the first's execution_id."""
    assert await ledger.redeem(a_redemption()) is None
    assert await ledger.redeem(a_redemption(execution_id="execution-2")) == "execution-1"
    await ledger.finish(an_end())
    assert await ledger.redeem(a_redemption(execution_id="execution-3")) == "execution-1"
    assert await ledger.redeem(a_redemption(2)) is None


async def test_fifty_at_once_have_one_winner(ledger: AnyLedger) -> None:
    """Of fifty parallel redemptions of one token one wins, and the others learn whose it is (case 23)."""
    answers = await asyncio.gather(
        *(ledger.redeem(a_redemption(execution_id=f"execution-{number}")) for number in range(50))
    )
    assert answers.count(None) == 1
    winner = f"execution-{answers.index(None)}"
    assert set(answers) == {None, winner}


async def test_an_end_waits_in_the_outbox_until_it_is_delivered(ledger: AnyLedger) -> None:
    """An outcome comes out as it was put in, again and again, until it is settled."""
    await ledger.redeem(a_redemption())
    assert await ledger.undelivered(10) == []
    await ledger.finish(an_end())
    assert await ledger.undelivered(10) == [an_end()]
    assert await ledger.undelivered(10) == [an_end()]
    await ledger.delivered(an_end())
    assert await ledger.undelivered(10) == []


async def test_what_a_call_gave_waits_with_its_end(ledger: AnyLedger) -> None:
    """Result, usage, memory writes and obligations come out as they were put in, bytes that are no UTF-8 too."""
    end = an_end(**A_REPORT)
    await ledger.redeem(a_redemption())
    await ledger.finish(end)
    assert await ledger.undelivered(10) == [end]
    assert (await ledger.undelivered(10))[0].result == end.result


async def test_a_late_second_end_changes_no_report(ledger: AnyLedger) -> None:
    """The first end stands with all that it says; what comes after it leaves nothing."""
    await ledger.redeem(a_redemption())
    await ledger.finish(an_end())
    await ledger.finish(an_end(**A_REPORT))
    assert await ledger.undelivered(10) == [an_end()]


async def test_the_first_end_stands(ledger: AnyLedger) -> None:
    """Finishing again changes nothing and reports nothing twice."""
    await ledger.redeem(a_redemption())
    await ledger.finish(an_end())
    await ledger.delivered(an_end())
    await ledger.finish(an_end(kind=OutcomeKind.FAILED))
    assert await ledger.undelivered(10) == []
    assert [execution.kind for execution in await ledger.list_executions()] == [OutcomeKind.SUCCEEDED]


async def test_a_refusal_is_kept_once_for_each_token_and_reason(ledger: AnyLedger) -> None:
    """A flood of one refusal is one row; another reason or another token is another (case 26)."""
    mismatch, expired = ErrorReason.CALL_MISMATCH, ErrorReason.TOKEN_EXPIRED
    for number in range(20):
        await ledger.refuse(a_refusal(1, mismatch, execution_id=f"refusal-{number}"))
    await ledger.refuse(a_refusal(1, expired, execution_id="refusal-30"))
    await ledger.refuse(a_refusal(2, mismatch, execution_id="refusal-40"))
    assert await ledger.undelivered(10) == [
        a_refusal(1, mismatch, execution_id="refusal-0"),
        a_refusal(1, expired, execution_id="refusal-30"),
        a_refusal(2, mismatch, execution_id="refusal-40"),
    ]


async def test_a_refusal_uses_no_token_up(ledger: AnyLedger) -> None:
    """A token that was refused can still be redeemed, and one that was redeemed can still be refused."""
    await ledger.refuse(a_refusal(1, ErrorReason.CALL_MISMATCH))
    assert await ledger.redeem(a_redemption()) is None
    await ledger.refuse(a_refusal(1, ErrorReason.TOKEN_ALREADY_REDEEMED, execution_id="refusal-2"))
    assert len(await ledger.list_executions()) == 3


@pytest.mark.parametrize("ended", [False, True])
async def test_a_refusal_of_a_redeemed_token_says_that_it_was_redeemed(
    ledger: AnyLedger, ended: bool
) -> None:
    """Of a call that runs or ran no refusal says that its token is dead; it is kept once (case 56)."""
    await ledger.redeem(a_redemption())
    if ended:
        await ledger.finish(an_end())
        await ledger.delivered(an_end())
    reasons = (ErrorReason.TOKEN_EXPIRED, ErrorReason.CALL_MISMATCH, ErrorReason.TOKEN_ALREADY_REDEEMED)
    for number, reason in enumerate(reasons):
        await ledger.refuse(a_refusal(1, reason, execution_id=f"refusal-{number}"))
    kept = a_refusal(1, ErrorReason.TOKEN_ALREADY_REDEEMED, execution_id="refusal-0")
    assert await ledger.undelivered(10) == [kept]
    await ledger.delivered(kept)
    await ledger.refuse(a_refusal(1, ErrorReason.TOKEN_EXPIRED, execution_id="refusal-9"))
    assert await ledger.undelivered(10) == []


async def test_what_was_refused_before_it_was_redeemed_stays_as_it_is(ledger: AnyLedger) -> None:
    """A refusal that was kept while nothing had run keeps its reason, and each token has its own."""
    mismatch, expired = a_refusal(1, ErrorReason.CALL_MISMATCH), a_refusal(2, ErrorReason.TOKEN_EXPIRED)
    await ledger.refuse(mismatch)
    await ledger.redeem(a_redemption())
    await ledger.refuse(expired)
    assert await ledger.undelivered(10) == [mismatch, expired]


async def test_a_delivered_refusal_is_not_kept_again(ledger: AnyLedger) -> None:
    """Delivery does not open the gate for the same refusal."""
    refusal = a_refusal(1, ErrorReason.CALL_MISMATCH)
    await ledger.refuse(refusal)
    await ledger.delivered(refusal)
    await ledger.refuse(replace(refusal, execution_id="refusal-2"))
    assert await ledger.undelivered(10) == []


async def test_the_outbox_is_in_order_of_age_and_bounded(ledger: AnyLedger) -> None:
    """The oldest come first, no more than asked for."""
    for number in range(5):
        await ledger.redeem(a_redemption(number))
    for number in reversed(range(5)):
        await ledger.finish(an_end(number))
    assert await ledger.undelivered(3) == [an_end(0), an_end(1), an_end(2)]


async def test_what_is_undeliverable_is_kept_out_of_the_outbox_and_listed(ledger: AnyLedger) -> None:
    """An outcome that will never be taken no longer waits, and a person can find it."""
    await ledger.redeem(a_redemption())
    await ledger.finish(an_end())
    refusal = InterlockError(reason=ErrorReason.DECISION_NOT_FOUND, message="no such decision")
    await ledger.undeliverable(an_end(), refusal)
    assert await ledger.undelivered(10) == []
    [execution] = await ledger.list_executions()
    assert (execution.delivery, execution.kind) == ("undeliverable", OutcomeKind.SUCCEEDED)


async def test_recovering_ends_what_was_redeemed_and_not_ended_as_unknown(ledger: AnyLedger) -> None:
    """Each redemption without outcome becomes `unknown` once, in the outbox, and stays used (invariant 8)."""
    for number in (1, 2, 3):
        await ledger.redeem(a_redemption(number))
    await ledger.finish(an_end(2))
    assert await ledger.recover(LATER) == [an_unknown(1), an_unknown(3)]
    assert await ledger.recover(LATER) == []
    assert await ledger.undelivered(10) == [an_unknown(1), an_end(2), an_unknown(3)]
    assert await ledger.redeem(a_redemption(execution_id="execution-9")) == "execution-1"
    listed = await ledger.list_executions(kind=OutcomeKind.UNKNOWN)
    assert [execution.execution_id for execution in listed] == ["execution-3", "execution-1"]


async def test_a_recovered_execution_never_ends_before_it_began(ledger: AnyLedger) -> None:
    """A clock that was set back between crash and restart makes no outcome of negative length (case 22)."""
    await ledger.redeem(a_redemption())
    [outcome] = await ledger.recover(NOON - timedelta(hours=1))
    assert outcome.end_time == outcome.start_time == NOON


async def test_executions_are_listed_newest_first(ledger: AnyLedger) -> None:
    """A person sees running, ended and refused executions, by kind or all, newest first, as many as asked."""
    await ledger.redeem(a_redemption(1))
    await ledger.redeem(a_redemption(2))
    await ledger.finish(an_end(1))
    await ledger.refuse(a_refusal(3, ErrorReason.TOKEN_EXPIRED))
    listed = await ledger.list_executions()
    assert [(each.execution_id, each.kind, each.tool, each.refusal, each.delivery) for each in listed] == [
        ("refusal-3", OutcomeKind.REFUSED, "", "TOKEN_EXPIRED", "waiting"),
        ("execution-2", None, "files/write", "", ""),
        ("execution-1", OutcomeKind.SUCCEEDED, "files/write", "", "waiting"),
    ]
    assert [each.end_time for each in listed] == [LATER, None, LATER]
    assert await ledger.list_executions(limit=1) == listed[:1]
    assert await ledger.list_executions(kind=OutcomeKind.SUCCEEDED) == listed[2:]


def a_step(step: str, *after: str, number: int, plan: str = "plan-1") -> Redemption:
    stated = PlanStep(decision_id=plan, digest="p" * 43, step=step, after=after)
    return a_redemption(number, plan=stated)


async def not_due(ledger: AnyLedger, redemption: Redemption) -> str:
    with pytest.raises(InterlockError) as caught:
        await ledger.redeem(redemption)
    assert caught.value.reason == ErrorReason.STEP_NOT_DUE
    assert caught.value.retry_after == 1.0
    return caught.value.message


async def test_a_step_is_redeemed_only_after_those_before_it_succeeded(ledger: AnyLedger) -> None:
    """A step waits for each one that it comes after; refused, its token is free and stays to be redeemed."""
    last = a_step("last", "one", "two", number=3)
    assert "`one`, `two`" in await not_due(ledger, last)
    for number, step in ((1, "one"), (2, "two")):
        assert await ledger.redeem(a_step(step, number=number)) is None
        assert f"`{step}`" in await not_due(ledger, last)
        await ledger.finish(an_end(number))
    assert await ledger.redeem(last) is None
    assert await ledger.redeem(replace(last, execution_id="again")) == "execution-3"


@pytest.mark.parametrize("kind", [OutcomeKind.FAILED, OutcomeKind.UNKNOWN])
async def test_a_step_that_did_not_succeed_makes_no_other_due(ledger: AnyLedger, kind: OutcomeKind) -> None:
    """What failed, or may have run, is no step that succeeded; nor is one of the same name in another plan."""
    await ledger.redeem(a_step("one", number=1))
    await ledger.finish(an_end(1, kind=kind))
    await ledger.redeem(a_step("one", number=2, plan="plan-2"))
    await ledger.finish(an_end(2))
    await not_due(ledger, a_step("two", "one", number=3))


async def test_a_redeemed_step_is_redeemed_whatever_its_plan_says(ledger: AnyLedger) -> None:
    """A replay of a step hears of its first run, also where it would not be due (case 23)."""
    await ledger.redeem(a_redemption(3))
    assert await ledger.redeem(replace(a_step("two", "one", number=3), execution_id="again")) == "execution-3"


async def test_a_step_that_is_not_due_spoils_no_other(ledger: AnyLedger) -> None:
    """Of many at once each has its own answer, and no token is used by a refusal."""
    many = [
        a_step("two", "one", number=number) if number % 3 else a_redemption(number) for number in range(30)
    ]
    answers = await asyncio.gather(*map(ledger.redeem, many), return_exceptions=True)
    for redemption, answer in zip(many, answers, strict=True):
        assert answer is None if redemption.plan is None else isinstance(answer, InterlockError)
    assert len(await ledger.list_executions()) == 10


async def test_a_step_runs_once_by_whichever_of_its_tokens(ledger: AnyLedger) -> None:
    """A second token for a step hears of the first's execution, however that ended (case 59, invariant 8)."""
    assert await ledger.redeem(a_step("one", number=1)) is None
    assert await ledger.redeem(a_step("one", number=2)) == "execution-1"
    await ledger.finish(an_end(1, kind=OutcomeKind.UNKNOWN))
    assert await ledger.redeem(a_step("one", number=3)) == "execution-1"
    assert await ledger.redeem(a_step("one", number=4, plan="plan-2")) is None


async def test_of_many_tokens_for_a_step_at_once_one_runs(ledger: AnyLedger) -> None:
    """A race of tokens for one step ends as a race for one token does (case 23, case 59)."""
    answers = await asyncio.gather(*(ledger.redeem(a_step("one", number=number)) for number in range(20)))
    assert answers.count(None) == 1
    [execution] = await ledger.list_executions()
    assert {answer for answer in answers if answer} == {execution.execution_id}


A_FINDING = Reconciliation(
    finding=Finding.SUCCEEDED, comment="the commit is there", found_by="ada", time=LATER
)


async def an_unknown_step(ledger: AnyLedger) -> Outcome:
    """One whose outcome is unknown, and was delivered."""
    await ledger.redeem(a_step("one", number=1))
    await ledger.finish(an_unknown())
    await ledger.delivered(an_unknown())
    return an_unknown()


async def test_a_finding_is_delivered_with_its_execution(ledger: AnyLedger) -> None:
    """What a person found waits in the outbox until it is delivered, once; the execution shows it."""
    outcome = replace(await an_unknown_step(ledger), reconciliation=A_FINDING)
    assert await ledger.undelivered(10) == []
    for _ in range(2):
        await ledger.reconcile("execution-1", A_FINDING)
        assert await ledger.undelivered(10) == [outcome]
    await ledger.delivered(outcome)
    assert await ledger.undelivered(10) == []
    await ledger.reconcile("execution-1", A_FINDING)
    assert await ledger.undelivered(10) == []
    [shown] = await ledger.list_executions()
    assert (shown.kind, shown.reconciliation) == (OutcomeKind.UNKNOWN, A_FINDING)
    assert (shown.plan_decision_id, shown.plan_step) == ("plan-1", "one")


async def test_a_finding_that_came_while_its_outcome_was_delivered_still_waits(ledger: AnyLedger) -> None:
    """The delivery of an outcome takes no finding with it that the outcome did not carry."""
    await ledger.redeem(a_redemption())
    await ledger.finish(an_unknown())
    await ledger.reconcile("execution-1", A_FINDING)
    await ledger.delivered(an_unknown())
    assert await ledger.undelivered(10) == [replace(an_unknown(), reconciliation=A_FINDING)]


async def test_a_later_step_is_due_by_a_finding(ledger: AnyLedger) -> None:
    """A step that a person found to have succeeded makes those after it due; one that did not run does not."""
    await an_unknown_step(ledger)
    await ledger.redeem(a_step("other", number=2))
    await ledger.finish(an_unknown(2))
    await not_due(ledger, a_step("two", "one", number=3))
    await ledger.reconcile("execution-1", A_FINDING)
    await ledger.reconcile("execution-2", replace(A_FINDING, finding=Finding.NOT_RUN))
    assert await ledger.redeem(a_step("two", "one", number=3)) is None
    await not_due(ledger, a_step("three", "other", number=4))


@pytest.mark.parametrize(
    ("kind", "message"), [(None, "is `running`"), (OutcomeKind.SUCCEEDED, "is `succeeded`")]
)
async def test_only_an_unknown_outcome_is_reconciled(
    ledger: AnyLedger, kind: OutcomeKind | None, message: str
) -> None:
    """What runs, or is known to have ended, is not for a person to say."""
    await ledger.redeem(a_redemption())
    if kind:
        await ledger.finish(an_end(kind=kind))
    with pytest.raises(ReconciliationRefused, match=message):
        await ledger.reconcile("execution-1", A_FINDING)
    with pytest.raises(ReconciliationRefused, match="no execution `execution-7`"):
        await ledger.reconcile("execution-7", A_FINDING)


async def test_a_finding_is_never_changed(ledger: AnyLedger) -> None:
    """A second finding that says otherwise is refused, and the first one stands."""
    await an_unknown_step(ledger)
    await ledger.reconcile("execution-1", A_FINDING)
    with pytest.raises(ReconciliationRefused, match="was found `succeeded` before"):
        await ledger.reconcile("execution-1", replace(A_FINDING, finding=Finding.FAILED))
    [shown] = await ledger.list_executions()
    assert shown.reconciliation == A_FINDING
