"""Cells in the decision service's store on PostgreSQL, where several services change them at once.

Every transaction first makes the cells that are missing and then locks all of its cells, both in the order of
their keys. So whoever waits for a row holds only rows of lesser keys, or rows that nobody else can see yet,
and no two wait for each other. Cells of UNLOCKED kinds are only read: whoever changes them has locked the log's head.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from interlock.adapters.postgres import Connection, Postgres, TryAgain
from interlock.adapters.store_errors import unavailable
from interlock.adapters.stored_time import end_in_steps
from interlock.core.cells import Cells, Change, Listed, is_unlocked
from interlock.core.moments import to_microseconds

Result = TypeVar("Result")

# A cell that is made only to be locked may be forgotten at once.
_MAKE = """
    INSERT INTO cells (key, data, expire_time) SELECT key, '', 0 FROM unnest($1::bytea[]) AS wanted (key)
    ON CONFLICT (key) DO NOTHING
"""
_LOCK = """
    WITH locked AS (SELECT key, data FROM cells WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE)
    SELECT key, data FROM locked UNION ALL SELECT key, data FROM cells WHERE key = ANY($2::bytea[])
"""
_WRITE_UNLOCKED = """
    INSERT INTO cells (key, data, expire_time)
    SELECT key, data, expire_time FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS new (key, data, expire_time)
    ON CONFLICT (key) DO UPDATE SET data = excluded.data, expire_time = excluded.expire_time
"""
_WRITE = """
    UPDATE cells SET data = new.data, expire_time = new.expire_time
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS new (key, data, expire_time)
    WHERE cells.key = new.key
"""
_PRUNE = """
    WITH over AS (
        SELECT key FROM cells WHERE expire_time < $1 ORDER BY expire_time LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM cells USING over WHERE cells.key = over.key
"""


class PostgresSessionState:
    """ports.SessionState on the store."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def apply(self, changes: Sequence[Change[Result]], *, durable: bool) -> list[Result]:
        """All of the changes in one transaction, of one statement for each thing that is done to its cells."""
        with unavailable():
            return await self._database.write(lambda connection: _apply(connection, changes), durable=durable)

    async def prune(self, at: datetime, *, limit: int) -> int:
        """Forget at most `limit` cells whose time is over; those that somebody works on are for the next time."""
        with unavailable():
            return await self._database.write(lambda connection: _prune(connection, at, limit), durable=False)

    async def page(
        self, list_key: bytes, *, after: bytes = b"", before: bytes | None = None, limit: int
    ) -> list[Listed]:
        """A page of a list."""
        raise NotImplementedError


async def _apply(connection: Connection, changes: Sequence[Change[Result]]) -> list[Result]:
    cells = await lock_cells(connection, {key for change in changes for key in change.keys})
    results = [change.run(cells) for change in changes]
    await save_cells(connection, cells)
    return results


async def lock_cells(connection: Connection, keys: Iterable[bytes]) -> Cells:
    """The cells of these keys, for this transaction alone until its end; those of UNLOCKED kinds as they stand.

    Raises TryAgain where one was forgotten between its making and its locking.
    """
    wanted = sorted(keys)
    locked = [key for key in wanted if not is_unlocked(key)]
    read = [key for key in wanted if is_unlocked(key)]
    if locked:
        await connection.execute(_MAKE, locked)
    rows = await connection.fetch(_LOCK, locked, read) if wanted else ()
    found = dict.fromkeys(read, b"") | dict(rows)
    if len(found) < len(wanted):
        raise TryAgain("a cell was forgotten while it was wanted")
    return Cells(found)


async def save_cells(connection: Connection, cells: Cells) -> None:
    """Keep what was changed."""
    changed = cells.changed()
    for statement, unlocked in ((_WRITE, False), (_WRITE_UNLOCKED, True)):
        keys = [key for key in changed if is_unlocked(key) is unlocked]
        if keys:
            data = [changed[key][0] for key in keys]
            ends = [end_in_steps(changed[key][1]) for key in keys]
            await connection.execute(statement, keys, data, ends)


async def _prune(connection: Connection, at: datetime, limit: int) -> int:
    deleted = await connection.execute(_PRUNE, to_microseconds(at), limit)
    return int(deleted.rpartition(" ")[2])
