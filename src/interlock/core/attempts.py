"""How often something was tried and how it went: what limits on retries are set against.

A retry budget as gRPC's retry throttling has it (proposal A6): retries and failures are weighed against first
attempts, so that an agent may go on with new work while its retries are stopped.
"""

import operator
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from interlock.core.facts import AttemptsInput, OperationInput

WINDOW_SECONDS = 600
"""Attempts are counted over the last 5 to 10 minutes: the half of this that goes on, and the one before."""

OPERATION_SECONDS = 600
"""Attempts of an operation are counted for so long from the first, or until one succeeds."""

NEVER = -1
"""`seconds_since_failure` of an operation that did not fail."""

_HALF = WINDOW_SECONDS // 2
_ATTEMPTS = struct.Struct("<I10I")
_OPERATION = struct.Struct("<IHHI")
_MOST = 0xFFFF
_TAG_BYTES = 8
_ENTRY_BYTES = _TAG_BYTES + _OPERATION.size

FORGOTTEN_EVERY = 16
"""After so many new operations in a cell, those in it whose time is over are looked for."""

FIRST, RETRY, INVALID, FAILED = range(4)


class Attempts:
    """Attempts of a session, an agent or a tool. Counts are of the half window that goes on, and of the last."""

    __slots__ = ("counts", "earlier", "failed_in_row", "half", "invalid_in_row")

    SIZE = _ATTEMPTS.size

    def __init__(self) -> None:
        self.half = 0
        self.counts = [0, 0, 0, 0]
        self.earlier = [0, 0, 0, 0]
        self.invalid_in_row = 0
        self.failed_in_row = 0

    @classmethod
    def decode(cls, data: bytes) -> "Attempts":
        """What `encode` wrote; none of empty bytes."""
        attempts = cls()
        if data:
            stored = _ATTEMPTS.unpack(data)
            attempts.half = stored[0]
            attempts.counts = list(stored[1:5])
            attempts.earlier = list(stored[5:9])
            attempts.invalid_in_row, attempts.failed_in_row = stored[9:]
        return attempts

    def encode(self) -> bytes:
        """As bytes, `SIZE` of them."""
        return _ATTEMPTS.pack(self.half, *self.counts, *self.earlier, self.invalid_in_row, self.failed_in_row)

    def proposed(self, seconds: int, *, retry: bool, invalid: bool) -> None:
        """One more proposal, a first attempt or a retry, that fits the catalog or not."""
        self._turn(seconds)
        self.counts[RETRY if retry else FIRST] += 1
        self.counts[INVALID] += invalid
        self.invalid_in_row = self.invalid_in_row + 1 if invalid else 0

    def ended(self, seconds: int, *, failed: bool) -> None:
        """One more outcome."""
        self._turn(seconds)
        self.counts[FAILED] += failed
        self.failed_in_row = self.failed_in_row + 1 if failed else 0

    def told(self, seconds: int) -> AttemptsInput:
        """As the policy sees it."""
        self._turn(seconds)
        first, retries, invalid, failed = map(operator.add, self.counts, self.earlier)
        return {
            "first_attempts": first,
            "retries": retries,
            "invalid": invalid,
            "failed": failed,
            "invalid_in_row": self.invalid_in_row,
            "failed_in_row": self.failed_in_row,
            "invalid_ratio": _ratio(invalid, first),
            "failed_ratio": _ratio(failed, first),
            "retry_ratio": _ratio(retries, first),
        }

    def _turn(self, seconds: int) -> None:
        """Forget what is too old. A clock that was set back stays in the half that it had reached (case 22)."""
        half = seconds // _HALF
        if half <= self.half:
            return
        self.earlier = self.counts if half == self.half + 1 else [0, 0, 0, 0]
        self.counts = [0, 0, 0, 0]
        self.half = half


def _ratio(count: int, first_attempts: int) -> float:
    """For each first attempt; a whole number as such, which has one form in every JSON."""
    if not count:
        return 0
    ratio = round(count / (first_attempts or 1), 3)
    return int(ratio) if ratio.is_integer() else ratio


@dataclass(slots=True)
class Operation:
    """One operation of a tenant; times are whole seconds since the epoch, `failed_at` 0 for never."""

    started: int = 0
    attempts: int = 0
    failed_in_row: int = 0
    failed_at: int = 0

    def proposed(self, seconds: int) -> None:
        """One more attempt."""
        self._turn(seconds)
        self.attempts = min(self.attempts + 1, _MOST)

    def ended(self, seconds: int, *, failed: bool) -> None:
        """One more outcome; a success ends the counting."""
        self._turn(seconds)
        if failed:
            self.failed_in_row = min(self.failed_in_row + 1, _MOST)
            self.failed_at = max(seconds, self.failed_at)
        else:
            self.attempts = self.failed_in_row = self.failed_at = 0

    def told(self, seconds: int, *, key_given: bool) -> OperationInput:
        """As the policy sees it."""
        return {
            "key_given": key_given,
            "attempts": self.attempts,
            "failed_in_row": self.failed_in_row,
            "seconds_since_failure": max(0, seconds - self.failed_at) if self.failed_at else NEVER,
        }

    def _turn(self, seconds: int) -> None:
        if not self.started or seconds >= self.started + OPERATION_SECONDS:
            self.started, self.attempts, self.failed_in_row, self.failed_at = seconds, 0, 0, 0


def worst_of(operations: Iterable[Operation]) -> Operation:
    """The most attempts, the most failures and the latest of several ways to see one operation."""
    worst = Operation()
    for operation in operations:
        worst.attempts = max(worst.attempts, operation.attempts)
        worst.failed_in_row = max(worst.failed_in_row, operation.failed_in_row)
        worst.failed_at = max(worst.failed_at, operation.failed_at)
    return worst


class Operations:
    """Operations that share a cell, each under a tag of 8 bytes: most are tried once, and a cell each is dear."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    @classmethod
    def decode(cls, data: bytes) -> "Operations":
        """What `encode` wrote; none of empty bytes."""
        return cls(data)

    def encode(self) -> bytes:
        """As bytes, 20 for each operation."""
        return self._data

    def get(self, tag: bytes) -> Operation:
        """The operation as it was put last; one that was never tried where it is not here."""
        place = self._place(tag)
        return Operation() if place < 0 else Operation(*_OPERATION.unpack_from(self._data, place + len(tag)))

    def put(self, tag: bytes, operation: Operation, seconds: int) -> None:
        """Keep an operation; now and then those are forgotten whose time was over at `seconds`."""
        entry = tag + _OPERATION.pack(
            operation.started, operation.attempts, operation.failed_in_row, operation.failed_at
        )
        place = self._place(tag)
        if place >= 0:
            self._data = self._data[:place] + entry + self._data[place + _ENTRY_BYTES :]
            return
        self._data += entry
        if len(self._data) % (_ENTRY_BYTES * FORGOTTEN_EVERY) == 0:
            self._forget(seconds)

    def _forget(self, seconds: int) -> None:
        entries = (
            self._data[start : start + _ENTRY_BYTES] for start in range(0, len(self._data), _ENTRY_BYTES)
        )
        self._data = b"".join(
            entry
            for entry in entries
            if int.from_bytes(entry[_TAG_BYTES : _TAG_BYTES + 4], "little") + OPERATION_SECONDS > seconds
        )

    def _place(self, tag: bytes) -> int:
        """Where the entry with this tag begins; -1 where there is none."""
        start = self._data.find(tag)
        while start >= 0 and start % _ENTRY_BYTES:
            start = self._data.find(tag, start + 1)
        return start
