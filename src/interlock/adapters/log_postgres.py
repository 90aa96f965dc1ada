"""Reading and checking a decision log on PostgreSQL, page by page, beside the services that append to it.

No transaction stays open between the pages: a log that only grows needs no snapshot, and one that is held keeps
PostgreSQL from clearing away what is outdated.
"""

from collections.abc import AsyncIterator, Sequence

import asyncpg

from interlock.adapters.postgres import Connection
from interlock.adapters.record_rows import (
    CHECKED_AT_START,
    COLUMNS,
    Flaw,
    Row,
    fork_from,
    from_row,
    head_after_row,
    problem_of,
    refusal,
)
from interlock.adapters.store_errors import StoreUnusable
from interlock.core import record as records
from interlock.core.record import Head, Record, RecordType

PAGE = 1_000

_LEAST_INTEGER = -(2**63)
_ENDS = """
    SELECT log_head.size, log_head.chain_hash, last.log_index, last.chain_hash AS last_chain_hash
    FROM (VALUES (1)) AS one LEFT JOIN log_head ON true
    LEFT JOIN LATERAL (SELECT log_index, chain_hash FROM records ORDER BY log_index DESC LIMIT 1) AS last ON true
"""
_DAMAGE = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError, asyncpg.InternalServerError)


async def check_end(connection: Connection, store: str) -> None:
    """Check the last records of the log of `store`. Raises StoreUnusable, saying what is wrong."""
    async for flaw in find_flaws(connection, last=CHECKED_AT_START):
        raise StoreUnusable(refusal(store, flaw))


async def find_flaws(connection: Connection, *, last: int | None = None) -> AsyncIterator[Flaw]:
    """Check hashes, links and gaps of the log from its beginning, or of its `last` records.

    That the end was cut off, or all written anew, shows only against a head noted earlier: `find_fork`.
    """
    place = -1
    try:
        async for place, problem in _checks(connection, last):
            if problem:
                yield Flaw(log_index=place, problem=problem)
    except _DAMAGE as error:
        yield Flaw(log_index=place + 1, problem=f"cannot be read: {error.args[0]}")


async def find_fork(connection: Connection, noted: Head) -> Flaw | None:
    """How the log does not go on from a head that was noted earlier; None where it does.

    It says something of all before that head only where `find_flaws` finds none.
    """
    if noted.size == 0:
        return None
    query = "SELECT chain_hash FROM records WHERE log_index = $1"
    chain_hash = await connection.fetchval(query, noted.size - 1)
    return fork_from(noted, chain_hash, (await last_head(connection)).size)


async def last_head(connection: Connection) -> Head:
    """Where the log stands by its last record."""
    query = "SELECT log_index, chain_hash FROM records ORDER BY log_index DESC LIMIT 1"
    row = await connection.fetchrow(query)
    return head_after_row(row) if row else records.EMPTY


async def scan(
    connection: Connection,
    *,
    type: RecordType | None,
    decision_id: str,
    tenant: str,
    start: int,
    limit: int | None,
) -> AsyncIterator[list[Record]]:
    """Records from log_index `start` on that match, oldest first, in pages; empty or None is no condition.

    It may read the whole log: for a connection of one's own, without a time limit.
    """
    wanted = {"type": type.value if type else "", "decision_id": decision_id, "tenant": tenant}
    given = {name: value for name, value in wanted.items() if value}
    where = "".join(f" AND {name} = ${place} AND {name} <> ''" for place, name in enumerate(given, start=3))
    async for page in _pages(connection, start, limit, where, [*given.values()]):
        yield [from_row(row) for row in page]


async def _checks(connection: Connection, last: int | None) -> AsyncIterator[tuple[int, str]]:
    """Each place that is checked, and what is wrong there."""
    size = (await last_head(connection)).size
    start = max(0, size - last) if last is not None else 0
    first = await connection.fetchval("SELECT min(log_index) FROM records")
    if start and first != 0:
        yield first, "is the first, expected record 0"
    head = await _head_before(connection, start)
    async for page in _pages(connection, start or _LEAST_INTEGER):
        for row in page:
            yield row[0], problem_of(row, head)
            head = head_after_row(row)
    yield await _check_head(connection)


async def _check_head(connection: Connection) -> tuple[int, str]:
    """Whether the last record is the one that the log's own head counts as such."""
    size, chain_hash, last, last_chain_hash = await connection.fetchrow(_ENDS)
    found = records.EMPTY if last is None else Head(size=last + 1, chain_hash=last_chain_hash)
    if (size, chain_hash) == (found.size, found.chain_hash):
        return found.size - 1, ""
    return max(found.size, size or 0) - 1, f"is not where the log's head is: {size} records, got {found.size}"


async def _head_before(connection: Connection, start: int) -> Head:
    if start == 0:
        return records.EMPTY
    query = "SELECT chain_hash FROM records WHERE log_index = $1"
    return Head(size=start, chain_hash=await connection.fetchval(query, start - 1) or b"")


async def _pages(
    connection: Connection, start: int, limit: int | None = None, where: str = "", values: Sequence[str] = ()
) -> AsyncIterator[list[Row]]:
    query = f"SELECT {COLUMNS} FROM records WHERE log_index >= $1{where} ORDER BY log_index LIMIT $2"
    while rows := await connection.fetch(query, start, PAGE if limit is None else min(PAGE, limit), *values):
        yield rows
        start = rows[-1][0] + 1
        limit = None if limit is None else limit - len(rows)
