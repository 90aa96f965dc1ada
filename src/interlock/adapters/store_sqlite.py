"""The decision service's store on SQLite: the decision log and the state that changes with it."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import orjson

from interlock.adapters.cells_sqlite import in_sizes, load_cells, save_cells
from interlock.adapters.record_rows import (
    CHECKED_AT_START,
    COLUMNS,
    Flaw,
    fork_from,
    from_row,
    head_after_row,
    problem_of,
    refusal,
    to_row,
)
from interlock.adapters.sqlite import SingleWriter, open_database
from interlock.adapters.store_errors import StoreUnusable, unavailable
from interlock.core import record as records
from interlock.core.record import Draft, Head, Record, RecordType
from interlock.core.sealing import cells_of, seal_all

APPLICATION_ID = 0x494C4B31  # "ILK1"

MIGRATIONS = (
    # The triggers on INSERT are there for `INSERT OR REPLACE`, which removes a row and fires none on DELETE.
    """
    CREATE TABLE records (
        log_index INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        tenant TEXT NOT NULL,
        once TEXT NOT NULL,
        decision_id TEXT NOT NULL,
        timestamp INTEGER NOT NULL,  -- microseconds since the epoch
        content BLOB NOT NULL,
        leaf_hash BLOB NOT NULL,
        chain_hash BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX records_once ON records (once) WHERE once <> '';
    CREATE INDEX records_of_decision ON records (decision_id) WHERE decision_id <> '';
    CREATE INDEX records_of_tenant ON records (tenant, type);
    CREATE TRIGGER records_are_never_changed BEFORE UPDATE ON records
        BEGIN SELECT raise(ABORT, 'the decision log is append-only'); END;
    CREATE TRIGGER records_are_never_removed BEFORE DELETE ON records
        BEGIN SELECT raise(ABORT, 'the decision log is append-only'); END;
    CREATE TRIGGER records_follow_the_last BEFORE INSERT ON records
        WHEN NEW.log_index <> (SELECT ifnull(max(log_index) + 1, 0) FROM records)
        BEGIN SELECT raise(ABORT, 'the decision log is append-only'); END;
    CREATE TRIGGER records_stand_once BEFORE INSERT ON records
        WHEN NEW.once <> '' AND EXISTS (SELECT 1 FROM records WHERE once = NEW.once AND once <> '')
        BEGIN SELECT raise(ABORT, 'the decision log is append-only'); END;
    CREATE TABLE credentials (
        credential_id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL CHECK (tenant <> '' AND tenant NOT GLOB '*[^a-z0-9-]*'),
        name TEXT NOT NULL CHECK (name <> '' AND name NOT GLOB '*[^a-z0-9-]*'),
        roles TEXT NOT NULL,  -- JSON array of strings
        secret_hash BLOB NOT NULL,
        create_time INTEGER NOT NULL,
        revoke_time INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE policy_pin (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        revision TEXT NOT NULL,
        sequence INTEGER NOT NULL  -- of the newest bundle that was ever active
    ) STRICT;
    """,
    # Records of before have no session: they stand in no session's timeline.
    """
    ALTER TABLE records ADD COLUMN session TEXT NOT NULL DEFAULT '';
    CREATE INDEX records_of_session ON records (tenant, session) WHERE session <> '';
    CREATE TABLE cells (
        key BLOB PRIMARY KEY,
        data BLOB NOT NULL,
        expire_time INTEGER NOT NULL  -- microseconds since the epoch
    ) STRICT;
    CREATE INDEX cells_to_forget ON cells (expire_time);
    """,
    # The table is its own index, which a page is a part of.
    """
    CREATE TABLE listings (
        list_key BLOB NOT NULL,
        place BLOB NOT NULL,
        key BLOB NOT NULL,  -- of a cell
        expire_time INTEGER NOT NULL,  -- microseconds since the epoch
        PRIMARY KEY (list_key, place, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX listings_to_forget ON listings (expire_time);
    """,
)

_MARKS = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = f"SELECT {COLUMNS} FROM records WHERE"
# `<> ''` lets SQLite use the partial indexes; without it, it reads the whole log.
_OF_DECISION = "decision_id = ? AND decision_id <> ''"
_LEAST_INTEGER = -(2**63)


def open_store(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open the store and check the end of its log. Raises StoreUnusable, saying what is wrong."""
    connection = open_database(path, APPLICATION_ID, MIGRATIONS, read_only=read_only)
    if flaw := next(find_flaws(connection, last=CHECKED_AT_START), None):
        connection.close()
        raise StoreUnusable(refusal(str(path), flaw))
    return connection


def find_flaws(connection: apsw.Connection, *, last: int | None = None) -> Iterator[Flaw]:
    """Check hashes, links and gaps of the log from its beginning, or of its `last` records.

    That the end was cut off, or all written anew, shows only against a head noted earlier: `find_fork`.
    """
    place = -1
    try:
        for place, problem in _checks(connection, last):
            if problem:
                yield Flaw(log_index=place, problem=problem)
    except apsw.Error as error:
        yield Flaw(log_index=place + 1, problem=f"cannot be read: {error}")


def find_fork(connection: apsw.Connection, noted: Head) -> Flaw | None:
    """How the log does not go on from a head that was noted earlier; None where it does.

    It says something of all before that head only where `find_flaws` finds none.
    """
    if noted.size == 0:
        return None
    query = "SELECT chain_hash FROM records WHERE log_index = ?"
    row = connection.execute(query, (noted.size - 1,)).fetchone()
    return fork_from(noted, row[0] if row else None, read_head(connection).size)


def read_head(connection: apsw.Connection) -> Head:
    """Where the log stands."""
    query = "SELECT log_index, chain_hash FROM records ORDER BY log_index DESC LIMIT 1"
    row = connection.execute(query).fetchone()
    return head_after_row(row) if row else records.EMPTY


def scan(
    connection: apsw.Connection,
    *,
    type: RecordType | None,
    decision_id: str,
    tenant: str,
    start: int,
    limit: int | None,
) -> Iterator[Record]:
    """Records from log_index `start` on that match, oldest first; empty or None is no condition.

    It may read the whole log: for a connection of one's own, beside the service's.
    """
    wanted = {"type": type.value if type else "", "decision_id": decision_id, "tenant": tenant}
    conditions = [f"{name} = :{name} AND {name} <> ''" for name, value in wanted.items() if value]
    query = f"{_SELECT} {' AND '.join(['log_index >= :start', *conditions])} ORDER BY log_index LIMIT :limit"
    values = {**wanted, "start": start, "limit": -1 if limit is None else limit}
    return (from_row(row) for row in connection.execute(query, values))


class SqliteDecisionLog:
    """ports.DecisionLog and ports.RecordReader on one SQLite database."""

    def __init__(self, writer: SingleWriter) -> None:
        self._writer = writer

    async def recall(self, onces: Sequence[str]) -> list[Record | None]:
        """The record of each name."""
        with unavailable():
            found = await self._writer.read(lambda db: _find_onces(db, onces))
        return [found.get(once) for once in onces]

    async def append(self, drafts: Sequence[Draft]) -> list[Record]:
        """All of the drafts in one transaction, one fsync."""
        with unavailable():
            return await self._writer.write(lambda db: append_all(db, drafts))

    async def writable(self) -> bool:
        """True where the log can be written now: nothing new is, durably. Raises InterlockError."""
        with unavailable():
            await self._writer.check_writable()
        return True

    async def list_records(
        self, *, tenants: Sequence[str], type: RecordType | None, decision_id: str, start: int, limit: int
    ) -> list[Record]:
        """A page of records, oldest first.

        It reads no more of the log than the page, and so never keeps the one writer from its work for long.
        """
        matches = f"{_SELECT} tenant = ? AND type = ? AND log_index >= ?"
        if decision_id:
            matches += f" AND {_OF_DECISION}"
        kinds = [type] if type else list(RecordType)
        # Each part comes in order from an index, so that SQLite merges them and stops at the limit.
        query = " UNION ALL ".join([matches] * len(tenants) * len(kinds)) + " ORDER BY log_index LIMIT ?"
        ends = (start, decision_id) if decision_id else (start,)
        values = [value for tenant in tenants for kind in kinds for value in (tenant, kind.value, *ends)]
        with unavailable():
            return await self._writer.read(
                lambda db: [from_row(row) for row in db.execute(query, (*values, limit))]
            )

    async def get_record(self, log_index: int) -> Record | None:
        """The record in this place."""
        return await self._find("log_index = ?", log_index)

    async def decision_records(self, decision_ids: Sequence[str]) -> list[Record | None]:
        """For each decision its record."""
        with unavailable():
            found = await self._writer.read(lambda db: _find_decisions(db, decision_ids))
        return [found.get(decision_id) for decision_id in decision_ids]

    async def session_records(self, *, tenant: str, session: str, start: int, limit: int) -> list[Record]:
        """A page of the session's records, oldest first."""
        query = f"{_SELECT} tenant = ? AND session = ? AND session <> '' AND log_index >= ?"
        values = (tenant, session, start, limit)
        with unavailable():
            return await self._writer.read(
                lambda db: [
                    from_row(row) for row in db.execute(f"{query} ORDER BY log_index LIMIT ?", values)
                ]
            )

    async def head(self) -> Head:
        """Where the log stands."""
        with unavailable():
            return await self._writer.read(read_head)

    async def _find(self, condition: str, value: str | int) -> Record | None:
        with unavailable():
            row = await self._writer.read(
                lambda db: db.execute(f"{_SELECT} {condition}", (value,)).fetchone()
            )
        return from_row(row) if row else None


def append_all(connection: apsw.Connection, drafts: Sequence[Draft]) -> list[Record]:
    """Seal and insert within the caller's transaction; a name that is in the log gives its record back."""
    present = _find_onces(connection, [draft.once for draft in drafts])
    cells = load_cells(connection, cells_of(drafts, present))
    sealed = seal_all(drafts, present, cells, read_head(connection))
    _insert(connection, sealed.new)
    save_cells(connection, cells)
    return sealed.appended


def _insert(connection: apsw.Connection, new: Sequence[Record]) -> None:
    for part in in_sizes(new):
        connection.execute(_inserting(len(part)), [value for record in part for value in to_row(record)])


@functools.cache
def _inserting(size: int) -> str:
    return f"INSERT INTO records ({COLUMNS}) VALUES {', '.join([_MARKS] * size)}"


def _find_onces(connection: apsw.Connection, onces: Sequence[str]) -> dict[str, Record]:
    """The records that bear these names."""
    query = f"{_SELECT} once IN (SELECT value FROM json_each(?)) AND once <> ''"
    return {row[3]: from_row(row) for row in connection.execute(query, (orjson.dumps(onces).decode(),))}


def _find_decisions(connection: apsw.Connection, decision_ids: Sequence[str]) -> dict[str, Record]:
    """The records of these decisions."""
    query = (
        f"{_SELECT} decision_id IN (SELECT value FROM json_each(?)) AND decision_id <> '' "
        f"AND type = '{RecordType.DECISION}'"
    )
    return {
        row[4]: from_row(row) for row in connection.execute(query, (orjson.dumps(decision_ids).decode(),))
    }


def _checks(connection: apsw.Connection, last: int | None) -> Iterator[tuple[int, str]]:
    """Each place that is checked, and what is wrong there."""
    size = read_head(connection).size
    start = max(0, size - last) if last is not None else 0
    first = connection.execute("SELECT min(log_index) FROM records").get
    if start and first != 0:
        yield first, "is the first, expected record 0"
    head = _head_before(connection, start)
    query = f"{_SELECT} log_index >= ? ORDER BY log_index"
    for row in connection.execute(query, (start or _LEAST_INTEGER,)):
        yield row[0], problem_of(row, head)
        head = head_after_row(row)


def _head_before(connection: apsw.Connection, start: int) -> Head:
    if start == 0:
        return records.EMPTY
    row = connection.execute("SELECT chain_hash FROM records WHERE log_index = ?", (start - 1,)).fetchone()
    return Head(size=start, chain_hash=row[0] if row else b"")
