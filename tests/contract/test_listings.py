"""The contract of lists of cells, which the fake and the stores keep alike: in order, with their cells, all or none."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from interlock.adapters import cells_postgres, cells_sqlite
from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.postgres import Connection
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.adapters.store_sqlite import open_store
from interlock.core.cells import CellKind, Cells, Entry, Listed, cell_key
from interlock.core.record import Draft
from tests.contract.stores import EVERY, STORED, AnyState, AnyStore, Place, open_postgres
from tests.drafts import a_draft
from tests.fakes import NOON

FOREVER = NOON + timedelta(days=100)
LONG_AFTER = NOON + timedelta(days=1)
"""Stores keep ends in steps."""

WAITING = cell_key(CellKind.BUDGET, "acme", "list", "waiting")
OTHER = cell_key(CellKind.BUDGET, "acme", "list", "other")


def key(name: str) -> bytes:
    return cell_key(CellKind.BUDGET, "acme", name)


def unlocked_key(name: str) -> bytes:
    return cell_key(CellKind.APPROVAL, "acme", name)


@dataclass(frozen=True, slots=True)
class Line:
    """A change: it puts cells and enlists them, each at the place of its name; or takes them off the list."""

    names: Sequence[str]
    list_key: bytes = WAITING
    gone: bool = False
    expire_time: datetime = FOREVER

    @property
    def keys(self) -> list[bytes]:
        return [key(name) for name in self.names]

    def run(self, cells: Cells) -> None:
        for name in self.names:
            entry = Entry(self.list_key, name.encode(), key(name))
            if self.gone:
                cells.delist(entry)
            else:
                cells.put(key(name), f"cell {name}".encode(), expire_time=self.expire_time)
                cells.enlist(entry, expire_time=self.expire_time)


class DefectError(Exception):
    """What a change must not do."""


@dataclass(frozen=True, slots=True)
class LineAndFail(Line):
    """Enlists, and then fails."""

    def run(self, cells: Cells) -> None:
        Line.run(self, cells)
        raise DefectError


@dataclass(frozen=True, slots=True)
class Renew:
    """Writes a cell again, or only holds it, and leaves its lines as they are."""

    name: str
    writes: bool = True

    @property
    def keys(self) -> list[bytes]:
        return [key(self.name)]

    def run(self, cells: Cells) -> None:
        if self.writes:
            cells.put(key(self.name), b"renewed", expire_time=FOREVER)


@dataclass(frozen=True, slots=True)
class Outlive:
    """Lets a line outlive its cell."""

    name: str

    @property
    def keys(self) -> list[bytes]:
        return [key(self.name)]

    def run(self, cells: Cells) -> None:
        cells.enlist(Entry(WAITING, self.name.encode(), key(self.name)), expire_time=FOREVER)


@dataclass(frozen=True, slots=True)
class Stray(Line):
    """Enlists a cell that it did not ask for, or takes it off."""

    @property
    def keys(self) -> list[bytes]:
        return [key("own")]

    def run(self, cells: Cells) -> None:
        entry = Entry(self.list_key, b"a", key("other's"))
        if self.gone:
            cells.delist(entry)
        else:
            cells.enlist(entry, expire_time=FOREVER)


@dataclass(frozen=True, slots=True)
class Move:
    """A record's change: cells of an unlocked kind go to the end of the list, or the append fails."""

    names: Sequence[str]
    fails: bool = False

    @property
    def keys(self) -> list[bytes]:
        return [unlocked_key(name) for name in self.names]

    def run(self, draft: Draft, cells: Cells, log_index: int) -> Draft:
        for name in self.names:
            one = unlocked_key(name)
            if before := cells.get(one):
                cells.delist(Entry(WAITING, before, one))
            place = log_index.to_bytes(8, "big") + name.encode()
            cells.put(one, place, expire_time=FOREVER)
            cells.enlist(Entry(WAITING, place, one), expire_time=FOREVER)
        if self.fails:
            raise DefectError
        return draft


@dataclass(frozen=True, slots=True)
class Look:
    """What cells of an unlocked kind hold; `leaves` is put into each."""

    names: Sequence[str]
    leaves: bytes = b""

    @property
    def keys(self) -> list[bytes]:
        return [unlocked_key(name) for name in self.names]

    def run(self, cells: Cells) -> list[bytes]:
        found = [cells.get(one) for one in self.keys]
        for one in self.keys if self.leaves else ():
            cells.put(one, self.leaves, expire_time=FOREVER)
        return found


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "store.db", request)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[AnyStore]:
    async with place.open() as store:
        yield store


@pytest.fixture
def state(store: AnyStore) -> AnyState:
    return store.state


def listed(name: str) -> Listed:
    return Listed(name.encode(), key(name), f"cell {name}".encode())


async def names(
    state: AnyState, list_key: bytes = WAITING, *, after: bytes = b"", before: bytes | None = None
) -> str:
    """The places of a list, one letter each."""
    found = await state.page(list_key, after=after, before=before, limit=100)
    return b"".join(line.place for line in found).decode()


async def test_a_page_is_in_the_order_of_its_places(state: AnyState) -> None:
    """Lines come byte by byte in the order of their places, each with its cell, and no other list's among them."""
    await state.apply([Line(["c", "a", "\x7f", "ab", "b"]), Line(["d"], OTHER)], durable=True)
    found = await state.page(WAITING, limit=100)
    assert found == [listed(name) for name in ("a", "ab", "b", "c", "\x7f")]
    assert await state.page(OTHER, limit=100) == [listed("d")]
    assert await state.page(key("no list"), limit=100) == []


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (b"", None, "abcde"),
        (b"b", None, "cde"),
        (b"b", b"e", "cd"),
        (b"", b"c", "ab"),
        (b"bb", b"dd", "cd"),
        (b"c", b"c", ""),
        (b"d", b"b", ""),
        (b"e", None, ""),
    ],
)
async def test_a_page_is_of_a_range(
    state: AnyState, after: bytes, before: bytes | None, expected: str
) -> None:
    """Only what stands after the one place and before the other is given, neither of them included."""
    await state.apply([Line("abcde")], durable=True)
    assert await names(state, after=after, before=before) == expected


async def test_a_list_is_read_page_by_page(state: AnyState) -> None:
    """The last place of a page leads to the next one, and the pages together are the list."""
    everything = [f"{number:03}" for number in range(25)]
    await state.apply([Line(everything)], durable=True)
    found: list[str] = []
    while page := await state.page(WAITING, after=found[-1].encode() if found else b"", limit=10):
        assert len(page) == min(10, 25 - len(found))
        found += [line.place.decode() for line in page]
    assert found == everything


async def test_a_cell_stands_where_it_was_put(state: AnyState) -> None:
    """A cell stands in several lists, and leaves one without leaving the other."""
    await state.apply([Line("ab"), Line("ab", OTHER)], durable=True)
    await state.apply([Line("a", gone=True), Line("c", gone=True)], durable=True)
    assert (await names(state), await names(state, OTHER)) == ("b", "ab")
    await state.apply([Line("a"), Line("b", OTHER), Line("b", OTHER, gone=True)], durable=True)
    assert (await names(state), await names(state, OTHER)) == ("ab", "a")


async def test_a_page_has_what_the_cell_holds_now(state: AnyState) -> None:
    """A line is no copy: whoever changes the cell alone changes what the list gives."""
    await state.apply([Line("ab")], durable=True)
    await state.apply([Renew("a")], durable=True)
    assert await state.page(WAITING, limit=2) == [replace(listed("a"), data=b"renewed"), listed("b")]


async def test_many_lines_at_once_are_all_there(state: AnyState) -> None:
    """However many lines one transaction adds and takes away, each of them counts."""
    many = [f"{number:04}" for number in range(150)]
    await state.apply([Line(many)], durable=False)
    await state.apply([Line(many[:101], gone=True)], durable=False)
    found = await state.page(WAITING, limit=1_000)
    assert found == [listed(name) for name in many[101:]]


async def test_a_line_without_its_cell_is_left_out(state: AnyState) -> None:
    """A line whose cell is gone is none, and does not count for the limit, also where the cell was held since."""
    changes: list[Line | Outlive] = [Line("bc", expire_time=NOON), Line("ad"), Outlive("b"), Outlive("c")]
    await state.apply(changes, durable=True)
    await state.prune(LONG_AFTER, limit=10)
    await state.apply([Renew("b", writes=False)], durable=True)
    assert [line.place for line in await state.page(WAITING, limit=2)] == [b"a", b"d"]


async def test_lines_whose_time_is_over_are_forgotten(state: AnyState) -> None:
    """A prune forgets at most so many lines beside as many cells, and none whose time is not over."""
    await state.apply([Line("abcde", expire_time=NOON), Line("vwxyz")], durable=True)
    assert await state.prune(NOON, limit=10) == 0
    assert await state.prune(LONG_AFTER, limit=3) == 6
    assert await state.prune(LONG_AFTER, limit=3) == 4
    assert await state.prune(LONG_AFTER, limit=3) == 0
    await state.apply([Renew(name) for name in "abcde"], durable=True)
    assert await names(state) == "vwxyz"


async def test_a_line_that_is_listed_again_lives_on(state: AnyState) -> None:
    """The end of a line is that of its last enlisting."""
    await state.apply([Line("a", expire_time=NOON)], durable=True)
    await state.apply([Line("a")], durable=True)
    assert await state.prune(LONG_AFTER, limit=10) == 0
    assert await names(state) == "a"


async def test_an_error_leaves_lists_as_they_were(state: AnyState) -> None:
    """Where one change of a batch fails no line was added or taken away."""
    await state.apply([Line("ab")], durable=True)
    changes = [Line("c"), Line("a", gone=True), LineAndFail("d")]
    with pytest.raises(DefectError):
        await state.apply(changes, durable=True)
    assert await names(state) == "ab"


@pytest.mark.parametrize("gone", [False, True])
async def test_a_line_of_a_cell_that_was_not_asked_for_is_refused(state: AnyState, gone: bool) -> None:
    """Who does not hold a cell changes none of its lines."""
    await state.apply([Line("a")], durable=True)
    with pytest.raises(KeyError):
        await state.apply([Stray("", gone=gone)], durable=True)
    assert await names(state) == "a"


async def test_without_its_record_nothing_is_listed(store: AnyStore) -> None:
    """Lists change with the record that tells it, or not at all (invariant 2)."""
    await store.log.append([a_draft(0, change=Move("a"))])
    before = await store.state.page(WAITING, limit=10)
    with pytest.raises(DefectError):
        await store.log.append([a_draft(1, change=Move("ab")), a_draft(2, change=Move("a", fails=True))])
    assert await store.state.page(WAITING, limit=10) == before
    assert (await store.log.head()).size == 1


async def test_what_appends_change_is_looked_at_as_it_stands(store: AnyStore) -> None:
    """A look outside of an append sees what the last one left; whoever looks and changes has that kept too."""
    assert await store.state.apply([Look("ab")], durable=False) == [[b"", b""]]
    await store.log.append([a_draft(0, change=Move("a"))])
    [[first, nothing]] = await store.state.apply([Look("ab")], durable=True)
    assert (first[8:], nothing) == (b"a", b"")
    changes = [Look("ab", leaves=b"left"), Look("ba")]
    assert await store.state.apply(changes, durable=True) == [[first, b""], [b"left", b"left"]]
    assert await store.state.apply([Look("ab")], durable=False) == [[b"left", b"left"]]


async def test_a_cell_that_many_move_stands_once(store: AnyStore) -> None:
    """Appends that move the same cells at once come through all, and each cell ends in one place (case 56)."""
    orders = ("abcd", "dcba", "cdab", "bd")
    drafts = [
        [a_draft(once=f"{number}/{order}", change=Move(order)) for order in orders] for number in range(6)
    ]
    await asyncio.gather(*map(store.log.append, drafts))
    found = await store.state.page(WAITING, limit=100)
    assert (await store.log.head()).size == 24
    assert sorted(line.place[8:] for line in found) == [b"a", b"b", b"c", b"d"]
    assert all(line.place == line.data for line in found)


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_lists_outlive_the_process(place: Place) -> None:
    """What was listed is there after the store is opened again."""
    async with place.open() as store:
        await store.state.apply([Line("abc")], durable=True)
        await store.state.apply([Line("b", gone=True)], durable=True)
    async with place.open() as store:
        assert await names(store.state) == "ac"


async def test_two_services_list_at_once(database: PostgresAddress) -> None:
    """Two replicas that add, take away, append and forget never lock each other out, and lose no line (case 56)."""
    async with open_postgres(database) as one, open_postgres(database) as two:
        states = [PostgresSessionState(pool) for pool in (one, two)]
        logs = [PostgresDecisionLog(pool) for pool in (one, two)]
        await states[0].apply([Line("stu", expire_time=NOON)], durable=True)

        async def work(number: int) -> None:
            state, log = states[number % 2], logs[number % 2]
            await state.apply([Line("stuv"[:: 1 if number % 2 else -1])], durable=False)
            await log.append([a_draft(once=str(number), change=Move("ab" if number % 2 else "ba"))])
            await state.apply([Line("us"), Line("v", gone=True)], durable=False)
            await state.prune(LONG_AFTER, limit=10)

        await asyncio.gather(*map(work, range(12)))
        found = await states[1].page(WAITING, after=b"a", limit=100)
        assert [line.place for line in found] == [b"s", b"t", b"u"]
        moved = await states[0].page(WAITING, before=b"a", limit=100)
        assert sorted(line.place[8:] for line in moved) == [b"a", b"b"]


async def test_a_page_waits_for_nobody(database: PostgresAddress) -> None:
    """While another service is in the middle of its changes, a page gives what was committed last."""
    async with open_postgres(database) as pool:
        state = PostgresSessionState(pool)
        await state.apply([Line("ab")], durable=True)

        async def in_the_middle(connection: Connection) -> str:
            cells = await cells_postgres.lock_cells(connection, [key("a"), key("c")])
            Line("a", gone=True).run(cells)
            Line("c").run(cells)
            await cells_postgres.save_cells(connection, cells)
            return await names(state)

        assert await pool.write(in_the_middle) == "ab"
        assert await names(state) == "bc"


PLANS = [(cells_postgres.PAGE, 3), (cells_postgres.PAGE_BEFORE, 4)]


@pytest.mark.parametrize(("query", "values"), PLANS, ids=["from", "between"])
async def test_a_page_on_postgresql_is_a_part_of_an_index(
    database: PostgresAddress, query: str, values: int
) -> None:
    """However long the list is, no more of it is read than the page: nothing is sorted, or filtered by place."""
    types = ", ".join(["bytea", "bytea", "bigint", "bytea"][:values])
    given = ", ".join(["''", "''", "1", "''"][:values])

    async def explain(connection: Connection) -> str:
        await connection.execute(f"PREPARE a_page ({types}) AS {query}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE a_page ({given})")
        await connection.execute("DEALLOCATE a_page")
        return "\n".join(row[0] for row in rows)

    async with open_postgres(database) as pool:
        plans = [await pool.read(explain)]
        lines = [f"{number:05}" for number in range(2_000)]
        await PostgresSessionState(pool).apply([Line(lines)], durable=False)
        plans.append(await pool.read(explain))
        await pool.read(lambda connection: connection.execute("ANALYZE"))
        plans.append(await pool.read(explain))
    for plan in plans:
        assert re.search(r"Index (Only )?Scan using listings_pkey on listings", plan)
        assert "Sort" not in plan
        assert ("place < $4" in plan) == (values == 4)


@pytest.mark.parametrize(
    ("query", "values"), [(cells_sqlite.PAGE, 3), (cells_sqlite.PAGE_BEFORE, 4)], ids=["from", "between"]
)
def test_a_page_on_sqlite_is_a_part_of_an_index(tmp_path: Path, query: str, values: int) -> None:
    """However long the list is, no more of it is read than the page, and the writer is free again."""
    store = open_store(tmp_path / "store.db")
    rows = store.execute(f"EXPLAIN QUERY PLAN {query}", (b"", b"", 1, b"")[:values])
    end = " AND place<?" if values == 4 else ""
    assert [row[3] for row in rows] == [
        f"SEARCH listings USING PRIMARY KEY (list_key=? AND place>?{end})",
        "SEARCH cells USING INDEX sqlite_autoindex_cells_1 (key=?)",
    ]
    store.close()
