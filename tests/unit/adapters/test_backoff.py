"""Delays that grow, are bounded, and differ."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.backoff import jittered


@given(st.integers(0, 10_000))
def test_delays_double_up_to_the_longest_each_with_jitter(failures: int) -> None:
    """After any number of failures the delay is within half of its due, and never beyond the bound."""
    due = min(0.2 * 2.0 ** min(failures, 100), 30.0)
    assert 0.5 * due <= jittered(first=0.2, longest=30.0)(failures) <= 1.5 * due


def test_those_who_wait_do_not_come_back_together() -> None:
    """Delays after the same number of failures differ (case 57)."""
    delay = jittered(first=0.2, longest=30.0)
    assert len({delay(3) for _ in range(100)}) > 50
