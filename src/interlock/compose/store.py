"""Which store the decision service runs on: the one place that knows that there is more than one."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interlock.adapters import (
    credentials_postgres,
    credentials_sqlite,
    policy_pin_postgres,
    policy_pin_sqlite,
    verbs_postgres,
    verbs_sqlite,
)
from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.cells_sqlite import SqliteSessionState
from interlock.adapters.log_postgres import check_end
from interlock.adapters.postgres import Postgres
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.record_rows import Flaw
from interlock.adapters.remembered_credentials import RememberedCredentials
from interlock.adapters.schema_postgres import connect_to_store
from interlock.adapters.sqlite import SingleWriter, process_lock
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.adapters.store_sqlite import SqliteDecisionLog
from interlock.adapters.store_sqlite import open_store as open_file
from interlock.compose.places import store_file
from interlock.compose.postgres_settings import address_of
from interlock.compose.settings import ServiceSettings
from interlock.core.identity import Credential
from interlock.core.policy_pin import Activation
from interlock.core.record import Head, Record, RecordType
from interlock.ports import Credentials

CONNECTIONS_BESIDE_BATCHES = 6
"""For outcomes, credentials, readers and health, while every batch in flight has a connection of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The decision service's store, open for writing."""

    log: SqliteDecisionLog | PostgresDecisionLog
    state: SqliteSessionState | PostgresSessionState
    credentials: Credentials
    activate: Callable[[Activation], Awaitable[None]]


class StoreForVerbs(Protocol):
    """The store as verbs of the command line use it, beside running services or without one."""

    def scan(
        self, *, type: RecordType | None, decision_id: str, tenant: str, start: int, limit: int | None
    ) -> Iterator[Record]:
        """Records that match, oldest first; empty or None is no condition."""
        ...

    def find_flaws(self) -> list[Flaw]:
        """What is wrong anywhere in the log."""
        ...

    def find_fork(self, noted: Head) -> Flaw | None:
        """How the log does not go on from a head that was noted earlier."""
        ...

    def read_head(self) -> Head:
        """Where the log stands."""
        ...

    def add_credential(self, credential: Credential) -> None:
        """Keep a new credential; durable on return."""
        ...

    def list_credentials(self) -> list[Credential]:
        """All credentials, also revoked ones, oldest first."""
        ...

    def revoke_credential(self, credential_id: str, now: datetime) -> bool:
        """End a credential; it stays listed. Whether there was one to end."""
        ...


@contextlib.asynccontextmanager
async def open_store(service: ServiceSettings) -> AsyncIterator[Store]:
    """The store that the settings name, until the end of the block. Raises StoreUnusable, StoreUnavailable."""
    address = _address(service)
    async with _postgres(service, address) if address else _sqlite(service) as store:
        yield store


def open_for_verbs(service: ServiceSettings, *, read_only: bool) -> AbstractContextManager[StoreForVerbs]:
    """The same store; `read_only` neither makes nor migrates it, nor minds flaws of its log."""
    if address := _address(service):
        return verbs_postgres.open_for_verbs(address, read_only=read_only)
    return verbs_sqlite.open_for_verbs(store_file(service), read_only=read_only)


def look_at_store(service: ServiceSettings) -> str:
    """Where the store is, after a check of its last records. Raises StoreUnusable, StoreUnavailable."""
    if address := _address(service):
        with verbs_postgres.open_for_verbs(address, read_only=True) as store:
            store.check_end()
        return f"{address}, its last records verified"
    if not store_file(service).exists():
        return f"{store_file(service)}, made at the first start"
    open_file(store_file(service), read_only=True).close()
    return f"{store_file(service)}, its last records verified"


@contextlib.asynccontextmanager
async def _sqlite(service: ServiceSettings) -> AsyncIterator[Store]:
    """The file in `data_dir`, with the sole right to write it; another process that wants it is told so."""
    service.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = store_file(service)
    lock = process_lock(path)
    try:
        connection = await asyncio.to_thread(open_file, path)
        writer = SingleWriter(connection, limit_seconds=service.log_limit_seconds, name="decision-log")
        try:
            yield Store(
                log=SqliteDecisionLog(writer),
                state=SqliteSessionState(writer),
                credentials=RememberedCredentials(
                    functools.partial(credentials_sqlite.find_credential, writer)
                ),
                activate=functools.partial(policy_pin_sqlite.activate_policy, writer),
            )
        finally:
            await writer.close()
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def _postgres(service: ServiceSettings, address: PostgresAddress) -> AsyncIterator[Store]:
    """The database, made or migrated; other services may write it at the same time."""
    async with connect_to_store(address) as connection:
        await check_end(connection, str(address))
    database = Postgres(
        address,
        limit_seconds=service.log_limit_seconds,
        size=service.batches_in_flight + CONNECTIONS_BESIDE_BATCHES,
    )
    await database.start()
    try:
        yield Store(
            log=PostgresDecisionLog(database),
            state=PostgresSessionState(database),
            credentials=RememberedCredentials(
                functools.partial(credentials_postgres.find_credential, database)
            ),
            activate=functools.partial(policy_pin_postgres.activate_policy, database),
        )
    finally:
        await database.close()


def _address(service: ServiceSettings) -> PostgresAddress | None:
    """None for the SQLite store."""
    return address_of(service.store, service.store_password_file, what="store")
