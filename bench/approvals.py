"""Measure approvals while many wait: a page of the list, and how soon an agent that waits has its token.

All of it is asked of the real service over gRPC, on SQLite and on PostgreSQL. Prints the results, and writes them into
bench/README.md.
"""

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from approvals_place import ApprovalsPlace, fill, serving, spread
from approvals_rounds import (
    ALLOWED,
    FIRST_PAGE,
    NEXT_PAGE,
    ROWS,
    TOKEN,
    Times,
    measure_rounds,
    others_waiting,
)
from marks import write_between_marks
from postgres_server import PostgresServer
from processes import resident_mib
from report import machine, met_or_missed, table
from servers import SCRATCH, NotServingError, locate_opa

from interlock.adapters.opa_binary import OpaError

PLAN = {"pending": 10_000, "rounds": 200, "waiting": 1_000}
QUICK_PLAN = {"pending": 64, "rounds": 3, "waiting": 8}
WARM_UP_ROUNDS = 3
STORES = ("SQLite", "PostgreSQL")
PAGE_AT_MOST_MS = 50.0
TOKEN_AT_MOST_MS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured on one store: alone, and while others wait, of whom each costs the service so much memory."""

    store: str
    pending: int
    quiet: Times
    crowded: Times
    kib_of_waiting: float


def main() -> None:
    """Measure, print and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    try:
        text = measure_all(options)
    except (OpaError, NotServingError) as error:
        sys.exit(f"bench: {error}")
    print(text)
    if not options.no_write:
        write_between_marks("approvals", text)


def parse() -> argparse.Namespace:
    """The options; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run, whose numbers mean nothing")
    parser.add_argument("--no-write", action="store_true", help="leave bench/README.md as it is")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES, help="what to measure on")
    parser.add_argument("--pending", type=int, help="how many approvals wait")
    parser.add_argument("--rounds", type=int, help="how often each call is made, in turns")
    parser.add_argument("--waiting", type=int, help="how many other agents wait in the second half")
    parser.add_argument("--folder", type=Path, default=SCRATCH, help="folder for the stores; on a disk")
    given, _ = parser.parse_known_args()
    parser.set_defaults(**(QUICK_PLAN if given.quick else PLAN))
    return parser.parse_args()


def measure_all(options: argparse.Namespace) -> str:
    """Everything, in a folder that is gone afterwards. Raises OpaError, NotServingError."""
    opa = locate_opa()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = []
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for name in options.stores:
            with store_address(name) as store, serving(Path(scratch) / name, opa, store=store) as made:
                found.append(asyncio.run(measure(name, made, options)))
    return report(found, options)


@contextlib.contextmanager
def store_address(name: str) -> Iterator[str]:
    """Where the store is; empty for SQLite, in the place's own folder."""
    if name == "SQLite":
        yield ""
        return
    with PostgresServer() as server:
        yield server.url(server.new_database())


async def measure(name: str, made: ApprovalsPlace, options: argparse.Namespace) -> Measured:
    """One store, first without and then with others that wait."""
    begun = time.perf_counter()
    pending = await fill(made, options.pending)
    progress(f"{name}: {len(pending):,} approvals wait after {time.perf_counter() - begun:.0f} s")
    await measure_rounds(made, WARM_UP_ROUNDS)  # what the first calls make is made once
    quiet = await measure_rounds(made, options.rounds)
    process = made.server.watched["service"]
    before = resident_mib(process)
    async with others_waiting(made, spread(pending, options.waiting)):
        kib = (resident_mib(process) - before) * 1_024 / options.waiting
        crowded = await measure_rounds(made, options.rounds)
    return Measured(store=name, pending=len(pending), quiet=quiet, crowded=crowded, kib_of_waiting=kib)


def report(found: Sequence[Measured], options: argparse.Namespace) -> str:
    """The whole of it."""
    explained = (
        f"Each call {options.rounds} times, one at a time and in turns; p50 and p95 in ms, and p50 over that of the "
        f"first row. Then the same while {options.waiting:,} other agents wait for approvals."
    )
    parts = [machine(), explained]
    for measured in found:
        parts += [
            f"{measured.store}, {measured.pending:,} approvals waiting:",
            compared(measured, options.waiting),
            "\n".join(f"- {line}" for line in told(measured)),
        ]
    return "\n\n".join(parts)


def compared(measured: Measured, waiting: int) -> str:
    """A row for each call."""
    header = ("call", "p50", "p95", "ratio", f"p50 of {waiting:,} waiting", "p95", "ratio")
    rows = [(row, *cells_of(row, measured.quiet), *cells_of(row, measured.crowded)) for row in ROWS]
    return table(header, rows)


def cells_of(row: str, times: Times) -> tuple[str, str, str]:
    """What a call took, and its ratio to a plain decision of the same rounds."""
    ratio = p50(times[row]) / p50(times[ALLOWED])
    return f"{p50(times[row]):.2f}", f"{p95(times[row]):.2f}", f"{ratio:.2f}"


def told(measured: Measured) -> Iterator[str]:
    """The targets, what was reached, and whether that does."""
    page = max(p50(measured.quiet[FIRST_PAGE]), p50(measured.quiet[NEXT_PAGE]))
    token = p50(measured.quiet[TOKEN])
    yield (
        f"A page of the list: {page:.2f} ms at p50; "
        f"target ≤ {PAGE_AT_MOST_MS:g} ms: {met_or_missed(met=page <= PAGE_AT_MOST_MS)}"
    )
    yield (
        f"From the answer to the token: {token:.2f} ms at p50; "
        f"target ≤ {TOKEN_AT_MOST_MS:g} ms: {met_or_missed(met=token <= TOKEN_AT_MOST_MS)}"
    )
    yield f"Each agent that waits costs the service {measured.kib_of_waiting:.0f} KiB"


def p50(times: Sequence[float]) -> float:
    """Median."""
    return statistics.median(times)


def p95(times: Sequence[float]) -> float:
    """What one call in twenty takes at least."""
    return statistics.quantiles(times, n=20)[-1]


def progress(text: str) -> None:
    """Tell how far it is, beside the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
