"""Windows: nothing counts too short, and nothing counts much too long."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.moments import SECOND, from_microseconds, microseconds_of, seconds_of, to_microseconds
from interlock.core.windows import BUCKETS, MAX_COUNT, WHOLE, Window, sliding, tumbling

NOON = to_microseconds(datetime(2026, 3, 1, 12, tzinfo=UTC))

# What happens, each so many microseconds after the one before, and how often.
events = st.lists(st.tuples(st.integers(0, 40 * SECOND), st.integers(1, 5)), min_size=1, max_size=40)


def happened(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Moments and counts, in order of time."""
    now, done = NOON, []
    for wait, count in steps:
        now += wait
        done.append((now, count))
    return done


@given(events, st.integers(1, 90))
def test_a_sliding_window_counts_all_of_its_length_and_little_more(
    steps: list[tuple[int, int]], seconds: int
) -> None:
    """What happened within the length is counted, and nothing that is older by more than a twelfth of it."""
    window, span, done = Window(), sliding(seconds), happened(steps)
    for place, (now, count) in enumerate(done, start=1):
        window.add(span, now, count)
        length = seconds * SECOND
        exact = sum(number for moment, number in done[:place] if moment > now - length)
        at_most = sum(
            number for moment, number in done[:place] if moment > now - length - length / BUCKETS - 1
        )
        assert exact <= window.total(span, now) <= at_most
        assert len(window.buckets) <= BUCKETS + 1


@given(events, st.integers(1, 90))
def test_a_tumbling_window_counts_from_its_beginning(steps: list[tuple[int, int]], seconds: int) -> None:
    """Exactly what happened since the last whole multiple of the length is counted."""
    window, span, done = Window(), tumbling(seconds), happened(steps)
    for place, (now, count) in enumerate(done, start=1):
        window.add(span, now, count)
        begin = now - now % (seconds * SECOND)
        assert window.total(span, now) == sum(number for moment, number in done[:place] if moment >= begin)
        assert len(window.buckets) == 1


def test_a_day_is_a_day() -> None:
    """A tumbling window of a day begins at midnight UTC."""
    window, day = Window(), tumbling(24 * 3_600)
    window.add(day, to_microseconds(datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)), 7)
    assert window.total(day, to_microseconds(datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC))) == 7
    assert window.total(day, to_microseconds(datetime(2026, 3, 2, tzinfo=UTC))) == 0


@given(events)
def test_a_whole_window_forgets_nothing(steps: list[tuple[int, int]]) -> None:
    """A window without an end holds all that ever happened, and never frees anything."""
    window = Window()
    for now, count in happened(steps):
        window.add(WHOLE, now, count)
    later = NOON + 100 * 366 * 24 * 3_600 * SECOND
    assert window.total(WHOLE, later) == sum(count for _, count in steps)
    assert window.frees(WHOLE, later) == []


@given(events, st.integers(1, 90))
def test_it_frees_what_it_says_when_it_says(steps: list[tuple[int, int]], seconds: int) -> None:
    """Each bucket counts until the very moment at which it is said to be free."""
    window, span, done = Window(), sliding(seconds), happened(steps)
    for now, count in done:
        window.add(span, now, count)
    now = done[-1][0]
    for moment, count in window.frees(span, now):
        assert window.total(span, moment - 1) - window.total(span, moment) == count
    assert window.total(span, window.ends(span) - 1) > 0
    assert window.total(span, window.ends(span)) == 0


def test_columns_are_counted_together() -> None:
    """Several counts share the buckets of one window."""
    window, span = Window(), sliding(60)
    window.add(span, NOON, 1, 0, 1)
    window.add(span, NOON + 1, 1, 1, 0)
    assert [window.total(span, NOON + 1, column) for column in range(3)] == [2, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 20 * SECOND), st.sampled_from([10, 60, 300])), max_size=60))
def test_windows_of_several_lengths_share_their_buckets(steps: list[tuple[int, int]]) -> None:
    """Where calls come with windows of different lengths, all still count what the shortest of them holds."""
    window, now, done = Window(), NOON, []
    for wait, seconds in steps:
        now += wait
        window.add(sliding(seconds), now, 1)
        done.append(now)
        assert window.buckets == sorted(window.buckets)
        recent = sum(moment > now - 10 * SECOND for moment in done)
        assert window.total(sliding(seconds), now) >= recent


def test_a_count_stays_within_its_bits() -> None:
    """However much is counted, the window can still be stored."""
    window, span = Window(), tumbling(60)
    window.add(span, NOON, 2**70)
    window.add(span, NOON, 2**70)
    assert window.total(span, NOON) == MAX_COUNT


def test_an_empty_window_ends_at_once() -> None:
    """Where nothing is counted, nothing has to be remembered."""
    assert Window().ends(sliding(60)) == 0
    assert Window().total(sliding(60), NOON) == 0


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_are_kept_exactly(moment: datetime) -> None:
    """A moment that is stored comes back to the microsecond."""
    assert from_microseconds(to_microseconds(moment)) == moment


@pytest.mark.parametrize(("duration", "seconds"), [(3 * SECOND, "3"), (1_500_000, "1.5"), (1, "1e-06")])
def test_durations_are_told_in_seconds(duration: int, seconds: str) -> None:
    """Whole seconds are whole numbers, and no microsecond is lost of others."""
    assert str(seconds_of(duration)) == seconds
    assert microseconds_of(timedelta(microseconds=duration)) == duration
