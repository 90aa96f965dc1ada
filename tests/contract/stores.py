"""The stores that keep one contract: the fake, SQLite and PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.adapters import verbs_postgres, verbs_sqlite
from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.cells_sqlite import SqliteSessionState
from interlock.adapters.postgres import Postgres
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.schema_postgres import connect_to_store
from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.adapters.store_sqlite import SqliteDecisionLog, open_store
from interlock.compose.store import StoreForVerbs
from tests.drafts import LIMIT_SECONDS
from tests.fakes import MemoryDecisionLog, MemorySessionState

STORED = ("sqlite", "postgres")
"""Stores that outlive a process."""

EVERY = ("memory", *STORED)

AnyLog = MemoryDecisionLog | SqliteDecisionLog | PostgresDecisionLog
AnyState = MemorySessionState | SqliteSessionState | PostgresSessionState


@dataclass(frozen=True, slots=True)
class AnyStore:
    """A store's decision log, and the state that changes with it."""

    log: AnyLog
    state: AnyState


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store of one kind is, or will be once it is opened."""

    kind: str
    path: Path
    request: pytest.FixtureRequest

    @property
    def address(self) -> PostgresAddress:
        """The database of the test."""
        found = self.request.getfixturevalue("database")
        assert isinstance(found, PostgresAddress)
        return found

    @contextlib.asynccontextmanager
    async def open(self, *, limit_seconds: float = LIMIT_SECONDS) -> AsyncIterator[AnyStore]:
        """The store, made where there is none."""
        match self.kind:
            case "memory":
                state = MemorySessionState()
                yield AnyStore(MemoryDecisionLog(state), state)
            case "sqlite":
                async with open_sqlite(self.path, limit_seconds=limit_seconds) as writer:
                    yield AnyStore(SqliteDecisionLog(writer), SqliteSessionState(writer))
            case _:
                async with open_postgres(self.address, limit_seconds=limit_seconds) as database:
                    yield AnyStore(PostgresDecisionLog(database), PostgresSessionState(database))

    @contextlib.contextmanager
    def open_for_verbs(self, *, read_only: bool = False) -> Iterator[StoreForVerbs]:
        """The store as a verb has it, for a test that no event loop runs."""
        if self.kind == "sqlite":
            with verbs_sqlite.open_for_verbs(self.path, read_only=read_only) as store:
                yield store
        else:
            with verbs_postgres.open_for_verbs(self.address, read_only=read_only) as database:
                yield database


@contextlib.asynccontextmanager
async def open_sqlite(path: Path, *, limit_seconds: float = LIMIT_SECONDS) -> AsyncIterator[SingleWriter]:
    """The store on SQLite at `path`, made where there is none."""
    writer = SingleWriter(open_store(path), limit_seconds=limit_seconds)
    try:
        yield writer
    finally:
        await writer.close()


@contextlib.asynccontextmanager
async def open_postgres(
    address: PostgresAddress, *, limit_seconds: float = LIMIT_SECONDS, size: int = 8
) -> AsyncIterator[Postgres]:
    """The store on PostgreSQL, made where there is none."""
    async with connect_to_store(address):
        pass
    database = Postgres(address, limit_seconds=limit_seconds, size=size)
    await database.start()
    try:
        yield database
    finally:
        await database.close()
