"""Measure what session state costs: processor time, statements, decisions a second, and memory.

Prints the results, and writes them into bench/README.md.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import facts_load
import uvloop
from facts_load import Effort, Loads
from facts_report import Results, report
from facts_stores import Extent, StateResults, measure_postgres, measure_sqlite
from marks import write_between_marks
from servers import SCRATCH, NotServingError, locate_opa
from trajectories import Trajectories, read_trajectories

from interlock.compose.service_log import configure_logging
from interlock.compose.user_errors import USER_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured; counts of sessions rise."""

    sqlite: Extent
    postgres: Extent
    compared: Effort
    scaled: Effort
    scale: Sequence[int]


_SQLITE = Extent(live_sessions=10_000, rounds=3, batches=40, weighed=(500, 1_000, 2_000), steps=100)
_QUICK = Extent(live_sessions=100, rounds=1, batches=2, weighed=(10, 20), steps=3)

PLAN = Plan(
    sqlite=_SQLITE,
    postgres=replace(_SQLITE, live_sessions=2_000, weighed=(200, 400, 800)),
    compared=Effort(rounds=3, seconds=5.0),
    scaled=Effort(rounds=1, seconds=8.0),
    scale=(1_000, 10_000, 100_000),
)
QUICK_PLAN = Plan(
    sqlite=_QUICK,
    postgres=_QUICK,
    compared=Effort(rounds=1, seconds=0.1),
    scaled=Effort(rounds=1, seconds=0.1),
    scale=(100, 200),
)


def main() -> None:
    """Measure, print and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    configure_logging()
    try:
        text = report(measure_all(QUICK_PLAN if options.quick else PLAN, options.folder))
    except (*USER_ERRORS, NotServingError) as error:
        sys.exit(f"facts: {error}")
    print(text)
    if not options.no_write:
        write_between_marks("facts", text)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that all works")
    parser.add_argument("--no-write", action="store_true", help="leave bench/README.md as it is")
    parser.add_argument("--folder", type=Path, default=SCRATCH, help="folder for the stores; on a disk")
    return parser.parse_args()


def measure_all(plan: Plan, folder: Path) -> Results:
    """Everything, in a folder that is gone afterwards. Raises USER_ERRORS, NotServingError."""
    opa, trajectories = locate_opa(), read_trajectories()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        return Results(
            live_sessions=plan.sqlite.live_sessions,
            steps_weighed=plan.sqlite.steps,
            stores=measure_stores(plan, Path(scratch), opa, trajectories),
            compared=compare(plan, Path(scratch), opa, trajectories),
            scaled={
                sessions: facts_load.scale(
                    Path(scratch) / "scaled", opa, trajectories, sessions=sessions, effort=plan.scaled
                )
                for sessions in plan.scale
            },
        )


def measure_stores(plan: Plan, scratch: Path, opa: Path, trajectories: Trajectories) -> list[StateResults]:
    """SQLite, then PostgreSQL."""
    progress("the state on SQLite")
    sqlite = uvloop.run(measure_sqlite(scratch / "sqlite", opa, trajectories, plan.sqlite))
    progress("the state on PostgreSQL")
    postgres = uvloop.run(measure_postgres(scratch / "postgres", opa, trajectories, plan.postgres))
    return [sqlite, postgres]


def compare(plan: Plan, scratch: Path, opa: Path, trajectories: Trajectories) -> list[Loads]:
    """Services with facts and without."""
    progress("services side by side")
    sessions = plan.sqlite.live_sessions
    return facts_load.compare(
        scratch / "compared", opa, trajectories, sessions=sessions, effort=plan.compared
    )


def progress(text: str) -> None:
    """Say on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
