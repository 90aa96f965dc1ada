"""A process that appends to a decision log until it is killed, and tells what was acknowledged.

Run with the store's path, a name for the run and, to find the disk full after so many bytes more, a number.
Each line of its output is a JSON object.
"""

import asyncio
import itertools
import json
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog

from interlock.adapters.sqlite import SingleWriter, process_lock
from interlock.adapters.store_sqlite import SqliteDecisionLog, open_store
from interlock.core.errors import InterlockError
from interlock.core.record import Draft, RecordType


def drafts(run: str, batch: int) -> list[Draft]:
    size = batch % 5 + 1
    return [
        Draft(
            type=RecordType.DECISION,
            tenant="acme",
            once=f"{run}/{batch}/{place}",
            decision_id="",
            timestamp=datetime.now(UTC),
            fields={"batch": f"{run}/{batch}", "size": size, "filling": "x" * 500},
        )
        for place in range(size)
    ]


async def append(log: SqliteDecisionLog, run: str) -> None:
    """Append batch after batch, without end or until one fails."""
    for batch in itertools.count():
        appended = await log.append(drafts(run, batch))
        tell(acknowledged={record.log_index: record.leaf_hash.hex() for record in appended})


async def append_on_a_full_disk(log: SqliteDecisionLog, run: str, room: int, path: Path) -> None:
    """Append until the kernel lets no file grow, then once more when it does again."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        await append(log, run)
    except InterlockError as error:
        tell(failed=error.reason)
    for attempt in (log.writable, lambda: log.append(drafts(run, -1))):
        try:
            await attempt()
        except InterlockError as error:
            tell(failed=error.reason)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    tell(writable=await log.writable())
    appended = await log.append(drafts(run, -1))
    tell(acknowledged={record.log_index: record.leaf_hash.hex() for record in appended})


def tell(**what: object) -> None:
    """One line, written at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(path: Path, run: str, *room: str) -> None:
    lock = process_lock(path)
    writer = SingleWriter(open_store(path), limit_seconds=30)
    log = SqliteDecisionLog(writer)
    tell(opened=True)
    if room:
        await append_on_a_full_disk(log, run, int(room[0]), path)
        await writer.close()
        lock.release()
    else:
        await append(log, run)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
