"""Cells in the decision service's store on PostgreSQL, where several services change them at once.

Every transaction first makes the cells that are missing and then locks all of its cells, both in the order of
their keys. So whoever waits for a row holds only rows of lesser keys, or rows that nobody else can see yet,
and no two wait for each other. Cells of UNLOCKED kinds are only read: whoever changes them has locked the log's head.

A line of a list is changed only by whoever may change its cell, so that nobody waits for a line but for one that is
just being forgotten; and who forgets waits for nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from interlock.adapters.postgres import Connection, Postgres, TryAgain
from interlock.adapters.store_errors import unavailable
from interlock.adapters.stored_time import end_in_steps
from interlock.core.cells import Cells, Change, Entry, Listed, is_unlocked
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
_DELIST = """
    DELETE FROM listings USING unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS gone (list_key, place, key)
    WHERE (listings.list_key, listings.place, listings.key) = (gone.list_key, gone.place, gone.key)
"""
# A line that is to be there as long as before is left as it is.
_ENLIST = """
    INSERT INTO listings AS there (list_key, place, key, expire_time)
    SELECT list_key, place, key, expire_time
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[]) AS new (list_key, place, key, expire_time)
    ON CONFLICT (list_key, place, key) DO UPDATE SET expire_time = excluded.expire_time
    WHERE there.expire_time <> excluded.expire_time
"""
# A cell that was made only to be locked is none. Two forms, so that each end of a page is an end of what is read.
PAGE = """
    SELECT place, listings.key, data FROM listings JOIN cells ON cells.key = listings.key
    WHERE list_key = $1 AND place > $2 AND data <> '' ORDER BY place, listings.key LIMIT $3
"""
PAGE_BEFORE = """
    SELECT place, listings.key, data FROM listings JOIN cells ON cells.key = listings.key
    WHERE list_key = $1 AND place > $2 AND place < $4 AND data <> '' ORDER BY place, listings.key LIMIT $3
"""
_PRUNE = """
    WITH over AS (
        SELECT key FROM cells WHERE expire_time < $1 ORDER BY expire_time LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM cells USING over WHERE cells.key = over.key
"""
_PRUNE_LISTINGS = """
    WITH over AS (
        SELECT list_key, place, key FROM listings WHERE expire_time < $1
        ORDER BY expire_time LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM listings USING over
    WHERE (listings.list_key, listings.place, listings.key) = (over.list_key, over.place, over.key)
"""


class PostgresSessionState:
    """ports.SessionState on the store."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def apply(self, changes: Sequence[Change[Result]], *, durable: bool) -> list[Result]:
        """All of the changes in one transaction, of one statement for each thing that is done to its cells.

        Where they only look at cells of UNLOCKED kinds, it is that one statement.
        """
        keys = {key for change in changes for key in change.keys}
        with unavailable():
            if all(map(is_unlocked, keys)):
                cells = await self._database.read(lambda connection: lock_cells(connection, keys))
                results = [change.run(cells) for change in changes]
                if not cells.changed() and not cells.entries():
                    return results
            return await self._database.write(
                lambda connection: _apply(connection, keys, changes), durable=durable
            )

    async def prune(self, at: datetime, *, limit: int) -> int:
        """Forget at most `limit` cells, and as many lines of lists, whose time is over.

        Those that somebody works on are for the next time.
        """
        with unavailable():
            return await self._database.write(lambda connection: _prune(connection, at, limit), durable=False)

    async def page(
        self, list_key: bytes, *, after: bytes = b"", before: bytes | None = None, limit: int
    ) -> list[Listed]:
        """A page of a list, in its order, as it was committed last."""
        query, end = (PAGE, ()) if before is None else (PAGE_BEFORE, (before,))
        with unavailable():
            rows = await self._database.read(
                lambda connection: connection.fetch(query, list_key, after, limit, *end)
            )
        return [Listed(*row) for row in rows]


async def _apply(
    connection: Connection, keys: Iterable[bytes], changes: Sequence[Change[Result]]
) -> list[Result]:
    cells = await lock_cells(connection, keys)
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
    await _save_entries(connection, cells.entries())


async def _save_entries(connection: Connection, entries: Mapping[Entry, datetime | None]) -> None:
    """Lines that are over, and then those that are there."""
    gone = [entry for entry, ends in entries.items() if ends is None]
    kept = [(entry, ends) for entry, ends in entries.items() if ends is not None]
    if gone:
        await connection.execute(_DELIST, *_columns(gone))
    if kept:
        ends = [end_in_steps(ends) for _, ends in kept]
        await connection.execute(_ENLIST, *_columns([entry for entry, _ in kept]), ends)


def _columns(entries: Sequence[Entry]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    return (
        [entry.list_key for entry in entries],
        [entry.place for entry in entries],
        [entry.key for entry in entries],
    )


async def _prune(connection: Connection, at: datetime, limit: int) -> int:
    forgotten = 0
    for statement in (_PRUNE, _PRUNE_LISTINGS):
        deleted = await connection.execute(statement, to_microseconds(at), limit)
        forgotten += int(deleted.rpartition(" ")[2])
    return forgotten
