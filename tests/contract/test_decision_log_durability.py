"""What the decision log acknowledged stays, whatever happens to its process, its disk or its lock."""

import asyncio
import contextlib
import itertools
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.adapters.sqlite import SingleWriter, process_lock
from interlock.adapters.store_errors import StoreUnusable
from interlock.adapters.store_sqlite import SqliteDecisionLog, find_flaws, open_store, scan
from interlock.core import record as records
from interlock.core.decision import Decision
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.record import Record
from interlock.flows.decide import Decider, decide
from tests import appending_process, deciders
from tests.broken_disk import BrokenDisk
from tests.drafts import LIMIT_SECONDS, SHORT_SECONDS, OpenStore, a_draft, open_log, open_store_at
from tests.fakes import CountingIdentifiers, OneKeyPair, ScriptedEngine, SettableClock
from tests.proposals import a_proposal, by_effect
from tests.waiting import until

PROGRAM = Path(appending_process.__file__)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def all_records(path: Path) -> list[Record]:
    """What is in a store that nobody has open, after its check at start and one of all of it."""
    with contextlib.closing(open_store(path)) as store:
        assert list(find_flaws(store)) == []
        return list(scan(store, type=None, decision_id="", tenant="", start=0, limit=None))


async def refused(log: SqliteDecisionLog, number: int) -> None:
    with pytest.raises(InterlockError) as raised:
        await log.append([a_draft(number)])
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
    assert raised.value.retry_after is not None


async def test_nothing_acknowledged_is_lost_to_kill_9(path: Path) -> None:
    """After SIGKILL at any point no acknowledged record is missing, and none is half there (case 15)."""
    chance = random.Random(20)
    acknowledged: dict[int, str] = {}
    for run in range(7):
        # The process goes on while its output is read, so that the kill meets it anywhere.
        lines = output_until_killed(path, f"run-{run}", after_lines=chance.choice([1, 2, 5, 20, 40]))
        for line in lines:
            acknowledged |= {int(index): leaf for index, leaf in line.get("acknowledged", {}).items()}
        found = all_records(path)
        assert acknowledged.items() <= {record.log_index: record.leaf_hash.hex() for record in found}.items()
        check_batches_are_whole(found)
    assert len(acknowledged) > 100


def output_until_killed(path: Path, run: str, *, after_lines: int) -> list[dict[str, Any]]:
    command = [sys.executable, str(PROGRAM), str(path), run]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.kill()
        lines += process.stdout.readlines()
    # What the kill cut in the middle was not acknowledged.
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def check_batches_are_whole(found: list[Record]) -> None:
    stated = [records.fields(record) for record in found]
    sizes = {fields["batch"]: fields["size"] for fields in stated}
    assert Counter(fields["batch"] for fields in stated) == sizes


def test_a_store_that_is_killed_while_it_is_made_is_made_again(path: Path) -> None:
    """A store whose making was cut off at any write is no harm: the next start makes it whole (case 15)."""
    with FaultyDisk() as disk:
        for number in itertools.count(1):
            for leftover in path.parent.iterdir():
                leftover.unlink()
            disk.break_at(number, apsw.IOError, lasting=True)
            with contextlib.suppress(StoreUnusable, apsw.IOError):
                open_store(path).close()
            copied = copy_of(path, number)
            if not disk.mend():
                break
            assert all_records(copied) == []
    assert number > 10


class FaultyDisk(BrokenDisk):
    """A disk whose n-th write or sync from now on fails, once or until it is mended."""

    def __init__(self) -> None:
        self._left = 0
        self._error: type[Exception] | None = None
        self._lasting = False
        super().__init__()

    def break_at(self, number: int, error: type[Exception], *, lasting: bool) -> None:
        self._left, self._error, self._lasting = number, error, lasting

    def mend(self) -> bool:
        """Nothing fails from now on. Whether something did."""
        self._error = None
        return self._left <= 0

    def check(self, method: str) -> None:
        super().check(method)
        self._left -= 1
        if self._error and (self._left == 0 or (self._left < 0 and self._lasting)):
            raise self._error(f"{method} failed")


def copy_of(path: Path, number: int) -> Path:
    """The store as a process that ended now would leave it."""
    folder = path.parent.parent / f"copy-{number}"
    folder.mkdir()
    files = [file for file in (path, path.with_name(path.name + "-wal")) if file.exists()]
    # By another process: one that opens and closes a database file gives up its own locks on it (fcntl(2)).
    subprocess.run(["cp", *files, folder], check=True)
    return folder / path.name


@pytest.mark.parametrize("checkpoint", [False, True], ids=["plain", "with-checkpoint"])
@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        pytest.param(apsw.IOError, False, id="EIO-once"),
        pytest.param(apsw.IOError, True, id="EIO"),
        pytest.param(apsw.FullError, True, id="ENOSPC"),
        pytest.param(apsw.ReadOnlyError, True, id="EROFS"),
    ],
)
async def test_every_write_and_sync_may_fail(
    tmp_path: Path, error: type[Exception], lasting: bool, checkpoint: bool
) -> None:
    """Whichever write or fsync fails, nothing acknowledged is lost, none is half there, and it recovers (case 16)."""
    path = tmp_path / "store" / "store.db"
    path.parent.mkdir()
    kept: list[Record] = []
    failures = 0
    with FaultyDisk() as disk:
        async with open_log(path) as log:
            if checkpoint:
                await log._writer.read(lambda store: store.wal_autocheckpoint(1))
            for number in itertools.count(1):
                disk.break_at(number, error, lasting=lasting)
                try:
                    kept += await log.append(a_batch(number))
                except InterlockError as refusal:
                    assert refusal.reason is ErrorReason.DECISION_LOG_UNAVAILABLE  # noqa: PT017
                    failures += 1
                failed = disk.mend()
                check_kept(all_records(copy_of(path, number)), kept)
                kept += await log.append(a_batch(-number))
                if not failed:
                    break
    assert failures > 5
    check_kept(all_records(path), kept)


def a_batch(number: int) -> list[records.Draft]:
    return [
        a_draft(place, once=f"{number}/{place}", fields={"batch": number, "size": 3}) for place in range(3)
    ]


def check_kept(found: list[Record], kept: list[Record]) -> None:
    assert set(kept) <= set(found)
    check_batches_are_whole(found)


class ForgetfulDisk(BrokenDisk):
    """A disk that knows what of each file would survive a loss of power: what was synced."""

    def __init__(self) -> None:
        self.synced: dict[str, bytes] = {}
        super().__init__()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _SyncedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        # SQLite syncs the folder with the first sync of a new WAL, so that by then this is durable.
        self.synced.pop(filename, None)

    def after_power_loss(self, folder: Path) -> None:
        """Lay what is left into `folder`."""
        folder.mkdir()
        for name, content in self.synced.items():
            (folder / Path(name).name).write_bytes(content)


class _SyncedFile(apsw.VFSFile):
    def __init__(self, disk: ForgetfulDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        assert self._name is not None
        self._disk.synced[self._name] = self.xRead(self.xFileSize(), 0)


@pytest.mark.parametrize("checkpoint", [False, True], ids=["plain", "with-checkpoint"])
async def test_what_is_acknowledged_survives_a_loss_of_power(tmp_path: Path, checkpoint: bool) -> None:
    """Of all that was only written and never synced nothing is needed to find each record again (case 18)."""
    path = tmp_path / "store.db"
    kept: list[Record] = []
    with ForgetfulDisk() as disk:
        async with open_log(path) as log:
            if checkpoint:
                await log._writer.read(lambda store: store.wal_autocheckpoint(1))
            for number in range(20):
                kept += await log.append(a_batch(number))
                disk.after_power_loss(tmp_path / f"after-{number}")
        for number in range(20):
            assert all_records(tmp_path / f"after-{number}" / path.name) == kept[: 3 * (number + 1)]


async def test_a_full_disk_refuses_until_there_is_room(path: Path) -> None:
    """Where the kernel lets no file grow nothing is acknowledged, and with room again all goes on (case 16)."""
    async with open_log(path) as log:
        await log.append([a_draft(once="first", fields={"batch": "first", "size": 1})])
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(path), "full", "100000", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    lines = [json.loads(line) for line in output.splitlines()]
    acknowledged = [line for line in lines if "acknowledged" in line]
    failed = [line["failed"] for line in lines if "failed" in line]
    assert failed == ["DECISION_LOG_UNAVAILABLE"] * 3
    assert lines[-2:] == [{"writable": True}, acknowledged[-1]]
    found = all_records(path)
    assert {record.log_index: record.leaf_hash.hex() for record in found}.items() >= {
        int(index): leaf for line in acknowledged for index, leaf in line["acknowledged"].items()
    }.items()
    check_batches_are_whole(found)


async def test_a_store_that_can_only_be_read_is_read(path: Path) -> None:
    """On a read-only store the records are there, and no append and no check of health passes (case 16)."""
    async with open_log(path) as log:
        [kept] = await log.append([a_draft(1)])
    writer = SingleWriter(open_store(path, read_only=True), limit_seconds=LIMIT_SECONDS)
    log = SqliteDecisionLog(writer)
    try:
        await refused(log, 2)
        with pytest.raises(InterlockError):
            await log.writable()
        assert await log.recall([a_draft(1).once]) == [kept]
    finally:
        await writer.close()


async def test_a_log_on_a_full_disk_can_still_be_read(path: Path) -> None:
    """While nothing can be written, health says so and what is on record is still found (case 16)."""
    with FaultyDisk() as disk:
        async with open_log(path) as log:
            [kept] = await log.append([a_draft(1)])
            disk.break_at(1, apsw.FullError, lasting=True)
            await refused(log, 2)
            with pytest.raises(InterlockError):
                await log.writable()
            assert await log.recall([a_draft(1).once, a_draft(2).once]) == [kept, None]
            disk.mend()
            assert await log.writable()


async def test_a_lock_held_too_long_fails_the_append(path: Path) -> None:
    """While another connection holds the write lock nothing is acknowledged; then it goes on (case 17)."""
    async with open_log(path, limit_seconds=SHORT_SECONDS) as log:
        with contextlib.closing(apsw.Connection(str(path))) as other:
            other.execute("BEGIN IMMEDIATE")
            await refused(log, 1)
            other.execute("ROLLBACK")
            [kept] = await log.append([a_draft(2)])
    assert all_records(path) == [kept]


async def test_a_disk_that_hangs_fails_the_append_in_time(path: Path) -> None:
    """A hanging fsync ends in the limit, all others fail at once, and afterwards the log goes on (case 17).

    What hung may be on record in the end: nobody was granted anything for it, and who asks again with its
    name gets that record.
    """
    with BrokenDisk() as disk:
        async with open_log(path, limit_seconds=SHORT_SECONDS) as log:
            [first] = await log.append([a_draft(1)])
            disk.hang()
            await refused(log, 2)
            for number in range(3, 50):
                await refused(log, number)
            with pytest.raises(InterlockError):
                await log.writable()
            disk.go_on()
            await until(lambda: can_read(log), poll_seconds=0.01)
            second, third = await log.append([a_draft(2), a_draft(3)])
    assert all_records(path) == [first, second, third]


async def can_read(log: SqliteDecisionLog) -> bool:
    try:
        await log.head()
    except InterlockError:
        return False
    return True


class WatchingKeys(OneKeyPair):
    """Keys that look, at the moment of signing, at what another connection sees of the log."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.seen: list[int] = []

    def sign(self, data: bytes) -> bytes:
        with contextlib.closing(apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)) as other:
            self.seen.append(other.execute("SELECT count(*) FROM records").get)
        return super().sign(data)


async def test_no_token_is_signed_before_its_record_is_durable(tmp_path: Path) -> None:
    """Whatever fails when, a token is signed only when the store holds its ALLOW already (invariant 2)."""
    path = tmp_path / "store" / "store.db"
    path.parent.mkdir()
    with FaultyDisk() as disk:
        async with open_store_at(path) as store:
            keys = WatchingKeys(path)
            decider = a_decider(store, keys)
            for number in itertools.count(1):
                disk.break_at(number, apsw.IOError, lasting=True)
                decision = await decided(decider, number)
                failed = disk.mend()
                if decision:
                    assert decision.execution_token
                    assert decision.log_index < keys.seen[-1]
                    kept = all_records(copy_of(path, number))[decision.log_index]
                    assert records.fields(kept)["result"]["verdict"] == "allow"
                if not failed:
                    break
    assert decision
    assert number > 5


def a_decider(store: OpenStore, keys: OneKeyPair) -> Decider:
    return deciders.a_decider(
        log=store.log,
        state=store.state,
        engine=ScriptedEngine(by_effect),
        signer=keys,
        clock=SettableClock(),
        identifiers=CountingIdentifiers(),
    )


async def decided(decider: Decider, number: int) -> Decision | None:
    try:
        [decision] = await decide([a_proposal(f"request-{number}")], decider, limit_seconds=1.0)
    except InterlockError as error:
        assert error.reason is ErrorReason.DECISION_LOG_UNAVAILABLE  # noqa: PT017
        return None
    assert isinstance(decision, Decision)
    return decision


@pytest.fixture
def running(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the store open."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(path), "run"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"opened": True}
        yield process
        process.kill()


def test_a_second_process_is_refused(path: Path, running: subprocess.Popen[bytes]) -> None:
    """Two services never write one store: the second is told which process has it (case 19)."""
    with pytest.raises(StoreUnusable, match=f"in use by process {running.pid}"):
        process_lock(path)


def test_the_log_is_read_beside_the_process_that_writes_it(
    path: Path, running: subprocess.Popen[bytes]
) -> None:
    """A reader in another process sees whole records in an unbroken chain while more are appended."""
    assert running.stdout is not None
    seen = 0
    for _ in range(5):
        acknowledged = json.loads(running.stdout.readline())["acknowledged"]
        with contextlib.closing(open_store(path, read_only=True)) as store:
            assert list(find_flaws(store)) == []
            found = list(scan(store, type=None, decision_id="", tenant="", start=0, limit=None))
        assert len(found) >= max(seen, *(int(index) + 1 for index in acknowledged))
        seen = len(found)
