"""Which store the decision service runs on: the one place that knows that there is more than one."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interlock.adapters.cells_sqlite import SqliteSessionState
from interlock.adapters.credentials_sqlite import SqliteCredentials
from interlock.adapters.policy_pin_sqlite import activate_policy
from interlock.adapters.sqlite import SingleWriter, process_lock
from interlock.adapters.store_sqlite import SqliteDecisionLog
from interlock.adapters.store_sqlite import open_store as open_file
from interlock.compose.places import store_file
from interlock.compose.settings import ServiceSettings
from interlock.ports import Credentials, SessionState


class Activate(Protocol):
    """Puts it on record which policy is active from now on. Raises PolicyRollback, InterlockError."""

    async def __call__(
        self, *, revision: str, sequence: int | None, labels: Mapping[str, str], now: datetime
    ) -> None:
        """`sequence` is that of the policy's bundle; None where we never see one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The decision service's store, open for writing."""

    log: SqliteDecisionLog
    state: SessionState
    credentials: Credentials
    activate: Activate


@contextlib.asynccontextmanager
async def open_store(service: ServiceSettings) -> AsyncIterator[Store]:
    """The store that the settings name, until the end of the block. Raises StoreUnusable."""
    async with _sqlite(service) as store:
        yield store


@contextlib.asynccontextmanager
async def _sqlite(service: ServiceSettings) -> AsyncIterator[Store]:
    """The file in `data_dir`, with the sole right to write it; another process that wants it is told so."""
    service.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = store_file(service)
    lock = process_lock(path)
    try:
        connection = await asyncio.to_thread(open_file, path)
        writer = SingleWriter(connection, limit_seconds=service.log_limit_seconds, name="decision-log")
        try:
            yield Store(
                log=SqliteDecisionLog(writer),
                state=SqliteSessionState(writer),
                credentials=SqliteCredentials(writer),
                activate=functools.partial(activate_policy, writer),
            )
        finally:
            await writer.close()
    finally:
        lock.release()
