"""Freezes in the store: a cell for each tenant, and one for what freezes all of them together.

Only an append changes these cells, with the record of the freeze. So a freeze and a decision have an order: what is
decided after it sees it, in the transaction that would grant, and the token of what was decided before it has a lower
`log_index`. No clock tells the two apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import orjson

from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.facts import FreezeInput
from interlock.core.freeze import Freeze, FreezeScope, FreezeTarget
from interlock.core.holds import check_version
from interlock.core.moments import from_microseconds, to_microseconds
from interlock.core.record import Draft
from interlock.core.reservation import Shortfall
from interlock.core.store_secret import NEVER

KEPT = timedelta(minutes=5)
"""How long an ended freeze is told of: longer than the life of a token and the most that clocks may differ."""

ACTIVE = "freezes.active"
"""Code of the reason, that of the policy's rule too."""

EVERYONE = ""
"""The tenant of what freezes all tenants."""

_VERSION = 1


@dataclass(slots=True)
class Frozen:
    """What a FREEZES cell holds: the last freeze of each target. `changes` counts all that ever changed it."""

    changes: int = 0
    freezes: list[Freeze] = field(default_factory=list)

    @classmethod
    def decode(cls, data: bytes) -> "Frozen":
        """What `encode` wrote; nothing frozen of empty bytes. Raises ValueError for what is of a newer version."""
        if not data:
            return cls()
        version, changes, freezes = orjson.loads(data)
        check_version(version, _VERSION)
        return cls(changes, [_freeze(*each) for each in freezes])

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, self.changes, [_told(freeze) for freeze in self.freezes]])

    def told(self, at: datetime) -> list[Freeze]:
        """Freezes that last, and those that ended so lately that a token of before may still be presented."""
        return [freeze for freeze in self.freezes if freeze.end_time is None or at < freeze.end_time + KEPT]

    def of(self, target: FreezeTarget) -> Freeze | None:
        """The last freeze of this target, also an ended one."""
        return next((freeze for freeze in self.freezes if freeze.target == target), None)

    def put(self, freeze: Freeze, at: datetime) -> None:
        """Let this be the last one of its target; it stops all that an earlier one stopped."""
        others = [each for each in self.told(at) if each.target != freeze.target]
        self.freezes = [*others, freeze]
        self.changes += 1


def freezes_key(tenant: str) -> bytes:
    """The cell of a tenant's freezes; of EVERYONE, that of what freezes all tenants."""
    return common_cell_key(CellKind.FREEZES, tenant)


def keys_of(tenant: str) -> tuple[bytes, bytes]:
    """The cells that tell what is frozen for a tenant."""
    return freezes_key(EVERYONE), freezes_key(tenant)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginFreeze:
    """The DraftChange of a freeze that begins: the place of its record names it."""

    target: FreezeTarget
    comment: str
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of its tenant."""
        return (freezes_key(self.target.tenant),)

    def run(self, draft: Draft, cells: Cells, log_index: int) -> Draft:
        """Freeze; the draft stays as it is."""
        [key] = self.keys
        frozen = cells.open(key, Frozen)
        begun = Freeze(
            log_index=log_index,
            scope=self.target.scope,
            tenant=self.target.tenant,
            name=self.target.name,
            comment=self.comment,
            start_time=self.at,
        )
        frozen.put(begun, self.at)
        cells.keep(key, frozen, expire_time=NEVER)
        return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFreeze:
    """The DraftChange of a freeze that ends. What was allowed before it stays refused (case 12)."""

    freeze: Freeze
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of its tenant."""
        return (freezes_key(self.freeze.tenant),)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """End it; the draft stays as it is."""
        [key] = self.keys
        frozen = cells.open(key, Frozen)
        frozen.put(replace(self.freeze, end_time=self.at), self.at)
        cells.keep(key, frozen, expire_time=NEVER)
        return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeCondition:
    """A Condition: nothing that a freeze covers is granted, whatever was known when the policy was asked."""

    tenant: str
    agent: str
    tool: str

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of all that can cover the call."""
        return keys_of(self.tenant)

    def lacking(self, cells: Cells, at: datetime) -> tuple[Shortfall, ...]:
        """The freezes that cover it."""
        del at  # a freeze lasts until it is ended, whatever the time is
        return tuple(
            Shortfall(
                code=ACTIVE,
                message="Frozen by an operator",
                metadata={"scope": freeze.scope.value, "log_index": freeze.log_index},
            )
            for freeze in self.active(cells)
        )

    def told(self, cells: Cells) -> list[FreezeInput]:
        """The freezes that cover it, as the policy sees them."""
        return [
            {"scope": freeze.scope.value, "log_index": freeze.log_index, "comment": freeze.comment}
            for freeze in self.active(cells)
        ]

    def active(self, cells: Cells) -> list[Freeze]:
        """The freezes that cover it, which are at most one of each scope."""
        return [
            freeze
            for key in self.keys
            for freeze in cells.open(key, Frozen).freezes
            if freeze.lasts and freeze.covers(tenant=self.tenant, agent=self.agent, tool=self.tool)
        ]


def _told(freeze: Freeze) -> list[object]:
    ended = None if freeze.end_time is None else to_microseconds(freeze.end_time)
    started = to_microseconds(freeze.start_time)
    return [freeze.log_index, freeze.scope, freeze.tenant, freeze.name, freeze.comment, started, ended]


def _freeze(
    log_index: int, scope: str, tenant: str, name: str, comment: str, started: int, ended: int | None
) -> Freeze:
    return Freeze(
        log_index=log_index,
        scope=FreezeScope(scope),
        tenant=tenant,
        name=name,
        comment=comment,
        start_time=from_microseconds(started),
        end_time=None if ended is None else from_microseconds(ended),
    )
