"""Ends as stores index them."""

from datetime import datetime

from interlock.core.moments import SECOND, to_microseconds

_STEP = 600 * SECOND


def end_in_steps(moment: datetime) -> int:
    """Microseconds of an end, no earlier than it is, in whole steps of two minutes.

    So most writes of something that ends later and later leave the index over its ends as it is.
    """
    return -(-to_microseconds(moment) // _STEP) * _STEP
