"""The decision service's store on PostgreSQL: the decision log, to which several services append at once.

Who appends locks the head first, the cells after it; so appends follow one another, over all services.
"""

from collections.abc import Sequence

from interlock.adapters.cells_postgres import lock_cells, save_cells
from interlock.adapters.postgres import Connection, Postgres
from interlock.adapters.record_rows import COLUMNS, from_row, to_row
from interlock.adapters.store_errors import unavailable
from interlock.core.record import Draft, Head, Record, RecordType
from interlock.core.sealing import cells_of, seal_all

_LOCK_HEAD = "SELECT size, chain_hash FROM log_head FOR UPDATE"
_HEAD = "SELECT size, chain_hash FROM log_head"
_SELECT = f"SELECT {COLUMNS} FROM records WHERE"
# `<> ''` lets PostgreSQL use the partial indexes.
_OF_ONCES = f"{_SELECT} once = ANY($1::text[]) AND once <> ''"
_OF_DECISIONS = f"{_SELECT} decision_id = ANY($1::text[]) AND decision_id <> '' AND type = $2"
_OF_SESSION = f"""
    {_SELECT} tenant = $1 AND session = $2 AND session <> '' AND log_index >= $3
    ORDER BY log_index LIMIT $4
"""
_INSERT = f"""
    INSERT INTO records ({COLUMNS})
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                         $7::bigint[], $8::bytea[], $9::bytea[], $10::bytea[])
"""
# Each part comes in order from the index of its tenant and type, and stops at the limit. It is asked for as a
# range: for equal columns PostgreSQL may think of the primary key too, and read the log to find a rare tenant.
_LIST = f"""
    SELECT page.* FROM unnest($1::text[]) AS wanted (tenant)
    CROSS JOIN unnest($2::text[]) AS kind (type)
    CROSS JOIN LATERAL (
        {_SELECT} (tenant, type, log_index) >= (wanted.tenant, kind.type, $3)
            AND (tenant, type, log_index) <= (wanted.tenant, kind.type, {2**63 - 1})
        ORDER BY tenant, type, log_index LIMIT $4
    ) AS page
    ORDER BY log_index LIMIT $4
"""
_LIST_OF_DECISION = f"""
    {_SELECT} decision_id = $5 AND decision_id <> '' AND tenant = ANY($1::text[]) AND type = ANY($2::text[])
        AND log_index >= $3
    ORDER BY log_index LIMIT $4
"""


class PostgresDecisionLog:
    """ports.DecisionLog and ports.RecordReader on one PostgreSQL database."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def recall(self, onces: Sequence[str]) -> list[Record | None]:
        """The record of each name."""
        with unavailable():
            found = await self._database.read(lambda connection: _find_onces(connection, onces))
        return [found.get(once) for once in onces]

    async def append(self, drafts: Sequence[Draft]) -> list[Record]:
        """All of the drafts in one transaction, of one statement for each thing that is done."""
        with unavailable():
            return await self._database.write(lambda connection: append_all(connection, drafts))

    async def writable(self) -> bool:
        """True where the head can be had for an append, durably. Raises InterlockError."""
        with unavailable():
            await self._database.write(lock_head)
        return True

    async def list_records(
        self, *, tenants: Sequence[str], type: RecordType | None, decision_id: str, start: int, limit: int
    ) -> list[Record]:
        """A page of records, oldest first."""
        kinds = [kind.value for kind in ([type] if type else RecordType)]
        if not _can_be_there(decision_id):
            return []
        if decision_id:
            return await self._find(_LIST_OF_DECISION, tenants, kinds, start, limit, decision_id)
        return await self._find(_LIST, tenants, kinds, start, limit)

    async def get_record(self, log_index: int) -> Record | None:
        """The record in this place."""
        return next(iter(await self._find(f"{_SELECT} log_index = $1", log_index)), None)

    async def decision_records(self, decision_ids: Sequence[str]) -> list[Record | None]:
        """For each decision its record."""
        wanted = [*filter(_can_be_there, decision_ids)]
        records = await self._find(_OF_DECISIONS, wanted, RecordType.DECISION.value)
        found = {record.decision_id: record for record in records}
        return [found.get(decision_id) for decision_id in decision_ids]

    async def session_records(self, *, tenant: str, session: str, start: int, limit: int) -> list[Record]:
        """A page of the session's records, oldest first."""
        return await self._find(_OF_SESSION, tenant, session, start, limit)

    async def head(self) -> Head:
        """Where the log stands."""
        with unavailable():
            return await self._database.read(read_head)

    async def _find(self, query: str, *values: object) -> list[Record]:
        with unavailable():
            rows = await self._database.read(lambda connection: connection.fetch(query, *values))
        return [from_row(row) for row in rows]


async def append_all(connection: Connection, drafts: Sequence[Draft]) -> list[Record]:
    """Seal and insert within the caller's transaction; a name that is in the log gives its record back."""
    if not drafts:
        return []
    head = await lock_head(connection)
    present = await _find_onces(connection, [draft.once for draft in drafts])
    cells = await lock_cells(connection, cells_of(drafts, present))
    sealed = seal_all(drafts, present, cells, head)
    await _insert(connection, sealed.new)
    await save_cells(connection, cells)
    return sealed.appended


async def lock_head(connection: Connection) -> Head:
    """Where the log stands, and will until this transaction ends or appends."""
    return _head(await connection.fetchrow(_LOCK_HEAD))


async def read_head(connection: Connection) -> Head:
    """Where the log stands."""
    return _head(await connection.fetchrow(_HEAD))


def _head(row: Sequence[object]) -> Head:
    size, chain_hash = row
    assert isinstance(size, int)
    assert isinstance(chain_hash, bytes)
    return Head(size=size, chain_hash=chain_hash)


async def _insert(connection: Connection, new: Sequence[Record]) -> None:
    if new:
        await connection.execute(_INSERT, *zip(*map(to_row, new), strict=True))


async def _find_onces(connection: Connection, onces: Sequence[str]) -> dict[str, Record]:
    """The records that bear these names."""
    rows = await connection.fetch(_OF_ONCES, [*filter(_can_be_there, onces)])
    return {record.once: record for record in map(from_row, rows)}


def _can_be_there(name: str) -> bool:
    """PostgreSQL keeps no text with U+0000, and takes it for an error even to look for one."""
    return "\0" not in name
