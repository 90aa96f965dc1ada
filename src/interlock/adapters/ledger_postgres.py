"""The gateway's ledger on PostgreSQL, which several replicas of one gateway share.

A commit whose answer was lost may be there, or come yet. Whoever waited for it was told that nothing was redeemed,
so it is undone: first of all, before this replica redeems or refuses anything more.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import count

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
from interlock.adapters.ledger_schema_postgres import SCHEMA, connect_to_ledger
from interlock.adapters.postgres import Connection, Postgres
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.replica_postgres import LIVE, Replica
from interlock.adapters.store_errors import StoreUnavailable
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Execution
from interlock.core.moments import to_microseconds
from interlock.core.outcome import Outcome, OutcomeKind, Reconciliation
from interlock.flows.coalesce import Bounds, Coalescer
from interlock.ports import Redemption

logger = structlog.get_logger()

CONNECTIONS = 8
GONE_AFTER_SECONDS = 10.0
"""So long a replica is not seen before its executions are ended: a lost connection is made anew much sooner."""

# More wait than a gateway has calls: who waits too long is told so by the time limit.
_BOUNDS = Bounds(batch=128, in_flight=2, waiting=1_000_000)
_UNDO_AGAIN_SECONDS = 0.5
_RUN_BITS = 32

_ROWS = """
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
           $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
"""
_INSERT = f"""
    INSERT INTO executions ({COLUMNS}, replica) SELECT *, $14::integer FROM {_ROWS}
    ON CONFLICT DO NOTHING RETURNING execution_id
"""
_REDEEMED = "SELECT token_id, execution_id FROM executions WHERE token_id = ANY($1::text[]) AND refusal = ''"
_STEPS_REDEEMED = """
    SELECT plan_decision_id, plan_step, execution_id FROM executions
    WHERE plan_decision_id = ANY($1::text[]) AND plan_decision_id <> ''
"""
_SUCCEEDED = """
    SELECT plan_decision_id, plan_step FROM executions LEFT JOIN reconciliations USING (execution_id)
    WHERE plan_decision_id = ANY($1::text[]) AND plan_decision_id <> ''
        AND (kind = 'succeeded' OR finding = 'succeeded')
"""
# What another replica ended as unknown, this one may know better: it was there all the time.
_FINISH = """
    WITH ended AS (
        UPDATE executions SET end_time = $2, kind = $3, result_digest = $4, delivery = 'waiting', given_up = false
        WHERE execution_id = $1 AND (kind = '' OR given_up) RETURNING execution_id
    )
    INSERT INTO reports SELECT execution_id, $5, $6, $7, $8, $9 FROM ended
"""
_FORGET = "DELETE FROM executions WHERE execution_id = ANY($1::text[]) AND kind = ''"
_WAIT_FOR_ITS_END = "SELECT pg_advisory_xact_lock($1)"
_RUNNING = "SELECT DISTINCT replica FROM executions WHERE kind = '' AND replica <> $1"
_RECOVER = f"""
    UPDATE executions SET end_time = greatest($1, start_time), kind = 'unknown', delivery = 'waiting', given_up = true
    WHERE kind = '' AND replica = ANY($2::integer[]) RETURNING {OUTCOME}
"""
# Each its own, and those of who is gone.
_OUTCOMES_WAITING = f"""
    {WAITING} WHERE executions.delivery = 'waiting' AND (replica = $2 OR replica NOT IN ({LIVE}))
    ORDER BY sequence LIMIT $1
"""
_FINDINGS_WAITING = f"""
    {WAITING} WHERE reconciliations.delivery = 'waiting' AND executions.delivery <> 'waiting'
    ORDER BY sequence LIMIT $1
"""
_SETTLE = "UPDATE executions SET delivery = $2 WHERE execution_id = $1 AND delivery = 'waiting'"
_SETTLE_FINDING = "UPDATE reconciliations SET delivery = $2 WHERE execution_id = $1 AND delivery = 'waiting'"
_PRUNE = """
    DELETE FROM executions WHERE expire_time < $1 AND delivery IN ('delivered', 'undeliverable')
        AND execution_id NOT IN (SELECT execution_id FROM reconciliations WHERE delivery = 'waiting')
"""
_PRUNE_REPLICAS = f"""
    DELETE FROM replicas WHERE start_time < now() - interval '1 day' AND replica NOT IN ({LIVE})
        AND NOT EXISTS (SELECT FROM executions WHERE executions.replica = replicas.replica)
"""
_EXECUTIONS = f"SELECT {EXECUTION} FROM executions LEFT JOIN reconciliations USING (execution_id)"


class PostgresLedger:
    """ports.Ledger and ports.Outbox on one PostgreSQL database.

    Each operation is durable on return, or fails within `limit_seconds` with LEDGER_UNAVAILABLE.
    """

    def __init__(
        self,
        address: PostgresAddress,
        *,
        gateway: str,
        limit_seconds: float,
        gone_after_seconds: float = GONE_AFTER_SECONDS,
    ) -> None:
        """`start` is due before anything else."""
        self._address = address
        self._gateway = gateway
        self._limit = limit_seconds
        self._gone_after = gone_after_seconds
        self._database = Postgres(address, limit_seconds=limit_seconds, size=CONNECTIONS, schema=SCHEMA)
        self._replica = Replica(address)
        self._redeemer: Coalescer[Redemption, str | None] = Coalescer(
            lambda batch, _: self._redeem_all(batch), _BOUNDS, unheard=self._unheard
        )
        self._runs = count(1)
        self._undone: dict[str, int] = {}
        self._something_to_undo = asyncio.Event()
        self._undoing: asyncio.Task[None] | None = None
        self._missed_since: dict[int, float] = {}

    async def start(self) -> None:
        """Make or migrate the tables and enter. Raises StoreUnusable, StoreUnavailable."""
        async with connect_to_ledger(self._address, self._gateway) as connection:
            await self._replica.enter(connection)
        try:
            await self._database.start()
        except StoreUnavailable:
            await self._replica.leave()
            raise
        self._undoing = asyncio.create_task(self._undo_in_time())

    async def close(self) -> None:
        """Finish what was asked and leave; what was not ended is for the other replicas to end."""
        await self._redeemer.drain()
        if self._undoing is not None:
            self._undoing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._undoing
        with contextlib.suppress(StoreUnavailable):
            await self._undo()
        await self._database.close()
        await self._replica.leave()

    async def writable(self) -> bool:
        """Whether the ledger can be written now: nothing new is, durably. Raises InterlockError."""
        with unavailable():
            self._check_seen()
            await self._database.write(lambda connection: connection.execute("UPDATE ledger SET one = one"))
        return True

    async def recover(self, at: datetime) -> list[Outcome]:
        """End what a replica that is gone redeemed and did not end: `unknown`, to be reported, never re-run.

        Also what an earlier process of this one left. To be called again and again (invariant 8, case 25).
        """
        with unavailable():
            outcomes = await self._database.write(lambda connection: self._recover(connection, at))
        for outcome in outcomes:
            logger.warning("execution_outcome_unknown", execution_id=outcome.execution_id)
        return outcomes

    async def prune(self, at: datetime) -> int:
        """Forget what expired longer than KEPT ago and was reported. How many were forgotten."""
        with unavailable():
            return await self._database.write(lambda connection: _prune(connection, at))

    async def redeem(self, redemption: Redemption) -> str | None:
        """Mark the token as used, by a unique key (case 23), in one transaction with others that wait."""
        with unavailable():
            return await self._redeem(redemption)

    async def finish(self, outcome: Outcome) -> None:
        """Keep how the execution ended; the first end stands, but for one that another replica supposed."""
        execution_id, *report = report_row(outcome)
        end = (to_microseconds(outcome.end_time), outcome.kind.value, outcome.result_digest)
        with unavailable():
            await self._database.write(
                lambda connection: connection.execute(_FINISH, execution_id, *end, *report)
            )

    async def refuse(self, outcome: Outcome) -> None:
        """Keep the refusal, of a redeemed token as TOKEN_ALREADY_REDEEMED, unless it is kept already."""
        with unavailable():
            await self._undo()
            await self._database.write(lambda connection: self._refuse(connection, outcome))

    async def undelivered(self, limit: int) -> list[Outcome]:
        """Outcomes that wait, oldest first: of this replica, and of those that are gone; then findings since."""
        with unavailable():
            rows = await self._database.read(
                lambda connection: connection.fetch(_OUTCOMES_WAITING, limit, self._replica.number)
            )
            rows += await self._database.read(
                lambda connection: connection.fetch(_FINDINGS_WAITING, limit - len(rows))
            )
        return [to_waiting(row) for row in map(tuple, rows)]

    async def delivered(self, outcome: Outcome) -> None:
        """The decision service has it."""
        await self._settle(outcome, "delivered")

    async def undeliverable(self, outcome: Outcome, refusal: InterlockError) -> None:
        """The decision service will never take it."""
        logger.error("outcome_undeliverable", execution_id=outcome.execution_id, reason=refusal.reason.value)
        await self._settle(outcome, "undeliverable")

    async def list_executions(self, *, kind: OutcomeKind | None = None, limit: int = 100) -> list[Execution]:
        """As the function of this name."""
        with unavailable():
            return await self._database.read(
                lambda connection: list_executions(connection, kind=kind, limit=limit)
            )

    async def reconcile(self, execution_id: str, found: Reconciliation) -> None:
        """Keep a person's finding, and report it. Raises ReconciliationRefused."""
        with unavailable():
            await self._database.write(lambda connection: reconcile(connection, execution_id, found))

    async def _redeem(self, redemption: Redemption) -> str | None:
        [answer] = self._redeemer.submit([redemption], limit_seconds=self._limit)
        try:
            async with asyncio.timeout(self._limit):
                return await answer
        except TimeoutError as error:
            if answer.cancelled():
                raise StoreUnavailable(f"the database did not answer within {self._limit} s") from error
            return answer.result()
        except asyncio.CancelledError:
            # The answer came, and nobody is there to act on it.
            if not answer.cancelled() and answer.exception() is None:
                self._unheard(redemption, answer.result())
            raise

    def _unheard(self, redemption: Redemption, answer: str | None) -> None:
        """The caller was told that nothing was redeemed, and runs nothing."""
        if answer is None:
            self._to_undo([redemption], run=0)

    async def _redeem_all(self, batch: Sequence[Redemption]) -> list[str | InterlockError | None]:
        with unavailable():
            self._check_seen()
            await self._undo()
            run, sent = (self._replica.number << _RUN_BITS) + next(self._runs), False

            async def redeem(connection: Connection) -> list[str | InterlockError | None]:
                nonlocal sent
                await connection.execute(_WAIT_FOR_ITS_END, run)
                answers = await self._redeem_in_order(connection, batch)
                sent = True
                return answers

            try:
                return await self._database.write(redeem)
            except BaseException:
                if sent:
                    self._to_undo(batch, run=run)
                raise

    async def _redeem_in_order(
        self, connection: Connection, batch: Sequence[Redemption]
    ) -> list[str | InterlockError | None]:
        """An answer for each. Rows are inserted in the order of their keys, so that no two batches deadlock."""
        not_due = await _not_due(connection, batch)
        due = sorted(
            (each for each in batch if each.execution_id not in not_due), key=lambda each: each.token_id
        )
        added = await self._insert(connection, [redeemed_row(each) for each in due])
        lost = [each.token_id for each in batch if each.execution_id not in added]
        first = dict(await connection.fetch(_REDEEMED, lost)) if lost else {}
        steps = await _steps_redeemed(connection, [each for each in batch if each.execution_id not in added])
        return [
            None
            if each.execution_id in added
            else first.get(each.token_id)
            or not_due.get(each.execution_id)
            or steps.get(each.execution_id)
            or _conflicting()
            for each in batch
        ]

    async def _insert(self, connection: Connection, rows: Sequence[Sequence[object]]) -> set[str]:
        if not rows:
            return set()
        columns = zip(*rows, strict=True)
        return {row[0] for row in await connection.fetch(_INSERT, *columns, self._replica.number)}

    async def _refuse(self, connection: Connection, outcome: Outcome) -> None:
        redeemed = await connection.fetch(_REDEEMED, [outcome.token_id])
        await self._insert(connection, [refused_row(outcome, redeemed=bool(redeemed))])

    async def _recover(self, connection: Connection, at: datetime) -> list[Outcome]:
        running = {row[0] for row in await connection.fetch(_RUNNING, self._replica.number)}
        live = {row[0] for row in await connection.fetch(LIVE)}
        gone = self._missed_for_long(running - live)
        rows = await connection.fetch(_RECOVER, to_microseconds(at), gone) if gone else []
        return [to_outcome(tuple(row)) for row in rows]

    def _missed_for_long(self, missing: set[int]) -> list[int]:
        """Who was missing at every look for so long, in which this replica itself was there."""
        now, here_since = time.monotonic(), self._replica.held_since
        if here_since is None:
            self._missed_since = {}
            return []
        self._missed_since = {
            replica: max(self._missed_since.get(replica, now), here_since) for replica in missing
        }
        return [replica for replica, since in self._missed_since.items() if now - since >= self._gone_after]

    async def _settle(self, outcome: Outcome, delivery: str) -> None:
        async def settle(connection: Connection) -> None:
            await connection.execute(_SETTLE, outcome.execution_id, delivery)
            if outcome.reconciliation is not None:
                await connection.execute(_SETTLE_FINDING, outcome.execution_id, delivery)
            await connection.execute("DELETE FROM reports WHERE execution_id = $1", outcome.execution_id)

        with unavailable():
            await self._database.write(settle)

    def _check_seen(self) -> None:
        """Others end what runs on a replica that they do not see."""
        if self._replica.held_since is None:
            raise StoreUnavailable("the database does not see this replica")

    def _to_undo(self, redemptions: Sequence[Redemption], *, run: int) -> None:
        self._undone |= {each.execution_id: run for each in redemptions}
        self._something_to_undo.set()

    async def _undo_in_time(self) -> None:
        while True:
            await self._something_to_undo.wait()
            try:
                await self._undo()
            except StoreUnavailable as error:
                logger.warning("ledger_undo_waits", cause=str(error))
                await asyncio.sleep(_UNDO_AGAIN_SECONDS)
            else:
                self._something_to_undo.clear()

    async def _undo(self) -> None:
        """Forget what was redeemed for callers that were told otherwise. Raises StoreUnavailable."""
        if not (waiting := dict(self._undone)):
            return

        async def forget(connection: Connection) -> None:
            # Who has the lock has not ended: its commit may come yet.
            for run in sorted({*waiting.values()} - {0}):
                await connection.execute(_WAIT_FOR_ITS_END, run)
            await connection.execute(_FORGET, list(waiting))

        await self._database.write(forget)
        for execution_id in waiting:
            self._undone.pop(execution_id, None)


async def list_executions(
    connection: Connection, *, kind: OutcomeKind | None = None, limit: int = 100
) -> list[Execution]:
    """Executions and refusals, newest first, of one kind or of all."""
    wanted = [kind.value] if kind else None
    query = f"{_EXECUTIONS} WHERE $2::text[] IS NULL OR kind = ANY($2) ORDER BY sequence DESC LIMIT $1"
    return [to_execution(tuple(row)) for row in await connection.fetch(query, limit, wanted)]


async def find_execution(connection: Connection, execution_id: str) -> Execution | None:
    """The execution or refusal of this id."""
    row = await connection.fetchrow(f"{_EXECUTIONS} WHERE execution_id = $1", execution_id)
    return None if row is None else to_execution(tuple(row))


async def reconcile(connection: Connection, execution_id: str, found: Reconciliation) -> None:
    """Keep a finding, in the caller's transaction. Raises ReconciliationRefused."""
    # Of two persons at once one comes after the other.
    await connection.execute("SELECT 1 FROM executions WHERE execution_id = $1 FOR UPDATE", execution_id)
    if check_finding(execution_id, await find_execution(connection, execution_id), found):
        row = finding_row(execution_id, found)
        await connection.execute("INSERT INTO reconciliations VALUES ($1, $2, $3, $4, $5, $6)", *row)


async def _not_due(connection: Connection, batch: Sequence[Redemption]) -> dict[str, InterlockError]:
    """For each step of a plan that is not due, by its execution: why."""
    plans = {each.execution_id: each.plan for each in batch if each.plan}
    if not plans:
        return {}
    wanted = sorted({plan.decision_id for plan in plans.values()})
    rows = [tuple(row) for row in await connection.fetch(_SUCCEEDED, wanted)]
    checked = {
        execution_id: steps_missing(plan, [step for of, step in rows if of == plan.decision_id])
        for execution_id, plan in plans.items()
    }
    return {execution_id: refusal for execution_id, refusal in checked.items() if refusal}


async def _steps_redeemed(connection: Connection, lost: Sequence[Redemption]) -> dict[str, str]:
    """For each step that ran by another of its tokens, by its execution: the execution that it was."""
    plans = {each.execution_id: each.plan for each in lost if each.plan}
    if not plans:
        return {}
    wanted = sorted({plan.decision_id for plan in plans.values()})
    rows = await connection.fetch(_STEPS_REDEEMED, wanted)
    first = {(plan, step): execution_id for plan, step, execution_id in rows}
    found = {each: first.get((plan.decision_id, plan.step)) for each, plan in plans.items()}
    return {each: execution_id for each, execution_id in found.items() if execution_id}


async def _prune(connection: Connection, at: datetime) -> int:
    await connection.execute(_PRUNE_REPLICAS)
    done = await connection.execute(_PRUNE, to_microseconds(at - KEPT))
    return int(done.rpartition(" ")[2])


def _conflicting() -> InterlockError:
    """Not inserted, and nobody redeemed it: an execution has the id of another, which Identifiers rule out."""
    return InterlockError(
        reason=ErrorReason.LEDGER_UNAVAILABLE,
        message="the execution has an id that is taken",
        retry_after=1.0,
    )
