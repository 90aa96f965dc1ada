"""The last calls that a session or an agent proposed, and how far the newest of them repeats the others.

Kept as columns of fixed width, so that a history is small, and looking through it is a search in bytes.
"""

import struct
from array import array
from collections.abc import Iterator

from interlock.core.facts import CallsInput, CycleInput

CALLS_KEPT = 128
"""So many of the newest calls are compared; `steps` counts all of them."""

SHORTEST_CYCLE = 2
LONGEST_CYCLE = 8

TAG_BYTES = 8
RESULT_BYTES = 4
NO_RESULT = bytes(RESULT_BYTES)
"""The result of a call that did not run, or of which nothing is known yet."""

_HEADER = struct.Struct("<IH")
_WIDTHS = (TAG_BYTES, TAG_BYTES, TAG_BYTES, RESULT_BYTES, 4)


class CallHistory:
    """The newest calls, oldest first. All tags are 8 bytes of a digest; a result is 4, a time whole seconds."""

    __slots__ = ("calls", "forms", "requests", "results", "steps", "times")

    def __init__(self) -> None:
        self.steps = 0
        self.calls = b""
        self.forms = b""
        self.requests = b""
        self.results = b""
        self.times = b""

    @classmethod
    def decode(cls, data: bytes) -> "CallHistory":
        """What `encode` wrote; an empty history of empty bytes."""
        history = cls()
        if not data:
            return history
        history.steps, count = _HEADER.unpack_from(data)
        start = _HEADER.size
        columns = []
        for width in _WIDTHS:
            columns.append(data[start : start + width * count])
            start += width * count
        history.calls, history.forms, history.requests, history.results, history.times = columns
        return history

    def encode(self) -> bytes:
        """The history as bytes: 32 for each call and 6 more."""
        return b"".join(
            (
                _HEADER.pack(self.steps, len(self)),
                self.calls,
                self.forms,
                self.requests,
                self.results,
                self.times,
            )
        )

    def __len__(self) -> int:
        return len(self.calls) // TAG_BYTES

    def add(self, *, call: bytes, form: bytes, request: bytes, seconds: int) -> None:
        """One more call, whose result nobody knows yet."""
        self.steps += 1
        self.calls = (self.calls + call)[-CALLS_KEPT * TAG_BYTES :]
        self.forms = (self.forms + form)[-CALLS_KEPT * TAG_BYTES :]
        self.requests = (self.requests + request)[-CALLS_KEPT * TAG_BYTES :]
        self.results = (self.results + NO_RESULT)[-CALLS_KEPT * RESULT_BYTES :]
        self.times = (self.times + seconds.to_bytes(4, "little"))[-CALLS_KEPT * 4 :]

    def place_of(self, request: bytes) -> int:
        """Where the call of this request stands; -1 where it is not among those kept."""
        return next(_places(self.requests, request), -1)

    def set_result(self, request: bytes, result: bytes) -> bool:
        """Note what came of a call. Whether it was there, with no result yet."""
        place = self.place_of(request)
        start, end = place * RESULT_BYTES, (place + 1) * RESULT_BYTES
        if place < 0 or self.results[start:end] != NO_RESULT:
            return False
        self.results = self.results[:start] + result + self.results[end:]
        return True

    def forget_before(self, seconds: int) -> None:
        """Drop the calls that are older; `steps` then counts those that are left."""
        if int.from_bytes(self.times[:4], "little") >= seconds:
            return
        times = array("I", self.times)
        keep = sum(1 for time in times if time >= seconds)
        self.steps = keep
        self.calls, self.forms, self.requests, self.results, self.times = (
            column[len(column) - width * keep :]
            for column, width in zip(
                (self.calls, self.forms, self.requests, self.results, self.times), _WIDTHS, strict=True
            )
        )

    def repeats(self, place: int = -1) -> CallsInput:
        """How the call at `place`, the newest by default, repeats those up to it, itself counted."""
        count = len(self) if place < 0 else place + 1
        calls, forms = self.calls[: count * TAG_BYTES], self.forms[: count * TAG_BYTES]
        same = list(_places(calls, calls[-TAG_BYTES:]))
        return {
            "same_call": len(same),
            "same_call_same_result": self._same_results(same),
            "similar_call": _count(forms, forms[-TAG_BYTES:]),
            "cycle": _cycle(calls),
            "steps": self.steps - (len(self) - count),
        }

    def _same_results(self, same: list[int]) -> int:
        """The newest of these, and the unbroken run of latest known results before it that are alike."""
        if not same:
            return 0
        run, latest = 1, NO_RESULT
        for place in reversed(same[:-1]):
            result = self.results[place * RESULT_BYTES : (place + 1) * RESULT_BYTES]
            if result == NO_RESULT:
                continue
            if latest not in (NO_RESULT, result):
                break
            latest = result
            run += 1
        return run


def _places(column: bytes, tag: bytes) -> Iterator[int]:
    """Where the tag stands, first to last."""
    start = column.find(tag) if tag else -1
    while start >= 0:
        place, aside = divmod(start, TAG_BYTES)
        if not aside:
            yield place
        start = column.find(tag, start + 1 if aside else start + TAG_BYTES)


def _count(column: bytes, tag: bytes) -> int:
    return sum(1 for _ in _places(column, tag))


def _cycle(calls: bytes) -> CycleInput:
    """The shortest cycle that the calls end with twice or more; a call repeated by itself is none."""
    for length in range(SHORTEST_CYCLE, LONGEST_CYCLE + 1):
        size = length * TAG_BYTES
        block = calls[-size:]
        if len(calls) < 2 * size or calls[-2 * size : -size] != block:
            continue
        if block[:TAG_BYTES] * length == block:
            continue
        count = 2
        while calls[-(count + 1) * size : -count * size] == block:
            count += 1
        return {"length": length, "count": count}
    return {"length": 0, "count": 0}
