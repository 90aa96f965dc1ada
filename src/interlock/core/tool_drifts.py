"""What gateways found of tools whose server describes them otherwise than the catalog does (case 60).

A gateway tells it again and again; on record is what changes. Only an append changes the cell, as for freezes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import orjson

from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.holds import check_version
from interlock.core.moments import from_microseconds, to_microseconds
from interlock.core.record import Draft
from interlock.core.store_secret import NEVER

AT_MOST_EVERY = timedelta(minutes=1)
"""What was noted of a tool stands at least so long: a server that lists it anew each second does not fill the log.

Nor do two replicas of a gateway that find different things.
"""

_VERSION = 1


class Digests(NamedTuple):
    """Of a tool as it is pinned and as it is listed, base64url; `listed` is empty for one that is no longer there."""

    pinned: str
    listed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftChange:
    """What is to go on record of one tool."""

    change: Literal["drifted", "cleared"]
    tool: str
    digests: Digests


@dataclass(slots=True)
class Drifts:
    """What a TOOL_DRIFTS cell holds: by tool, its digests and since when. `changes` counts what ever changed it."""

    changes: int = 0
    noted: dict[str, tuple[Digests, datetime]] = field(default_factory=dict)

    @classmethod
    def decode(cls, data: bytes) -> "Drifts":
        """What `encode` wrote; no drift of empty bytes."""
        if not data:
            return cls()
        version, changes, noted = orjson.loads(data)
        check_version(version, _VERSION)
        return cls(
            changes,
            {
                tool: (Digests(pinned, listed), from_microseconds(since))
                for tool, (pinned, listed, since) in noted.items()
            },
        )

    def encode(self) -> bytes:
        """As JSON."""
        noted = {
            tool: [*digests, to_microseconds(since)] for tool, (digests, since) in sorted(self.noted.items())
        }
        return orjson.dumps([_VERSION, self.changes, noted])

    def due(self, told: Mapping[str, Digests], at: datetime) -> list[DriftChange]:
        """What a gateway that tells of these drifts changes, and that is not on record yet; by tool."""
        begun = [
            DriftChange(change="drifted", tool=tool, digests=digests)
            for tool, digests in sorted(told.items())
            if tool not in self.noted or (self.noted[tool][0] != digests and self._may_change(tool, at))
        ]
        over = [
            DriftChange(change="cleared", tool=tool, digests=digests)
            for tool, (digests, _) in sorted(self.noted.items())
            if tool not in told and self._may_change(tool, at)
        ]
        return begun + over

    def _may_change(self, tool: str, at: datetime) -> bool:
        _, since = self.noted[tool]
        return at >= since + AT_MOST_EVERY


def drifts_key(tenant: str, gateway: str) -> bytes:
    """The cell of a gateway's drifts."""
    return common_cell_key(CellKind.TOOL_DRIFTS, tenant, gateway)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteDrift:
    """The DraftChange of one tool's record."""

    tenant: str
    gateway: str
    change: DriftChange
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        """The gateway's cell."""
        return (drifts_key(self.tenant, self.gateway),)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """Note it; the draft stays as it is."""
        [key] = self.keys
        drifts = cells.open(key, Drifts)
        if self.change.change == "drifted":
            drifts.noted[self.change.tool] = (self.change.digests, self.at)
        else:
            drifts.noted.pop(self.change.tool, None)
        drifts.changes += 1
        cells.keep(key, drifts, expire_time=NEVER)
        return draft
