"""A gateway's replica among others on one PostgreSQL: it is there as long as its connection holds a lock."""

import asyncio
import contextlib
import time
from typing import NoReturn

import structlog

from interlock.adapters.ledger_schema_postgres import SCHEMA
from interlock.adapters.postgres import CONNECT_SECONDS, Connection, connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable

logger = structlog.get_logger()

_KIND = 0x494C4C31  # "ILL1"

# `objsubid` 2: a lock of two numbers, of which `classid` is the first and `objid` the second.
LIVE = f"""
    SELECT objid::bigint::integer FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {_KIND} AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""The replicas that are there."""

_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
# A machine that is gone says no goodbye: the server finds out within this time, and gives the lock back.
_NOTICE = """
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 10000
"""


class Replica:
    """This process among the replicas: a number that no other ever had, and a lock that shows that it is there.

    A lost connection is made anew once a second; meanwhile `held_since` is None, and others may think it gone.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._number = 0
        self._held_since: float | None = None
        self._connection: Connection | None = None
        self._task: asyncio.Task[NoReturn] | None = None
        self._entered = asyncio.Event()

    @property
    def number(self) -> int:
        """What its executions are marked with."""
        return self._number

    @property
    def held_since(self) -> float | None:
        """Since when it is seen to be there, by `time.monotonic`; None: it is not."""
        if self._connection is None or self._connection.is_closed():
            return None
        return self._held_since

    async def enter(self, connection: Connection) -> None:
        """Become one of them. Raises StoreUnavailable."""
        query = "INSERT INTO replicas DEFAULT VALUES RETURNING replica"
        self._number = int(await connection.fetchval(query))
        self._task = asyncio.create_task(self._stay())
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._entered.wait()
        except TimeoutError as error:
            await self.leave()
            raise StoreUnavailable(f"`{self._address}` did not let this replica in") from error

    async def leave(self) -> None:
        """Be gone. Again is allowed."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _stay(self) -> NoReturn:
        while True:
            try:
                await self._hold()
            except (StoreUnavailable, StoreUnusable, TimeoutError) as error:
                logger.warning("ledger_replica_not_seen", replica=self._number, cause=str(error))
            finally:
                self._connection = self._held_since = None
            await asyncio.sleep(_LOOK_SECONDS)

    async def _hold(self) -> NoReturn:
        async with connect(self._address, schema=SCHEMA) as connection:
            await connection.execute(_NOTICE)
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.execute("SELECT pg_advisory_lock($1, $2)", _KIND, self._number)
            self._connection, self._held_since = connection, time.monotonic()
            self._entered.set()
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await connection.fetchval("SELECT 1")
