"""Attempts, and what limits on retries are set against."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.core.attempts import (
    FORGOTTEN_EVERY,
    NEVER,
    OPERATION_SECONDS,
    WINDOW_SECONDS,
    Attempts,
    Operation,
    Operations,
)

START = 1_772_366_400


def test_ratios_are_per_first_attempt() -> None:
    """Retries, invalid and failed attempts are weighed against first attempts, as a retry budget is."""
    attempts = Attempts()
    for number in range(4):
        attempts.proposed(START, retry=False, invalid=number == 0)
    attempts.proposed(START, retry=True, invalid=False)
    attempts.ended(START, failed=True)
    told = attempts.told(START)
    assert (told["first_attempts"], told["retries"], told["invalid"], told["failed"]) == (4, 1, 1, 1)
    assert (told["invalid_ratio"], told["failed_ratio"], told["retry_ratio"]) == (0.25, 0.25, 0.25)


def test_rows_are_broken_by_what_is_good() -> None:
    """A valid proposal ends a row of invalid ones, and a success a row of failures."""
    attempts = Attempts()
    for _ in range(3):
        attempts.proposed(START, retry=False, invalid=True)
        attempts.ended(START, failed=True)
    assert (attempts.invalid_in_row, attempts.failed_in_row) == (3, 3)
    attempts.proposed(START, retry=False, invalid=False)
    attempts.ended(START, failed=False)
    assert (attempts.invalid_in_row, attempts.failed_in_row) == (0, 0)


def test_what_is_older_than_the_window_does_not_count() -> None:
    """Counts last for half a window at least and for a window at most."""
    attempts = Attempts()
    attempts.proposed(START, retry=False, invalid=False)
    assert attempts.told(START + WINDOW_SECONDS // 2 - 1)["first_attempts"] == 1
    assert attempts.told(START + WINDOW_SECONDS)["first_attempts"] == 0


def test_a_clock_set_back_forgets_nothing() -> None:
    """Time that goes back neither loses nor doubles a count (case 22)."""
    attempts = Attempts()
    attempts.proposed(START + WINDOW_SECONDS, retry=False, invalid=False)
    attempts.proposed(START, retry=False, invalid=False)
    assert attempts.told(START)["first_attempts"] == 2


@given(st.lists(st.tuples(st.integers(0, 2_000), st.booleans(), st.booleans()), max_size=30))
def test_attempts_come_back_from_their_bytes(events: list[tuple[int, bool, bool]]) -> None:
    """What is kept is all of it, in a fixed size."""
    attempts = Attempts()
    for after, retry, bad in events:
        attempts.proposed(START + after, retry=retry, invalid=bad)
        attempts.ended(START + after, failed=bad)
    stored = attempts.encode()
    assert len(stored) == Attempts.SIZE
    assert Attempts.decode(stored).told(START + 2_000) == attempts.told(START + 2_000)


def test_an_operation_counts_its_attempts_until_one_succeeds() -> None:
    """Attempts and failures of an operation go on until a success, from which it begins anew."""
    operation = Operation()
    for number in range(3):
        operation.proposed(START + number)
        operation.ended(START + number, failed=True)
    operation.proposed(START + 5)
    assert operation.told(START + 5, key_given=True) == {
        "key_given": True,
        "attempts": 4,
        "failed_in_row": 3,
        "seconds_since_failure": 3,
    }
    operation.ended(START + 6, failed=False)
    operation.proposed(START + 7)
    assert operation.told(START + 7, key_given=False) == {
        "key_given": False,
        "attempts": 1,
        "failed_in_row": 0,
        "seconds_since_failure": NEVER,
    }


def test_an_operation_is_forgotten_after_its_time() -> None:
    """An operation that was given up can be tried anew after its window."""
    operation = Operation()
    operation.proposed(START)
    operation.ended(START, failed=True)
    operation.proposed(START + OPERATION_SECONDS)
    assert (operation.attempts, operation.failed_in_row) == (1, 0)


def tag(number: int) -> bytes:
    return number.to_bytes(8, "big")


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_operations_of_one_cell_do_not_meet(events: list[tuple[int, bool]]) -> None:
    """Each operation of a cell comes back as it was put, whatever was put beside it."""
    operations, expected = Operations(), {number: Operation() for number in range(6)}
    for number, failed in events:
        operations = Operations.decode(operations.encode())
        operation = operations.get(tag(number))
        assert operation == expected[number]
        operation.proposed(START)
        operation.ended(START, failed=failed)
        operations.put(tag(number), operation, START)
        expected[number] = operation


def test_operations_whose_time_is_over_take_no_room() -> None:
    """A cell holds what was tried lately, however many operations it has seen."""
    operations = Operations()
    for number in range(100 * FORGOTTEN_EVERY):
        seconds = START + number * OPERATION_SECONDS // FORGOTTEN_EVERY
        operation = operations.get(tag(number))
        operation.proposed(seconds)
        operations.put(tag(number), operation, seconds)
    assert len(operations.encode()) <= 3 * FORGOTTEN_EVERY * 20
    assert operations.get(tag(100 * FORGOTTEN_EVERY - 1)).attempts == 1


def test_tags_are_found_in_their_places_only() -> None:
    """Bytes of an entry that look like another's tag are none."""
    operations = Operations()
    inner = Operation(started=START, attempts=3, failed_in_row=2, failed_at=START + 1)
    operations.put(tag(1), inner, START)
    looks_like = operations.encode()[8:16]
    assert operations.get(looks_like) == Operation()
    operations.put(looks_like, Operation(started=START, attempts=1), START)
    assert operations.get(looks_like).attempts == 1
    assert operations.get(tag(1)) == inner
