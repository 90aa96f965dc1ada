"""The last calls that a session or an agent proposed, and how far the newest of them repeats the others.

Kept as columns of fixed width, so that a history is small, and looking through it is a search in bytes. Tags are
of a digest: that one stands across two others by chance is as good as impossible, and who made it so would only
be counted more.
"""

import struct
from array import array

from interlock.core.facts import CallsInput, CycleInput

CALLS_KEPT = 128
"""So many of the newest calls are compared; `steps` counts all of them."""

SHORTEST_CYCLE = 2
LONGEST_CYCLE = 8

TAG_BYTES = 8
RESULT_BYTES = 4
NO_RESULT = bytes(RESULT_BYTES)
"""The result of a call that did not run, or of which nothing is known yet."""

_CHANGED = 0x80
"""Set in the first byte of a result: the call did more than read, and succeeded."""

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
        forms = _HEADER.size + TAG_BYTES * count
        requests = forms + TAG_BYTES * count
        results = requests + TAG_BYTES * count
        times = results + RESULT_BYTES * count
        history.calls = data[_HEADER.size : forms]
        history.forms = data[forms:requests]
        history.requests = data[requests:results]
        history.results = data[results:times]
        history.times = data[times:]
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
        return _place(self.requests, request)

    def set_result(self, request: bytes, result: bytes, *, changed: bool = False) -> bool:
        """Note what came of a call, and whether it changed something. Whether it was there, with no result yet."""
        result = bytes([result[0] | _CHANGED if changed else result[0] & ~_CHANGED & 0xFF]) + result[1:]
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
        count = len(self.calls) // TAG_BYTES
        if 0 <= place < count - 1:
            return self._as_of(place + 1).repeats()
        calls, forms = self.calls, self.forms
        same = calls.count(calls[-TAG_BYTES:]) if calls else 0
        return {
            "same_call": same,
            "same_call_same_result": self._same_results() if same > 1 else same,
            "similar_call": forms.count(forms[-TAG_BYTES:]) if calls else 0,
            "cycle": _cycle(calls),
            "steps": self.steps,
        }

    def _as_of(self, count: int) -> "CallHistory":
        """The history as it was when it had so many of the calls that are kept."""
        before = CallHistory()
        before.steps = self.steps - (len(self) - count)
        before.calls, before.forms = self.calls[: count * TAG_BYTES], self.forms[: count * TAG_BYTES]
        before.results = self.results[: count * RESULT_BYTES]
        return before

    def _same_results(self) -> int:
        """The newest call, and the unbroken run of the latest known results of the same call that are alike.

        The run ends where another call changed something: to look again after that is no lack of progress.
        """
        calls, run, latest = self.calls, 1, NO_RESULT
        tag, end = calls[-TAG_BYTES:], len(calls) - TAG_BYTES
        while (start := calls.rfind(tag, 0, end)) >= 0:
            place, after = start // TAG_BYTES, end // TAG_BYTES
            end = start
            if self._changed_between(place, after):
                break
            result = self.results[place * RESULT_BYTES : (place + 1) * RESULT_BYTES]
            if result == NO_RESULT:
                continue
            if latest not in (NO_RESULT, result):
                break
            latest = result
            run += 1
        return run

    def _changed_between(self, place: int, after: int) -> bool:
        """Whether a call between these two places changed something."""
        firsts = self.results[(place + 1) * RESULT_BYTES : after * RESULT_BYTES : RESULT_BYTES]
        return max(firsts, default=0) >= _CHANGED


def _place(column: bytes, tag: bytes) -> int:
    """Where the tag stands first, in its place; -1 where it does not."""
    start = column.find(tag)
    while start >= 0 and start % TAG_BYTES:
        start = column.find(tag, start + 1)
    return start if start < 0 else start // TAG_BYTES


def _cycle(calls: bytes) -> CycleInput:
    """The shortest cycle that the calls end with twice or more; a call repeated by itself is none."""
    last = calls[-TAG_BYTES:]
    for length in range(SHORTEST_CYCLE, LONGEST_CYCLE + 1):
        size = length * TAG_BYTES
        # The newest call stood a cycle before: seldom so, and told by eight bytes.
        if calls[-size - TAG_BYTES : -size] != last or len(calls) < 2 * size:
            continue
        block = calls[-size:]
        if calls[-2 * size : -size] != block or last * length == block:
            continue
        count = 2
        while calls[-(count + 1) * size : -count * size] == block:
            count += 1
        return {"length": length, "count": count}
    return {"length": 0, "count": 0}
