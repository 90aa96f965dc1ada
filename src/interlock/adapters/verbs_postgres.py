"""The store on PostgreSQL for a verb of the command line, which does one thing after the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import datetime
from typing import Any, TypeVar

from interlock.adapters import credentials_postgres, log_postgres
from interlock.adapters.postgres import Connection, failing
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.record_rows import Flaw
from interlock.adapters.schema_postgres import connect_to_store
from interlock.core.identity import Credential
from interlock.core.record import Head, Record, RecordType

Result = TypeVar("Result")


@contextlib.contextmanager
def open_for_verbs(address: PostgresAddress, *, read_only: bool) -> Iterator["PostgresForVerbs"]:
    """The store, made or migrated unless `read_only`. Raises StoreUnusable, StoreUnavailable."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            store = connect_to_store(address, read_only=read_only)
            connection = runner.run(stack.enter_async_context(store))
            yield PostgresForVerbs(address, connection, runner)
        finally:
            runner.run(stack.aclose())


class PostgresForVerbs:
    """What verbs do with the store. All of it raises StoreUnavailable."""

    def __init__(self, address: PostgresAddress, connection: Connection, runner: asyncio.Runner) -> None:
        self._address = address
        self._connection = connection
        self._runner = runner

    def scan(
        self, *, type: RecordType | None, decision_id: str, tenant: str, start: int, limit: int | None
    ) -> Iterator[Record]:
        """Records that match, oldest first; empty or None is no condition."""
        pages = log_postgres.scan(
            self._connection, type=type, decision_id=decision_id, tenant=tenant, start=start, limit=limit
        )
        while page := self._run(_next(pages)):
            yield from page

    def find_flaws(self) -> list[Flaw]:
        """What is wrong anywhere in the log."""
        return self._run(_all(log_postgres.find_flaws(self._connection)))

    def check_end(self) -> None:
        """Check the last records of the log. Raises StoreUnusable."""
        self._run(log_postgres.check_end(self._connection, str(self._address)))

    def find_fork(self, noted: Head) -> Flaw | None:
        """How the log does not go on from a head that was noted earlier."""
        return self._run(log_postgres.find_fork(self._connection, noted))

    def read_head(self) -> Head:
        """Where the log stands."""
        return self._run(log_postgres.last_head(self._connection))

    def add_credential(self, credential: Credential) -> None:
        """Keep a new credential; durable on return."""
        self._run(credentials_postgres.add_credential(self._connection, credential))

    def list_credentials(self) -> list[Credential]:
        """All credentials, also revoked ones, oldest first."""
        return self._run(credentials_postgres.list_credentials(self._connection))

    def revoke_credential(self, credential_id: str, now: datetime) -> bool:
        """End a credential; it stays listed. Whether there was one to end."""
        return self._run(credentials_postgres.revoke_credential(self._connection, credential_id, now))

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        with failing(self._address):
            return self._runner.run(work)


async def _next(pages: AsyncIterator[list[Record]]) -> list[Record]:
    return await anext(pages, [])


async def _all(found: AsyncIterator[Flaw]) -> list[Flaw]:
    return [flaw async for flaw in found]
