"""The gateway's ledger on SQLite: which tokens were redeemed, how each execution ended, what is reported."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import apsw
import orjson
import structlog

from interlock.adapters.sqlite import (
    ProcessLock,
    SingleWriter,
    open_database,
    process_lock,
)
from interlock.adapters.store_errors import StoreUnavailable
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Execution
from interlock.core.moments import from_microseconds, to_microseconds
from interlock.core.outcome import MemoryWrite, Outcome, OutcomeKind, Usage
from interlock.ports import Redemption

logger = structlog.get_logger()

Result = TypeVar("Result")

APPLICATION_ID = 0x494C4C31  # "ILL1"
KEPT = timedelta(days=30)
"""Far beyond a token's life, leeway and any skew of clocks: a token is forgotten long after it expired."""

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
)

_INSERT = """
    INSERT INTO executions (execution_id, token_id, decision_id, tool, refusal, expire_time, start_time,
                            end_time, kind, result_digest, delivery)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
_FINISH = """
    UPDATE executions SET end_time = ?, kind = ?, result_digest = ?, delivery = 'waiting'
    WHERE execution_id = ? AND kind = ''
"""
_REPORT = "INSERT INTO reports VALUES (?, ?, ?, ?, ?)"
_OUTCOME = "execution_id, decision_id, token_id, kind, result_digest, refusal, start_time, end_time"
_RECOVER = f"""
    UPDATE executions SET end_time = max(?, start_time), kind = 'unknown', delivery = 'waiting'
    WHERE kind = '' RETURNING {_OUTCOME}
"""
_WAITING = f"""
    SELECT {_OUTCOME}, result, result_truncated, usage, memory_writes
    FROM executions LEFT JOIN reports USING (execution_id)
    WHERE delivery = 'waiting' ORDER BY sequence LIMIT ?
"""
_EXECUTION = (
    "execution_id, token_id, decision_id, tool, kind, refusal, result_digest, start_time, end_time, delivery"
)


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
    query = f"SELECT {_EXECUTION} FROM executions {condition} ORDER BY sequence DESC LIMIT ?"
    return [_execution(row) for row in connection.execute(query, (*values, limit))]


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
        self._writer = SingleWriter(connection, limit_seconds=limit_seconds, name="ledger")

    async def close(self) -> None:
        """Finish what was asked and let another process have the ledger."""
        await self._writer.close()
        self._lock.release()

    async def writable(self) -> bool:
        """Whether the ledger can be written now: nothing new is, durably. Raises InterlockError."""
        with _unavailable():
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
        """Mark the token as used, by a unique key (case 23)."""
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
        """Outcomes that wait, oldest first."""
        with _unavailable():
            return await self._writer.read(
                lambda db: [_with_report(row) for row in db.execute(_WAITING, (limit,))]
            )

    async def delivered(self, outcome: Outcome) -> None:
        """The decision service has it."""
        await self._write(lambda db: _settle(db, outcome, "delivered"))

    async def undeliverable(self, outcome: Outcome, refusal: InterlockError) -> None:
        """The decision service will never take it."""
        logger.error("outcome_undeliverable", execution_id=outcome.execution_id, reason=refusal.reason.value)
        await self._write(lambda db: _settle(db, outcome, "undeliverable"))

    async def list_executions(self, *, kind: OutcomeKind | None = None, limit: int = 100) -> list[Execution]:
        """As the function of this name."""
        with _unavailable():
            return await self._writer.read(lambda db: list_executions(db, kind=kind, limit=limit))

    async def _write(
        self,
        operation: Callable[[apsw.Connection], Result],
        *,
        if_late: Callable[[apsw.Connection], None] | None = None,
    ) -> Result:
        with _unavailable():
            return await self._writer.write(operation, if_late=if_late)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        logger.error("ledger_unavailable", cause=str(error))
        raise InterlockError(
            reason=ErrorReason.LEDGER_UNAVAILABLE,
            message="the ledger cannot be read or written, so nothing is redeemed",
            retry_after=1.0,
        ) from error


def _redeem(db: apsw.Connection, redemption: Redemption) -> str | None:
    row = (
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
    )
    db.execute(_INSERT, row)
    if db.changes():
        return None
    return _execution_of(db, redemption.token_id)


def _execution_of(db: apsw.Connection, token_id: str) -> str | None:
    """The execution that redeemed the token, if any did."""
    query = "SELECT execution_id FROM executions WHERE token_id = ? AND refusal = ''"
    execution_id: str | None = db.execute(query, (token_id,)).get
    return execution_id


def _forget(db: apsw.Connection, redemption: Redemption) -> None:
    db.execute("DELETE FROM executions WHERE execution_id = ? AND kind = ''", (redemption.execution_id,))


def _finish(db: apsw.Connection, outcome: Outcome) -> None:
    end = to_microseconds(outcome.end_time)
    db.execute(_FINISH, (end, outcome.kind.value, outcome.result_digest, outcome.execution_id))
    if db.changes():
        db.execute(_REPORT, _report(outcome))


def _refuse(db: apsw.Connection, outcome: Outcome) -> None:
    end = to_microseconds(outcome.end_time)
    redeemed = _execution_of(db, outcome.token_id) is not None
    row = (
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
    )
    db.execute(_INSERT, row)


def _recover(db: apsw.Connection, at: datetime) -> list[Outcome]:
    return [_to_outcome(row) for row in db.execute(_RECOVER, (to_microseconds(at),)).fetchall()]


def _prune(db: apsw.Connection, before: datetime) -> int:
    db.execute(
        "DELETE FROM executions WHERE expire_time < ? AND delivery IN ('delivered', 'undeliverable')",
        (to_microseconds(before),),
    )
    return db.changes()


def _settle(db: apsw.Connection, outcome: Outcome, delivery: str) -> None:
    db.execute(
        "UPDATE executions SET delivery = ? WHERE execution_id = ? AND delivery = 'waiting'",
        (delivery, outcome.execution_id),
    )
    db.execute("DELETE FROM reports WHERE execution_id = ?", (outcome.execution_id,))


def _report(outcome: Outcome) -> tuple[str, bytes, bool, str, str]:
    usage = None if outcome.usage is None else asdict(outcome.usage)
    writes = [[write.key, write.version, write.digest] for write in outcome.memory_writes]
    return (
        outcome.execution_id,
        outcome.result,
        outcome.result_truncated,
        orjson.dumps(usage).decode(),
        orjson.dumps(writes).decode(),
    )


def _with_report(row: Sequence[Any]) -> Outcome:
    """The outcome with what it says beyond the rest; a refusal, and one of before there were any, has none."""
    *told, result, result_truncated, usage, memory_writes = row
    outcome = _to_outcome(told)
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
    )


def _to_outcome(row: Sequence[Any]) -> Outcome:
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


def _execution(row: Sequence[Any]) -> Execution:
    execution_id, token_id, decision_id, tool, kind, refusal, result_digest, start, end, delivery = row
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
    )
