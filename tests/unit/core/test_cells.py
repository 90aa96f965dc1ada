"""Cells of one transaction: what is tried on a copy of them is theirs only when it is taken over."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import pytest

from interlock.core.cells import Cells
from tests.fakes import NOON

KEY, OTHER = b"\x01" * 16, b"\x02" * 16
LATER = NOON + timedelta(days=1)


@dataclass(slots=True)
class Word:
    """A cell that holds a word."""

    text: str

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(data.decode())

    def encode(self) -> bytes:
        return self.text.encode()


def change(cells: Cells, key: bytes, text: str) -> None:
    word = cells.open(key, Word)
    word.text = text
    cells.keep(key, word, expire_time=LATER)


def test_a_copy_is_as_the_cells_are_now() -> None:
    """It has what was kept and put so far, and changes of its own leave the cells as they were."""
    cells = Cells({KEY: b"found", OTHER: b"found"})
    change(cells, KEY, "kept")
    cells.put(OTHER, b"put", expire_time=LATER)
    copy = cells.copy([KEY, OTHER])
    assert (copy.open(KEY, Word).text, copy.get(OTHER)) == ("kept", b"put")
    change(copy, KEY, "tried")
    copy.put(OTHER, b"tried", expire_time=LATER)
    assert cells.open(KEY, Word).text == "kept"
    assert cells.changed() == {KEY: (b"kept", LATER), OTHER: (b"put", LATER)}


def test_what_is_taken_over_is_what_others_open_and_a_store_keeps() -> None:
    """After it, the cells are as the copy was, also for who had opened them before."""
    cells = Cells({KEY: b"found", OTHER: b"found"})
    change(cells, KEY, "kept")
    copy = cells.copy([KEY, OTHER])
    change(copy, KEY, "tried")
    copy.put(OTHER, b"tried", expire_time=LATER)
    cells.take_over(copy)
    assert cells.open(KEY, Word).text == "tried"
    change(cells, KEY, "later")
    assert cells.changed() == {KEY: (b"later", LATER), OTHER: (b"tried", LATER)}


def test_nothing_is_copied_that_is_not_held() -> None:
    """A trial reads and writes what its transaction has locked, and nothing else."""
    with pytest.raises(KeyError):
        Cells({KEY: b"found"}).copy([OTHER])
