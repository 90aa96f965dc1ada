"""Spans of time: short for people to read, and strict where people write them."""

import pytest

from interlock.cli.spans import seconds_of, span


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-1, "0s"), (0.4, "0s"), (45, "45s"), (60, "1m"), (119, "1m"), (7_300, "2h"), (200_000, "2d")],
    ids=str,
)
def test_spans_are_short(seconds: float, told: str) -> None:
    """A time is told in its largest unit, and never as more than it is."""
    assert span(seconds) == told


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)], ids=str
)
def test_spans_are_read(text: str, seconds: int) -> None:
    """A whole number and one unit is a span."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "h", "1 h", "-1h", "1.5h", "1w", "1h30m", "\u0661h"])
def test_anything_else_is_no_span(text: str) -> None:
    """What can be read in more than one way is refused, with what was expected."""
    with pytest.raises(ValueError, match="such as `15m`"):
        seconds_of(text)
