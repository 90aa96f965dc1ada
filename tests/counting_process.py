"""A process that counts on a store in PostgreSQL, with many callers at once, and tells what each was given.

Run with a URL and what to do: `count CALLERS ROUNDS`, `hold` or `append RUN`. Its output are JSON objects, one a line.
"""

import asyncio
import itertools
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.postgres import Postgres
from interlock.adapters.postgres_address import parse_address
from interlock.adapters.schema_postgres import connect_to_store
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.core.cells import CellKind, Cells, Entry, cell_key
from interlock.core.record import Draft, RecordType

KEY = cell_key(CellKind.BUDGET, "acme", "hammered")
LIST = cell_key(CellKind.BUDGET, "acme", "list")
BUDGET = cell_key(CellKind.BUDGET, "acme", "budget")
LIMIT = 100
"""So many may take from the budget, over all processes."""


def add_one(cells: Cells, key: bytes) -> int:
    """What the cell counted before."""
    before = int(cells.get(key) or b"0")
    cells.put(key, str(before + 1).encode(), expire_time=datetime.now(UTC) + timedelta(days=1))
    return before


@dataclass(frozen=True, slots=True)
class Count:
    """One more."""

    keys = (KEY,)

    def run(self, cells: Cells) -> int:
        return add_one(cells, KEY)


@dataclass(frozen=True, slots=True)
class CountOnList:
    """One more, and the count is to be found on a list."""

    keys = (KEY,)

    def run(self, cells: Cells) -> int:
        cells.enlist(Entry(LIST, b"place", KEY), expire_time=datetime.now(UTC) + timedelta(days=1))
        return add_one(cells, KEY)


@dataclass(frozen=True, slots=True)
class Take:
    """One of the budget, where there is one left."""

    keys = (BUDGET,)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        granted = int(cells.get(BUDGET) or b"0") < LIMIT
        if granted:
            add_one(cells, BUDGET)
        return a_draft(draft.once, granted=granted)


@dataclass(frozen=True, slots=True)
class Hold:
    """Takes its cell and never ends."""

    keys = (KEY,)

    def run(self, cells: Cells) -> int:
        add_one(cells, KEY)
        tell(holds=True)
        time.sleep(3600)
        return 0


def a_draft(once: str, **fields: Any) -> Draft:
    return Draft(
        type=RecordType.DECISION,
        tenant="acme",
        once=once,
        decision_id="",
        timestamp=datetime.now(UTC),
        fields=fields,
        change=Take(),
    )


async def count(database: Postgres, callers: int, rounds: int) -> None:
    """Each caller counts and appends in turn, again and again."""
    state, log, own = PostgresSessionState(database), PostgresDecisionLog(database), str(time.monotonic_ns())
    tell(opened=True)
    await asyncio.to_thread(sys.stdin.readline)

    async def call(caller: int) -> list[int]:
        counted = []
        for number in range(rounds):
            [before] = await state.apply([Count()], durable=False)
            counted.append(before)
            # A request that two processes have got, and one that is this one's alone.
            await log.append([a_draft(f"shared/{caller}/{number}"), a_draft(f"{own}/{caller}/{number}")])
        return counted

    found = await asyncio.gather(*map(call, range(callers)))
    tell(counted=list(itertools.chain.from_iterable(found)))


async def append(database: Postgres, run: str) -> None:
    """Append without end, and tell what was acknowledged."""
    log = PostgresDecisionLog(database)
    for batch in itertools.count():
        appended = await log.append([a_draft(f"{run}/{batch}/{place}") for place in range(3)])
        tell(acknowledged={record.log_index: record.leaf_hash.hex() for record in appended})


def tell(**what: object) -> None:
    """One line, written at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(url: str, work: str, *arguments: str) -> None:
    address = parse_address(url)
    async with connect_to_store(address):
        pass
    database = Postgres(address, limit_seconds=30, size=8)
    await database.start()
    match work:
        case "count":
            await count(database, *map(int, arguments))
        case "hold":
            await PostgresSessionState(database).apply([Hold()], durable=True)
        case _:
            await append(database, *arguments)
    await database.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
