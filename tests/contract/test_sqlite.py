"""SQLite as a store that must not lose a commit, must not hang, and must not be written by two processes."""

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from interlock.adapters import sqlite
from interlock.adapters.sqlite import (
    SingleWriter,
    open_database,
    process_lock,
)
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable
from tests.broken_disk import BrokenDisk
from tests.waiting import until

APPLICATION_ID = 0x54455354
MIGRATIONS = ("CREATE TABLE notes (text TEXT NOT NULL) STRICT",)
SECOND = (*MIGRATIONS, "ALTER TABLE notes ADD COLUMN size INTEGER NOT NULL DEFAULT 0")
LIMIT_SECONDS = 0.5


def insert(text: str) -> sqlite.Operation[object]:
    return lambda db: db.execute("INSERT INTO notes (text) VALUES (?)", (text,))


def notes(db: apsw.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT text FROM notes ORDER BY rowid")]


def read_only(path: Path) -> list[str]:
    connection = open_database(path, APPLICATION_ID, MIGRATIONS, read_only=True)
    with contextlib.closing(connection):
        return notes(connection)


@contextlib.asynccontextmanager
async def writing(path: Path) -> AsyncIterator[SingleWriter]:
    writer = SingleWriter(open_database(path, APPLICATION_ID, MIGRATIONS), limit_seconds=LIMIT_SECONDS)
    try:
        yield writer
    finally:
        await writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    """A write that returned is found by another connection, and after reopening."""
    async with writing(path) as writer:
        await writer.write(insert("one"))
        assert read_only(path) == ["one"]
    assert read_only(path) == ["one"]


async def test_the_database_is_durable_and_private(path: Path) -> None:
    """WAL with synchronous FULL (case 18), and nobody but the owner may read the files."""
    async with writing(path) as writer:
        await writer.write(insert("one"))
        pragmas = await writer.read(lambda db: (db.pragma("journal_mode"), db.pragma("synchronous")))
        assert pragmas == ("wal", 2)
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600


async def test_an_operation_that_raises_is_rolled_back(path: Path) -> None:
    """All or nothing: an error of the operation itself reaches the caller, and leaves nothing of it behind."""

    def half_done(db: apsw.Connection) -> None:
        insert("half")(db)
        raise KeyError("mine")

    async with writing(path) as writer:
        with pytest.raises(KeyError, match="mine"):
            await writer.write(half_done)
        assert await writer.read(notes) == []


async def test_a_reader_cannot_write(path: Path) -> None:
    """A read-only connection writes nothing and makes no file."""
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        open_database(path, APPLICATION_ID, MIGRATIONS, read_only=True)
    async with writing(path):
        pass
    connection = open_database(path, APPLICATION_ID, MIGRATIONS, read_only=True)
    with contextlib.closing(connection), pytest.raises(apsw.ReadOnlyError):
        insert("one")(connection)


async def test_migrations_go_forward_and_never_back(path: Path) -> None:
    """An older file is migrated keeping its content, a newer one refused, and a reader asks for the migration."""
    async with writing(path) as writer:
        await writer.write(insert("one"))
    with pytest.raises(StoreUnusable, match="older version: 1, expected 2; start its service once"):
        open_database(path, APPLICATION_ID, SECOND, read_only=True)
    with contextlib.closing(open_database(path, APPLICATION_ID, SECOND)) as connection:
        assert list(connection.execute("SELECT text, size FROM notes")) == [("one", 0)]
    with pytest.raises(StoreUnusable, match="newer version: 2, expected at most 1"):
        open_database(path, APPLICATION_ID, MIGRATIONS)


def test_a_migration_that_fails_leaves_the_version_before(path: Path) -> None:
    """A migration and its version number are one transaction."""
    open_database(path, APPLICATION_ID, MIGRATIONS).close()
    with pytest.raises(StoreUnusable):
        open_database(path, APPLICATION_ID, (*MIGRATIONS, "CREATE TABLE more (x); CREATE TABLE notes (x)"))
    with contextlib.closing(open_database(path, APPLICATION_ID, MIGRATIONS)) as connection:
        assert not connection.table_exists("main", "more")


def test_a_file_of_another_program_is_refused(path: Path) -> None:
    """A database that some other program made is not touched."""
    open_database(path, APPLICATION_ID, MIGRATIONS).close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="of another program"):
        open_database(path, APPLICATION_ID + 1, MIGRATIONS)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """Bytes that are no SQLite database are named as such."""
    path.write_bytes(b"not a database, but long enough to have a header" * 100)
    with pytest.raises(StoreUnusable, match="not a database"):
        open_database(path, APPLICATION_ID, MIGRATIONS)


def damage(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[8192:12288] = os.urandom(4096)
    path.write_bytes(damaged)


async def test_a_damaged_file_is_refused_with_what_is_wrong(path: Path) -> None:
    """A database that fails its quick check is not opened, and the error says what is wrong and what to do."""
    async with writing(path) as writer:
        for number in range(200):
            await writer.write(insert(f"{number}" * 100))
    damage(path)
    with pytest.raises(StoreUnusable, match=r"(damaged|malformed).*restore it from a copy"):
        open_database(path, APPLICATION_ID, MIGRATIONS)


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite with the WAL-reset bug is refused (case 19)."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(StoreUnusable, match=r"3\.51\.2 is too old, expected 3\.51\.3 or newer"):
        open_database(path, APPLICATION_ID, MIGRATIONS)


def test_a_second_process_is_refused_until_the_first_ends(path: Path) -> None:
    """Only one process writes a database; the second is told which process has it."""
    script = (
        "import sys; from pathlib import Path; from interlock.adapters.sqlite import process_lock;"
        "process_lock(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(StoreUnusable, match=f"in use by process {other.pid}"):
            process_lock(path)
        other.kill()
    process_lock(path).release()


def test_the_lock_can_be_given_back_and_taken_again(path: Path) -> None:
    """A released lock is free, and releasing it twice harms nobody."""
    first = process_lock(path)
    with pytest.raises(StoreUnusable):
        process_lock(path)
    first.release()
    first.release()
    process_lock(path).release()


async def test_a_disk_that_fails_is_told_and_recovers_by_itself(path: Path) -> None:
    """While writes or syncs fail every write raises and nothing of it stays; then writes work again (case 16)."""
    with BrokenDisk() as disk:
        async with writing(path) as writer:
            await writer.write(insert("one"))
            for broken in ("xWrite", "xSync"):
                disk.fails = broken
                for _ in range(3):
                    with pytest.raises(StoreUnavailable):
                        await writer.write(insert("lost"))
                    with pytest.raises(StoreUnavailable):
                        await writer.check_writable()
                disk.fails = ""
                await writer.check_writable()
                await writer.write(insert(broken))
            assert await writer.read(notes) == ["one", "xWrite", "xSync"]


async def test_a_disk_that_hangs_is_given_up_and_recovers_by_itself(path: Path) -> None:
    """A hanging sync ends in the time limit, others fail at once meanwhile, and afterwards all works (case 17)."""
    with BrokenDisk() as disk:
        async with writing(path) as writer:
            await writer.write(insert("one"))
            disk.hang()
            with pytest.raises(StoreUnavailable, match="did not answer within"):
                await writer.write(
                    insert("late"), if_late=lambda db: db.execute("DELETE FROM notes WHERE text = 'late'")
                )
            for _ in range(100):
                with pytest.raises(StoreUnavailable, match="has not answered"):
                    await writer.write(insert("at once"))
            disk.go_on()
            await until(lambda: _can_read(writer), poll_seconds=0.01)
            assert await writer.read(notes) == ["one"]
            await writer.write(insert("two"))
            assert await writer.read(notes) == ["one", "two"]


async def _can_read(writer: SingleWriter) -> bool:
    try:
        await writer.read(notes)
    except StoreUnavailable:
        return False
    return True


async def test_an_operation_that_is_given_up_before_its_commit_leaves_nothing(path: Path) -> None:
    """What the caller was told is not done does not get done later."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(db: apsw.Connection) -> None:
        insert("slow")(db)
        begun.set()
        go_on.wait()

    async with writing(path) as writer:
        with pytest.raises(StoreUnavailable):
            await writer.write(slow)
        assert begun.is_set()
        go_on.set()
        await until(lambda: _can_read(writer), poll_seconds=0.01)
        assert await writer.read(notes) == []


async def test_an_operation_that_waits_behind_a_slow_one_is_skipped_when_given_up(path: Path) -> None:
    """A caller that went away while it waited leaves nothing behind."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(db: apsw.Connection) -> None:
        begun.set()
        go_on.wait()

    async with writing(path) as writer:
        first = asyncio.create_task(writer.write(slow))
        await until(begun.is_set, poll_seconds=0.01)
        second = asyncio.create_task(writer.write(insert("nobody waits")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go_on.set()
        await first
        assert await writer.read(notes) == []


async def test_a_query_without_end_is_interrupted(path: Path) -> None:
    """An operation past its limit is interrupted, so that the next ones get their turn."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    async with writing(path) as writer:
        with pytest.raises(StoreUnavailable):
            await writer.read(lambda db: db.execute(endless).fetchall())
        await until(lambda: _can_read(writer), poll_seconds=0.01)


async def test_a_lock_that_another_connection_holds_is_waited_for_within_the_limit(path: Path) -> None:
    """A write that cannot get the lock fails within its limit, and succeeds once the lock is free (case 17)."""
    async with writing(path) as writer:
        other = apsw.Connection(str(path))
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await writer.write(insert("one"))
            other.execute("ROLLBACK")
            await writer.write(insert("two"))
        assert await writer.read(notes) == ["two"]


async def test_a_closed_writer_refuses(path: Path) -> None:
    """What was asked before the close is done, what is asked after it is refused."""
    async with writing(path) as writer:
        asked = [asyncio.create_task(writer.write(insert(str(number)))) for number in range(10)]
        await asyncio.sleep(0)
        await writer.close()
        await asyncio.gather(*asked)
        with pytest.raises(StoreUnavailable, match="closed"):
            await writer.write(insert("too late"))
    assert read_only(path) == [str(number) for number in range(10)]


# --- many in one transaction ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def writing_together(path: Path) -> AsyncIterator[tuple[SingleWriter, threading.Event]]:
    """A writer whose next operations wait for the event, so that they share a transaction."""
    writer = SingleWriter(
        open_database(path, APPLICATION_ID, MIGRATIONS), limit_seconds=LIMIT_SECONDS * 20, together=8
    )
    busy = threading.Event()
    holding = asyncio.ensure_future(writer.read(lambda db: busy.wait()))
    await until(lambda: writer._running != ())
    try:
        yield writer, busy
    finally:
        busy.set()
        await holding
        await writer.close()


async def test_writes_that_wait_share_a_transaction_and_each_has_its_answer(path: Path) -> None:
    """Of several in one transaction one that raises undoes its own, and its neighbours are there."""

    def refuse(db: apsw.Connection) -> None:
        insert("refused")(db)
        raise KeyError("refused")

    async with writing_together(path) as (writer, busy):
        works = [writer.write(insert("one")), writer.write(refuse), writer.write(insert("two"))]
        waiting = asyncio.gather(*works, return_exceptions=True)
        await until(lambda: writer._jobs.qsize() == len(works))
        busy.set()
        one, refused, two = await waiting
        assert isinstance(refused, KeyError)
        assert not isinstance(one, Exception)
        assert not isinstance(two, Exception)
        assert read_only(path) == ["one", "two"]


async def test_a_write_that_fails_is_tried_apart_from_its_neighbours(path: Path) -> None:
    """An error of the database in one of several leaves the others theirs."""
    async with writing_together(path) as (writer, busy):
        works = [
            writer.write(insert("one")),
            writer.write(lambda db: db.execute("INSERT INTO notes VALUES (NULL)")),
            writer.write(insert("two")),
        ]
        waiting = asyncio.gather(*works, return_exceptions=True)
        await until(lambda: writer._jobs.qsize() == len(works))
        busy.set()
        answers = await waiting
        assert [isinstance(answer, StoreUnavailable) for answer in answers] == [False, True, False]
        assert read_only(path) == ["one", "two"]


async def test_one_of_several_that_is_given_up_leaves_nothing(path: Path) -> None:
    """A write whose caller leaves while its neighbours are written is not there, and they are."""
    leave = threading.Event()
    left = threading.Event()

    def slow(db: apsw.Connection) -> None:
        insert("slow")(db)
        leave.set()
        left.wait()

    async with writing_together(path) as (writer, busy):
        leaving = asyncio.ensure_future(writer.write(insert("leaving")))
        await until(lambda: writer._jobs.qsize() == 1)
        staying = asyncio.ensure_future(writer.write(slow))
        await until(lambda: writer._jobs.qsize() == 2)
        busy.set()
        await until(leave.is_set)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        left.set()
        await staying
        assert read_only(path) == ["slow"]


async def test_a_disk_that_fails_fails_all_of_a_transaction(path: Path) -> None:
    """Where the one commit of several fails none is there, and all are told so (case 16)."""
    with BrokenDisk() as disk:
        async with writing_together(path) as (writer, busy):
            works = [writer.write(insert(str(number))) for number in range(5)]
            waiting = asyncio.gather(*works, return_exceptions=True)
            await until(lambda: writer._jobs.qsize() == len(works))
            disk.fails = "xSync"
            busy.set()
            assert all(isinstance(answer, StoreUnavailable) for answer in await waiting)
            disk.fails = ""
            await writer.write(insert("after"))
            assert read_only(path) == ["after"]
