"""The state's contract, which the fake and the stores keep alike: counting is exact, and all or none (case 56)."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from interlock.core.cells import CellKind, Cells, cell_key
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.record import Draft
from tests.contract.stores import EVERY, STORED, AnyState, AnyStore, Place
from tests.drafts import SHORT_SECONDS, a_draft
from tests.fakes import NOON
from tests.waiting import until

LATER = NOON + timedelta(days=1)
LONG_AFTER = LATER + timedelta(hours=1)
"""Stores keep ends of cells in steps."""


def key(name: str) -> bytes:
    return cell_key(CellKind.BUDGET, "acme", name)


@dataclass(frozen=True, slots=True)
class Add:
    """Adds to numbers, and tells what each was before."""

    names: Sequence[str]
    amount: int = 1
    expire_time: datetime = LATER

    @property
    def keys(self) -> list[bytes]:
        return [key(name) for name in self.names]

    def run(self, cells: Cells) -> list[int]:
        before = [int(cells.get(one) or b"0") for one in self.keys]
        for one, number in zip(self.keys, before, strict=True):
            cells.put(one, str(number + self.amount).encode(), expire_time=self.expire_time)
        return before


@dataclass(frozen=True, slots=True)
class Read:
    """Changes nothing."""

    names: Sequence[str]

    @property
    def keys(self) -> list[bytes]:
        return [key(name) for name in self.names]

    def run(self, cells: Cells) -> list[int]:
        return [int(cells.get(one) or b"0") for one in self.keys]


class DefectError(Exception):
    """What a change must not do."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Changes a number, and then fails."""

    name: str

    @property
    def keys(self) -> list[bytes]:
        return [key(self.name)]

    def run(self, cells: Cells) -> list[int]:
        Add([self.name]).run(cells)
        raise DefectError


@dataclass(frozen=True, slots=True)
class Touch:
    """Reads or writes a cell that it did not ask for."""

    writes: bool

    @property
    def keys(self) -> list[bytes]:
        return [key("own")]

    def run(self, cells: Cells) -> list[int]:
        if self.writes:
            cells.put(key("other's"), b"1", expire_time=LATER)
        return [len(cells.get(key("other's")))]


@dataclass(frozen=True, slots=True)
class Take:
    """A record's change: takes one of a budget of `limit`, and the record tells whether it got it."""

    name: str
    limit: int

    @property
    def keys(self) -> list[bytes]:
        return [key(self.name)]

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        taken = int(cells.get(key(self.name)) or b"0")
        if taken < self.limit:
            cells.put(key(self.name), str(taken + 1).encode(), expire_time=LATER)
        return a_draft(once=draft.once, fields={"granted": taken < self.limit})


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


async def read(state: AnyState, *names: str) -> list[int]:
    [found] = await state.apply([Read(names)], durable=False)
    return found


@pytest.mark.parametrize("durable", [False, True])
async def test_a_cell_holds_what_was_put(state: AnyState, durable: bool) -> None:
    """What a change put is what the next one finds, durable or not; a cell that nobody put is empty."""
    assert await state.apply([Add(["one", "two"], 5)], durable=durable) == [[0, 0]]
    assert await state.apply([Add(["two", "three"])], durable=durable) == [[5, 0]]
    assert await read(state, "one", "two", "three", "four") == [5, 6, 1, 0]


async def test_changes_run_in_their_order(state: AnyState) -> None:
    """Of two changes of one batch the second sees what the first did, and each gives its own result."""
    changes: list[Add | Read] = [Add(["a"]), Read(["a"]), Add(["b", "a"]), Read(["a", "b"])]
    found = await state.apply(changes, durable=True)
    assert found == [[0], [1], [0, 1], [2, 1]]


async def test_no_changes_change_nothing(state: AnyState) -> None:
    """An empty batch, and one without cells, is done at once."""
    assert await state.apply([], durable=True) == []
    assert await state.apply([Read([])], durable=True) == [[]]


async def test_an_error_undoes_the_whole_batch(state: AnyState) -> None:
    """Where one change fails none was made, and its error is the caller's own."""
    await state.apply([Add(["a"])], durable=True)
    changes: list[Add | Fail] = [Add(["a", "b"]), Fail("c"), Add(["d"])]
    with pytest.raises(DefectError):
        await state.apply(changes, durable=True)
    assert await read(state, "a", "b", "c", "d") == [1, 0, 0, 0]


@pytest.mark.parametrize("writes", [False, True])
async def test_a_cell_that_was_not_asked_for_is_refused(state: AnyState, writes: bool) -> None:
    """A change reaches no cell but those that it holds."""
    with pytest.raises(KeyError):
        await state.apply([Touch(writes)], durable=True)
    assert await read(state, "other's") == [0]


async def test_callers_at_the_same_time_count_one_after_the_other(state: AnyState) -> None:
    """However many count one thing at once, no two see the same number and none is lost (case 56)."""
    found = await asyncio.gather(*(state.apply([Add(["shared"])], durable=False) for _ in range(100)))
    assert sorted(before for [[before]] in found) == list(range(100))
    assert await read(state, "shared") == [100]


async def test_callers_that_want_each_others_cells_do_not_lock_each_other_out(state: AnyState) -> None:
    """Batches over the same cells in different orders all come through (case 56)."""
    names = [f"cell-{number}" for number in range(12)]
    orders = [names, names[::-1], names[6:] + names[:6], names[::2] + names[1::2]]
    batches = [[Add(order)] for order in orders for _ in range(10)]
    await asyncio.gather(*(state.apply(batch, durable=False) for batch in batches))
    assert await read(state, *names) == [40] * 12


async def test_a_record_and_what_it_changes_are_one(store: AnyStore) -> None:
    """Records take from a budget exactly what is there, however many at once, and tell it (case 56)."""
    drafts = [
        [a_draft(once=f"{number}/{place}", change=Take("budget", 7)) for place in range(4)]
        for number in range(5)
    ]
    await asyncio.gather(*map(store.log.append, drafts))
    found = await store.log.list_records(tenants=["acme"], type=None, decision_id="", start=0, limit=100)
    assert len(found) == 20
    assert sum(b'"granted":true' in record.content for record in found) == 7
    assert await read(store.state, "budget") == [7]


async def test_a_name_that_is_there_changes_nothing_again(store: AnyStore) -> None:
    """A request that comes again takes nothing a second time, also within one batch (case 56)."""
    draft = a_draft(change=Take("budget", 7))
    [first] = await store.log.append([draft])
    assert await store.log.append([draft, draft]) == [first, first]
    assert await read(store.state, "budget") == [1]


@dataclass(frozen=True, slots=True)
class TakeAndFail(Take):
    """Takes, and then fails."""

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        Take.run(self, draft, cells, _log_index)
        raise DefectError


async def test_without_its_record_nothing_is_changed(store: AnyStore) -> None:
    """Where a batch of records fails its changes are undone with it (invariant 2)."""
    await store.log.append([a_draft(0, change=Take("budget", 7))])
    with pytest.raises(DefectError):
        await store.log.append(
            [a_draft(1, change=Take("budget", 7)), a_draft(2, change=TakeAndFail("budget", 7))]
        )
    assert await read(store.state, "budget") == [1]
    assert (await store.log.head()).size == 1


async def test_cells_whose_time_is_over_are_forgotten(state: AnyState) -> None:
    """A prune forgets at most so many of those that are over, and none that is not."""
    await state.apply([Add([f"old-{number}" for number in range(5)], expire_time=NOON)], durable=True)
    await state.apply([Add(["new"], expire_time=LONG_AFTER + timedelta(hours=1))], durable=True)
    assert await state.prune(NOON, limit=10) == 0
    assert await state.prune(LONG_AFTER, limit=3) == 3
    assert await state.prune(LONG_AFTER, limit=3) == 2
    assert await state.prune(LONG_AFTER, limit=3) == 0
    assert await read(state, "new", *(f"old-{number}" for number in range(5))) == [1, 0, 0, 0, 0, 0]


async def test_a_cell_that_is_written_again_lives_on(state: AnyState) -> None:
    """The end of a cell is that of its last change."""
    await state.apply([Add(["a"], expire_time=NOON)], durable=True)
    await state.apply([Add(["a"], expire_time=LONG_AFTER + timedelta(hours=1))], durable=True)
    assert await state.prune(LONG_AFTER, limit=10) == 0
    assert await read(state, "a") == [2]


async def test_a_prune_loses_no_count(state: AnyState) -> None:
    """A cell that is forgotten while others count it begins anew, and what was counted since is all there."""

    async def count() -> None:
        for _ in range(20):
            await state.apply([Add(["a"], expire_time=LONG_AFTER + timedelta(hours=1))], durable=False)

    async def forget() -> None:
        for _ in range(20):
            await state.prune(LONG_AFTER, limit=10)

    await state.apply([Add(["a"], 1000, expire_time=NOON)], durable=True)
    await asyncio.gather(forget(), count(), forget(), count())
    assert await read(state, "a") in ([40], [1040])


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_state_outlives_the_process(place: Place) -> None:
    """What was applied is there after the store is opened again, also what was not made durable by itself."""
    async with place.open() as store:
        await store.state.apply([Add(["a"])], durable=False)
        await store.state.apply([Add(["b"])], durable=True)
    async with place.open() as store:
        assert await read(store.state, "a", "b") == [1, 1]


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_a_change_that_takes_too_long_is_an_error(place: Place) -> None:
    """Where the store does not end in time nobody is told that it did, and afterwards it goes on (case 17)."""
    async with place.open(limit_seconds=SHORT_SECONDS) as store:
        with pytest.raises(InterlockError) as raised:
            await store.state.apply([Hang()], durable=True)
        assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
        await until(functools.partial(answers, store.state), poll_seconds=0.01)
        assert await read(store.state, "a") == [0]


async def answers(state: AnyState) -> bool:
    try:
        await read(state, "a")
    except InterlockError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Hang:
    """Takes longer than the store may."""

    @property
    def keys(self) -> list[bytes]:
        return [key("a")]

    def run(self, cells: Cells) -> list[int]:
        Add(["a"]).run(cells)
        time.sleep(SHORT_SECONDS * 1.2)
        return []
