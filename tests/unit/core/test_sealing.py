"""What an append does before a store keeps it."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from interlock.core.cells import Cells
from interlock.core.record import EMPTY, Draft, head_after, seal
from interlock.core.sealing import cells_of, seal_all
from tests.drafts import a_draft
from tests.fakes import NOON

KEY, OTHER = b"\x01" * 16, b"\x02" * 16


@dataclass(frozen=True, slots=True)
class Number:
    """Writes into the draft which run of a change it was."""

    keys: tuple[bytes, ...] = (KEY,)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        before = len(cells.get(self.keys[0]))
        cells.put(self.keys[0], b"x" * (before + 1), expire_time=NOON + timedelta(days=1))
        return a_draft(once=draft.once, fields={"run": before})


def empty_cells(*keys: bytes) -> Cells:
    return Cells(dict.fromkeys(keys, b""))


def test_new_drafts_are_sealed_one_after_the_other() -> None:
    """Each new draft follows the one before it, from the head that was given."""
    first = seal(a_draft(0), EMPTY)
    sealed = seal_all([a_draft(1), a_draft(2)], {}, empty_cells(), head_after(first))
    assert sealed.new == sealed.appended
    assert [record.log_index for record in sealed.new] == [1, 2]
    assert sealed.new[1] == seal(a_draft(2), head_after(sealed.new[0]))


def test_a_name_that_is_there_runs_no_change() -> None:
    """Its record is given back, nothing is to be stored, and its cells are not even wanted (case 56)."""
    there = seal(a_draft(0), EMPTY)
    drafts = [a_draft(0, change=Number()), a_draft(1, change=Number((OTHER,)))]
    present = {there.once: there}
    assert cells_of(drafts, present) == {OTHER}
    cells = empty_cells(OTHER)
    sealed = seal_all(drafts, present, cells, head_after(there))
    assert sealed.appended == [there, *sealed.new]
    assert cells.changed().keys() == {OTHER}


@pytest.mark.parametrize("once", ["", "same"])
def test_a_name_that_comes_twice_is_new_once(once: str) -> None:
    """Two drafts of one name are one record and one change; without a name they are two (case 56)."""
    drafts = [a_draft(number, once=once, change=Number()) for number in range(2)]
    cells = empty_cells(*cells_of(drafts, {}))
    sealed = seal_all(drafts, {}, cells, EMPTY)
    assert len(sealed.new) == len(cells.get(KEY)) == (1 if once else 2)
    assert len(sealed.appended) == 2


def test_a_change_says_what_is_sealed() -> None:
    """What is on record is the draft that the change gave, in the order of the drafts."""
    drafts = [a_draft(number, change=Number()) for number in range(3)]
    sealed = seal_all(drafts, {}, empty_cells(KEY), EMPTY)
    assert [b'"run":%d' % number in record.content for number, record in enumerate(sealed.new)] == [True] * 3
