"""The gateway's ledger on SQLite: which tokens were redeemed, how each execution ended, what is reported."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import apsw
import structlog

from interlock.adapters.ledger_rows import (
    COLUMNS,
    EXECUTION,
    KEPT,
    OUTCOME,
    WAITING,
    check_finding,
    finding_row,
    redeemed_row,
    refused_row,
    report_row,
    steps_missing,
    to_execution,
    to_outcome,
    to_waiting,
    unavailable,
)
from interlock.adapters.sqlite import (
    ProcessLock,
    SingleWriter,
    open_database,
    process_lock,
)
from interlock.core.errors import InterlockError
from interlock.core.execution import Execution
from interlock.core.moments import to_microseconds
from interlock.core.outcome import Outcome, OutcomeKind, Reconciliation
from interlock.core.token import PlanStep
from interlock.ports import Redemption

logger = structlog.get_logger()

Result = TypeVar("Result")

APPLICATION_ID = 0x494C4C31  # "ILL1"
TOGETHER = 128
"""So many operations that wait at once share one transaction, and one flush to disk."""

MIGRATIONS = (
    # `refusal` is empty for a redemption: UNIQUE means redeemed once, and refused once for each reason.
    # `kind` is empty while the execution runs; `delivery` while there is nothing to deliver.
    """
    CREATE TABLE executions (
        sequence INTEGER PRIMARY KEY,
        execution_id TEXT NOT NULL UNIQUE,
        token_id TEXT NOT NULL,
        decision_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        refusal TEXT NOT NULL,
        expire_time INTEGER NOT NULL,  -- all times in microseconds since the epoch
        start_time INTEGER NOT NULL,
        end_time INTEGER,
        kind TEXT NOT NULL,
        result_digest TEXT NOT NULL,
        delivery TEXT NOT NULL CHECK (delivery IN ('', 'waiting', 'delivered', 'undeliverable')),
        UNIQUE (token_id, refusal)
    ) STRICT;
    CREATE INDEX executions_waiting ON executions (sequence) WHERE delivery = 'waiting';
    CREATE INDEX executions_running ON executions (sequence) WHERE kind = '';
    """,
    # What an outcome says beyond that, until it is delivered: results are not kept longer than they must be.
    """
    CREATE TABLE reports (
        execution_id TEXT PRIMARY KEY REFERENCES executions (execution_id) ON DELETE CASCADE,
        result BLOB NOT NULL,
        result_truncated INTEGER NOT NULL CHECK (result_truncated IN (0, 1)),
        usage TEXT NOT NULL,  -- JSON object, or null
        memory_writes TEXT NOT NULL  -- JSON array of [key, version, digest]
    ) STRICT, WITHOUT ROWID;
    """,
    # A step of a plan is due once those before it succeeded, also by what a person found of an unknown one.
    """
    ALTER TABLE executions ADD COLUMN plan_decision_id TEXT NOT NULL DEFAULT '';  -- empty outside of plans
    ALTER TABLE executions ADD COLUMN plan_step TEXT NOT NULL DEFAULT '';
    -- A step runs once, by whichever of its tokens.
    CREATE UNIQUE INDEX executions_of_plan ON executions (plan_decision_id, plan_step) WHERE plan_decision_id <> '';
    ALTER TABLE reports ADD COLUMN obligation_results TEXT NOT NULL DEFAULT '[]';  -- JSON array of [type, detail]
    CREATE TABLE reconciliations (
        execution_id TEXT PRIMARY KEY REFERENCES executions (execution_id) ON DELETE CASCADE,
        finding TEXT NOT NULL CHECK (finding IN ('succeeded', 'failed', 'not_run')),
        comment TEXT NOT NULL,
        found_by TEXT NOT NULL,
        find_time INTEGER NOT NULL,
        delivery TEXT NOT NULL CHECK (delivery IN ('waiting', 'delivered', 'undeliverable'))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reconciliations_waiting ON reconciliations (execution_id) WHERE delivery = 'waiting';
    """,
)

_INSERT = f"INSERT INTO executions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_FINISH = """
    UPDATE executions SET end_time = ?, kind = ?, result_digest = ?, delivery = 'waiting'
    WHERE execution_id = ? AND kind = ''
"""
_REPORT = "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?)"
_FINDING = "INSERT INTO reconciliations VALUES (?, ?, ?, ?, ?, ?)"
_RECOVER = f"""
    UPDATE executions SET end_time = max(?, start_time), kind = 'unknown', delivery = 'waiting'
    WHERE kind = '' RETURNING {OUTCOME}
"""
_OUTCOMES_WAITING = f"{WAITING} WHERE executions.delivery = 'waiting' ORDER BY sequence LIMIT ?"
_FINDINGS_WAITING = f"""
    {WAITING} WHERE reconciliations.delivery = 'waiting' AND executions.delivery <> 'waiting' ORDER BY sequence LIMIT ?
"""
_SUCCEEDED = """
    SELECT plan_step FROM executions LEFT JOIN reconciliations USING (execution_id)
    WHERE plan_decision_id = ? AND plan_decision_id <> '' AND (kind = 'succeeded' OR finding = 'succeeded')
"""
_EXECUTIONS = f"SELECT {EXECUTION} FROM executions LEFT JOIN reconciliations USING (execution_id)"


def open_ledger(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open the ledger's database. Raises StoreUnusable, saying what is wrong."""
    connection = open_database(path, APPLICATION_ID, MIGRATIONS, read_only=read_only)
    # What is forgotten is overwritten, so that no result is left in a free page (case 63).
    connection.pragma("secure_delete", "on")
    return connection


def list_executions(
    connection: apsw.Connection, *, kind: OutcomeKind | None = None, limit: int = 100
) -> list[Execution]:
    """Executions and refusals, newest first, of one kind or of all. Also on a read-only connection."""
    condition, values = ("WHERE kind = ?", (kind.value,)) if kind else ("", ())
    query = f"{_EXECUTIONS} {condition} ORDER BY sequence DESC LIMIT ?"
    return [to_execution(row) for row in connection.execute(query, (*values, limit))]


def find_execution(connection: apsw.Connection, execution_id: str) -> Execution | None:
    """The execution or refusal of this id."""
    row = connection.execute(f"{_EXECUTIONS} WHERE execution_id = ?", (execution_id,)).fetchone()
    return None if row is None else to_execution(row)


def reconcile(connection: apsw.Connection, execution_id: str, found: Reconciliation) -> None:
    """Keep a finding, in the caller's transaction. Raises ReconciliationRefused."""
    if check_finding(execution_id, find_execution(connection, execution_id), found):
        connection.execute(_FINDING, finding_row(execution_id, found))


class SqliteLedger:
    """ports.Ledger and ports.Outbox on one SQLite database, which only this process may write.

    Each operation is durable on return, or fails within `limit_seconds` with LEDGER_UNAVAILABLE.
    """

    def __init__(self, path: Path, *, limit_seconds: float) -> None:
        """Open and check the database. Raises StoreUnusable: it is damaged, or another process has it."""
        self._lock: ProcessLock = process_lock(path)
        try:
            connection = open_ledger(path)
        except Exception:
            self._lock.release()
            raise
        self._writer = SingleWriter(connection, limit_seconds=limit_seconds, name="ledger", together=TOGETHER)

    async def close(self) -> None:
        """Finish what was asked and let another process have the ledger."""
        await self._writer.close()
        self._lock.release()

    async def writable(self) -> bool:
        """Whether the ledger can be written now: nothing new is, durably. Raises InterlockError."""
        with unavailable():
            await self._writer.check_writable()
        return True

    async def recover(self, at: datetime) -> list[Outcome]:
        """End what an earlier process redeemed and did not end: `unknown`, to be reported, never re-run.

        To be called once, before the first call is taken (invariant 8, case 25).
        """
        outcomes = await self._write(lambda db: _recover(db, at))
        for outcome in outcomes:
            logger.warning("execution_outcome_unknown", execution_id=outcome.execution_id)
        return outcomes

    async def prune(self, at: datetime) -> int:
        """Forget what expired longer than KEPT ago and was reported. How many were forgotten."""
        return await self._write(lambda db: _prune(db, at - KEPT))

    async def redeem(self, redemption: Redemption) -> str | None:
        """Mark the token as used, by a unique key (case 23); a step of a plan only when it is due."""
        return await self._write(
            lambda db: _redeem(db, redemption),
            # The caller was told that nothing was redeemed, and runs nothing.
            if_late=lambda db: _forget(db, redemption),
        )

    async def finish(self, outcome: Outcome) -> None:
        """Keep how the execution ended; the first end stands."""
        await self._write(lambda db: _finish(db, outcome))

    async def refuse(self, outcome: Outcome) -> None:
        """Keep the refusal, of a redeemed token as TOKEN_ALREADY_REDEEMED, unless it is kept already."""
        await self._write(lambda db: _refuse(db, outcome))

    async def undelivered(self, limit: int) -> list[Outcome]:
        """Outcomes that wait, oldest first; then those of which a person found something since."""
        with unavailable():
            return await self._writer.read(lambda db: _undelivered(db, limit))

    async def delivered(self, outcome: Outcome) -> None:
        """The decision service has it."""
        await self._write(lambda db: _settle(db, outcome, "delivered"))

    async def undeliverable(self, outcome: Outcome, refusal: InterlockError) -> None:
        """The decision service will never take it."""
        logger.error("outcome_undeliverable", execution_id=outcome.execution_id, reason=refusal.reason.value)
        await self._write(lambda db: _settle(db, outcome, "undeliverable"))

    async def list_executions(self, *, kind: OutcomeKind | None = None, limit: int = 100) -> list[Execution]:
        """As the function of this name."""
        with unavailable():
            return await self._writer.read(lambda db: list_executions(db, kind=kind, limit=limit))

    async def reconcile(self, execution_id: str, found: Reconciliation) -> None:
        """Keep a person's finding, and report it. Raises ReconciliationRefused."""
        await self._write(lambda db: reconcile(db, execution_id, found))

    async def _write(
        self,
        operation: Callable[[apsw.Connection], Result],
        *,
        if_late: Callable[[apsw.Connection], None] | None = None,
    ) -> Result:
        with unavailable():
            return await self._writer.write(operation, if_late=if_late)


def _redeem(db: apsw.Connection, redemption: Redemption) -> str | None:
    db.execute(_INSERT, redeemed_row(redemption))
    if not db.changes():
        return _execution_of(db, redemption.token_id) or _execution_of_step(db, redemption.plan)
    if redemption.plan:
        _check_due(db, redemption.plan)
    return None


def _check_due(db: apsw.Connection, plan: PlanStep) -> None:
    succeeded = [step for (step,) in db.execute(_SUCCEEDED, (plan.decision_id,))]
    if refusal := steps_missing(plan, succeeded):
        raise refusal


def _execution_of(db: apsw.Connection, token_id: str) -> str | None:
    """The execution that redeemed the token, if any did."""
    query = "SELECT execution_id FROM executions WHERE token_id = ? AND refusal = ''"
    execution_id: str | None = db.execute(query, (token_id,)).get
    return execution_id


def _execution_of_step(db: apsw.Connection, plan: PlanStep | None) -> str | None:
    """The execution that redeemed another token of the step, if any did."""
    if plan is None:
        return None
    query = (
        "SELECT execution_id FROM executions "
        "WHERE plan_decision_id = ? AND plan_step = ? AND plan_decision_id <> ''"
    )
    found: str | None = db.execute(query, (plan.decision_id, plan.step)).get
    return found


def _forget(db: apsw.Connection, redemption: Redemption) -> None:
    db.execute("DELETE FROM executions WHERE execution_id = ? AND kind = ''", (redemption.execution_id,))


def _finish(db: apsw.Connection, outcome: Outcome) -> None:
    end = to_microseconds(outcome.end_time)
    db.execute(_FINISH, (end, outcome.kind.value, outcome.result_digest, outcome.execution_id))
    if db.changes():
        db.execute(_REPORT, report_row(outcome))


def _refuse(db: apsw.Connection, outcome: Outcome) -> None:
    db.execute(_INSERT, refused_row(outcome, redeemed=_execution_of(db, outcome.token_id) is not None))


def _recover(db: apsw.Connection, at: datetime) -> list[Outcome]:
    return [to_outcome(row) for row in db.execute(_RECOVER, (to_microseconds(at),)).fetchall()]


def _undelivered(db: apsw.Connection, limit: int) -> list[Outcome]:
    rows = db.execute(_OUTCOMES_WAITING, (limit,)).fetchall()
    rows += db.execute(_FINDINGS_WAITING, (limit - len(rows),)).fetchall()
    return [to_waiting(row) for row in rows]


def _prune(db: apsw.Connection, before: datetime) -> int:
    db.execute(
        "DELETE FROM executions WHERE expire_time < ? AND delivery IN ('delivered', 'undeliverable') "
        "AND execution_id NOT IN (SELECT execution_id FROM reconciliations WHERE delivery = 'waiting')",
        (to_microseconds(before),),
    )
    return db.changes()


def _settle(db: apsw.Connection, outcome: Outcome, delivery: str) -> None:
    settled = (delivery, outcome.execution_id)
    db.execute("UPDATE executions SET delivery = ? WHERE execution_id = ? AND delivery = 'waiting'", settled)
    if outcome.reconciliation is not None:
        db.execute(
            "UPDATE reconciliations SET delivery = ? WHERE execution_id = ? AND delivery = 'waiting'", settled
        )
    db.execute("DELETE FROM reports WHERE execution_id = ?", (outcome.execution_id,))
