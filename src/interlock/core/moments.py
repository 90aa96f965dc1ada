"""Moments as whole microseconds since the epoch, as cells and stores keep them: exact, and quick to compare."""

from datetime import UTC, datetime, timedelta

SECOND = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(stored: int) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + stored * _MICROSECOND


def microseconds_of(duration: timedelta) -> int:
    """The duration in microseconds."""
    return duration // _MICROSECOND


def seconds_of(duration: int) -> int | float:
    """Microseconds as seconds; a whole number as such, which has one form in every JSON."""
    return duration // SECOND if duration % SECOND == 0 else duration / SECOND
