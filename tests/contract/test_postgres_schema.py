"""The tables on PostgreSQL: made from nothing, brought up to date with all that is in them, and else refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from interlock.adapters import schema_postgres
from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.credentials_postgres import add_credential, list_credentials
from interlock.adapters.log_postgres import find_flaws, scan
from interlock.adapters.postgres import Connection, Postgres, connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.schema_postgres import MIGRATIONS, connect_to_store
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable
from interlock.adapters.store_postgres import PostgresDecisionLog, append_all
from interlock.core.cells import Listed
from interlock.core.identity import Credential, hash_secret
from interlock.core.record import Record
from tests.contract.postgres import OWNER, PostgresServer
from tests.contract.stores import open_postgres
from tests.counting_process import KEY, LIST, Count, CountOnList
from tests.drafts import LIMIT_SECONDS, a_draft
from tests.fakes import NOON
from tests.proposals import AGENT


async def version(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT version FROM schema_version"))


async def records(connection: Connection) -> list[Record]:
    assert [flaw async for flaw in find_flaws(connection)] == []
    pages = scan(connection, type=None, decision_id="", tenant="", start=0, limit=None)
    return [record async for page in pages for record in page]


@contextlib.asynccontextmanager
async def with_migrations(
    scripts: Sequence[str], database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connection]:
    """The store as a version of Interlock with these migrations opens it."""
    with monkeypatch.context() as patch:
        patch.setattr(schema_postgres, "MIGRATIONS", tuple(scripts))
        async with connect_to_store(database) as connection:
            yield connection


async def test_an_empty_database_becomes_a_store(database: PostgresAddress) -> None:
    """Where there is nothing, everything is made, and the log is empty and whole."""
    async with connect_to_store(database) as connection:
        assert await version(connection) == len(MIGRATIONS)
        assert await records(connection) == []
    async with connect_to_store(database, read_only=True) as connection:
        assert await version(connection) == len(MIGRATIONS)


async def test_a_filled_older_database_is_brought_up_to_date(
    database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records and credentials of an older version are all there after a migration, and the log goes on from them."""
    credential = Credential(caller=AGENT, secret_hash=hash_secret("secret"), create_time=NOON)
    async with with_migrations(MIGRATIONS[:1], database, monkeypatch) as connection:
        before = await append_all(connection, [a_draft(number) for number in range(100)])
        await add_credential(connection, credential)
        assert await version(connection) == 1
    async with open_postgres(database) as pool:
        log = PostgresDecisionLog(pool)
        [after] = await log.append([a_draft(100)])
        assert await PostgresSessionState(pool).apply([Count()], durable=True) == [0]
        assert await log.append([a_draft(7)]) == [before[7]]
    async with connect(database) as connection:
        assert await records(connection) == [*before, after]
        assert await list_credentials(connection) == [credential]
        assert await version(connection) == len(MIGRATIONS)


async def test_what_a_database_without_lists_kept_can_be_listed(
    database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State of a version that knew no lists is all there, and the first lists are made of it."""
    async with with_migrations(MIGRATIONS[:2], database, monkeypatch):
        pool = Postgres(database, limit_seconds=LIMIT_SECONDS, size=1)
        await pool.start()
        assert await PostgresSessionState(pool).apply([Count()], durable=True) == [0]
        await pool.close()
    async with open_postgres(database) as pool:
        state = PostgresSessionState(pool)
        assert await state.page(LIST, limit=9) == []
        assert await state.apply([CountOnList()], durable=True) == [1]
        assert await state.page(LIST, limit=9) == [Listed(b"place", KEY, b"2")]


async def test_a_migration_runs_once_each_in_order(
    database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a later version adds is added to what is there, once."""
    added = ("CREATE TABLE added (number int)", "INSERT INTO added VALUES (1)")
    async with connect_to_store(database):
        pass
    for _ in range(2):
        async with with_migrations([*MIGRATIONS, *added], database, monkeypatch) as connection:
            assert await connection.fetchval("SELECT count(*) FROM added") == 1


async def test_a_migration_that_fails_leaves_all_as_it_was(
    database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several scripts all are run or none, and the older version goes on with what it has."""
    added = ("CREATE TABLE added (number int)", "SELECT 1 / 0")
    async with open_postgres(database) as pool:
        await PostgresDecisionLog(pool).append([a_draft()])
    with pytest.raises(StoreUnavailable, match="division by zero"):
        async with with_migrations([*MIGRATIONS, *added], database, monkeypatch):
            pass
    async with connect_to_store(database) as connection:
        assert len(await records(connection)) == 1
        assert await connection.fetchval("SELECT to_regclass('added')") is None


async def test_services_that_start_at_once_make_the_store_once(database: PostgresAddress) -> None:
    """Of several that find an empty database one makes the tables, and all of them start."""

    async def start() -> int:
        async with connect_to_store(database) as connection:
            return await version(connection)

    assert await asyncio.gather(*(start() for _ in range(8))) == [len(MIGRATIONS)] * 8


async def test_a_newer_store_is_refused(database: PostgresAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that a newer version wrote is not touched, and the error says so."""
    async with with_migrations([*MIGRATIONS, "CREATE TABLE added ()"], database, monkeypatch):
        pass
    expected = (
        f"`{database}` is of a newer version: {len(MIGRATIONS) + 1}, expected at most {len(MIGRATIONS)}"
    )
    for read_only in (False, True):
        with pytest.raises(StoreUnusable) as raised:
            async with connect_to_store(database, read_only=read_only):
                pass
        assert str(raised.value) == expected


async def test_who_only_reads_makes_nothing(database: PostgresAddress) -> None:
    """A verb that reads neither makes nor migrates a store, and says what to do."""
    with pytest.raises(
        StoreUnusable, match=r"is of an older version: 0, expected \d+; start the service once"
    ):
        async with connect_to_store(database, read_only=True):
            pass
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT to_regnamespace('interlock')") is None


@pytest.mark.parametrize(
    ("column", "collation"), [("records.once", "en-x-icu"), ("credentials.credential_id", "und-x-icu")]
)
async def test_a_collation_that_could_confuse_ids_is_refused(
    postgres: PostgresServer, database: PostgresAddress, column: str, collation: str
) -> None:
    """Ids are compared byte by byte, or the service does not start (case 55)."""
    async with connect_to_store(database):
        pass
    table, _, name = column.partition(".")
    postgres.sql(
        database.database, f'ALTER TABLE interlock.{table} ALTER {name} TYPE text COLLATE "{collation}"'
    )
    with pytest.raises(
        StoreUnusable, match=rf"compares `{column}` by the collation `{collation}`, expected `C`"
    ):
        async with connect_to_store(database):
            pass


async def test_tables_are_in_a_schema_of_their_own(database: PostgresAddress) -> None:
    """Tables of another program in the same database, whatever their names, are left alone."""
    async with connect(database) as connection:
        await connection.execute("CREATE SCHEMA other; CREATE TABLE other.records (id int)")
        await connection.execute("INSERT INTO other.records VALUES (7)")
    async with open_postgres(database) as pool:
        await PostgresDecisionLog(pool).append([a_draft()])
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT id FROM other.records") == 7


async def test_a_schema_that_was_made_for_us_is_used(postgres: PostgresServer) -> None:
    """Who owns no database needs no more than a schema in it."""
    name = postgres.new_database()
    postgres.sql(
        name, f"ALTER DATABASE {name} OWNER TO postgres", f"CREATE SCHEMA interlock AUTHORIZATION {OWNER}"
    )
    async with connect_to_store(postgres.address(name)) as connection:
        assert await version(connection) == len(MIGRATIONS)
    postgres.drop(name)


async def test_who_may_make_no_tables_is_told(postgres: PostgresServer) -> None:
    """Without the right to make the tables the service does not start, and says what it lacks."""
    name = postgres.new_database()
    postgres.sql(name, f"ALTER DATABASE {name} OWNER TO postgres")
    with pytest.raises(StoreUnavailable, match="permission denied for database"):
        async with connect_to_store(postgres.address(name)):
            pass
    postgres.drop(name)
