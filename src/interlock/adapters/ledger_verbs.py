"""A gateway's ledger for a verb of the command line, beside the gateways that write it or without one."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from interlock.adapters import ledger_postgres, ledger_sqlite
from interlock.adapters.ledger_schema_postgres import connect_to_ledger
from interlock.adapters.postgres import Connection, failing
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnusable
from interlock.core.execution import Execution
from interlock.core.outcome import OutcomeKind, Reconciliation

Result = TypeVar("Result")

_BUSY_MILLISECONDS = 5_000


class LedgerForVerbs(Protocol):
    """What verbs do with a ledger."""

    def list_executions(self, *, kind: OutcomeKind | None, limit: int) -> list[Execution]:
        """Executions and refusals, newest first, of one kind or of all."""
        ...

    def find_execution(self, execution_id: str) -> Execution | None:
        """The execution or refusal of this id."""
        ...

    def reconcile(self, execution_id: str, found: Reconciliation) -> None:
        """Keep a person's finding, durable on return. Raises ReconciliationRefused."""
        ...


@contextlib.contextmanager
def open_sqlite(path: Path, *, read_only: bool) -> Iterator[LedgerForVerbs]:
    """The ledger in a file that is there. Raises StoreUnusable."""
    if not path.exists():
        raise StoreUnusable(f"`{path}` is not there: no gateway has started with these settings")
    connection = ledger_sqlite.open_ledger(path, read_only=read_only)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    try:
        yield _Sqlite(connection)
    except apsw.Error as error:
        raise StoreUnusable(f"`{path}` failed: {error}") from error
    finally:
        connection.close()


@contextlib.contextmanager
def open_postgres(address: PostgresAddress, gateway: str, *, read_only: bool) -> Iterator[LedgerForVerbs]:
    """The ledger of the gateway of this name. Raises StoreUnusable, StoreUnavailable."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            ledger = connect_to_ledger(address, gateway, read_only=read_only)
            yield _Postgres(address, runner.run(stack.enter_async_context(ledger)), runner)
        finally:
            runner.run(stack.aclose())


class _Sqlite:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def list_executions(self, *, kind: OutcomeKind | None, limit: int) -> list[Execution]:
        return ledger_sqlite.list_executions(self._connection, kind=kind, limit=limit)

    def find_execution(self, execution_id: str) -> Execution | None:
        return ledger_sqlite.find_execution(self._connection, execution_id)

    def reconcile(self, execution_id: str, found: Reconciliation) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            ledger_sqlite.reconcile(self._connection, execution_id, found)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class _Postgres:
    def __init__(self, address: PostgresAddress, connection: Connection, runner: asyncio.Runner) -> None:
        self._address = address
        self._connection = connection
        self._runner = runner

    def list_executions(self, *, kind: OutcomeKind | None, limit: int) -> list[Execution]:
        return self._run(ledger_postgres.list_executions(self._connection, kind=kind, limit=limit))

    def find_execution(self, execution_id: str) -> Execution | None:
        return self._run(ledger_postgres.find_execution(self._connection, execution_id))

    def reconcile(self, execution_id: str, found: Reconciliation) -> None:
        async def reconcile() -> None:
            await self._connection.execute("BEGIN")
            # Left without a COMMIT, the connection ends with its transaction.
            await ledger_postgres.reconcile(self._connection, execution_id, found)
            await self._connection.execute("COMMIT")

        self._run(reconcile())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        with failing(self._address):
            return self._runner.run(work)
