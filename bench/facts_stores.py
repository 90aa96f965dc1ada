"""The state's cost and size on each store: a SQLite file, and a real PostgreSQL that is started for it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apsw
from facts_memory import Tidy, Weigh, Weight, weigh_sessions
from facts_state import STEPS, Cost, OpenState, measure_round, observe_batches, open_state, statements
from loops import ROLE, catalog
from measure import BATCH
from policy_copies import with_role
from population import Population
from postgres_server import PostgresServer
from processes import children_of, cpu_seconds
from servers import Place, make_place
from trajectories import Trajectories

from interlock.compose.places import service_of, store_file
from interlock.compose.process import settle_memory
from interlock.compose.settings import load_settings
from interlock.core.catalog import Effect
from interlock.core.cells import CellKind

STATEMENT_BATCHES = 10

_BY_KIND = """
    SELECT hex(substr(key, 1, 1)), count(*), sum(length(key) + length(data)) FROM cells GROUP BY 1 ORDER BY 3 DESC
"""

Open = Callable[..., AbstractAsyncContextManager[OpenState]]
"""Opens the store for a population whose sessions have so many `steps`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured: batches in each of the rounds, and rising counts of sessions to weigh."""

    live_sessions: int
    rounds: int
    batches: int
    weighed: Sequence[int]
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Cells of one kind for each session, those that it shares with others in part; bytes of key and data."""

    kind: str
    cells: float
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateResults:
    """What one store gave; `statements` are for one batch, by their first words."""

    title: str
    costs: Sequence[Cost]
    weights: Sequence[Weight]
    kept: Sequence[Kept] = ()
    statements: Mapping[str, float] = field(default_factory=dict)
    server_micros: Sequence[float] = ()


async def measure_sqlite(folder: Path, opa: Path, trajectories: Trajectories, extent: Extent) -> StateResults:
    """On a file, which is written and checkpointed as the service does it."""
    busy, weighed = (_place(folder / name, opa, trajectories) for name in ("busy", "weighed"))
    costs, _ = await _costs(partial(open_state, busy), trajectories, extent)
    file = store_file(service_of(load_settings(weighed.settings)))

    async def weigh() -> int:
        _checkpoint(file)
        return file.stat().st_size

    weights = await _weights(partial(open_state, weighed), trajectories, extent, weigh, lambda: None)
    return StateResults(
        title="SQLite", costs=costs, weights=weights, kept=_kept_by_kind(file, extent.weighed[-1])
    )


async def measure_postgres(
    folder: Path, opa: Path, trajectories: Trajectories, extent: Extent
) -> StateResults:
    """On a server of its own, on this machine."""
    place = _place(folder, opa, trajectories)
    with PostgresServer() as server:
        busy, weighed = server.new_database(), server.new_database()
        open_busy = partial(open_state, place, address=server.url(busy))
        costs, server_micros = await _costs(open_busy, trajectories, extent, server)

        async def weigh() -> int:
            return int(server.sql(weighed, "SELECT pg_total_relation_size('interlock.cells')"))

        def tidy() -> None:
            server.sql(weighed, "VACUUM interlock.cells")

        open_weighed = partial(open_state, place, address=server.url(weighed))
        return StateResults(
            title="PostgreSQL",
            costs=costs,
            weights=await _weights(open_weighed, trajectories, extent, weigh, tidy),
            statements=await _count_statements(server, busy, open_busy, trajectories, extent),
            server_micros=server_micros,
        )


def _place(folder: Path, opa: Path, trajectories: Trajectories) -> Place:
    effects = [effect.value for effect in Effect]
    policies = with_role(folder, ROLE, tools=trajectories.tools, effects=effects)
    return make_place(folder / "place", opa, catalog(trajectories.tools), policies=policies)


async def _costs(
    opening: Open, trajectories: Trajectories, extent: Extent, server: PostgresServer | None = None
) -> tuple[list[Cost], list[float]]:
    """The process's, by round, and the server's for all three together, in µs for one proposal."""
    costs, server_micros = [], []
    async with opening(Population(extent.live_sessions, trajectories)) as opened:
        settle_memory()
        for number in range(extent.rounds):
            before = _cpu_of(server)
            costs.append(await measure_round(opened, STEPS + number * extent.batches, extent.batches))
            server_micros.append((_cpu_of(server) - before) / (extent.batches * BATCH) * 1e6)
    return costs, server_micros if server else []


async def _weights(
    opening: Open, trajectories: Trajectories, extent: Extent, weigh: Weigh, tidy: Tidy
) -> list[Weight]:
    async with opening(Population(extent.weighed[-1], trajectories), steps=0) as opened:
        return await weigh_sessions(opened, weigh, tidy, extent.weighed, steps=extent.steps)


async def _count_statements(
    server: PostgresServer, database: str, opening: Open, trajectories: Trajectories, extent: Extent
) -> Mapping[str, float]:
    """By what PostgreSQL itself logs of them."""
    server.sql("postgres", f"ALTER DATABASE {database} SET log_statement = 'all'")
    log, first = server.folder / "log", STEPS + extent.rounds * extent.batches
    async with opening(Population(extent.live_sessions, trajectories), steps=0) as opened:
        await observe_batches(opened, first, 1)
        begins_at = log.stat().st_size
        await observe_batches(opened, first + 1, STATEMENT_BATCHES)
        counted = statements(log, begins_at)
    return {statement: count / STATEMENT_BATCHES for statement, count in counted.items()}


def _cpu_of(server: PostgresServer | None) -> float:
    """Processor seconds of all of the server's processes."""
    if server is None:
        return 0.0
    own = int((server.data / "postmaster.pid").read_text().split()[0])
    return sum(map(cpu_seconds, [own, *children_of(own)]))


def _checkpoint(file: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.pragma("wal_checkpoint", "truncate")
    connection.close()


def _kept_by_kind(file: Path, sessions: int) -> list[Kept]:
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    rows = list(connection.execute(_BY_KIND))
    connection.close()
    return [
        Kept(
            kind=CellKind(int(kind, 16)).name.lower(), cells=int(cells) / sessions, size=int(size) / sessions
        )
        for kind, cells, size in rows
    ]
