"""The log on PostgreSQL: what who can write the database cannot do unseen (case 20), and what a lookup costs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from interlock.adapters import log_postgres, store_postgres
from interlock.adapters.log_postgres import check_end, find_flaws, find_fork, last_head
from interlock.adapters.postgres import Connection, Postgres, connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.record_rows import Flaw
from interlock.adapters.schema_postgres import connect_to_store
from interlock.adapters.store_errors import StoreUnusable
from interlock.adapters.store_postgres import PostgresDecisionLog, append_all, read_head
from interlock.core.record import EMPTY, Draft, Head, RecordType, leaf_hash, link
from tests.contract.postgres import PostgresServer
from tests.contract.stores import open_postgres
from tests.drafts import a_draft

SIZE = 8
TRIGGERS = {"records": ("records_are_never_changed", "records_follow_the_last"), "log_head": ("head_stays",)}


async def append(connection: Connection, *drafts: Draft) -> None:
    await connection.execute("BEGIN")
    await append_all(connection, drafts)
    await connection.execute("COMMIT")


@pytest.fixture
async def store(database: PostgresAddress) -> AsyncIterator[Connection]:
    """A store with eight records, as the service has it."""
    async with connect_to_store(database) as connection:
        await append(connection, *(a_draft(number) for number in range(SIZE)))
        yield connection


@pytest.fixture
async def intruder(store: Connection, database: PostgresAddress) -> AsyncIterator[Connection]:
    """A connection of someone who knows SQL, and takes the triggers away."""
    async with connect(database) as connection:
        for table in TRIGGERS:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield connection


async def flaws(connection: Connection, *, last: int | None = None) -> list[Flaw]:
    return [flaw async for flaw in find_flaws(connection, last=last)]


EDITED = "convert_to(replace(convert_from(content, 'UTF8'), 'decision-3', 'decision-9'), 'UTF8')"
COPY = (
    "INSERT INTO records SELECT {log_index}, type, tenant, {once}, decision_id, session, timestamp, content, "
    "leaf_hash, chain_hash FROM records WHERE log_index = 7"
)
NOT_THE_LEAF = "does not match its leaf hash"
NOT_THE_CHAIN = "does not match the chain of the records before it"
BOGUS = "has a type or a time that no record has"

TAMPERINGS = {
    "content": (f"UPDATE records SET content = {EDITED} WHERE log_index = 3", 3, NOT_THE_LEAF),
    "leaf-hash": (r"UPDATE records SET leaf_hash = '\x00' WHERE log_index = 3", 3, NOT_THE_LEAF),
    "chain-hash": (r"UPDATE records SET chain_hash = '\x00' WHERE log_index = 3", 3, NOT_THE_CHAIN),
    "last-chain-hash": (r"UPDATE records SET chain_hash = '' WHERE log_index = 7", 7, NOT_THE_CHAIN),
    **{
        column: (
            f"UPDATE records SET {column} = {value} WHERE log_index = 3",
            3,
            f"has another {column} in its columns than in its content",
        )
        for column, value in {
            "type": "'outcome'",
            "tenant": "'other'",
            "once": "'decision/acme/agent-1/request-99'",
            "decision_id": "'decision-9'",
            "session": "'agent-1/session-9'",
            "timestamp": "timestamp + 1",
        }.items()
    },
    "unknown-type": ("UPDATE records SET type = 'x' WHERE log_index = 3", 3, BOGUS),
    "endless-time": (f"UPDATE records SET timestamp = {2**62} WHERE log_index = 3", 3, BOGUS),
    "deleted": ("DELETE FROM records WHERE log_index = 3", 4, "follows a gap, expected record 3"),
    "first-deleted": ("DELETE FROM records WHERE log_index = 0", 1, "follows a gap, expected record 0"),
    "last-deleted": (
        "DELETE FROM records WHERE log_index = 7",
        7,
        "is not where the log's head is: 8 records, got 7",
    ),
    "all-deleted": ("TRUNCATE records", 7, "is not where the log's head is: 8 records, got 0"),
    "head-moved": ("UPDATE log_head SET size = 3", 7, "is not where the log's head is: 3 records, got 8"),
    "head-forged": (
        r"UPDATE log_head SET chain_hash = '\x00'",
        7,
        "is not where the log's head is: 8 records, got 8",
    ),
    "head-deleted": ("DELETE FROM log_head", 7, "is not where the log's head is: None records, got 8"),
    "copied-to-the-end": (
        COPY.format(log_index=8, once="once || '-x'"),
        8,
        "has another log_index, once in its columns than in its content",
    ),
    "before-the-beginning": (
        COPY.format(log_index=-1, once="''"),
        -1,
        "follows a gap, expected record 0",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_tampering_is_found_and_the_store_refused(
    store: Connection, intruder: Connection, name: str
) -> None:
    """The check names the record and what is wrong, and the service does not start on such a store (case 20)."""
    statement, log_index, problem = TAMPERINGS[name]
    await intruder.execute(statement)
    assert (await flaws(store))[0] == Flaw(log_index=log_index, problem=problem)
    with pytest.raises(StoreUnusable) as raised:
        await check_end(store, "postgresql://there")
    assert str(raised.value) == (
        f"`postgresql://there`: record {log_index} {problem}; "
        "see `interlock log verify`, restore the store from a copy"
    )


async def test_an_untouched_log_has_no_flaw(store: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds nothing where nothing was done, whatever part it looks at and however it is paged."""
    for page in (1, 3, SIZE, 1000):
        monkeypatch.setattr(log_postgres, "PAGE", page)
        assert [await flaws(store, last=last) for last in (None, 0, 1, SIZE, 100)] == [[]] * 5


async def test_a_check_of_the_end_sees_no_more_than_the_end(store: Connection, intruder: Connection) -> None:
    """The check at start looks at the last records only; `interlock log verify` looks at all."""
    await intruder.execute(r"UPDATE records SET leaf_hash = '\x00' WHERE log_index = 4")
    assert await flaws(store, last=3) == []
    assert [flaw.log_index for flaw in await flaws(store)] == [4]
    assert [flaw.log_index for flaw in await flaws(store, last=4)] == [4]
    await intruder.execute("DELETE FROM records WHERE log_index < 2")
    assert await flaws(store, last=3) == [Flaw(log_index=2, problem="is the first, expected record 0")]


async def test_a_log_goes_on_from_every_head_that_it_had(store: Connection) -> None:
    """Heads noted while the log grew are all found in it later."""
    noted = [EMPTY, await last_head(store)]
    for number in (8, 9):
        await append(store, a_draft(number))
        noted.append(await last_head(store))
    assert [await find_fork(store, head) for head in noted] == [None] * 4
    assert await read_head(store) == noted[-1]


async def test_a_cut_tail_shows_against_a_noted_head(store: Connection, intruder: Connection) -> None:
    """A log whose end was cut off with its head shows against the head noted before (case 20)."""
    noted = await last_head(store)
    await intruder.execute("DELETE FROM records WHERE log_index >= 6")
    await intruder.execute(
        "UPDATE log_head SET size = 6, chain_hash = (SELECT chain_hash FROM records WHERE log_index = 5)"
    )
    assert await flaws(store) == []
    assert await find_fork(store, noted) == Flaw(log_index=7, problem="is missing: expected 8 records, got 6")


async def test_a_log_written_anew_shows_against_a_noted_head(store: Connection, intruder: Connection) -> None:
    """A log whose hashes were all made to match again is whole in itself, and not the one noted (case 20)."""
    noted = await last_head(store)
    number = "convert_to(replace(convert_from(content, 'UTF8'), '\"number\":3', '\"number\":9'), 'UTF8')"
    await intruder.execute(f"UPDATE records SET content = {number} WHERE log_index = 3")
    await rehash(intruder)
    assert await flaws(store) == []
    assert await find_fork(store, noted) == Flaw(
        log_index=7, problem="is not the one that the noted head ends with"
    )


async def rehash(intruder: Connection) -> None:
    """Make leaf hashes, chain and head match again, as one who knows how they are made can."""
    chain = EMPTY.chain_hash
    for log_index, content in await intruder.fetch(
        "SELECT log_index, content FROM records ORDER BY log_index"
    ):
        leaf = leaf_hash(content)
        chain = link(chain, leaf)
        await intruder.execute(
            "UPDATE records SET leaf_hash = $1, chain_hash = $2 WHERE log_index = $3", leaf, chain, log_index
        )
    await intruder.execute("UPDATE log_head SET chain_hash = $1", chain)


async def test_a_record_that_cannot_be_read_is_a_flaw() -> None:
    """A damaged page ends the check with the place that it reached, not with a crash (case 20)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with connect_to_store(address) as store:
            await append(store, *(a_draft(number) for number in range(SIZE)))
        file = server.data / server.sql(address.database, "SELECT pg_relation_filepath('interlock.records')")
        server.stop()
        with file.open("r+b") as damaged:
            damaged.write(b"\xff" * 64)
        server.start()
        async with connect_to_store(address) as store:
            [flaw] = await flaws(store)
    assert flaw.log_index == 0
    assert flaw.problem.startswith("cannot be read: invalid page")


WRITES = [
    "UPDATE records SET tenant = 'other' WHERE log_index = 3",
    "UPDATE records SET log_index = log_index + 1",
    "DELETE FROM records WHERE log_index = 7",
    "DELETE FROM records",
    "TRUNCATE records",
    "TRUNCATE records, log_head CASCADE",
    COPY.format(log_index=9, once="''"),
    COPY.format(log_index=-1, once="''"),
    COPY.format(log_index=8, once="once")
    + " ON CONFLICT (once) WHERE once <> '' DO UPDATE SET tenant = 'other'",
    "UPDATE log_head SET size = 3",
    "DELETE FROM log_head",
    "TRUNCATE log_head",
    r"INSERT INTO log_head VALUES (1, 0, '\x00') ON CONFLICT (one) DO NOTHING",
]


@pytest.mark.parametrize("statement", WRITES)
async def test_the_log_takes_nothing_but_the_next_record(store: Connection, statement: str) -> None:
    """The store itself refuses to change, remove, replace or insert in between, whoever writes."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        await store.execute(statement)
    assert await flaws(store) == []
    assert (await read_head(store)).size == SIZE


@pytest.mark.parametrize("log_index", [7, 8])
async def test_a_record_does_not_take_the_place_or_name_of_another(store: Connection, log_index: int) -> None:
    """A place and a name are given once, and what would have taken them changes nothing."""
    with pytest.raises(asyncpg.UniqueViolationError):
        await store.execute(COPY.format(log_index=log_index, once="once"))
    done = await store.execute(COPY.format(log_index=log_index, once="once") + " ON CONFLICT DO NOTHING")
    assert done == "INSERT 0 0"
    assert await flaws(store) == []


async def test_the_head_moves_with_the_log(store: Connection) -> None:
    """However records are inserted, the head is where they end."""
    before = await read_head(store)
    assert before == await last_head(store)
    await append(store, a_draft(20), a_draft(21), a_draft(20))
    assert await read_head(store) == await last_head(store)
    assert (await read_head(store)).size == SIZE + 2
    await append(store)
    assert isinstance(await read_head(store), Head)


async def test_a_backup_is_whole(
    postgres: PostgresServer, database: PostgresAddress, store: Connection
) -> None:
    """What `pg_dump` made of a store is the same store after `pg_restore`, and the log goes on from it."""
    head = await read_head(store)
    dump, name = postgres.folder / f"{database.database}.dump", postgres.new_database()
    postgres.run("pg_dump", "--format=custom", f"--file={dump}", database.database)
    postgres.run("pg_restore", f"--dbname={name}", "--exit-on-error", str(dump))
    async with connect_to_store(postgres.address(name)) as restored:
        assert await flaws(restored) == []
        assert await read_head(restored) == head
        await append(restored, a_draft(3), a_draft(8))
        assert (await read_head(restored)).size == SIZE + 1
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await restored.execute("DELETE FROM records")
    postgres.drop(name)


# --- what a lookup costs ----------------------------------------------------------------------------------

MANY = 3_000
FEW = 60
LOOKUPS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "names": (store_postgres._OF_ONCES, (["unknown", "many-7"],)),
    "decisions": (store_postgres._OF_DECISIONS, (["unknown", "decision-7"], "decision")),
    "session": (store_postgres._OF_SESSION, ("rare", "agent-1/one", 0, 3)),
    "list": (store_postgres._LIST, (["acme", "rare", "none"], ["decision", "outcome"], 5, 3)),
    "list of a rare tenant": (store_postgres._LIST, (["rare"], ["decision"], 0, 3)),
    "list of a decision": (
        store_postgres._LIST_OF_DECISION,
        (["acme", ""], ["decision"], 0, 3, "decision-7"),
    ),
    "head": (store_postgres._LOCK_HEAD, ()),
}


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> PostgresAddress:
    """A database for one log with many records."""
    return postgres.address(postgres.new_database())


@pytest.mark.parametrize("analyzed", [False, True], ids=["as-planned-blindly", "as-planned-with-statistics"])
@pytest.mark.parametrize("lookup", LOOKUPS)
async def test_no_lookup_reads_the_log_to_find_something(
    filled: PostgresAddress, lookup: str, analyzed: bool
) -> None:
    """What a lookup reads does not grow with the log, whether or not PostgreSQL has looked at the tables yet."""
    query, values = LOOKUPS[lookup]
    async with open_postgres(filled) as pool:
        await fill(pool)
        if analyzed:
            await pool.read(lambda connection: connection.execute("ANALYZE"))
        plan = await pool.write(lambda connection: explain(connection, query, values))
    assert rows_read(plan) <= FEW


async def fill(pool: Postgres) -> None:
    log = PostgresDecisionLog(pool)
    if (await log.head()).size == 0:
        await log.append([a_draft(number, once=f"many-{number}") for number in range(MANY)])
        rare = [a_draft(MANY + number, tenant="rare", session="agent-1/one") for number in range(5)]
        await log.append([*rare, a_draft(7, once="", type=RecordType.OUTCOME)])


async def explain(connection: Connection, query: str, values: tuple[Any, ...]) -> dict[str, Any]:
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
    found: dict[str, Any] = json.loads(plan)[0]["Plan"]
    return found


def rows_read(plan: dict[str, Any]) -> int:
    """All rows that any part of the plan has looked at."""
    own = (
        plan["Actual Rows"]
        + plan.get("Rows Removed by Filter", 0)
        + plan.get("Rows Removed by Index Recheck", 0)
    )
    return int(own * plan["Actual Loops"]) + sum(map(rows_read, plan.get("Plans", [])))
