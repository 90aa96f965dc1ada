"""Cells in the decision service's store on SQLite, whose one writer runs one transaction after the other."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import apsw

from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_errors import unavailable
from interlock.adapters.stored_time import end_in_steps
from interlock.core.cells import Cells, Change, Entry, Listed
from interlock.core.moments import to_microseconds

Result = TypeVar("Result")

# A statement for many rows, since each one gives the GIL away and waits to get it back. Few sizes, so that
# each stays prepared; they end with 1, so that any number can be made up of them.
ROWS_AT_ONCE = (64, 16, 4, 1)

# CROSS JOIN keeps the order of the tables (sqlite.org/optoverview.html#crossjoin): the list is read in its own order.
# Two forms, so that each end of a page is an end of what is read.
PAGE = """
    SELECT place, listings.key, data FROM listings CROSS JOIN cells ON cells.key = listings.key
    WHERE list_key = ?1 AND place > ?2 ORDER BY place, listings.key LIMIT ?3
"""
PAGE_BEFORE = """
    SELECT place, listings.key, data FROM listings CROSS JOIN cells ON cells.key = listings.key
    WHERE list_key = ?1 AND place > ?2 AND place < ?4 ORDER BY place, listings.key LIMIT ?3
"""
_PRUNE = "DELETE FROM cells WHERE key IN (SELECT key FROM cells WHERE expire_time < ? LIMIT ?)"
_PRUNE_LISTINGS = """
    DELETE FROM listings WHERE (list_key, place, key) IN
    (SELECT list_key, place, key FROM listings WHERE expire_time < ? LIMIT ?)
"""


class SqliteSessionState:
    """ports.SessionState on the store."""

    def __init__(self, writer: SingleWriter) -> None:
        self._writer = writer

    async def apply(self, changes: Sequence[Change[Result]], *, durable: bool) -> list[Result]:
        """All of the changes in one transaction; its fsync is left to the next one where not `durable`."""
        with unavailable():
            return await self._writer.write(lambda db: _apply(db, changes), durable=durable)

    async def prune(self, at: datetime, *, limit: int) -> int:
        """Forget at most `limit` cells, and as many lines of lists, whose time is over."""
        with unavailable():
            return await self._writer.write(lambda db: _prune(db, at, limit), durable=False)

    async def page(
        self, list_key: bytes, *, after: bytes = b"", before: bytes | None = None, limit: int
    ) -> list[Listed]:
        """A page of a list, in its order.

        It reads no more of the list than the page, and so never keeps the one writer from its work for long.
        """
        query, end = (PAGE, ()) if before is None else (PAGE_BEFORE, (before,))
        values = (list_key, after, limit, *end)
        with unavailable():
            return await self._writer.read(lambda db: _page(db, query, values))


def _page(connection: apsw.Connection, query: str, values: Sequence[bytes | int]) -> list[Listed]:
    rows: Any = connection.execute(query, values)
    return [Listed(place, key, _held(data)) for place, key, data in rows]


def _apply(connection: apsw.Connection, changes: Sequence[Change[Result]]) -> list[Result]:
    cells = load_cells(connection, {key for change in changes for key in change.keys})
    results = [change.run(cells) for change in changes]
    save_cells(connection, cells)
    return results


def load_cells(connection: apsw.Connection, keys: Iterable[bytes]) -> Cells:
    """The cells of these keys, within the caller's transaction."""
    found = dict.fromkeys(keys, b"")
    for part in in_sizes(list(found)):
        rows: Any = connection.execute(_selecting(len(part)), part)
        found.update((key, _held(data)) for key, data in rows)
    return Cells(found)


def save_cells(connection: apsw.Connection, cells: Cells) -> None:
    """Keep what was changed, within the caller's transaction."""
    rows = [
        (key, data + _filling(len(data)), end_in_steps(ends)) for key, (data, ends) in cells.changed().items()
    ]
    for part in in_sizes(rows):
        connection.execute(_writing(len(part)), [value for row in part for value in row])
    _save_entries(connection, cells.entries())


def _save_entries(connection: apsw.Connection, entries: Mapping[Entry, datetime | None]) -> None:
    """Lines that are over, and then those that are there."""
    gone = [_line(entry) for entry, ends in entries.items() if ends is None]
    kept = [(*_line(entry), end_in_steps(ends)) for entry, ends in entries.items() if ends is not None]
    for part in in_sizes(gone):
        connection.execute(_delisting(len(part)), [value for line in part for value in line])
    for part in in_sizes(kept):
        connection.execute(_enlisting(len(part)), [value for line in part for value in line])


def _line(entry: Entry) -> tuple[bytes, bytes, bytes]:
    return entry.list_key, entry.place, entry.key


@functools.lru_cache(maxsize=8_192)
def _filling(size: int) -> bytes:
    """What fills a cell up to one of few sizes, at most a quarter more; its last byte tells its length.

    A row that keeps its size is written over in its place; one that grows by each write moves its neighbours.
    """
    step = min(128, max(8, 1 << max(0, size.bit_length() - 3)))
    length = step - size % step
    return bytes(length - 1) + bytes([length])


def _held(data: bytes) -> bytes:
    """What a cell holds, without what fills it up."""
    return data[: -data[-1]]


def in_sizes(items: Sequence[Any]) -> Iterator[list[Any]]:
    """The items in parts, each of one of the sizes that statements are prepared for."""
    left = iter(items)
    count = len(items)
    for size in ROWS_AT_ONCE:
        while count >= size:
            yield list(islice(left, size))
            count -= size


@functools.cache
def _selecting(size: int) -> str:
    return f"SELECT key, data FROM cells WHERE key IN ({', '.join('?' * size)})"


@functools.cache
def _writing(size: int) -> str:
    return (
        f"INSERT INTO cells (key, data, expire_time) VALUES {', '.join(['(?, ?, ?)'] * size)} "
        "ON CONFLICT (key) DO UPDATE SET data = excluded.data, expire_time = excluded.expire_time"
    )


@functools.cache
def _delisting(size: int) -> str:
    lines = ", ".join(["(?, ?, ?)"] * size)
    return f"DELETE FROM listings WHERE (list_key, place, key) IN (VALUES {lines})"


# A line that is to be there as long as before is left as it is.
@functools.cache
def _enlisting(size: int) -> str:
    return (
        f"INSERT INTO listings (list_key, place, key, expire_time) VALUES {', '.join(['(?, ?, ?, ?)'] * size)} "
        "ON CONFLICT (list_key, place, key) DO UPDATE SET expire_time = excluded.expire_time "
        "WHERE expire_time <> excluded.expire_time"
    )


def _prune(connection: apsw.Connection, at: datetime, limit: int) -> int:
    forgotten = 0
    for statement in (_PRUNE, _PRUNE_LISTINGS):
        connection.execute(statement, (to_microseconds(at), limit))
        forgotten += connection.changes()
    return forgotten
