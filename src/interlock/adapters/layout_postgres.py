"""Tables on PostgreSQL: how they are made, and how an older database becomes a newer one."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from interlock.adapters.postgres import Connection, connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The tables of one kind of database, in a schema of their own.

    `migrations` are SQL scripts, of which the first makes version 1; never edit one that was released, add another.
    `one_at_a_time` is the key of the advisory lock that a migration holds: of several processes that start at once,
    one does it. `start` says what to do where only a reader is there.
    """

    schema: str
    migrations: tuple[str, ...]
    one_at_a_time: int
    start: str


_VERSION = "SELECT version FROM schema_version"
# Read as rows: what `to_regclass` finds missing it goes on to find missing until the transaction ends.
_IS_THERE = """
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = $1 AND relname = 'schema_version'
"""
_OTHER_COLLATION = """
    SELECT attrelid::regclass::text || '.' || attname AS name, collname AS collation
    FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r')
        AND attnum > 0 AND NOT attisdropped AND collname <> 'C'
    ORDER BY 1
"""


@contextlib.asynccontextmanager
async def connect_to(
    address: PostgresAddress, layout: Layout, *, read_only: bool = False
) -> AsyncIterator[Connection]:
    """A connection to a database whose tables are made or migrated, unless `read_only`, and checked.

    Raises StoreUnusable: tables of a newer version, or of an older one that may not be migrated; ids whose
    collation could take two for one; else as `connect`.
    """
    async with connect(address, schema=layout.schema) as connection:
        try:
            await _open_schema(connection, layout, read_only=read_only)
        except StoreUnusable as error:
            raise StoreUnusable(f"`{address}` {error}") from error
        yield connection


async def _open_schema(connection: Connection, layout: Layout, *, read_only: bool) -> None:
    version = await _version(connection, layout)
    if read_only and version < len(layout.migrations):
        raise StoreUnusable(
            f"is of an older version: {version}, expected {len(layout.migrations)}; {layout.start}"
        )
    if version < len(layout.migrations):
        await _migrate(connection, layout)
    elif version > len(layout.migrations):
        raise _too_new(version, layout)
    await _check_collations(connection, layout)


async def _version(connection: Connection, layout: Layout) -> int:
    """0 where there are no tables."""
    if await connection.fetchval(_IS_THERE, layout.schema):
        return int(await connection.fetchval(_VERSION))
    return 0


async def _migrate(connection: Connection, layout: Layout) -> None:
    """All that is missing in one transaction, so that it is there whole or not at all."""
    await connection.execute("BEGIN")
    # Whoever waited here sees what the one before it has done.
    await connection.fetchval("SELECT pg_advisory_xact_lock($1)", layout.one_at_a_time)
    version = await _version(connection, layout)
    if version > len(layout.migrations):
        raise _too_new(version, layout)
    if version == 0:
        # Who may not make a schema may have been given one; `IF NOT EXISTS` wants the right all the same.
        if not await connection.fetchval(
            "SELECT count(*) FROM pg_namespace WHERE nspname = $1", layout.schema
        ):
            await connection.execute(f"CREATE SCHEMA {layout.schema}")
        await connection.execute(
            "CREATE TABLE schema_version (one smallint PRIMARY KEY CHECK (one = 1), version integer NOT NULL);"
            "INSERT INTO schema_version VALUES (1, 0)"
        )
    for script in layout.migrations[version:]:
        await connection.execute(script)
    await connection.execute("UPDATE schema_version SET version = $1", len(layout.migrations))
    await connection.execute("COMMIT")


async def _check_collations(connection: Connection, layout: Layout) -> None:
    found = await connection.fetchrow(_OTHER_COLLATION, layout.schema)
    if found is not None:
        raise StoreUnusable(
            f"compares `{found['name']}` by the collation `{found['collation']}`, expected `C` (case 55); "
            "restore it from a copy"
        )


def _too_new(version: int, layout: Layout) -> StoreUnusable:
    return StoreUnusable(f"is of a newer version: {version}, expected at most {len(layout.migrations)}")
