"""A secret that all replicas on one store share, made by whichever of them comes first."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from interlock.core.cells import CellKind, Cells, cell_key

NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSecret:
    """The Change that keeps `candidate`, random bytes, under this name unless there is a secret already."""

    name: str
    candidate: bytes = field(repr=False)

    @property
    def keys(self) -> Iterable[bytes]:
        """The secret's cell."""
        return (cell_key(CellKind.SECRET, "", self.name),)

    def run(self, cells: Cells) -> bytes:
        """The secret that is there from now on."""
        [key] = self.keys
        kept = cells.get(key)
        if not kept:
            cells.put(key, self.candidate, expire_time=NEVER)
        return kept or self.candidate
