"""What the ledgers have in common: the rows of executions, reports and findings, and the rules of changing them."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import orjson
import structlog

from interlock.adapters.store_errors import StoreUnavailable
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Execution
from interlock.core.moments import from_microseconds, to_microseconds
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

logger = structlog.get_logger()

KEPT = timedelta(days=30)
"""Far beyond a token's life, leeway and any skew of clocks: a token is forgotten long after it expired."""

COLUMNS = (
    "execution_id, token_id, decision_id, tool, refusal, expire_time, start_time, end_time, kind, "
    "result_digest, delivery, plan_decision_id, plan_step"
)
OUTCOME = "execution_id, decision_id, token_id, kind, result_digest, refusal, start_time, end_time"
REPORT = "result, result_truncated, usage, memory_writes, obligation_results"
FOUND = "finding, comment, found_by, find_time"
EXECUTION = (
    "execution_id, token_id, decision_id, tool, kind, refusal, result_digest, start_time, end_time, "
    f"executions.delivery, plan_decision_id, plan_step, {FOUND}"
)
WAITING = f"""
    SELECT {OUTCOME}, {REPORT}, {FOUND}
    FROM executions LEFT JOIN reports USING (execution_id) LEFT JOIN reconciliations USING (execution_id)
"""

_RETRY_AFTER_SECONDS = 1.0
_STEPS_NAMED = 3


class ReconciliationRefused(Exception):
    """A finding that cannot be kept; the message says why."""


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """Tells the caller that nothing is redeemed; what the ledger's own trouble is goes to the gateway's log."""
    try:
        yield
    except StoreUnavailable as error:
        logger.error("ledger_unavailable", cause=str(error))
        raise InterlockError(
            reason=ErrorReason.LEDGER_UNAVAILABLE,
            message="the ledger cannot be read or written, so nothing is redeemed",
            retry_after=_RETRY_AFTER_SECONDS,
        ) from error


def steps_missing(plan: PlanStep, succeeded: Iterable[str]) -> InterlockError | None:
    """Why the step is not due: steps that it comes after are not among those that succeeded. None: it is due."""
    missing = sorted({*plan.after} - {*succeeded})
    if not missing:
        return None
    named = ", ".join(f"`{step}`" for step in missing[:_STEPS_NAMED])
    more = f" and {len(missing) - _STEPS_NAMED} more" if len(missing) > _STEPS_NAMED else ""
    return InterlockError(
        reason=ErrorReason.STEP_NOT_DUE,
        message=f"the step `{plan.step}` comes after {named}{more}, which did not succeed here yet",
        retry_after=_RETRY_AFTER_SECONDS,
    )


def check_finding(execution_id: str, execution: Execution | None, found: Reconciliation) -> bool:
    """Whether the finding is to be kept; False where it is kept already. Raises ReconciliationRefused."""
    if execution is None:
        raise ReconciliationRefused(f"there is no execution `{execution_id}` in this ledger")
    if (before := execution.reconciliation) is not None:
        if before.finding is not found.finding:
            raise ReconciliationRefused(
                f"execution `{execution_id}` was found `{before.finding}` before, and a finding is not changed"
            )
        return False
    if execution.kind is not OutcomeKind.UNKNOWN:
        kind = execution.kind.value if execution.kind else "running"
        raise ReconciliationRefused(
            f"execution `{execution_id}` is `{kind}`; only one of outcome `unknown` is reconciled"
        )
    return True


def redeemed_row(redemption: Redemption) -> tuple[Any, ...]:
    """The row of an execution that begins, in the order of COLUMNS."""
    plan = redemption.plan
    return (
        redemption.execution_id,
        redemption.token_id,
        redemption.decision_id,
        redemption.tool,
        "",
        to_microseconds(redemption.expire_time),
        to_microseconds(redemption.start_time),
        None,
        "",
        "",
        "",
        plan.decision_id if plan else "",
        plan.step if plan else "",
    )


def refused_row(outcome: Outcome, *, redeemed: bool) -> tuple[Any, ...]:
    """The row of a refusal, in the order of COLUMNS; of a redeemed token as TOKEN_ALREADY_REDEEMED."""
    end = to_microseconds(outcome.end_time)
    return (
        outcome.execution_id,
        outcome.token_id,
        outcome.decision_id,
        "",
        ErrorReason.TOKEN_ALREADY_REDEEMED.value if redeemed else outcome.refusal,
        end,
        to_microseconds(outcome.start_time),
        end,
        outcome.kind.value,
        outcome.result_digest,
        "waiting",
        "",
        "",
    )


def report_row(outcome: Outcome) -> tuple[str, bytes, bool, str, str, str]:
    """What an outcome says beyond its execution: its id, then in the order of REPORT."""
    usage = None if outcome.usage is None else asdict(outcome.usage)
    writes = [[write.key, write.version, write.digest] for write in outcome.memory_writes]
    results = [[result.type, result.detail] for result in outcome.obligation_results]
    return (
        outcome.execution_id,
        outcome.result,
        outcome.result_truncated,
        orjson.dumps(usage).decode(),
        orjson.dumps(writes).decode(),
        orjson.dumps(results).decode(),
    )


def finding_row(execution_id: str, found: Reconciliation) -> tuple[str, str, str, str, int, str]:
    """A finding that waits for its delivery."""
    return (
        execution_id,
        found.finding.value,
        found.comment,
        found.found_by,
        to_microseconds(found.time),
        "waiting",
    )


def to_waiting(row: Sequence[Any]) -> Outcome:
    """The outcome of a row of WAITING; a refusal, and one of before there were reports, has none."""
    told, report, found = row[:8], row[8:13], row[13:]
    outcome = replace(to_outcome(told), reconciliation=_reconciliation(found))
    result, result_truncated, usage, memory_writes, obligation_results = report
    if result is None:
        return outcome
    stated = orjson.loads(usage)
    return replace(
        outcome,
        result=result,
        result_truncated=bool(result_truncated),
        usage=None if stated is None else Usage(**stated),
        memory_writes=tuple(
            MemoryWrite(key=key, version=version, digest=digest)
            for key, version, digest in orjson.loads(memory_writes)
        ),
        obligation_results=tuple(
            ObligationResult(type=type_, detail=detail) for type_, detail in orjson.loads(obligation_results)
        ),
    )


def to_outcome(row: Sequence[Any]) -> Outcome:
    """An outcome without its report, in the order of OUTCOME."""
    execution_id, decision_id, token_id, kind, result_digest, refusal, start_time, end_time = row
    return Outcome(
        execution_id=execution_id,
        decision_id=decision_id,
        token_id=token_id,
        kind=OutcomeKind(kind),
        result_digest=result_digest,
        refusal=refusal,
        start_time=from_microseconds(start_time),
        end_time=from_microseconds(end_time),
    )


def to_execution(row: Sequence[Any]) -> Execution:
    """An execution for a person to look at, in the order of EXECUTION."""
    execution_id, token_id, decision_id, tool, kind, refusal, result_digest, start, end, delivery = row[:10]
    plan_decision_id, plan_step, *found = row[10:]
    return Execution(
        execution_id=execution_id,
        token_id=token_id,
        decision_id=decision_id,
        tool=tool,
        kind=OutcomeKind(kind) if kind else None,
        refusal=refusal,
        result_digest=result_digest,
        start_time=from_microseconds(start),
        end_time=None if end is None else from_microseconds(end),
        delivery=delivery,
        plan_decision_id=plan_decision_id,
        plan_step=plan_step,
        reconciliation=_reconciliation(found),
    )


def _reconciliation(row: Sequence[Any]) -> Reconciliation | None:
    finding, comment, found_by, find_time = row
    if finding is None:
        return None
    return Reconciliation(
        finding=Finding(finding),
        comment=comment,
        found_by=found_by,
        time=from_microseconds(find_time),
    )
