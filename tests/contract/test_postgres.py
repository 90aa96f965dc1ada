"""PostgreSQL as it can fail: down, late, locked, in conflict, or not to be trusted with a commit."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest

from interlock.adapters import cells_postgres
from interlock.adapters import postgres as adapter
from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.postgres import Connection, Postgres, TryAgain, connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.schema_postgres import connect_to_store
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.core.cells import Cells
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.record import Draft
from tests.contract.certificates import a_certificate_of
from tests.contract.counting_proxy import CountingProxy, through_proxy
from tests.contract.postgres import OWNER, PostgresServer
from tests.contract.stores import open_postgres
from tests.counting_process import Count, add_one
from tests.drafts import SHORT_SECONDS, a_draft
from tests.waiting import PATIENCE_SECONDS, until


async def refused(work: Awaitable[object], *, within: float = PATIENCE_SECONDS) -> None:
    began = time.monotonic()
    with pytest.raises(InterlockError) as raised:
        await work
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
    assert raised.value.retry_after is not None
    assert time.monotonic() - began < within


async def works(pool: Postgres) -> bool:
    try:
        await PostgresDecisionLog(pool).writable()
    except InterlockError:
        return False
    return True


# --- down, late, locked -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.kill], ids=["stopped", "crashed"])
async def test_without_postgresql_nothing_is_decided(end: Callable[[PostgresServer], None]) -> None:
    """A server that is down fails every operation at once, and when it is back all goes on by itself (case 16)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with open_postgres(address, limit_seconds=SHORT_SECONDS) as pool:
            log, state = PostgresDecisionLog(pool), PostgresSessionState(pool)
            [kept] = await log.append([a_draft(0)])
            end(server)
            for work in (
                lambda: log.append([a_draft(1)]),
                lambda: state.apply([Count()], durable=False),
                lambda: log.recall([kept.once]),
                log.writable,
            ):
                await refused(work())
            server.start()
            await until(lambda: works(pool), poll_seconds=0.01)
            assert await log.append([a_draft(0)]) == [kept]
            assert await state.apply([Count()], durable=True) == [0]


async def test_a_server_that_hangs_fails_in_time() -> None:
    """Where nothing moves any more each operation ends in its limit, and later all goes on by itself (case 17)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with open_postgres(address, limit_seconds=SHORT_SECONDS) as pool:
            log = PostgresDecisionLog(pool)
            await log.append([a_draft(0)])
            server.pause()
            many = [refused(log.append([a_draft(number)])) for number in range(1, 30)]
            async with asyncio.timeout(SHORT_SECONDS * 5):
                await asyncio.gather(refused(log.writable()), *many)
            server.go_on()
            await until(lambda: works(pool), poll_seconds=0.01)
            [again] = await log.append([a_draft(0)])
            assert again.log_index == 0


async def test_a_network_that_hangs_fails_in_time(database: PostgresAddress) -> None:
    """Where the server's answers do not arrive each operation ends in its limit, also that which connects (case 17)."""
    async with connect_to_store(database):
        pass
    async with through_proxy(database) as (address, proxy):
        pool = Postgres(address, limit_seconds=SHORT_SECONDS, size=4)
        await pool.start()
        proxy.hang()
        await asyncio.gather(*(refused(PostgresDecisionLog(pool).append([a_draft(n)])) for n in range(8)))
        proxy.go_on()
        await until(lambda: works(pool), poll_seconds=0.01)
        assert len(await PostgresDecisionLog(pool).append([a_draft(0)])) == 1
        await pool.close()


@pytest.mark.parametrize("table", ["records", "log_head", "cells"])
async def test_a_lock_held_too_long_is_an_error(database: PostgresAddress, table: str) -> None:
    """While somebody holds a table nothing is acknowledged, which is told in the limit; then all goes on (case 17)."""
    async with open_postgres(database, limit_seconds=SHORT_SECONDS) as pool, connect(database) as other:
        log, state = PostgresDecisionLog(pool), PostgresSessionState(pool)
        await other.execute(f"BEGIN; LOCK TABLE interlock.{table}")
        work = state.apply([Count()], durable=False) if table == "cells" else log.append([a_draft()])
        await refused(work, within=SHORT_SECONDS * 5)
        await other.execute("ROLLBACK")
        assert len(await log.append([a_draft()])) == 1
        assert await state.apply([Count()], durable=False) == [0]


async def test_who_gives_up_holds_nothing(database: PostgresAddress) -> None:
    """A caller that is cancelled in the middle leaves no lock behind, and its connection is not used again."""
    async with open_postgres(database) as pool, open_postgres(database, size=1) as other:
        holds = asyncio.Event()

        async def hang(connection: Connection) -> None:
            await connection.fetchrow("SELECT size FROM log_head FOR UPDATE")
            holds.set()
            await asyncio.sleep(PATIENCE_SECONDS)

        task = asyncio.create_task(other.write(hang))
        await holds.wait()
        task.cancel()
        await asyncio.wait({task})
        assert len(await PostgresDecisionLog(pool).append([a_draft(0)])) == 1
        assert len(await PostgresDecisionLog(other).append([a_draft(1)])) == 1


async def test_nothing_is_done_after_the_end(database: PostgresAddress) -> None:
    """A store that is closed fails at once, and closing it again is allowed."""
    async with open_postgres(database) as pool:
        await pool.close()
        await refused(PostgresDecisionLog(pool).append([a_draft()]))


# --- conflicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [asyncpg.DeadlockDetectedError, asyncpg.SerializationError, TryAgain])
async def test_a_conflict_is_tried_once_more(database: PostgresAddress, error: type[Exception]) -> None:
    """What PostgreSQL gave up for a conflict is run again, once, from its beginning (case 56)."""
    async with open_postgres(database) as pool:
        runs: list[int] = []

        async def conflict(connection: Connection, *, until: int) -> int:
            runs.append(await connection.fetchval("SELECT pg_current_xact_id()::text::bigint"))
            if len(runs) < until:
                raise error("conflict")
            return len(runs)

        assert await pool.write(lambda connection: conflict(connection, until=2)) == 2
        assert len(set(runs)) == 2
        with pytest.raises(StoreUnavailable, match="conflict"):
            await pool.write(lambda connection: conflict(connection, until=9))
        assert len(runs) == 4


async def test_a_real_deadlock_is_got_over(postgres: PostgresServer, database: PostgresAddress) -> None:
    """Of two that lock each other out one is given up by PostgreSQL, and its batch comes through all the same."""
    async with open_postgres(database) as pool:
        state = PostgresSessionState(pool)
        await state.apply([Both()], durable=True)
        # The other one does not look for deadlocks, so that it is ours that is given up.
        postgres.sql("postgres", f"ALTER DATABASE {database.database} SET deadlock_timeout = '60 s'")
        async with connect(database) as other:
            await other.execute("BEGIN")
            await other.fetch("SELECT key FROM cells WHERE key = $1 FOR UPDATE", LAST)
            ours = asyncio.create_task(state.apply([Both()], durable=True))
            await until(lambda: waits(database), poll_seconds=0.01)
            await other.fetch("SELECT key FROM cells WHERE key = $1 FOR UPDATE", FIRST)
            await other.execute("COMMIT")
        assert await ours == [[1, 1]]


FIRST, LAST = b"\x01" * 16, b"\x02" * 16


class Both:
    """Counts in both cells."""

    keys = (LAST, FIRST)

    def run(self, cells: Cells) -> list[int]:
        return [add_one(cells, key) for key in self.keys]


async def waits(database: PostgresAddress) -> bool:
    """Whether somebody waits for a lock."""
    async with connect(database) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"
        return bool(await connection.fetchval(query, database.database))


async def test_a_cell_that_is_forgotten_while_it_is_wanted_is_not_lost(
    database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prune between the making and the locking of a cell costs another attempt, and no count (case 56)."""
    async with open_postgres(database) as pool, connect(database) as other:
        state, made = PostgresSessionState(pool), cells_postgres._MAKE
        await state.apply([Count()], durable=True)
        forgotten = 0

        class Forgetting:
            """A connection between whose first two statements somebody forgets all cells, once."""

            def __init__(self, connection: Connection) -> None:
                self._connection = connection
                self.fetch = connection.fetch
                self.fetchrow = connection.fetchrow
                self.fetchval = connection.fetchval
                self.is_closed = connection.is_closed

            async def execute(self, query: str, *values: object) -> str:
                nonlocal forgotten
                done = await self._connection.execute(query, *values)
                if query == made and not forgotten:
                    forgotten += int((await other.execute("DELETE FROM cells")).split()[1])
                return done

        lock = cells_postgres.lock_cells
        monkeypatch.setattr(
            cells_postgres, "lock_cells", lambda connection, keys: lock(Forgetting(connection), keys)
        )
        assert await state.apply([Count()], durable=True) == [0]
        assert forgotten == 1
        assert await state.apply([Count()], durable=True) == [1]


# --- what a commit is worth -------------------------------------------------------------------------------


async def test_only_what_needs_not_be_durable_by_itself_is_not(database: PostgresAddress) -> None:
    """A transaction is flushed at its commit, but for one that leaves it to the next (case 18)."""
    async with open_postgres(database, size=1) as pool:

        def setting(connection: Connection) -> Awaitable[str]:
            return connection.fetchval("SHOW synchronous_commit")

        found = [await pool.write(setting, durable=durable) for durable in (True, False, True)]
        assert found == ["on", "off", "on"]


async def test_a_later_change_of_the_server_does_not_weaken_a_commit(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """What a connection found when it was made stays so, whatever the configuration becomes (case 18)."""
    async with open_postgres(database, size=1) as pool:
        try:
            postgres.sql("postgres", "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
            await until(lambda: reads_off(database), poll_seconds=0.01)
            found = await pool.write(lambda connection: connection.fetchval("SHOW synchronous_commit"))
            assert found == "on"
        finally:
            postgres.sql("postgres", "ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()")


async def reads_off(database: PostgresAddress) -> bool:
    try:
        async with connect(database):
            return False
    except StoreUnusable:
        return True


SETTINGS = {
    "read-only": ("default_transaction_read_only = on", "takes no writes: it is a standby or read-only"),
    "lazy": ("synchronous_commit = off", "may lose what it has committed"),
}


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_database_that_keeps_no_promise_is_refused(
    postgres: PostgresServer, database: PostgresAddress, name: str
) -> None:
    """Where a commit would fail or be none the service does not start, and says why (case 18)."""
    setting, says = SETTINGS[name]
    postgres.sql("postgres", f"ALTER DATABASE {database.database} SET {setting}")
    with pytest.raises(StoreUnusable, match=f"^`{database}` {says}"):
        async with connect(database):
            pass


async def test_a_database_that_turns_read_only_is_not_written(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """A server that became a standby since the start is found out by each new connection (case 16)."""
    async with open_postgres(database, limit_seconds=SHORT_SECONDS) as pool:
        postgres.sql("postgres", f"ALTER DATABASE {database.database} SET default_transaction_read_only = on")
        await pool._pool.expire_connections()
        await refused(PostgresDecisionLog(pool).append([a_draft()]))


async def test_a_standby_is_refused() -> None:
    """A copy that only follows the primary, and may lack its last commits, is not used (case 24)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        with pytest.raises(StoreUnusable, match="takes no writes"):
            async with connect(address):
                pass


async def test_a_server_without_fsync_is_refused() -> None:
    """A server that leaves its commits to the page cache is not used (case 18)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        server.stop()
        server.start(fsync="off")
        with pytest.raises(StoreUnusable, match="may lose what it has committed"):
            async with connect(address):
                pass


async def test_an_old_server_is_refused(database: PostgresAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL below the version that is tested with is told apart at start."""
    monkeypatch.setattr(adapter, "MINIMUM_VERSION", 99)
    with pytest.raises(StoreUnusable, match=r"is PostgreSQL \d+, expected 99 or newer"):
        async with connect(database):
            pass


async def test_an_encoding_that_holds_not_all_text_is_refused(postgres: PostgresServer) -> None:
    """Text that agents send is kept as it is, or the service does not start (case 55)."""
    name = f"latin_{time.monotonic_ns()}"
    postgres.run(
        "createdb", "--template=template0", "--encoding=LATIN1", "--locale=C", f"--owner={OWNER}", name
    )
    with pytest.raises(StoreUnusable, match="has the encoding LATIN1, expected UTF8"):
        async with connect(postgres.address(name)):
            pass
    postgres.drop(name)


# --- who is at the other end ------------------------------------------------------------------------------


async def test_a_wrong_password_is_told_without_it(database: PostgresAddress) -> None:
    """Who cannot log in hears it, and the password is nowhere in the error (case 63)."""
    wrong = replace(database, password="hunter2-wrong")
    with pytest.raises(StoreUnavailable, match="password authentication failed") as raised:
        async with connect(wrong):
            pass
    errors: list[BaseException | None] = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert not any(wrong.password in f"{error} {error!r}" for error in errors)
    assert wrong.password not in f"{wrong} {wrong!r}"


async def test_a_server_must_prove_its_name(
    postgres: PostgresServer, database: PostgresAddress, tmp_path: Path
) -> None:
    """With TLS a server is taken with a certificate of its name from the authority named, and no other (case 62)."""
    good = replace(database, tls=True, root_certificate=postgres.certificate)
    async with connect(good) as connection:
        assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    other, _ = a_certificate_of("127.0.0.1", tmp_path)
    [(_, port)] = database.hosts
    for wrong in (
        replace(good, root_certificate=other),
        replace(good, root_certificate=None),
        replace(good, hosts=(("localhost", port),)),
    ):
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            async with connect(wrong):
                pass
    with pytest.raises(StoreUnusable, match="its certificates cannot be used"):
        async with connect(replace(good, root_certificate=tmp_path / "missing.pem")):
            pass


async def test_of_several_hosts_the_one_that_takes_writes_is_used(database: PostgresAddress) -> None:
    """A host that is down is passed over."""
    [there] = database.hosts
    async with connect(replace(database, hosts=(("127.0.0.1", 1), there))) as connection:
        assert await connection.fetchval("SELECT 1") == 1


# --- what a batch costs -----------------------------------------------------------------------------------


@pytest.fixture
async def counted(database: PostgresAddress) -> AsyncIterator[tuple[Postgres, CountingProxy]]:
    """A store whose statements are prepared, behind a proxy that counts."""
    async with connect_to_store(database):
        pass
    async with through_proxy(database) as (address, proxy):
        pool = Postgres(address, limit_seconds=PATIENCE_SECONDS, size=1)
        await pool.start()
        yield pool, proxy
        await pool.close()


@dataclass(frozen=True, slots=True)
class Numbered:
    """Counts in a cell of its own."""

    number: int

    @property
    def keys(self) -> list[bytes]:
        return [self.number.to_bytes(16, "big")]

    def run(self, cells: Cells) -> int:
        return add_one(cells, self.keys[0])


@dataclass(frozen=True, slots=True)
class NumberedTake:
    """The same, with a record."""

    number: int

    @property
    def keys(self) -> list[bytes]:
        return Numbered(self.number).keys

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        Numbered(self.number).run(cells)
        return draft


@pytest.mark.parametrize("size", [1, 64])
async def test_a_batch_of_changes_is_five_round_trips(
    counted: tuple[Postgres, CountingProxy], size: int
) -> None:
    """Begin, make, lock, write, commit: one round trip each, however many cells (case 56)."""
    pool, proxy = counted
    state = PostgresSessionState(pool)
    changes = [Numbered(number) for number in range(size)]
    await state.apply(changes, durable=False)
    before = proxy.round_trips
    assert await state.apply(changes, durable=False) == [1] * size
    assert proxy.round_trips - before == 5


@pytest.mark.parametrize("size", [1, 64])
async def test_a_batch_of_records_is_eight_round_trips(
    counted: tuple[Postgres, CountingProxy], size: int
) -> None:
    """Begin, head, names, make, lock, records, cells, commit: one round trip each, however many records."""
    pool, proxy = counted
    log = PostgresDecisionLog(pool)
    await log.append([a_draft(number, change=NumberedTake(number)) for number in range(size)])
    drafts = [a_draft(1000 + number, change=NumberedTake(number)) for number in range(size)]
    before = proxy.round_trips
    await log.append(drafts)
    assert proxy.round_trips - before == 8
    before = proxy.round_trips
    await log.recall([draft.once for draft in drafts])
    assert proxy.round_trips - before == 1


async def test_a_batch_without_changes_is_five_round_trips(counted: tuple[Postgres, CountingProxy]) -> None:
    """Records that change nothing cost no statement for cells."""
    pool, proxy = counted
    log = PostgresDecisionLog(pool)
    await log.append([a_draft(0)])
    before = proxy.round_trips
    await log.append([a_draft(number) for number in range(1, 65)])
    assert proxy.round_trips - before == 5
