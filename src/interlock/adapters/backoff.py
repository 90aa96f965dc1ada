"""Delays between attempts, jittered so that many who wait do not come back at once (case 57)."""

import random
from collections.abc import Callable

_LARGEST_EXPONENT = 32


def jittered(*, first: float, longest: float) -> Callable[[int], float]:
    """Seconds to wait after so many failures in a row: `first`, doubling up to `longest`, each ± half."""

    def delay(failures: int) -> float:
        seconds = min(first * 2.0 ** min(failures, _LARGEST_EXPONENT), longest)
        return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret

    return delay
