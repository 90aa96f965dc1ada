"""PostgreSQL through asyncpg: connections that may be trusted with a commit, and a pool with a time limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar

import asyncpg

from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable

MINIMUM_VERSION = 15
SCHEMA = "interlock"
CONNECT_SECONDS = 10.0
"""How long a connection may take to be made where no operation waits for it: at start, and for a verb."""

_LOCK_SHARE = 0.5
_VERSION_UNIT = 10_000
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

# The session's own value is set by the session, so that a change of the server's configuration leaves it.
_EXAMINE = """
    SELECT current_setting('server_version_num')::int AS version,
           pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
           set_config('synchronous_commit', current_setting('synchronous_commit'), false) AS commits,
           current_setting('fsync') AS syncs,
           current_setting('server_encoding') AS encoding
"""

# Statements look few rows up by their keys. Whatever the planner has not yet heard of a table's growth, it
# shall take the index; and one plan will do for all values.
_PLANNING = {
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}

_BEGIN = "BEGIN"
_BEGIN_LAZILY = "BEGIN; SET LOCAL synchronous_commit = off"

Result = TypeVar("Result")


class Connection(Protocol):
    """What is used of a connection."""

    async def execute(self, query: str, *values: Any) -> str:
        """Run statements that give no rows."""
        ...

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *values: Any) -> Any:
        """The first row; None where there is none."""
        ...

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first value of the first row; None where there is none."""
        ...

    def is_closed(self) -> bool:
        """Whether it is known to be no more."""
        ...


Operation = Callable[[Connection], Awaitable[Result]]


class TryAgain(Exception):
    """What an operation found was changed under its hands; it is rolled back and run once more."""


@contextlib.asynccontextmanager
async def connect(address: PostgresAddress, *, schema: str = SCHEMA) -> AsyncIterator[Connection]:
    """A connection of one's own, without limits on what is done with it, until the end of the block.

    Raises StoreUnusable: a server that may not be used; StoreUnavailable: none, or one that fails.
    """
    with failing(address):
        connection = await asyncpg.connect(
            **_arguments(address, CONNECT_SECONDS), server_settings=_settings(schema)
        )
        try:
            await _examined(address, connection)
            yield connection
        finally:
            await connection.close(timeout=CONNECT_SECONDS)


async def _examined(address: PostgresAddress, connection: Connection) -> None:
    try:
        await examine(connection)
    except StoreUnusable as error:
        raise StoreUnusable(f"`{address}` {error}") from error


@contextlib.contextmanager
def failing(address: PostgresAddress) -> Iterator[None]:
    """Tells an error of driver or server as one of the store, with the address that it is of."""
    try:
        yield
    except _FAILURES as error:
        raise StoreUnavailable(f"`{address}` failed: {_told(error)}") from error


async def examine(connection: Connection) -> None:
    """Raises StoreUnusable for a server to which a commit is no promise, or that is too old."""
    found = await connection.fetchrow(_EXAMINE)
    version = found["version"] // _VERSION_UNIT
    if version < MINIMUM_VERSION:
        raise StoreUnusable(f"is PostgreSQL {version}, expected {MINIMUM_VERSION} or newer")
    if found["read_only"]:
        raise StoreUnusable("takes no writes: it is a standby or read-only; name the primary")
    if found["commits"] == "off" or found["syncs"] == "off":
        raise StoreUnusable(
            "may lose what it has committed: set `synchronous_commit` and `fsync` to `on` (case 18)"
        )
    if found["encoding"] != "UTF8":
        raise StoreUnusable(f"has the encoding {found['encoding']}, expected UTF8; create it anew")


class Postgres:
    """A pool of connections. Each operation has a time limit, in which all that it waits for is waited for.

    An operation that is late, or whose caller is cancelled, loses its connection, and the server rolls it back.
    It may have been committed where it was COMMIT that was late. New connections are made as they are needed,
    so that it works again by itself when the server does.
    """

    def __init__(
        self, address: PostgresAddress, *, limit_seconds: float, size: int, schema: str = SCHEMA
    ) -> None:
        """At most `size` connections. `start` is due before anything else."""
        self._limit = limit_seconds
        self._pool = asyncpg.create_pool(
            **_arguments(address, limit_seconds),
            server_settings=_settings(schema, limit_seconds),
            init=examine,
            reset=_leave_as_it_is,
            init_size=1,
            min_size=0,
            max_size=size,
            max_inactive_connection_lifetime=0,
            max_cached_statement_lifetime=0,
        )

    async def start(self) -> None:
        """Make the first connection. Raises StoreUnavailable."""
        await self._in_time(self._pool)

    async def close(self) -> None:
        """Finish what was asked and close the connections; what hangs is not waited for past the limit."""
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(self._limit):
                await self._pool.close()

    async def write(self, operation: Operation[Result], *, durable: bool = True) -> Result:
        """Run `operation` in a transaction, committed and durable on return.

        Where not `durable`, its flush to disk is left to the next transaction that is: the WAL is flushed up to
        that one's end, so that a crash undoes it only together with all that came after.

        It is run once more after a deadlock, and where its connection turns out to be lost. Raises StoreUnavailable;
        any other error of the operation itself is raised as it is, after a rollback.
        """
        return await self._in_time(self._transact_twice(operation, _BEGIN if durable else _BEGIN_LAZILY))

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement, which sees one snapshot. Raises StoreUnavailable."""
        return await self._in_time(self._read(operation))

    async def _in_time(self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self._limit):
                return await work
        except TimeoutError as error:
            raise StoreUnavailable(f"the database did not answer within {self._limit} s") from error
        except (*_FAILURES, StoreUnusable, TryAgain) as error:
            raise StoreUnavailable(f"the database failed: {_told(error)}") from error

    async def _read(self, operation: Operation[Result]) -> Result:
        async with self._connection() as connection:
            return await operation(connection)

    async def _transact_twice(self, operation: Operation[Result], begin: str) -> Result:
        try:
            return await self._transact(operation, begin)
        except (*_CONFLICTS, TryAgain):
            return await self._transact(operation, begin)

    async def _transact(self, operation: Operation[Result], begin: str) -> Result:
        async with self._connection() as connection:
            await _begin(connection, begin)
            result = await operation(connection)
            await connection.execute("COMMIT")
            return result

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._pool.acquire()
        known = False
        try:
            try:
                yield connection
            except Exception:
                with contextlib.suppress(*_FAILURES):
                    await connection.execute("ROLLBACK")
                    known = True
                raise
            known = True
        finally:
            # Cancelled in the middle of something: nobody knows what is left of it, so nobody goes on with it.
            if not known:
                connection.terminate()
            await self._pool.release(connection)


async def _begin(connection: Connection, begin: str) -> None:
    """Begin a transaction. Raises TryAgain where that fails: nothing was done, and the pool has other connections.

    A server that has just ended a connection is heard of only by using it.
    """
    try:
        await connection.execute(begin)
    except _FAILURES as error:
        raise TryAgain(f"a transaction did not begin: {_told(error)}") from error


def _arguments(address: PostgresAddress, limit_seconds: float) -> dict[str, Any]:
    return {
        "host": [host for host, _ in address.hosts],
        "port": [port for _, port in address.hosts],
        "user": address.user,
        "password": address.password or None,
        "database": address.database,
        "ssl": address.tls_context() or False,
        "timeout": limit_seconds,
        "target_session_attrs": "read-write" if len(address.hosts) > 1 else "any",
    }


def _settings(schema: str, limit_seconds: float = 0) -> dict[str, str]:
    """What a session is set to. The server keeps the limits too, whatever became of who asked; 0 is none."""
    milliseconds = int(limit_seconds * 1000)
    return {
        "application_name": "interlock",
        "search_path": f"{schema}, pg_temp",
        # Each statement sees what was committed before it, also by whom it waited for.
        "default_transaction_isolation": "read committed",
        "statement_timeout": str(milliseconds),
        # Shorter than the limit, so that a lock is told as such.
        "lock_timeout": str(int(milliseconds * _LOCK_SHARE)),
        "idle_in_transaction_session_timeout": str(milliseconds),
        **_PLANNING,
    }


async def _leave_as_it_is(connection: object) -> None:
    """What is set is set for one transaction, so that there is nothing to reset."""


def _told(error: Exception) -> str:
    """An error in words without anybody's data, which PostgreSQL gives as detail and the driver as a value."""
    match error:
        case asyncpg.PostgresError():
            return str(error.args[0])
        case ValueError() if not isinstance(error, OSError):
            return type(error).__name__
        case _:
            return str(error) or type(error).__name__
