"""Several processes on one PostgreSQL: they count exactly, and the death of one leaves nothing half done."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.log_postgres import find_flaws, scan
from interlock.adapters.postgres import connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.core import record as records
from interlock.core.breaker import breaker_key
from interlock.core.cells import Cells
from interlock.core.holding import Holder, settle
from interlock.core.outcome import OutcomeKind
from interlock.core.record import Record
from tests import counting_process, deciding_process
from tests.contract.postgres import PostgresServer
from tests.contract.processes import is_alive
from tests.contract.stores import open_postgres
from tests.counting_process import KEY, LIMIT, Count
from tests.drafts import a_draft
from tests.proposals import an_answer
from tests.waiting import until

PROGRAM = Path(counting_process.__file__)
CALLERS = 32
ROUNDS = 5


class Process:
    """One of the processes."""

    def __init__(self, url: str, *work: str, program: Path = PROGRAM) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"tests.{program.stem}", url, *work],
            cwd=PROGRAM.parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """The next line that it writes."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self) -> list[bytes]:
        """SIGKILL; what it wrote until then."""
        self.process.kill()
        assert self.process.stdout is not None
        return self.process.stdout.readlines()


@contextlib.contextmanager
def running(
    postgres: PostgresServer, database: PostgresAddress, *work: str, program: Path = PROGRAM
) -> Iterator[Process]:
    process = Process(postgres.url(database.database), *work, program=program)
    with process.process:
        try:
            yield process
        finally:
            process.process.kill()


async def everything(database: PostgresAddress) -> list[Record]:
    """What is on record, in a chain without a flaw."""
    async with connect(database) as connection:
        assert [flaw async for flaw in find_flaws(connection)] == []
        pages = scan(connection, type=None, decision_id="", tenant="", start=0, limit=None)
        return [record async for page in pages for record in page]


async def test_two_processes_of_many_callers_count_exactly(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """2 processes of 32 callers each: no number twice, exactly the limit admitted, one unbroken chain (case 56)."""
    work = ("count", str(CALLERS), str(ROUNDS))
    with running(postgres, database, *work) as one, running(postgres, database, *work) as other:
        assert one.told() == other.told() == {"opened": True}
        one.go()
        other.go()
        counted = one.told()["counted"] + other.told()["counted"]
    assert sorted(counted) == list(range(2 * CALLERS * ROUNDS))
    found = [records.fields(record) for record in await everything(database)]
    # The request that both had is on record once.
    assert len(found) == 3 * CALLERS * ROUNDS
    assert sum(stated["granted"] for stated in found) == LIMIT


async def test_a_process_that_is_killed_within_a_transaction_leaves_nothing(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """After SIGKILL between a lock and the commit nothing was changed, and nobody waits for it (case 56)."""
    async with open_postgres(database) as pool:
        state = PostgresSessionState(pool)
        assert await state.apply([Count()], durable=True) == [0]
        with running(postgres, database, "hold") as process:
            assert process.told() == {"holds": True}
            process.end()
            assert await state.apply([Count()], durable=True) == [1]


async def test_a_process_that_stands_still_within_a_transaction_is_not_waited_for(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """The server ends a transaction whose process does not go on: one replica that hangs stops no other (case 17)."""
    async with open_postgres(database, limit_seconds=1.0) as held, held._connection() as stuck:
        await stuck.execute("BEGIN; SELECT size FROM log_head FOR UPDATE")
        async with open_postgres(database) as pool:
            assert len(await PostgresDecisionLog(pool).append([a_draft()])) == 1


async def test_nothing_acknowledged_is_lost_to_kill_9(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """After SIGKILL at any point no acknowledged record is missing, and none is half there (case 15)."""
    acknowledged: dict[int, str] = {}
    for run, lines in enumerate((1, 7, 20)):
        with running(postgres, database, "append", str(run)) as process:
            told = [process.told() for _ in range(lines)]
            told += [json.loads(line) for line in process.end() if line.endswith(b"\n")]
        for one in told:
            acknowledged |= {int(index): leaf for index, leaf in one["acknowledged"].items()}
        found = await everything(database)
        assert acknowledged.items() <= {record.log_index: record.leaf_hash.hex() for record in found}.items()
        assert len(found) % 3 == 0


async def test_nothing_acknowledged_is_lost_to_a_crash_of_postgresql(database: PostgresAddress) -> None:
    """After a crash of the server each durable change is there, with all that came before it (case 18)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with open_postgres(address) as pool:
            state, log = PostgresSessionState(pool), PostgresDecisionLog(pool)
            for number in range(20):
                await state.apply([Count()], durable=False)
                await log.append([a_draft(number)])
        server.kill()
        server.start()
        assert len(await everything(address)) == 20
        async with open_postgres(address) as pool:
            assert await PostgresSessionState(pool).apply([Seen()], durable=False) == [20]


class Seen:
    """What was counted."""

    keys = (KEY,)

    def run(self, cells: Cells) -> int:
        return int(cells.get(KEY) or b"0")


async def test_the_server_ends_with_its_block() -> None:
    """A PostgreSQL of the tests is gone when its block is, and so are its files."""
    with PostgresServer() as server:
        process = server._process
    assert process is not None
    assert process.poll() is not None
    assert not server.folder.exists()


STARTING = """
import time
from tests.contract.postgres import PostgresServer

with PostgresServer() as server:
    print(server._process.pid, server.folder, flush=True)
    time.sleep(3600)
"""


def test_the_server_ends_when_its_tests_are_killed() -> None:
    """A PostgreSQL of the tests does not outlive them, also where SIGKILL ends them."""
    command = [sys.executable, "-c", STARTING]
    with subprocess.Popen(command, cwd=PROGRAM.parents[1], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number, _, folder = process.stdout.readline().decode().strip().partition(" ")
        assert is_alive(int(number))
        process.kill()
    asyncio.run(until(lambda: not is_alive(int(number)), poll_seconds=0.01))
    shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Failed:
    """A call of the tool failed at this time, and opened its breaker, which is half open by now."""

    at: datetime

    keys = (breaker_key("acme", "git_log"),)

    def run(self, cells: Cells) -> None:
        terms = an_answer("allow", reservations=deciding_process.ALLOWED["probe"]).answer.reservations
        holder = Holder(
            tenant="acme",
            agent="agent-1",
            user="",
            session_id="session-1",
            tool="git_log",
            decision_id="failed-before",
        )
        settle(
            terms,
            holder,
            cells,
            at=self.at,
            kind=OutcomeKind.FAILED,
            refusal="",
            usage=None,
            elapsed=timedelta(seconds=1),
        )


@pytest.mark.parametrize(
    ("scarce", "admitted", "codes"),
    [
        ("steps", deciding_process.LIMIT, ["example.allow", "example.deny"]),
        ("budget", deciding_process.LIMIT, ["example.allow", "quota.budget"]),
        ("concurrency", deciding_process.LIMIT, ["example.allow", "quota.concurrency"]),
        ("lease", 1, ["example.allow", "lease.held"]),
        ("probe", 1, ["breakers.probing", "example.allow"]),
    ],
)
async def test_two_services_admit_exactly_the_limit(
    postgres: PostgresServer, database: PostgresAddress, scarce: str, admitted: int, codes: list[str]
) -> None:
    """Two processes with 32 callers each, on one session, budget, lease or breaker (cases 56 and 57)."""
    async with open_postgres(database) as opened:
        await PostgresSessionState(opened).apply(
            [Failed(datetime.now(UTC) - timedelta(minutes=5))], durable=True
        )
    work = (str(CALLERS), "3", scarce)
    program = Path(deciding_process.__file__)
    with (
        running(postgres, database, *work, program=program) as first,
        running(postgres, database, *work, program=program) as second,
    ):
        told = [process.told() for process in (first, second)]
        assert told == [{"opened": True}] * 2
        for process in (first, second):
            process.go()
        found = [process.told() for process in (first, second)]
    assert sum(each["decided"] for each in found) == 2 * 3 * CALLERS
    assert sum(each["admitted"] for each in found) == admitted
    assert sorted({code for each in found for code in each["codes"]}) == codes
    stated = [records.fields(record) for record in await everything(database)]
    assert sum(1 for each in stated if each["verdict"] == "allow") == admitted
    steps = sorted(each["input"]["facts"]["loops"]["session"]["steps"] for each in stated)
    assert steps == list(range(1, 2 * 3 * CALLERS + 1))
