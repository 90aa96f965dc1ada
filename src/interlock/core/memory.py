"""Memory entries that agents of a tenant share, and which of them were acted on after they had changed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from interlock.core.cells import CellKind, Cells, cell_key
from interlock.core.facts import StaleReadInput
from interlock.core.proposal import MemoryRead

KEPT = timedelta(days=90)
"""So long after it was last written, an entry's version is known."""

_VERSION_BYTES = 8


class MemoryEntry:
    """A memory entry's cell: its newest version, and the digest of what that holds, empty where nobody told."""

    __slots__ = ("digest", "version")

    def __init__(self, version: int = -1, digest: str = "") -> None:
        self.version = version
        self.digest = digest

    @classmethod
    def decode(cls, data: bytes) -> "MemoryEntry":
        """What `encode` wrote; version -1 for an entry of which nobody told."""
        if not data:
            return cls()
        version = int.from_bytes(data[:_VERSION_BYTES], "little", signed=True)
        return cls(version, data[_VERSION_BYTES:].decode())

    def encode(self) -> bytes:
        """Version, then digest."""
        return self.version.to_bytes(_VERSION_BYTES, "little", signed=True) + self.digest.encode()

    def write(self, version: int, digest: str) -> None:
        """A version that was written; an older one than is known changes nothing."""
        if version > self.version or (version == self.version and digest):
            self.version, self.digest = version, digest


def memory_key(tenant: str, key: str) -> bytes:
    """The cell of a tenant's memory entry."""
    return cell_key(CellKind.MEMORY, tenant, key)


def note_write(tenant: str, key: str, version: int, digest: str, cells: Cells, at: datetime) -> None:
    """An entry was written, by a tool or an agent; the cell is held."""
    cell = memory_key(tenant, key)
    entry = cells.open(cell, MemoryEntry)
    entry.write(version, digest)
    cells.keep(cell, entry, expire_time=at + KEPT)


def stale_reads(tenant: str, reads: Sequence[MemoryRead], cells: Cells) -> list[StaleReadInput]:
    """The reads of another content than the entry has now. An entry of which nobody told is not stale."""
    found: list[StaleReadInput] = []
    for read in reads:
        entry = cells.open(memory_key(tenant, read.key), MemoryEntry)
        if read.version < entry.version:
            found.append(_stale(read, entry, "version"))
        elif read.version == entry.version and read.digest and entry.digest not in ("", read.digest):
            found.append(_stale(read, entry, "digest"))
    return found


def _stale(read: MemoryRead, entry: MemoryEntry, problem: str) -> StaleReadInput:
    return {
        "key": read.key,
        "read_version": read.version,
        "known_version": entry.version,
        "problem": "version" if problem == "version" else "digest",
    }
