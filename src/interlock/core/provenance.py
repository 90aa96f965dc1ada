"""Where an argument came from: what a session saw in its goal and in tools' results, and what it never saw.

Of each term only a keyed hash is kept (64 bits of BLAKE2b, RFC 7693), never the text: who does not know the key
can neither read what was said nor make up a term that is taken for another.
"""

import hashlib
import re
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any, Literal, Self, TypeGuard

from interlock.core.argument_forms import Argument
from interlock.core.cells import Cells
from interlock.core.facts import ProvenanceInput
from interlock.core.terms import said_in, terms_of, terms_of_value, terms_of_value_loosely, without_last_token

MAX_GOAL_TERMS = 1_024
MAX_RESULT_TERMS = 4_096
"""Of all results of a session together."""

MAX_LISTED = 128
"""So many arguments are told of; the rest are counted."""

MAX_VALUE_CHARACTERS = 8_192
"""Of a longer argument nothing is known."""

MAX_CHARACTERS = 32_768
MAX_LOOKED_UP = 2_048
"""Of so many characters and terms of one call the rest is passed over: nothing is known of it."""

MAX_STEP = 2**30 - 1

_VERSION = 1
_FULL, _TAINTED = 1, 2
_HEADER = struct.Struct("<BBH")  # version, flags, number of terms
_HASH_BYTES, _MARK_BYTES = 8, 4
_STEP_BITS = 30

_Place = Literal["goal", "trusted", "unseen", "unknown", "untrusted"]
_PLACES: tuple[_Place, ...] = ("goal", "trusted", "unseen", "unknown", "untrusted")
"""From the best to the worst that can be said of a term: what an attacker wrote is worse than what nobody did."""
_GOAL, _TRUSTED, _UNSEEN, _UNKNOWN, _UNTRUSTED = range(len(_PLACES))
_RANKS = (_GOAL, _TRUSTED, _UNTRUSTED)
_MISSING = (_UNSEEN, _UNKNOWN)

# What a value must have for `loosen` to make something else of it, but for characters beyond ASCII and zeros.
_DISGUISING = re.compile(r"[%&\\\[(\t\r\n]")


class Source(IntEnum):
    """Where something can be seen, the most trusted first."""

    GOAL = 0
    TRUSTED = 1
    UNTRUSTED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What a session saw: hashes of terms, ascending, each with the most trusted source that had it.

    A mark is the source, and in its lower 30 bits the step at which the source had the term first. `full`
    says that something was said that is not in here, `tainted` that an untrusted source said something.
    """

    hashes: "array[int]" = field(default_factory=lambda: array("Q"))
    marks: "array[int]" = field(default_factory=lambda: array("I"))
    full: bool = False
    tainted: bool = False

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` wrote; nothing seen, of empty bytes. Raises ValueError for bytes of another form."""
        if not data:
            return cls()
        if len(data) < _HEADER.size:
            raise ValueError("sightings are too short")
        version, flags, count = _HEADER.unpack_from(data)
        if version != _VERSION or flags > (_FULL | _TAINTED) or count > MAX_GOAL_TERMS + MAX_RESULT_TERMS:
            raise ValueError(f"sightings have a header of another form, expected version {_VERSION}")
        middle = _HEADER.size + count * _HASH_BYTES
        if len(data) != middle + count * _MARK_BYTES:
            raise ValueError(f"sightings of {count} terms have {len(data)} bytes")
        return cls(
            hashes=_from_bytes("Q", data[_HEADER.size : middle]),
            marks=_from_bytes("I", data[middle:]),
            full=bool(flags & _FULL),
            tainted=bool(flags & _TAINTED),
        )

    def encode(self) -> bytes:
        """The sightings as bytes: 12 for each term and 4 more."""
        flags = self.full * _FULL | self.tainted * _TAINTED
        header = _HEADER.pack(_VERSION, flags, len(self.hashes))
        return header + _to_bytes(self.hashes) + _to_bytes(self.marks)


EMPTY = Sightings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a source said, as hashes of its terms: names and numbers before plain words, each once."""

    source: Source
    hashes: tuple[int, ...]
    complete: bool


def hear(source: Source, said: Any, *, key: bytes, complete: bool = True) -> Heard:
    """Read what a source said: a text, a JSON value, or the bytes of a JSON value; the costly part of `saw`.

    `complete` is false where it is only the beginning. `key` has 16 to 64 bytes.
    """
    limit = MAX_RESULT_TERMS if source else MAX_GOAL_TERMS
    terms = terms_of(_whole(said, complete=complete), loosely=source is Source.UNTRUSTED)
    keyed = _keyed(key)
    return Heard(
        source=source,
        hashes=tuple(_hash(keyed, term) for term in sorted(terms, key=str.isalpha)[:limit]),
        complete=complete and len(terms) <= limit,
    )


def saw(sightings: Sightings, heard: Heard, *, step: int) -> Sightings:
    """The sightings with what a source said at a step.

    What does not fit (MAX_GOAL_TERMS, MAX_RESULT_TERMS) is left out, plain words before names and numbers;
    then, or where it is not complete, the sightings are full, and what is not found in them is `unknown` for
    good. A term that was seen stays at the most trusted source that had it, and there at its first step. The
    goal's step is 0. Raises ValueError for a step that is not from 0 to MAX_STEP.
    """
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"step is {step}, expected 0 to {MAX_STEP}")
    source = heard.source
    mark = source << _STEP_BITS | (step if source else 0)
    known = dict(zip(sightings.hashes, sightings.marks, strict=True))
    goal_terms = sightings.marks.count(0)
    room = MAX_RESULT_TERMS - (len(known) - goal_terms) if source else MAX_GOAL_TERMS - goal_terms
    left_out = not heard.complete
    for hashed in heard.hashes:
        before = known.get(hashed)
        if before is None and room <= 0:
            left_out = True
        elif before is None or mark < before:
            room -= 1 if before is None else 0
            known[hashed] = mark
    hashes = sorted(known)
    return Sightings(
        hashes=array("Q", hashes),
        marks=array("I", map(known.__getitem__, hashes)),
        full=sightings.full or left_out,
        tainted=sightings.tainted or source is Source.UNTRUSTED,
    )


def note_sight(heard: Heard, cells: Cells, terms: bytes, *, step: int, expire_time: datetime) -> None:
    """Add what a source said at a step to the session's cell `terms`, which is held."""
    seen = saw(cells.open(terms, Sightings), heard, step=step)
    cells.keep(terms, seen, expire_time=expire_time)


def provenance_of(
    arguments: Sequence[Argument], sightings: Sightings, key: bytes
) -> tuple[list[ProvenanceInput], int]:
    """Where each of these strings and numbers was seen, and how many more there are.

    At most MAX_LISTED are listed, in the order of the arguments. Of the sources that had a term the most
    trusted counts. An argument of several terms is no better than the worst of them: untrusted, then unknown,
    unseen, trusted, goal; the step is that term's. A blank string is unseen: nothing speaks for it.
    """
    search = _Search(sightings, key)
    listed: list[ProvenanceInput] = []
    for pointer, value, kind in arguments[:MAX_LISTED]:
        source, step = search.place(value)
        listed.append({"path": pointer, "kind": kind, "source": source, "step": step})
    return listed, len(arguments) - len(listed)


class _Search:
    """Looks for the arguments of one call, as far as MAX_CHARACTERS and MAX_LOOKED_UP go."""

    __slots__ = ("_characters", "_keyed", "_missing", "_sightings", "_terms")

    def __init__(self, sightings: Sightings, key: bytes) -> None:
        self._sightings = sightings
        self._keyed = _keyed(key)
        self._missing = _UNKNOWN if sightings.full else _UNSEEN
        self._characters = MAX_CHARACTERS
        self._terms = MAX_LOOKED_UP

    def place(self, value: str | float) -> tuple[_Place, int]:
        """Where the value was seen, and at which step."""
        if isinstance(value, str) and not self._may_read(value):
            return "unknown", 0
        terms = terms_of_value(value)
        self._terms -= len(terms)
        if self._terms < 0:
            return "unknown", 0
        worst, step = self._worst(terms) if terms else (_UNSEEN, 0)
        if worst in _MISSING and self._sightings.tainted and _may_be_disguised(value):
            return self._disguised(value) or (_PLACES[worst], step)
        return _PLACES[worst], step

    def _may_read(self, text: str) -> bool:
        if len(text) > MAX_VALUE_CHARACTERS:
            return False
        self._characters -= len(text)
        return self._characters >= 0

    def _worst(self, terms: Iterable[str]) -> tuple[int, int]:
        hashes, marks, missing = self._sightings.hashes, self._sightings.marks, self._missing
        if not hashes:
            return missing, 0
        least = _UNTRUSTED if self._sightings.tainted else missing
        worst, step, keyed = -1, 0, self._keyed
        for term in terms:
            hashed = _hash(keyed, term)
            place = bisect_left(hashes, hashed)
            found = place < len(hashes) and hashes[place] == hashed
            rank = _RANKS[marks[place] >> _STEP_BITS] if found else missing
            if rank > worst:
                worst, step = rank, marks[place] & MAX_STEP if found else 0
                if rank >= least:
                    break
        return worst, step

    def _disguised(self, value: str) -> tuple[_Place, int] | None:
        """Whether and when an untrusted source had what a tool may take the value for."""
        terms = terms_of_value_loosely(value)
        self._terms -= len(terms)
        if self._terms < 0:
            return "unknown", 0
        for term in terms:
            rank, step = self._worst((term,))
            if rank == _UNTRUSTED:
                return "untrusted", step
        return None


def _may_be_disguised(value: str | float) -> TypeGuard[str]:
    """Whether a tool may take it for something else: `loosen` and needless zeros tell of what."""
    if not isinstance(value, str):
        return False
    return (
        not value.isascii()
        or value.startswith("0")
        or _DISGUISING.search(value) is not None
        or (" " in value and ("@" in value or " dot " in value or " 0" in value))
    )


def _whole(said: Any, *, complete: bool) -> Any:
    if isinstance(said, bytes):
        return said_in(said, complete=complete)
    if isinstance(said, str) and not complete:
        return without_last_token(said)
    return said


def _hash(keyed: "hashlib.blake2b", term: str) -> int:
    state = keyed.copy()
    state.update(term.encode())
    return int.from_bytes(state.digest(), "little")


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(key=key, digest_size=_HASH_BYTES)


def _from_bytes(code: str, data: bytes) -> "array[int]":
    numbers = array(code, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _to_bytes(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()
