"""Leases: exclusive use of a resource."""

import struct

from typing_extensions import override  # in typing from Python 3.12 on

from interlock.core.holds import (
    Counter,
    Ending,
    Quota,
    Settling,
    Taking,
    check_version,
    lasting,
    likely_wait,
    tag,
)
from interlock.core.moments import SECOND
from interlock.core.reservation import SHORTFALL_CODES, Lease, Shortfall, shortfall

LASTED_KEPT = 600 * SECOND
"""How long it is remembered how long calls held a resource."""

_VERSION = 1
_LEASE = struct.Struct("<Bq8sqqq")
_NOBODY = bytes(8)


class LeaseCell(Quota, Counter):
    """Who holds the resource and until when. `lasted` is how long leases of it did lately."""

    __slots__ = ("begin", "ends", "lasted", "latest", "tag")

    def __init__(self) -> None:
        self.latest = 0
        self.tag = _NOBODY
        self.begin = 0
        self.ends = 0
        self.lasted = 0

    @classmethod
    def decode(cls, data: bytes) -> "LeaseCell":
        """What `encode` wrote; a free resource of empty bytes."""
        cell = cls()
        if data:
            version, *state = _LEASE.unpack(data)
            check_version(version)
            cell.latest, cell.tag, cell.begin, cell.ends, cell.lasted = state
        return cell

    def encode(self) -> bytes:
        """As 41 bytes."""
        return _LEASE.pack(_VERSION, self.latest, self.tag, self.begin, self.ends, self.lasted)

    @override
    def counter(self, terms: Lease) -> "LeaseCell":
        return self

    @override
    def lacking(self, terms: Lease, taking: Taking, now: int) -> Shortfall | None:
        if now >= self.ends or self.tag in (_NOBODY, tag(taking.decision_id)):
            return None
        wait = likely_wait(self.lasted, self.ends - taking.at)
        return shortfall("lease.held", SHORTFALL_CODES["lease.held"], wait, resource=terms.resource)

    @override
    def take(self, terms: Lease, taking: Taking, now: int) -> None:
        """Hold the resource; who holds it already goes on as it is."""
        holder = tag(taking.decision_id)
        if self.tag == holder and now < self.ends:
            return
        self.tag = holder
        self.begin, self.ends = taking.begin, taking.ends

    @override
    def settle(self, terms: Lease, settling: Settling, now: int) -> None:
        """The holder's outcome gives the resource back."""
        if self.tag != tag(settling.decision_id):
            return
        self.tag = _NOBODY
        if settling.ending is Ending.RAN:
            self.lasted = lasting(self.lasted, now - self.begin)

    @override
    def forgettable(self) -> int:
        return max(self.ends, self.latest + LASTED_KEPT)
