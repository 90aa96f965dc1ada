"""SQLite through apsw: opening a database that must not lose a commit, and one thread that writes it."""

import asyncio
import contextlib
import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw

from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable

MINIMUM_SQLITE = (3, 51, 3)
"""Below it two connections can corrupt a WAL (sqlite.org/wal.html, the WAL-reset bug; case 19)."""

_PROBLEMS_TOLD = 5
_BUSY_SHARE = 0.5

Result = TypeVar("Result")
Operation = Callable[[apsw.Connection], Result]


class ProcessLock:
    """The sole right of this process to write a database, until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the right back. Again is allowed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def process_lock(path: Path) -> ProcessLock:
    """Take the sole right to write the database at `path`, by flock(2) on `<path>.lock`.

    Raises StoreUnusable where another process holds it, or the lock file cannot be made.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnusable(f"`{lock_path}` cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreUnusable(
            f"`{path}` is in use by process {holder}; only one process may write it"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode("ascii"))
    return ProcessLock(descriptor)


def open_database(
    path: Path, application_id: int, migrations: Sequence[str], *, read_only: bool = False
) -> apsw.Connection:
    """Open a database in WAL mode with synchronous FULL, checked and migrated; made (0600) if not there.

    `migrations` are SQL scripts, of which the first makes version 1; never edit one that was released, add
    another. Read-only neither makes nor migrates, nor checks the content, which reads all of it. Raises
    StoreUnusable: SQLite too old, another program's file, a newer version's file, a failed quick_check.
    """
    _check_library()
    try:
        connection = _open(path, read_only=read_only)
    except (apsw.Error, OSError) as error:
        raise StoreUnusable(f"`{path}` cannot be opened: {error}") from error
    try:
        _check_identity(connection, path, application_id, migrations, read_only=read_only)
        if not read_only:
            _check_content(connection, path)
        _set_durability(connection, read_only=read_only)
        if not read_only:
            _migrate(connection, application_id, migrations)
    except apsw.Error as error:
        connection.close()
        raise StoreUnusable(f"`{path}` cannot be used: {error}; restore it from a copy") from error
    except StoreUnusable:
        connection.close()
        raise
    return connection


def _check_library() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        raise StoreUnusable(
            f"SQLite {apsw.sqlite_lib_version()} is too old, expected {wanted} or newer; update apsw"
        )


def _open(path: Path, *, read_only: bool) -> apsw.Connection:
    if read_only:
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    # SQLite gives the WAL the mode of the database, so it is made before SQLite can make it with another.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


def _check_identity(
    connection: apsw.Connection,
    path: Path,
    application_id: int,
    migrations: Sequence[str],
    *,
    read_only: bool,
) -> None:
    version, found = _pragma(connection, "user_version"), _pragma(connection, "application_id")
    fresh = not read_only and not version and not found and not _pragma(connection, "schema_version")
    if not fresh and found != application_id:
        raise StoreUnusable(
            f"`{path}` is of another program: application_id {found}, expected {application_id}"
        )
    if version > len(migrations):
        raise StoreUnusable(f"`{path}` is of a newer version: {version}, expected at most {len(migrations)}")
    if read_only and version < len(migrations):
        raise StoreUnusable(
            f"`{path}` is of an older version: {version}, expected {len(migrations)}; start its service once"
        )


def _check_content(connection: apsw.Connection, path: Path) -> None:
    problems = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({_PROBLEMS_TOLD})")]
    if problems != ["ok"]:
        raise StoreUnusable(f"`{path}` is damaged: {'; '.join(problems)}; restore it from a copy")


def _set_durability(connection: apsw.Connection, *, read_only: bool) -> None:
    if not read_only:
        connection.pragma("journal_mode", "wal")
    mode = connection.pragma("journal_mode")
    if mode != "wal":
        raise StoreUnusable(f"the journal mode is `{mode}`, expected `wal`; use a local file system")
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", "on")
    connection.pragma("trusted_schema", "off")


def _migrate(connection: apsw.Connection, application_id: int, migrations: Sequence[str]) -> None:
    version = _pragma(connection, "user_version")
    for number, script in enumerate(migrations[version:], start=version + 1):
        with connection:
            connection.execute(script)
            connection.pragma("application_id", application_id)
            connection.pragma("user_version", number)


def _pragma(connection: apsw.Connection, name: str) -> int:
    value = connection.pragma(name)
    if not isinstance(value, int):
        raise StoreUnusable(f"`PRAGMA {name}` gave no number")
    return value


class _Job(Generic[Result]):
    def __init__(
        self,
        operation: Operation[Result],
        *,
        writes: bool,
        if_late: Operation[Any] | None,
        durable: bool = True,
    ) -> None:
        self.operation = operation
        self.writes = writes
        self.durable = durable
        self.if_late = if_late
        self.abandoned = False
        self.done: Future[Result] = Future()
        # From here on the awaiting side cannot cancel it: whether it is given up is decided under the lock.
        self.done.set_running_or_notify_cancel()

    @property
    def shares(self) -> bool:
        """Whether it may be in one transaction with others."""
        return self.writes and self.durable


class _Spoilt(Exception):
    """The database failed in one of several jobs: each is tried alone."""


class _GivenUp(Exception):
    """The caller of one of several jobs was told that it is not done."""


class SingleWriter:
    """The one thread that uses a connection, with a time limit on each operation.

    An operation past its limit, or whose caller is cancelled, is given up: rolled back where it had not
    committed. While one hangs all others fail at once; when it ends, the writer works again by itself
    (cases 16 and 17).
    """

    def __init__(
        self, connection: apsw.Connection, *, limit_seconds: float, name: str = "store", together: int = 1
    ) -> None:
        """Up to `together` durable writes that wait share one transaction; one that fails leaves the others theirs."""
        self._connection = connection
        self._limit = limit_seconds
        self._together = together
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._ahead: list[_Job[Any] | None] = []
        self._lock = threading.Lock()
        self._running: Sequence[_Job[Any]] = ()
        self._started = 0.0
        self._closed = False
        self._durable = True
        # Shorter than the limit, so that a locked database is told as such.
        connection.set_busy_timeout(int(limit_seconds * 1000 * _BUSY_SHARE))
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def write(
        self,
        operation: Operation[Result],
        *,
        if_late: Operation[Any] | None = None,
        durable: bool = True,
    ) -> Result:
        """Run `operation` in a write transaction, committed and durable on return.

        Where not `durable`, its fsync is left to the next transaction that is: the WAL is synced as a whole,
        so that a crash of the machine undoes it only together with all that came after.

        `if_late` undoes it, in a transaction of its own, where the commit succeeds after the caller was
        told that it did not. Raises StoreUnavailable; any other error of the operation itself is raised as
        it is, after a rollback.
        """
        return await self._submit(_Job(operation, writes=True, if_late=if_late, durable=durable))

    async def read(self, operation: Operation[Result]) -> Result:
        """Run `operation` on one snapshot. Raises StoreUnavailable."""
        return await self._submit(_Job(operation, writes=False, if_late=None))

    async def check_writable(self) -> None:
        """Write nothing new, durably. Raises StoreUnavailable where nothing can be written."""
        await self.write(
            lambda connection: connection.pragma("user_version", _pragma(connection, "user_version"))
        )

    async def close(self) -> None:
        """Finish what was asked and close the connection; what hangs is not waited for past the limit."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, self._limit)

    async def _submit(self, job: _Job[Result]) -> Result:
        if self._closed:
            raise StoreUnavailable("the database is closed")
        if self._stuck():
            raise StoreUnavailable(f"the database has not answered for {self._limit} s")
        self._jobs.put(job)
        try:
            async with asyncio.timeout(self._limit):
                return await asyncio.wrap_future(job.done)
        except TimeoutError as error:
            if not self._abandon(job):
                return job.done.result()
            raise StoreUnavailable(f"the database did not answer within {self._limit} s") from error
        except asyncio.CancelledError:
            self._abandon(job)
            raise

    def _stuck(self) -> bool:
        with self._lock:
            return bool(self._running) and time.monotonic() - self._started > self._limit

    def _abandon(self, job: _Job[Any]) -> bool:
        """Give the job up: skip it if it waits, interrupt it if it runs. False where it has ended."""
        with self._lock:
            if job.done.done():
                return False
            job.abandoned = True
            if job in self._running and all(each.abandoned for each in self._running):
                self._connection.interrupt()
            return True

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            if group := self._start(taken):
                self._run_group(group)
                with self._lock:
                    self._running = ()
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    def _take(self) -> Sequence[_Job[Any]] | None:
        """What is next in the order of its arrival: one job, or several that may share a transaction. None: the end."""
        job = self._ahead.pop() if self._ahead else self._jobs.get()
        if job is None:
            return None
        group = [job]
        while job.shares and len(group) < self._together and not self._jobs.empty():
            job = self._jobs.get()
            if job is None or not job.shares:
                self._ahead.append(job)
                break
            group.append(job)
        return group

    def _start(self, taken: Sequence[_Job[Any]]) -> Sequence[_Job[Any]]:
        """Those whose callers still wait."""
        with self._lock:
            self._running = [job for job in taken if not job.abandoned]
            self._started = time.monotonic()
            return self._running

    def _run_group(self, group: Sequence[_Job[Any]]) -> None:
        if len(group) == 1:
            self._run(group[0])
            return
        try:
            ends = self._transact_group(group)
        except _Spoilt:
            for job in self._start(group):
                self._run(job)
        except _GivenUp:
            # Without those that nobody waits for any more.
            if wanted := self._start(group):
                self._run_group(wanted)
        except (apsw.Error, OSError, MemoryError) as error:
            for job in group:
                self._end(job, StoreUnavailable(f"the database failed: {error}"))
        else:
            self._tell(group, ends)

    def _tell(self, group: Sequence[_Job[Any]], ends: Sequence[tuple[Any, Exception | None]]) -> None:
        for job, (result, own) in zip(group, ends, strict=True):
            if self._end(job, own, result) and own is None and job.if_late:
                self._undo(job.if_late)

    def _transact_group(self, group: Sequence[_Job[Any]]) -> list[tuple[Any, Exception | None]]:
        """Each job's result, or its own error, in one transaction that is committed. Raises _Spoilt, _GivenUp."""
        self._begin(group[0])
        try:
            ends = [self._attempt(job) for job in group]
            with self._lock:
                if any(job.abandoned for job in group):
                    raise _GivenUp  # noqa: TRY301 - rolled back below, like all else
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(apsw.Error, OSError):
                self._roll_back()
            raise
        return ends

    def _attempt(self, job: _Job[Any]) -> tuple[Any, Exception | None]:
        self._connection.execute("SAVEPOINT job")
        try:
            result = job.operation(self._connection)
        except (apsw.Error, OSError, MemoryError) as error:
            raise _Spoilt from error
        except Exception as error:  # noqa: BLE001 - the operation's own; raised where its caller waits
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return None, error
        self._connection.execute("RELEASE job")
        return result, None

    def _run(self, job: _Job[Any]) -> None:
        try:
            result = self._transact(job)
        except (apsw.Error, OSError, MemoryError) as error:
            self._end(job, StoreUnavailable(f"the database failed: {error}"))
        except Exception as error:  # noqa: BLE001 - the operation's own; raised where its caller waits
            self._end(job, error)
        else:
            if self._end(job, None, result) and job.if_late:
                self._undo(job.if_late)

    def _begin(self, job: _Job[Any]) -> None:
        # A rollback that failed on a broken disk leaves its transaction open.
        self._roll_back()
        if job.durable is not self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if job.durable else 'NORMAL'}")
            self._durable = job.durable
        self._connection.execute("BEGIN IMMEDIATE" if job.writes else "BEGIN")

    def _transact(self, job: _Job[Result]) -> Result:
        self._begin(job)
        try:
            result = job.operation(self._connection)
            self._check_wanted(job)
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(apsw.Error, OSError):
                self._roll_back()
            raise
        return result

    def _check_wanted(self, job: _Job[Any]) -> None:
        with self._lock:
            if job.abandoned:
                raise StoreUnavailable("the operation was given up")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _end(self, job: _Job[Any], error: Exception | None, result: Any = None) -> bool:
        """Tell how the job ended. Whether it had been given up, so that nobody hears."""
        with self._lock:
            if error:
                job.done.set_exception(error)
            else:
                job.done.set_result(result)
            return job.abandoned

    def _undo(self, operation: Operation[Any]) -> None:
        with contextlib.suppress(apsw.Error, OSError):
            self._transact(_Job(operation, writes=True, if_late=None))
