"""Spans of time, as people write and read them."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd])")


def span(seconds: float) -> str:
    """How long that is, in the largest unit that it fills: `45s`, `12m`, `3h`, `2d`."""
    unit = next((unit for unit, size in reversed(_UNITS.items()) if seconds >= size), "s")
    return f"{max(0, seconds) // _UNITS[unit]:.0f}{unit}"


def seconds_of(text: str) -> int:
    """The seconds of a span such as `90s`, `15m`, `1h` or `7d`. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a whole number with `s`, `m`, `h` or `d`, such as `15m`, got `{text}`")
    return int(found[1]) * _UNITS[found[2]]
