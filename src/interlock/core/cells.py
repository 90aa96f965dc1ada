"""Cells: the store's small pieces of state, and changes that are made to them all or none.

A cell is bytes under a key. What a cell means is known to the one module of the core that reads and writes
it; a store only keeps it, locks it and forgets it after its time. So counting is the same code on every
store, and two replicas never count the same thing twice: a change runs while its cells are locked.
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Generic, Protocol, Self, TypeVar

KEY_BYTES = 16

Result_co = TypeVar("Result_co", covariant=True)


class CellKind(IntEnum):
    """What a cell is about: the first byte of its key. A number that was released keeps its meaning."""

    SESSION = 1
    TERMS = 2
    TIMELINE = 3
    AGENT = 4
    TOOL = 5
    OPERATION = 6
    SEEN = 7
    MEMORY = 8
    BUDGET = 9
    HELD = 11
    LEASE = 12
    BREAKER = 13
    SECRET = 14
    FREEZES = 15
    GATEWAY = 16
    PLAN = 17
    TOOL_DRIFTS = 18
    APPROVAL = 19
    APPROVAL_BINDING = 20
    APPROVAL_REQUEST = 21
    APPROVALS_PENDING = 22
    APPROVED_BEFORE = 23
    STANDING = 24
    ANNOUNCEMENT = 25


UNLOCKED = frozenset(
    {
        CellKind.FREEZES,
        CellKind.TOOL_DRIFTS,
        CellKind.APPROVAL,
        CellKind.APPROVAL_BINDING,
        CellKind.APPROVAL_REQUEST,
        CellKind.APPROVALS_PENDING,
        CellKind.APPROVED_BEFORE,
        CellKind.STANDING,
    }
)
"""Kinds that nothing but an append changes. Appends follow one another on every store, so that one reads these cells
as they stand; who reads them outside of an append sees what the last one left, and keeps nobody waiting."""

KIND_BYTE = {kind: bytes([kind]) for kind in CellKind}


def is_unlocked(key: bytes) -> bool:
    """Whether the cell is of one of the UNLOCKED kinds."""
    return key[0] in UNLOCKED


def cell_name(tenant: str, *names: str) -> bytes:
    """What tells the cells of one kind apart, 15 bytes: of SHA-256 over tenant and names.

    Each part goes in with its length before it, so that no two lists of parts make one name (case 54).
    """
    parts = [f"{len(part)}:{part}" for part in (tenant, *names)]
    return hashlib.sha256("".join(parts).encode()).digest()[: KEY_BYTES - 1]


def cell_key(kind: CellKind, tenant: str, *names: str) -> bytes:
    """The key of a cell, 16 bytes: the kind, and its name."""
    return KIND_BYTE[kind] + cell_name(tenant, *names)


@functools.lru_cache(maxsize=16_384)
def common_cell_key(kind: CellKind, tenant: str, *names: str) -> bytes:
    """`cell_key` of a cell that is asked for again soon: by other proposals, or to lock, take and settle."""
    return cell_key(kind, tenant, *names)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list: at `place`, which orders the list byte by byte, the cell of `key` is to be found.

    A list has a key of its own, made as those of cells are (`cell_key`).
    """

    list_key: bytes
    place: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a list with what its cell holds."""

    place: bytes
    key: bytes
    data: bytes


class Content(Protocol):
    """What a cell holds, as an object of the one transaction that opened it."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` wrote; the content of a cell that is not there, of empty bytes."""
        ...

    def encode(self) -> bytes:
        """The content as bytes, never empty."""
        ...


ContentT = TypeVar("ContentT", bound=Content)


class Cells:
    """The cells that one transaction may read and write, as they are while it holds them."""

    __slots__ = ("_changed", "_entries", "_found", "_kept", "_opened")

    def __init__(self, found: Mapping[bytes, bytes]) -> None:
        """`found` has an entry for each key that the transaction holds; empty bytes for a cell not there."""
        self._found = found
        self._changed: dict[bytes, tuple[bytes, datetime]] = {}
        self._opened: dict[bytes, Content] = {}
        self._kept: dict[bytes, datetime] = {}
        self._entries: dict[Entry, datetime | None] = {}

    def open(self, key: bytes, content: type[ContentT]) -> ContentT:
        """What the cell holds, decoded once: who opens it again gets the same object, with its changes.

        A cell is either opened and kept, or got and put. Raises KeyError for a key that is not held.
        """
        opened = self._opened.get(key)
        if opened is None:
            opened = self._opened[key] = content.decode(self.get(key))
        assert isinstance(opened, content)
        return opened

    def keep(self, key: bytes, content: "Content", *, expire_time: datetime) -> None:
        """Let the cell hold this, as it is at the end of the transaction, until `expire_time` at least."""
        if key not in self._found:
            raise KeyError(key)
        self._opened[key] = content
        self._kept[key] = expire_time

    def get(self, key: bytes) -> bytes:
        """What the cell holds now; empty where there is none. Raises KeyError for a key that is not held."""
        changed = self._changed.get(key)
        return self._found[key] if changed is None else changed[0]

    def put(self, key: bytes, data: bytes, *, expire_time: datetime) -> None:
        """Let the cell hold `data`, not empty, until `expire_time` at least. Raises KeyError as `get`."""
        if key not in self._found:
            raise KeyError(key)
        self._changed[key] = (data, expire_time)

    def enlist(self, entry: Entry, *, expire_time: datetime) -> None:
        """Let the list have this line until `expire_time` at least. Raises KeyError for a cell that is not held."""
        if entry.key not in self._found:
            raise KeyError(entry.key)
        self._entries[entry] = expire_time

    def delist(self, entry: Entry) -> None:
        """Let the list no longer have this line. Raises KeyError for a cell that is not held."""
        if entry.key not in self._found:
            raise KeyError(entry.key)
        self._entries[entry] = None

    def copy(self, keys: Iterable[bytes]) -> "Cells":
        """These cells as they are now, to be changed on their own. Raises KeyError for a key that is not held."""
        return Cells(
            {key: self._opened[key].encode() if key in self._kept else self.get(key) for key in keys}
        )

    def take_over(self, copy: "Cells") -> None:
        """Let these be as the copy is."""
        for key, (data, expire_time) in copy.changed().items():
            self._opened.pop(key, None)
            self._kept.pop(key, None)
            self.put(key, data, expire_time=expire_time)
        self._entries.update(copy.entries())

    def entries(self) -> Mapping[Entry, datetime | None]:
        """What a store has to change in lists: lines with their expire time, None for those to be removed."""
        return self._entries

    def changed(self) -> Mapping[bytes, tuple[bytes, datetime]]:
        """What a store has to keep, by key: data and expire time."""
        for key, expire_time in self._kept.items():
            self._changed[key] = (self._opened[key].encode(), expire_time)
        return self._changed


class Change(Protocol[Result_co]):
    """What is to be done to some cells. It may run more than once, on other contents, before one run counts."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells that it reads or writes."""
        ...

    def run(self, cells: Cells) -> Result_co:
        """Do it. An error undoes the whole transaction."""
        ...


@dataclass(frozen=True, slots=True)
class LookAt(Generic[ContentT]):
    """The Change that changes nothing, and gives what a cell holds."""

    key: bytes
    content: type[ContentT]

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell."""
        return (self.key,)

    def run(self, cells: Cells) -> ContentT:
        """What it holds."""
        return cells.open(self.key, self.content)


@dataclass(frozen=True, slots=True)
class LookAtBytes:
    """The Change that changes nothing, and gives a cell's bytes; empty where there is none."""

    key: bytes

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell."""
        return (self.key,)

    def run(self, cells: Cells) -> bytes:
        """What it holds."""
        return cells.get(self.key)
