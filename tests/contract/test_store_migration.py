"""A store on SQLite that an older version filled is brought up to date with all that is in it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from interlock.adapters.cells_sqlite import SqliteSessionState
from interlock.adapters.credentials_sqlite import add_credential, list_credentials
from interlock.adapters.record_rows import COLUMNS, to_row
from interlock.adapters.sqlite import SingleWriter, open_database
from interlock.adapters.store_errors import StoreUnusable
from interlock.adapters.store_sqlite import (
    APPLICATION_ID,
    MIGRATIONS,
    SqliteDecisionLog,
    find_flaws,
    open_store,
    scan,
)
from interlock.core.cells import Listed
from interlock.core.identity import Credential, hash_secret
from interlock.core.record import EMPTY, Record, head_after, seal
from tests.counting_process import KEY, LIST, Count, CountOnList
from tests.drafts import LIMIT_SECONDS, a_draft
from tests.fakes import NOON
from tests.proposals import AGENT

CREDENTIAL = Credential(caller=AGENT, secret_hash=hash_secret("secret"), create_time=NOON)
COUNT = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def fill_as_the_first_version_did(path: Path) -> list[Record]:
    """Records whose session is in no column, which that version did not have."""
    columns = COLUMNS.replace("session, ", "")
    head, made = EMPTY, []
    with contextlib.closing(open_database(path, APPLICATION_ID, MIGRATIONS[:1])) as store, store:
        for number in range(COUNT):
            record = seal(a_draft(number), head)
            head = head_after(record)
            made.append(record)
            row = to_row(record)
            store.execute(
                f"INSERT INTO records ({columns}) VALUES ({', '.join('?' * 9)})", (*row[:5], *row[6:])
            )
        add_credential(store, CREDENTIAL)
    return made


@contextlib.asynccontextmanager
async def writer_of(connection: apsw.Connection) -> AsyncIterator[SqliteSessionState]:
    writer = SingleWriter(connection, limit_seconds=LIMIT_SECONDS)
    try:
        yield SqliteSessionState(writer)
    finally:
        await writer.close()


def read_all(store: apsw.Connection) -> list[Record]:
    assert list(find_flaws(store)) == []
    return list(scan(store, type=None, decision_id="", tenant="", start=0, limit=None))


async def test_a_filled_older_store_is_brought_up_to_date(path: Path) -> None:
    """Records and credentials of the first version are all there, verifiable, and the log goes on from them."""
    before = fill_as_the_first_version_did(path)
    writer = SingleWriter(open_store(path), limit_seconds=LIMIT_SECONDS)
    log = SqliteDecisionLog(writer)
    try:
        assert await log.append([a_draft(7)]) == [before[7]]
        [after] = await log.append([a_draft(COUNT, session="agent-1/one")])
        assert await log.session_records(tenant="acme", session="agent-1/one", start=0, limit=9) == [after]
        assert await SqliteSessionState(writer).apply([Count()], durable=True) == [0]
    finally:
        await writer.close()
    with contextlib.closing(open_store(path)) as store:
        assert read_all(store) == [*before, after]
        assert list_credentials(store) == [CREDENTIAL]
        assert store.pragma("user_version") == len(MIGRATIONS)


async def test_what_a_store_without_lists_kept_can_be_listed(path: Path) -> None:
    """State of a version that knew no lists is all there, and the first lists are made of it."""
    async with writer_of(open_database(path, APPLICATION_ID, MIGRATIONS[:2])) as state:
        assert await state.apply([Count()], durable=True) == [0]
    async with writer_of(open_store(path)) as state:
        assert await state.page(LIST, limit=9) == []
        assert await state.apply([CountOnList()], durable=True) == [1]
        assert await state.page(LIST, limit=9) == [Listed(b"place", KEY, b"2")]


def test_an_older_store_is_not_migrated_by_who_only_reads(path: Path) -> None:
    """A verb that reads leaves an older store as it is, and says what to do."""
    fill_as_the_first_version_did(path)
    before = path.read_bytes()
    expected = f"is of an older version: 1, expected {len(MIGRATIONS)}; start its service once"
    with pytest.raises(StoreUnusable, match=expected):
        open_store(path, read_only=True)
    assert path.read_bytes() == before


def test_every_migration_starts_from_the_one_before_it(path: Path) -> None:
    """A store may be brought up to date one version at a time, and is the same in the end."""
    made = fill_as_the_first_version_did(path)
    for version in range(2, len(MIGRATIONS) + 1):
        with contextlib.closing(open_database(path, APPLICATION_ID, MIGRATIONS[:version])) as store:
            assert store.pragma("user_version") == version
    with contextlib.closing(open_store(path)) as store:
        assert read_all(store) == made
    fresh = path.with_name("fresh.db")
    schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    with contextlib.closing(open_store(path)) as store, contextlib.closing(open_store(fresh)) as other:
        assert store.execute(schema).fetchall() == other.execute(schema).fetchall()
