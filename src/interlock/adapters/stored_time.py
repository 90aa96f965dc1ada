"""Times as stores keep them: microseconds since the epoch, exact, unlike a float."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STEP = 600 * 1_000_000


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(stored: int) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + stored * _MICROSECOND


def end_in_steps(moment: datetime) -> int:
    """Microseconds of an end, no earlier than it is, in whole steps of ten minutes.

    So most writes of something that ends later and later leave the index over its ends as it is.
    """
    return -(-to_microseconds(moment) // _STEP) * _STEP
