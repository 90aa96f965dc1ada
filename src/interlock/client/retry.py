"""When a call is made again, and after how long: on UNAVAILABLE only, within the caller's deadline.

Backoff and throttle are those of gRPC's retry design (gRFC A6), kept here rather than in the channel: there
they know neither RetryInfo nor which calls may be made twice.
"""

import math
import random
import time
from collections.abc import Callable

from interlock.client.errors import InterlockCallError

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 2.0
_LARGEST_EXPONENT = 16

Jitter = Callable[[float, float], float]
"""A number between two others, by chance."""


class Throttle:
    """Ends retries while much fails (case 57): each failure costs one, each success gives back a tenth.

    Calls are made again while less than half of `most` is spent; with `most` 0, never.
    """

    def __init__(self, most: float = 100.0) -> None:
        self._most = most
        self._spent = 0.0  # threads may lose an update of each other, which is no harm to a rough measure

    def failed(self) -> bool:
        """Count a failure; whether the call may be made again."""
        self._spent = min(self._most, self._spent + 1.0)
        return self._spent < self._most / 2

    def succeeded(self) -> None:
        """Count a success."""
        self._spent = max(0.0, self._spent - 0.1)


class Attempts:
    """The attempts at one call, all of them within `seconds`, and none of them longer than `each`."""

    def __init__(
        self,
        *,
        seconds: float,
        throttle: Throttle,
        clock: Callable[[], float] = time.monotonic,
        jitter: Jitter = random.uniform,
        each: float = math.inf,
    ) -> None:
        self._each = each
        self._clock, self._jitter = clock, jitter
        self._throttle = throttle
        self._end = clock() + seconds
        self._failures = 0

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self._end - self._clock()

    def next_seconds(self) -> float:
        """Seconds that the next attempt may take."""
        return min(self.remaining(), self._each)

    def wait_after(self, failure: InterlockCallError) -> float | None:
        """Seconds to wait before the next attempt; None where the failure is the call's end.

        Never sooner than the service asked for, and not for all who wait at the same moment.
        """
        if failure.code != "UNAVAILABLE" or not self._throttle.failed():
            return None
        seconds = (failure.retry_after or 0.0) + self._backoff()
        return seconds if seconds < self.remaining() else None

    def succeeded(self) -> None:
        """An answer came."""
        self._throttle.succeeded()

    def _backoff(self) -> float:
        doubled = FIRST_DELAY_SECONDS * 2.0 ** min(self._failures, _LARGEST_EXPONENT)
        self._failures += 1
        return min(doubled, LONGEST_DELAY_SECONDS) * self._jitter(0.5, 1.5)
