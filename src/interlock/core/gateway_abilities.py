"""What the service last heard that a gateway can do, and that nothing is allowed there which it cannot.

A gateway refuses an obligation that it does not know, so nothing unmet runs even where this is out of date; but the
agent should hear that from the decision, and not from a token that is worth nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.errors import invalid_field
from interlock.core.holds import check_version
from interlock.core.reservation import SHORTFALL_CODES, Shortfall

ALWAYS_MET = frozenset({"timeout"})
"""What every gateway can do, also one that does not say what it can."""

KEPT = timedelta(days=7)
"""So long after a gateway was last heard, it is taken for one that was never heard."""

MAX_TYPES = 64

UNSUPPORTED = "obligations.unsupported"

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_VERSION = 1
_DAY_SECONDS = 86_400


class AbilitiesCell:
    """The types of obligations that a gateway can meet, in alphabetical order, and the day that it said so last."""

    __slots__ = ("day", "types")

    def __init__(self) -> None:
        self.types: list[str] = sorted(ALWAYS_MET)
        self.day = 0

    @classmethod
    def decode(cls, data: bytes) -> "AbilitiesCell":
        """What `encode` wrote; a gateway that was never heard of empty bytes."""
        cell = cls()
        if data:
            version, cell.day, cell.types = orjson.loads(data)
            check_version(version, _VERSION)
        return cell

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, self.day, self.types])


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAbilities:
    """A Change: the gateway says now that it can meet these types. Written when they changed, and once a day."""

    tenant: str
    gateway: str
    types: tuple[str, ...]
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        """The gateway's cell."""
        return (abilities_key(self.tenant, self.gateway),)

    def run(self, cells: Cells) -> None:
        """Note them."""
        key = abilities_key(self.tenant, self.gateway)
        cell = cells.open(key, AbilitiesCell)
        types, day = sorted(set(self.types)), int(self.at.timestamp()) // _DAY_SECONDS
        if (cell.types, cell.day) != (types, day):
            cell.types, cell.day = types, day
            cells.keep(key, cell, expire_time=self.at + KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbilitiesCondition:
    """A Condition of granting: the gateway can meet all of these types of obligations."""

    tenant: str
    gateway: str
    demanded: frozenset[str]

    @property
    def keys(self) -> Iterable[bytes]:
        """The gateway's cell, where it matters."""
        return () if self.demanded <= ALWAYS_MET else (abilities_key(self.tenant, self.gateway),)

    def lacking(self, cells: Cells, at: datetime) -> tuple[Shortfall, ...]:  # noqa: ARG002 - the protocol's
        """The types that the gateway did not say it can meet."""
        if self.demanded <= ALWAYS_MET:
            return ()
        cell = cells.open(abilities_key(self.tenant, self.gateway), AbilitiesCell)
        missing = sorted(self.demanded - ALWAYS_MET.union(cell.types))
        if not missing:
            return ()
        return (
            Shortfall(
                code=UNSUPPORTED,
                message=SHORTFALL_CODES[UNSUPPORTED],
                metadata={"gateway": self.gateway, "missing": list(missing)},
            ),
        )


def check_abilities(types: Iterable[str]) -> None:
    """Raises InterlockError INVALID_FIELD: too many, or one that is no type's name."""
    types = list(types)
    if len(types) > MAX_TYPES or not all(map(_TYPE.match, types)):
        raise invalid_field("obligations", f"must be at most {MAX_TYPES} names of the form `{_TYPE.pattern}`")


def abilities_key(tenant: str, gateway: str) -> bytes:
    """The key of the cell of a gateway."""
    return common_cell_key(CellKind.GATEWAY, tenant, gateway)
