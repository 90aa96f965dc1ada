"""Example records for the decision log, and the store that keeps them."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.adapters.cells_sqlite import SqliteSessionState
from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_sqlite import SqliteDecisionLog, open_store
from interlock.core.record import Draft, RecordType
from tests.fakes import NOON

LIMIT_SECONDS = 30.0
"""Long, for a busy machine: only what hangs for good reaches it."""

SHORT_SECONDS = 1.0
"""For what hangs until the test lets go."""


def a_draft(number: int = 0, **changes: Any) -> Draft:
    """A decision's record; `changes` replace fields of the draft."""
    fields: dict[str, Any] = {
        "type": RecordType.DECISION,
        "tenant": "acme",
        "once": f"decision/acme/agent-1/request-{number}",
        "decision_id": f"decision-{number}",
        "timestamp": NOON,
        "fields": {"number": number},
    }
    return Draft(**(fields | changes))


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store's decision log, and the state that changes with it."""

    log: SqliteDecisionLog
    state: SqliteSessionState


@contextlib.asynccontextmanager
async def open_store_at(path: Path, *, limit_seconds: float = LIMIT_SECONDS) -> AsyncIterator[OpenStore]:
    """The store at `path`, made where there is none."""
    writer = SingleWriter(open_store(path), limit_seconds=limit_seconds)
    try:
        yield OpenStore(SqliteDecisionLog(writer), SqliteSessionState(writer))
    finally:
        await writer.close()


@contextlib.asynccontextmanager
async def open_log(path: Path, *, limit_seconds: float = LIMIT_SECONDS) -> AsyncIterator[SqliteDecisionLog]:
    """The decision log on the store at `path`, made where there is none."""
    async with open_store_at(path, limit_seconds=limit_seconds) as store:
        yield store.log
