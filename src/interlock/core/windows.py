"""Counts over a window of time, in a few buckets.

A bucket is named by the moment at which it ends, so that buckets of several widths go together. Times are
microseconds since the epoch, and those given to one window must not go back.
"""

import functools
from bisect import insort
from dataclasses import dataclass

from interlock.core.moments import SECOND

BUCKETS = 12
"""Buckets in the length of a sliding window."""

MAX_COUNT = 2**62
"""Counts stop here, and still fit the 64 bits in which they are kept."""

NEVER = 2**62
"""When the only bucket of a window without an end ends."""


@dataclass(frozen=True, slots=True)
class Span:
    """The shape of a window: how wide its buckets are, and how long one counts after its end."""

    width: int
    kept: int


WHOLE = Span(NEVER, 0)
"""A window that never ends."""


@functools.lru_cache(maxsize=256)
def tumbling(seconds: int) -> Span:
    """The window that begins anew at each whole multiple of its length since the epoch."""
    return Span(seconds * SECOND, 0)


@functools.lru_cache(maxsize=256)
def sliding(seconds: int) -> Span:
    """The window of the last so many seconds.

    What was counted is never forgotten too early, and at most a twelfth of the window too late: a limit on
    what this window holds is never exceeded in any stretch of its length, and up to a twelfth longer may pass
    before what it had forbidden is free again.
    """
    length = seconds * SECOND
    return Span(-(-length // BUCKETS), length)


class Window:
    """Counts, one or several, in buckets `[end, count, …]`, the oldest first."""

    __slots__ = ("buckets",)

    def __init__(self, buckets: list[list[int]] | None = None) -> None:
        self.buckets = buckets or []

    def add(self, span: Span, now: int, *counts: int) -> None:
        """Count something now, and forget what is too old."""
        self.forget(span, now)
        end = (now // span.width + 1) * span.width
        for bucket in reversed(self.buckets):
            if bucket[0] == end:
                bucket[1:] = [min(a + b, MAX_COUNT) for a, b in zip(bucket[1:], counts, strict=True)]
                return
        insort(self.buckets, [end, *(min(count, MAX_COUNT) for count in counts)])

    def forget(self, span: Span, now: int) -> None:
        """Drop the buckets that no longer count."""
        since = now - span.kept
        if self.buckets and self.buckets[0][0] <= since:
            self.buckets = [bucket for bucket in self.buckets if bucket[0] > since]

    def total(self, span: Span, now: int, column: int = 0) -> int:
        """What is counted now in one of the columns."""
        if not self.buckets:
            return 0
        since, place = now - span.kept, column + 1
        return sum([bucket[place] for bucket in self.buckets if bucket[0] > since])

    def frees(self, span: Span, now: int) -> list[tuple[int, int]]:
        """When buckets will be forgotten, and what was counted in the first column of each."""
        return [(end + span.kept, count) for end, count, *_ in self.buckets if now < end + span.kept < NEVER]

    def ends(self, span: Span) -> int:
        """When all will be forgotten; 0 where there is nothing."""
        return self.buckets[-1][0] + span.kept if self.buckets else 0
