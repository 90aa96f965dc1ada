"""Holds: many of them in one small cell, none of which counts too short."""

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.holds import EFFECTS, MOST_ENDS, Ending, Held, Pending, Standing, Taking, check_version
from interlock.core.moments import SECOND, to_microseconds

NOON = to_microseconds(datetime(2026, 3, 1, 12, tzinfo=UTC))
LIFE = 160 * SECOND


@dataclass
class Hold:
    end: int
    amount: int


# A step waits so long, then holds an amount for so long, or gives back one of those that are held.
steps = st.lists(
    st.tuples(st.integers(0, 5 * SECOND), st.integers(1, LIFE), st.integers(0, 3), st.booleans()),
    max_size=150,
)


@given(steps, st.randoms(use_true_random=False))
def test_no_hold_counts_too_short_and_few_count_exactly(
    done: list[tuple[int, int, int, bool]], chance: Random
) -> None:
    """What is held is never less than the live holds; it is more only by what was rounded up, and only of many."""
    pending, live, now, rounded = Pending(), list[Hold](), NOON, False
    for wait, life, amount, gives_back in done:
        now += wait
        live = [hold for hold in live if hold.end > now]
        if gives_back and live:
            hold = live.pop(chance.randrange(len(live)))
            pending.remove(now, hold.end, hold.amount)
        else:
            live.append(Hold(now + life, amount))
            pending.add(now, now + life, amount)
        rounded = rounded or len({hold.end for hold in live}) > MOST_ENDS
        exact = sum(hold.amount for hold in live)
        assert pending.total(now) >= exact
        assert len(pending.entries) <= MOST_ENDS
        if not rounded:
            assert pending.total(now) == exact
    assert pending.total(now + LIFE + LIFE // 8) == 0


def test_many_ends_are_rounded_up_by_little() -> None:
    """A thousand holds a second apart make a small cell, each ending at most an eighth of a life late."""
    pending = Pending()
    for number in range(1_000):
        pending.add(NOON, NOON + LIFE + number, 1)
    assert len(pending.entries) <= MOST_ENDS
    assert pending.total(NOON + LIFE - 1) == 1_000
    assert pending.ends() <= NOON + LIFE + 1_000 + LIFE // 8


def test_an_end_that_is_rounded_again_and_again_still_comes() -> None:
    """However much goes on in the cell, a hold that nobody settles comes to its end."""
    pending = Pending()
    pending.add(NOON, NOON + LIFE, 1_000_000)
    for number in range(1, 2_000):
        now = NOON + number * LIFE // 1_000
        pending.add(now, now + LIFE, 1)
        assert (pending.total(now) > 1_000_000) or now >= NOON + LIFE
    assert pending.total(now) < 2_000


def test_what_was_never_held_is_not_given_back() -> None:
    """Giving back more than there is leaves nothing, and never less than nothing (case 56)."""
    pending = Pending()
    pending.add(NOON, NOON + LIFE, 2)
    pending.remove(NOON, NOON + LIFE, 5)
    assert pending.total(NOON) == 0
    pending.add(NOON, NOON + LIFE, 1)
    assert pending.total(NOON) == 1


def test_a_hold_that_is_over_takes_nothing_of_others() -> None:
    """Giving back what has ended already leaves the holds of others alone."""
    pending = Pending()
    pending.add(NOON, NOON + 1, 3)
    pending.add(NOON, NOON + LIFE, 4)
    pending.remove(NOON + 1, NOON + 1, 3)
    assert pending.total(NOON + 1) == 4


def test_nothing_and_the_past_are_not_held() -> None:
    """An amount of nothing, and a hold that is over when it begins, leave no trace."""
    pending = Pending()
    pending.add(NOON, NOON + LIFE, 0)
    pending.add(NOON, NOON, 5)
    assert (pending.entries, pending.ends()) == ([], 0)


def test_only_what_is_settled_is_used_up() -> None:
    """Each outcome's effect is stated, and whatever comes after what ran has none (case 56)."""
    assert not any((Standing.SETTLED, ending) in EFFECTS for ending in Ending)
    assert all(effect.uses == (effect.standing is Standing.SETTLED) for effect in EFFECTS.values())
    assert all(effect.gives_back <= (standing is Standing.HELD) for (standing, _), effect in EFFECTS.items())


def test_a_decisions_cell_is_read_as_it_was_written() -> None:
    """What a decision holds, since when and until when, survives being stored."""
    held = Held()
    held.hold(Taking(decision_id="d", at=NOON, begin=NOON, ends=NOON + 3))
    stored = Held.decode(held.encode())
    assert (stored.standing, stored.begin, stored.ends) == (Standing.HELD, NOON, NOON + 3)
    assert Held.decode(b"").standing is Standing.NOTHING


def test_a_cell_of_a_newer_release_is_refused() -> None:
    """A cell whose form is not known is an error, and never read as something else."""
    with pytest.raises(ValueError, match="a cell is of version 2, expected 1"):
        check_version(2)
