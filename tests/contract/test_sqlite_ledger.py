"""The ledger on SQLite: what only a disk, a lock or an older version can do to it."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from interlock.adapters.ledger_rows import KEPT
from interlock.adapters.ledger_sqlite import (
    APPLICATION_ID,
    MIGRATIONS,
    SqliteLedger,
    list_executions,
    open_ledger,
)
from interlock.adapters.sqlite import open_database
from interlock.adapters.store_errors import StoreUnusable
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.moments import to_microseconds
from interlock.ports import Redemption
from tests.broken_disk import BrokenDisk
from tests.contract.test_ledger import (
    A_FINDING,
    A_REPORT,
    LATER,
    a_redemption,
    a_refusal,
    a_step,
    an_end,
    an_unknown,
    not_due,
)
from tests.fakes import NOON
from tests.waiting import until

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 0.5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@contextlib.asynccontextmanager
async def opened(path: Path, limit_seconds: float = LIMIT_SECONDS) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path, limit_seconds=limit_seconds)
    try:
        yield ledger
    finally:
        await ledger.close()


CRASH = """
import asyncio, sys
from pathlib import Path
from interlock.adapters.ledger_sqlite import SqliteLedger
from tests.contract.test_ledger import a_redemption, an_end

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), limit_seconds=10)
    await ledger.redeem(a_redemption(1))
    await ledger.finish(an_end(1))
    await ledger.redeem(a_redemption(2))
    print("redeemed", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_crash_between_redeem_and_run_is_unknown_and_never_runs_again(path: Path) -> None:
    """After kill -9 the redemption is there, ends as `unknown`, and its token is used (invariant 8, case 25)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASH, str(path), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"redeemed\n"
    process.kill()
    await process.wait()
    async with opened(path) as ledger:
        assert await ledger.recover(LATER) == [an_unknown(2)]
        assert await ledger.undelivered(10) == [an_end(1), an_unknown(2)]
        assert await ledger.redeem(a_redemption(2, execution_id="execution-9")) == "execution-2"


async def test_what_was_redeemed_stays_redeemed_after_a_restart(path: Path) -> None:
    """A token is used for good, not only while the process lives."""
    async with opened(path) as ledger:
        await ledger.redeem(a_redemption())
        await ledger.finish(an_end())
    async with opened(path) as ledger:
        assert await ledger.recover(LATER) == []
        assert await ledger.redeem(a_redemption(execution_id="execution-2")) == "execution-1"


async def refused(ledger: SqliteLedger, redemption: Redemption) -> None:
    with pytest.raises(InterlockError) as caught:
        await ledger.redeem(redemption)
    assert caught.value.reason == ErrorReason.LEDGER_UNAVAILABLE
    assert caught.value.retry_after


@pytest.mark.parametrize("broken", ["xWrite", "xSync"])
async def test_a_disk_that_fails_redeems_nothing_and_recovers_by_itself(path: Path, broken: str) -> None:
    """While the disk fails no token is redeemed; afterwards the same token is redeemed as the first (case 16)."""
    with BrokenDisk() as disk:
        async with opened(path) as ledger:
            disk.fails = broken
            for _ in range(3):
                await refused(ledger, a_redemption())
            with pytest.raises(InterlockError):
                await ledger.writable()
            disk.fails = ""
            await ledger.writable()
            assert await ledger.redeem(a_redemption()) is None


async def test_a_disk_that_hangs_redeems_nothing_even_when_its_commit_comes_late(path: Path) -> None:
    """A token whose redemption was told to have failed stays free, also when the disk did it (case 17)."""
    with BrokenDisk() as disk:
        async with opened(path) as ledger:
            disk.hang()
            await refused(ledger, a_redemption())
            await refused(ledger, a_redemption())
            disk.go_on()
            await until(lambda: _answers(ledger), poll_seconds=0.01)
            assert await ledger.list_executions() == []
            assert await ledger.redeem(a_redemption()) is None


async def _answers(ledger: SqliteLedger) -> bool:
    try:
        await ledger.writable()
    except InterlockError:
        return False
    return True


async def test_an_end_whose_commit_comes_late_is_kept_once(path: Path) -> None:
    """An outcome that is put in again, for the first time seemed to fail, is one outcome."""
    with BrokenDisk() as disk:
        async with opened(path) as ledger:
            await ledger.redeem(a_redemption())
            disk.hang()
            with pytest.raises(InterlockError):
                await ledger.finish(an_end())
            disk.go_on()
            await until(lambda: _answers(ledger), poll_seconds=0.01)
            await ledger.finish(an_end())
            assert await ledger.undelivered(10) == [an_end()]


async def test_a_lock_held_by_another_redeems_nothing(path: Path) -> None:
    """A write lock that another connection holds ends in the time limit, and then all works again (case 17)."""
    async with opened(path) as ledger:
        other = apsw.Connection(str(path))
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            await refused(ledger, a_redemption())
            other.execute("ROLLBACK")
        assert await ledger.redeem(a_redemption()) is None


async def test_a_second_ledger_on_the_file_is_refused(path: Path) -> None:
    """One process has the ledger; a person may read it meanwhile."""
    async with opened(path) as ledger:
        await ledger.redeem(a_redemption())
        with pytest.raises(StoreUnusable, match="only one process may write it"):
            SqliteLedger(path, limit_seconds=1)
        with contextlib.closing(open_ledger(path, read_only=True)) as reader:
            assert list_executions(reader) == await ledger.list_executions()
    async with opened(path):
        pass


def test_a_damaged_ledger_is_refused_and_gives_its_lock_back(path: Path) -> None:
    """A ledger that fails its check does not start, says why, and holds nothing."""
    path.write_bytes(b"no ledger" * 1000)
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="not a database"):
            SqliteLedger(path, limit_seconds=1)


async def test_pruning_forgets_only_what_expired_long_ago_and_was_reported(path: Path) -> None:
    """A used token is remembered for 30 days past its end, and as long as its outcome waits (case 22)."""
    expire_time = a_redemption().expire_time
    async with opened(path) as ledger:
        for number in (1, 2):
            await ledger.redeem(a_redemption(number))
            await ledger.finish(an_end(number))
        await ledger.redeem(a_redemption(3))
        await ledger.delivered(an_end(1))
        assert await ledger.prune(expire_time + KEPT) == 0
        assert await ledger.prune(expire_time + KEPT + timedelta(microseconds=1)) == 1
        assert await ledger.redeem(a_redemption(2, execution_id="again")) == "execution-2"
        assert await ledger.redeem(a_redemption(3, execution_id="again")) == "execution-3"


def written(path: Path) -> bytes:
    """All that the ledger has on disk."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_a_result_is_forgotten_with_its_delivery(path: Path) -> None:
    """Once it is delivered, or never will be, no byte of a result is left in the ledger's files (case 63)."""
    text = b"a text that nobody may find here"
    async with opened(path) as ledger:
        for number in (1, 2, 3):
            await ledger.redeem(a_redemption(number))
            await ledger.finish(an_end(number, result=text * 2_000))
        await ledger.delivered(an_end(1))
        refusal = InterlockError(reason=ErrorReason.DECISION_NOT_FOUND, message="no such decision")
        await ledger.undeliverable(an_end(2), refusal)
    assert text in written(path), "what waits is kept"
    async with opened(path) as ledger:
        await ledger.delivered(an_end(3))
    assert text not in written(path)


async def test_a_ledger_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    """What an older version redeemed stays redeemed, what it did not deliver still waits, and it can go on."""
    old = open_database(path, APPLICATION_ID, MIGRATIONS[:1])
    columns = (
        "execution_id, token_id, decision_id, tool, refusal, expire_time, start_time, end_time, kind, "
        "result_digest, delivery"
    )
    begin, end = to_microseconds(NOON), to_microseconds(LATER)
    for number, kind, delivery in ((1, "succeeded", "waiting"), (2, "succeeded", "delivered"), (3, "", "")):
        names = (f"execution-{number}", f"token-{number}", f"decision-{number}", "files/write", "")
        row = (*names, end, begin, end if kind else None, kind, "d" * 43 if kind else "", delivery)
        old.execute(f"INSERT INTO executions ({columns}) VALUES ({', '.join('?' * len(row))})", row)
    old.close()
    async with opened(path) as ledger:
        assert await ledger.recover(LATER) == [an_unknown(3)]
        assert await ledger.undelivered(10) == [an_end(1), an_unknown(3)]
        for number in (1, 2, 3):
            assert await ledger.redeem(a_redemption(number, execution_id="again")) == f"execution-{number}"
        await ledger.redeem(a_redemption(4))
        await ledger.finish(an_end(4, **A_REPORT))
        await ledger.delivered(an_end(1))
        assert await ledger.undelivered(10) == [an_unknown(3), an_end(4, **A_REPORT)]


async def test_a_ledger_that_the_second_version_wrote_is_brought_up_to_date(path: Path) -> None:
    """All that is in a real file of before plans is there as it was, and it goes on with plans and findings."""
    shutil.copyfile(ROOT / "tests" / "data" / "ledger" / "version-2.db", path)
    report = {name: value for name, value in A_REPORT.items() if name != "obligation_results"}
    refusal = a_refusal(5, ErrorReason.TOKEN_EXPIRED)
    async with opened(path) as ledger:
        assert await ledger.recover(LATER) == [an_unknown(4)]
        assert await ledger.undelivered(10) == [an_end(1, **report), an_unknown(4), refusal]
        for number in range(1, 5):
            assert await ledger.redeem(a_redemption(number, execution_id="again")) == f"execution-{number}"
        await ledger.reconcile("execution-3", A_FINDING)
        assert replace(an_unknown(3), reconciliation=A_FINDING) in await ledger.undelivered(10)
        await not_due(ledger, a_step("two", "one", number=6))
        assert {execution.plan_step for execution in await ledger.list_executions()} == {""}
