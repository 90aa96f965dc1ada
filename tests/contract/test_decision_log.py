"""The decision log's contract, which the fake and the stores keep alike; then what only the store on SQLite has."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.postgres import connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.adapters.store_sqlite import MIGRATIONS, SqliteDecisionLog, open_store
from interlock.core import record as records
from interlock.core.canonical import UnencodableError
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.record import EMPTY, Draft, Record, RecordType, head_after, problem
from tests.broken_disk import BrokenDisk
from tests.contract.postgres import PostgresServer
from tests.contract.stores import EVERY, STORED, AnyLog, Place, open_postgres
from tests.drafts import LIMIT_SECONDS, a_draft, open_log
from tests.fakes import NOON, MemoryDecisionLog


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "store.db", request)


@pytest.fixture
async def log(place: Place) -> AsyncIterator[AnyLog]:
    async with place.open() as store:
        yield store.log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def everything(log: AnyLog) -> list[Record]:
    return await log.list_records(
        tenants=["", "acme", "other"], type=None, decision_id="", start=0, limit=10_000
    )


def check_chain(found: Sequence[Record]) -> None:
    head = EMPTY
    for record in found:
        assert problem(record, head) == ""
        head = head_after(record)


async def test_what_goes_with_another_record_is_stored_only_with_it(log: AnyLog) -> None:
    """Drafts that go with one that is there already, or twice in one append, are left out whole (case 59)."""
    whole, other = a_draft(1), a_draft(1, decision_id="other")
    steps = [a_draft(number, once="", with_once=whole.once) for number in (2, 3)]
    more = a_draft(4, once="", with_once=whole.once)
    first = await log.append([whole, *steps, other, more])
    assert [record.decision_id for record in first] == [
        "decision-1",
        "decision-2",
        "decision-3",
        "decision-1",
        "decision-1",
    ]
    second = await log.append([a_draft(5), other, more])
    assert [record.decision_id for record in second] == ["decision-5", "decision-1", "decision-1"]
    found = await everything(log)
    assert [record.decision_id for record in found] == [
        "decision-1",
        "decision-2",
        "decision-3",
        "decision-5",
    ]
    check_chain(found)


async def test_a_new_log_is_empty(log: AnyLog) -> None:
    """Before the first record there is nothing, and the head says so."""
    assert await log.head() == EMPTY
    assert await everything(log) == []
    assert await log.get_record(0) is None


async def test_records_stand_one_after_the_other(log: AnyLog) -> None:
    """Indexes are dense over all batches, and each record is bound to all before it."""
    first = await log.append([a_draft(0), a_draft(1)])
    second = await log.append([a_draft(2)])
    assert [record.log_index for record in (*first, *second)] == [0, 1, 2]
    assert await everything(log) == [*first, *second]
    assert await log.head() == head_after(second[-1])
    check_chain(await everything(log))


async def test_a_record_holds_all_that_was_drafted(log: AnyLog) -> None:
    """What is kept is what was appended, and the bytes under the hash state all of it."""
    draft = a_draft(
        7,
        type=RecordType.OUTCOME,
        timestamp=NOON + timedelta(microseconds=123_457),
        fields={"text": "Straße\n\N{SNOWMAN}\0", "deep": [{"a": [1, 2.5, None, True]}]},
    )
    await log.append([draft])
    found = await log.get_record(0)
    assert found is not None
    assert (found.type, found.tenant, found.once, found.decision_id, found.timestamp) == (
        draft.type,
        draft.tenant,
        draft.once,
        draft.decision_id,
        draft.timestamp,
    )
    assert records.fields(found) == {
        **draft.fields,
        "version": 1,
        "log_index": 0,
        "type": "outcome",
        "tenant": "acme",
        "once": draft.once,
        "decision_id": "decision-7",
        "timestamp": "2026-03-01T12:00:00.123457Z",
    }


async def test_an_append_is_all_or_none(log: AnyLog) -> None:
    """Where one draft of a batch cannot be recorded none is, and the next batch has their places."""
    await log.append([a_draft(0)])
    with pytest.raises(UnencodableError):
        await log.append([a_draft(1), a_draft(2, fields={"number": 2**53}), a_draft(3)])
    assert len(await everything(log)) == 1
    [record] = await log.append([a_draft(3)])
    assert record.log_index == 1


async def test_an_empty_append_changes_nothing(log: AnyLog) -> None:
    """No drafts, no records."""
    assert await log.append([]) == []
    assert await log.head() == EMPTY


async def test_a_name_stands_once(log: AnyLog) -> None:
    """A draft whose name is in the log gives back the record that is there, also within one batch."""
    [first] = await log.append([a_draft(0)])
    again, other, twice = await log.append(
        [a_draft(0, fields={"other": True}), a_draft(1), a_draft(1, tenant="other")]
    )
    assert (again, twice) == (first, other)
    assert await everything(log) == [first, other]


async def test_what_has_no_name_may_stand_any_number_of_times(log: AnyLog) -> None:
    """An empty name names nothing."""
    appended = await log.append([a_draft(0, once=""), a_draft(0, once="")])
    assert [record.log_index for record in appended] == [0, 1]
    assert await log.recall([""]) == [None]


async def test_names_are_compared_exactly(log: AnyLog) -> None:
    """Names that differ in case, a trailing space or the form of a letter are different names (case 55)."""
    names = [
        "decision/a",
        "decision/A",
        "decision/a ",
        "decision/K",
        "decision/\N{KELVIN SIGN}",
        "decision/\N{LATIN SMALL LETTER E WITH ACUTE}",
        "decision/e\N{COMBINING ACUTE ACCENT}",
    ]
    appended = await log.append([a_draft(number, once=name) for number, name in enumerate(names)])
    assert len({record.log_index for record in appended}) == len(names)
    assert await log.recall(names) == appended


async def test_a_name_is_not_cut_at_a_nul(log: AnyLog) -> None:
    """A name with U+0000 is kept whole, or refused with its batch, and never taken for another (case 55)."""
    [plain] = await log.append([a_draft(0, once="decision/a")])
    names = ["decision/a\0", "decision/a\0b", "decision/a"]
    assert await log.recall(names) == [None, None, plain]
    try:
        kept = await log.append([a_draft(number, once=name) for number, name in enumerate(names)])
    except InterlockError as refusal:
        assert refusal.reason is ErrorReason.DECISION_LOG_UNAVAILABLE  # noqa: PT017 - some stores keep it
        assert await everything(log) == [plain]
    else:
        assert await log.recall(names) == kept
        assert [record.log_index for record in kept] == [1, 2, 0]
    assert await log.decision_records(["decision-0\0"]) == [None]
    assert (
        await log.list_records(tenants=["acme"], type=None, decision_id="decision-0\0", start=0, limit=9)
        == []
    )


async def test_recall_gives_each_name_its_record(log: AnyLog) -> None:
    """Each name has its record or nothing, in the order asked."""
    first, second = await log.append([a_draft(0), a_draft(1)])
    asked = [a_draft(1).once, "unknown", a_draft(0).once, a_draft(1).once]
    assert await log.recall(asked) == [second, None, first, second]
    assert await log.recall([]) == []


async def test_a_record_is_found_by_its_place(log: AnyLog) -> None:
    """A place has its record, and a place outside the log has none."""
    first, second = await log.append([a_draft(0), a_draft(1, tenant="other")])
    assert [await log.get_record(place) for place in (0, 1, 2, -1)] == [first, second, None, None]


async def test_a_decisions_record_is_found_by_its_id(log: AnyLog) -> None:
    """Of all records that bear a decision's id, it is the decision's own; no id is no decision."""
    await log.append([a_draft(1, once="", type=RecordType.OUTCOME)])
    [_, decision] = await log.append([a_draft(2, decision_id=""), a_draft(1)])
    await log.append([a_draft(1, once="", type=RecordType.OUTCOME)])
    found = await log.decision_records(["decision-1", "decision-9", "", "decision-1"])
    assert found == [decision, None, None, decision]


async def test_appends_at_the_same_time_do_not_meet(log: AnyLog) -> None:
    """Many callers at once get places of their own, and the chain holds."""
    batches = [[a_draft(number * 2), a_draft(number * 2 + 1)] for number in range(20)]
    appended = await asyncio.gather(*map(log.append, batches))
    assert sorted(record.log_index for batch in appended for record in batch) == list(range(40))
    for batch, drafts in zip(appended, batches, strict=True):
        assert [record.once for record in batch] == [draft.once for draft in drafts]
        assert batch[1].log_index == batch[0].log_index + 1
    check_chain(await everything(log))


async def test_a_log_says_that_it_can_be_written(log: AnyLog) -> None:
    """A healthy log is writable, and asking writes no record."""
    assert await log.writable()
    assert await log.head() == EMPTY


@dataclass(frozen=True)
class Asked:
    """What is asked of a list."""

    tenants: Sequence[str]
    type: RecordType | None
    decision_id: str
    start: int
    limit: int

    def of(self, found: Sequence[Record]) -> list[Record]:
        """The answer, told by the port's words."""
        wanted = [
            record
            for record in found
            if record.log_index >= self.start
            and record.tenant in self.tenants
            and (self.type is None or record.type is self.type)
            and self.decision_id in {"", record.decision_id}
        ]
        return wanted[: self.limit]


_TENANTS = st.sampled_from(["", "acme", "other"])
_IDS = st.sampled_from(["", "decision-1", "decision-2"])
_DRAFTS = st.lists(
    st.builds(
        lambda tenant, kind, decision_id: a_draft(once="", tenant=tenant, type=kind, decision_id=decision_id),
        _TENANTS,
        st.sampled_from(RecordType),
        _IDS,
    ),
    max_size=12,
)
_ASKED = st.builds(
    Asked,
    tenants=st.lists(_TENANTS, min_size=1, max_size=3, unique=True),
    type=st.none() | st.sampled_from(RecordType),
    decision_id=_IDS,
    start=st.integers(0, 13),
    limit=st.integers(1, 13),
)


@settings(deadline=None)
@given(drafts=_DRAFTS, asked=st.lists(_ASKED, min_size=1, max_size=8))
async def test_a_list_has_what_matches_and_no_tenant_but_those_asked_for(
    drafts: list[Draft], asked: list[Asked]
) -> None:
    """Each log lists exactly the records that match, oldest first, at most so many (case 54)."""
    async with in_memory() as stored:
        for log in (MemoryDecisionLog(), stored):
            await check_lists(log, drafts, asked)


@settings(deadline=None, max_examples=15)
@given(drafts=_DRAFTS, asked=st.lists(_ASKED, min_size=1, max_size=8))
async def test_a_list_on_postgresql_has_what_matches(
    emptied: PostgresAddress, drafts: list[Draft], asked: list[Asked]
) -> None:
    """The log on PostgreSQL lists exactly the records that match, oldest first, at most so many (case 54)."""
    async with connect(emptied) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS interlock CASCADE")
    async with open_postgres(emptied) as database:
        await check_lists(PostgresDecisionLog(database), drafts, asked)


async def check_lists(log: AnyLog, drafts: list[Draft], asked: list[Asked]) -> None:
    appended = await log.append(drafts)
    for one in asked:
        found = await log.list_records(
            tenants=one.tenants,
            type=one.type,
            decision_id=one.decision_id,
            start=one.start,
            limit=one.limit,
        )
        assert found == one.of(appended)


@pytest.fixture(scope="module")
def emptied(postgres: PostgresServer) -> PostgresAddress:
    """A database that each example empties."""
    return postgres.address(postgres.new_database())


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[SqliteDecisionLog]:
    """The real store's tables and queries, without a disk."""
    connection = apsw.Connection(":memory:")
    for script in MIGRATIONS:
        connection.execute(script)
    writer = SingleWriter(connection, limit_seconds=LIMIT_SECONDS)
    try:
        yield SqliteDecisionLog(writer)
    finally:
        await writer.close()


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_a_scan_has_what_matches_of_all_tenants_unless_one_is_named(place: Place) -> None:
    """Who has the store itself may list all of it, narrowed as asked, oldest first."""
    async with place.open() as store:
        found = await store.log.append(
            [
                a_draft(0, tenant="", type=RecordType.POLICY_ACTIVATION, decision_id=""),
                a_draft(1),
                a_draft(2, tenant="other"),
                a_draft(1, once="", type=RecordType.OUTCOME),
            ]
        )
    every: dict[str, Any] = {"type": None, "decision_id": "", "tenant": "", "start": 0, "limit": None}
    asked: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [0, 1, 2, 3]),
        ({"start": 2}, [2, 3]),
        ({"limit": 2}, [0, 1]),
        ({"tenant": "acme"}, [1, 3]),
        ({"decision_id": "decision-1"}, [1, 3]),
        ({"type": RecordType.OUTCOME}, [3]),
        ({"type": RecordType.OUTCOME, "tenant": "other"}, []),
        ({"tenant": "acme", "start": 1, "limit": 1}, [1]),
    ]

    def scan_all() -> None:
        with place.open_for_verbs(read_only=True) as store:
            for changes, places in asked:
                assert list(store.scan(**(every | changes))) == [found[place] for place in places]

    await asyncio.to_thread(scan_all)


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_what_was_appended_is_there_after_reopening(place: Place) -> None:
    """Records, and their names, outlive the process."""
    async with place.open() as store:
        appended = await store.log.append([a_draft(0), a_draft(1)])
    async with place.open() as store:
        assert await everything(store.log) == appended
        assert await store.log.append([a_draft(1)]) == appended[1:]
        [third] = await store.log.append([a_draft(2)])
        check_chain([*appended, third])


async def test_a_session_has_its_records(log: AnyLog) -> None:
    """A session's records are found in their order, page by page, and none of another session or tenant (case 54)."""
    drafts = [
        a_draft(0, session="agent-1/one"),
        a_draft(1, session="agent-1/two"),
        a_draft(2, session="agent-1/one", tenant="other"),
        a_draft(3, session="agent-1/one", type=RecordType.OUTCOME, once=""),
        a_draft(4),
    ]
    first, _, _, last, _ = await log.append(drafts)
    ask = functools.partial(log.session_records, tenant="acme", session="agent-1/one")
    assert await ask(start=0, limit=10) == [first, last]
    assert await ask(start=0, limit=1) == [first]
    assert await ask(start=1, limit=10) == [last]
    assert await log.session_records(tenant="acme", session="", start=0, limit=10) == []


async def test_a_batch_is_one_transaction_and_one_sync(path: Path) -> None:
    """However many records, a batch is synced once, and nothing is written after that (invariant 2)."""
    with CountingDisk() as disk:
        async with open_log(path) as log:
            await log.append([a_draft(0)])
            for size in (1, 50):
                disk.done.clear()
                await log.append([a_draft(number, once="") for number in range(size)])
                assert disk.done.count("xSync") == 1
                assert disk.done[-1] == "xSync"


class CountingDisk(BrokenDisk):
    """A disk that notes what it does."""

    def __init__(self) -> None:
        self.done: list[str] = []
        super().__init__()

    def check(self, method: str) -> None:
        self.done.append(method)


LOOKUPS: dict[str, Callable[[SqliteDecisionLog], Awaitable[object]]] = {
    "recall": lambda log: log.recall(["unknown", a_draft(3).once]),
    "append": lambda log: log.append([a_draft(3)]),
    "get_record": lambda log: log.get_record(3),
    "decision_record": lambda log: log.decision_records(["decision-3"]),
    "decision_record of nothing": lambda log: log.decision_records(["unknown"]),
    "head": lambda log: log.head(),
    "list": lambda log: log.list_records(tenants=["acme", ""], type=None, decision_id="", start=2, limit=3),
    "list of a type": lambda log: log.list_records(
        tenants=["acme", ""], type=RecordType.OUTCOME, decision_id="", start=0, limit=3
    ),
    "list of a decision": lambda log: log.list_records(
        tenants=["acme", ""], type=None, decision_id="decision-3", start=0, limit=3
    ),
}


@pytest.mark.parametrize("lookup", LOOKUPS)
async def test_no_lookup_reads_the_log_to_find_something(path: Path, lookup: str) -> None:
    """What a lookup costs does not grow with the log, so that no reader keeps decisions waiting."""
    connection = open_store(path)
    writer = SingleWriter(connection, limit_seconds=LIMIT_SECONDS)
    log = SqliteDecisionLog(writer)
    try:
        await log.append([a_draft(number) for number in range(7)])
        await log.append([a_draft(7, tenant="other")])
        before = await cost(connection, log, lookup)
        for tenant, numbers in (("acme", range(8, 300)), ("other", range(300, 600))):
            await log.append([a_draft(number, tenant=tenant) for number in numbers])
        assert await cost(connection, log, lookup) == before
    finally:
        await writer.close()


async def cost(connection: apsw.Connection, log: SqliteDecisionLog, lookup: str) -> list[dict[str, int]]:
    """Steps of SQLite's virtual machine, for each statement."""
    seen: list[dict[str, Any]] = []
    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, seen.append)
    await LOOKUPS[lookup](log)
    connection.trace_v2(0, None)
    names = ("VM_STEP", "FULLSCAN_STEP", "SORT")
    return [{name: event["stmt_status"][f"SQLITE_STMTSTATUS_{name}"] for name in names} for event in seen]
