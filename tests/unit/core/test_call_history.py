"""Repeats and cycles are counted as a person with a list of the calls would count them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.call_history import CALLS_KEPT, LONGEST_CYCLE, CallHistory
from interlock.core.facts import CallsInput

LETTERS = st.sampled_from("ABC")


def tag(name: str) -> bytes:
    return name.encode().ljust(8, b"-")


def history_of(calls: Sequence[str], results: Sequence[str] = ()) -> CallHistory:
    """A history of these calls; a result of `""` is not known."""
    history = CallHistory()
    for number, call in enumerate(calls):
        request = tag(f"r{number}")
        history.add(call=tag(call), form=tag(call[:1]), request=request, seconds=number)
        if number < len(results) and results[number]:
            assert history.set_result(request, results[number].encode().ljust(4, b"."))
    return history


def repeats(calls: Sequence[str], results: Sequence[str] = ()) -> CallsInput:
    return history_of(calls, results).repeats()


def test_a_first_call_repeats_nothing() -> None:
    """A session's first call counts itself, and is in no cycle."""
    assert repeats(["A"]) == {
        "same_call": 1,
        "same_call_same_result": 1,
        "similar_call": 1,
        "cycle": {"length": 0, "count": 0},
        "steps": 1,
    }


def test_nothing_was_proposed_yet() -> None:
    """A session that only was started has no call to repeat."""
    assert CallHistory().repeats()["same_call"] == 0


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        pytest.param(["x", "x"], 3, id="the same twice is no progress"),
        pytest.param(["x", "y"], 2, id="a poll whose answer changed is progress"),
        pytest.param(["y", "x"], 2, id="only the latest run counts"),
        pytest.param(["", ""], 1, id="nothing known says nothing"),
        pytest.param(["x", ""], 2, id="a denied call has no result"),
        pytest.param(["", "x"], 2, id="nor has one whose outcome is under way"),
    ],
)
def test_identical_calls_with_identical_results(results: list[str], expected: int) -> None:
    """The third identical call counts those before it whose known results are alike, and itself."""
    assert repeats(["A", "A", "A"], results)["same_call_same_result"] == expected


def test_reading_in_between_is_no_progress() -> None:
    """Identical calls are compared with each other, whatever was read between them."""
    found = repeats(["A", "B", "A", "B", "A"], ["x", "1", "x", "2"])
    assert (found["same_call"], found["same_call_same_result"]) == (3, 3)


def test_a_change_in_between_is_progress() -> None:
    """Who looks again after a call that changed something is not going round in circles."""
    history = history_of(["A", "B", "A", "A"], ["x", "", "x"])
    assert history.repeats()["same_call_same_result"] == 3
    assert history.set_result(tag("r1"), b"done", changed=True)
    assert history.repeats()["same_call_same_result"] == 2


def test_a_call_is_no_change_for_itself() -> None:
    """The same change over and over, with the same result each time, is no progress."""
    history = CallHistory()
    for number in range(3):
        history.add(call=tag("A"), form=tag("A"), request=tag(f"r{number}"), seconds=0)
        history.set_result(tag(f"r{number}"), b"done", changed=True)
    assert history.repeats()["same_call_same_result"] == 3


@pytest.mark.parametrize(
    ("calls", "length", "count"),
    [
        ("ABAB", 2, 2),
        ("ABABAB", 2, 3),
        ("XABCABC", 3, 2),
        ("ABABA", 2, 2),
        ("AAAA", 0, 0),
        ("ABBA", 0, 0),
        ("AABAAB", 3, 2),
        ("ABCDEFGHABCDEFGH", 8, 2),
        ("ABCDEFGHIABCDEFGHI", 0, 0),
    ],
)
def test_cycles_at_the_end(calls: str, length: int, count: int) -> None:
    """The shortest cycle of 2 to 8 calls that the tail repeats; one call by itself is no cycle (case 58)."""
    assert repeats(calls)["cycle"] == {"length": length, "count": count}


@given(st.lists(LETTERS, min_size=1, max_size=40))
def test_counts_are_those_of_a_list(calls: list[str]) -> None:
    """Whatever was called, counts of a call and of its form are those of a plain list."""
    found = repeats(calls)
    assert found["same_call"] == calls.count(calls[-1])
    assert found["similar_call"] == calls.count(calls[-1])
    assert found["cycle"] == cycle_of(calls)
    assert found["steps"] == len(calls)


def cycle_of(calls: list[str]) -> dict[str, int]:
    """By brute force."""
    for length in range(2, LONGEST_CYCLE + 1):
        block, count = calls[-length:], 0
        while calls[len(calls) - length * (count + 1) : len(calls) - length * count] == block:
            count += 1
        if count >= 2 and len(set(block)) > 1:
            return {"length": length, "count": count}
    return {"length": 0, "count": 0}


@given(st.lists(st.tuples(LETTERS, st.sampled_from(["", "x", "y"])), max_size=30))
def test_a_history_comes_back_from_its_bytes(steps: list[tuple[str, str]]) -> None:
    """What is kept of a history is all of it."""
    history = history_of([call for call, _ in steps], [result for _, result in steps])
    again = CallHistory.decode(history.encode())
    assert again.encode() == history.encode()
    assert again.repeats() == history.repeats()


def test_only_the_newest_calls_are_kept() -> None:
    """A long session costs no more than a bounded one; all of its steps are counted still."""
    history = history_of(["A"] * (CALLS_KEPT + 50))
    assert len(history) == CALLS_KEPT
    assert history.repeats()["same_call"] == CALLS_KEPT
    assert history.repeats()["steps"] == CALLS_KEPT + 50
    assert len(history.encode()) <= 32 * CALLS_KEPT + 6


def test_a_request_is_found_again() -> None:
    """A request that was counted is known, and is told what it was told then, whatever came after."""
    history = history_of(["A", "B", "A", "A"])
    assert history.place_of(tag("r2")) == 2
    assert history.place_of(tag("r9")) == -1
    assert (history.repeats(2)["same_call"], history.repeats(2)["steps"]) == (2, 3)


def test_tags_are_compared_in_their_places() -> None:
    """Bytes that only look like a tag across two others are no tag."""
    history = CallHistory()
    for call in (b"aaaabbbb", b"ccccdddd"):
        history.add(call=call, form=call, request=call, seconds=0)
    assert history.place_of(b"bbbbcccc") == -1


def test_a_result_is_noted_once() -> None:
    """A second outcome of one call changes nothing, and one of an unknown call is noted nowhere."""
    history = history_of(["A"], ["x"])
    assert not history.set_result(tag("r0"), b"yyyy")
    assert not history.set_result(tag("r7"), b"yyyy")


def test_old_calls_are_forgotten() -> None:
    """Of an agent only the calls of its window count."""
    history = history_of(["A"] * 10)
    history.forget_before(4)
    assert (len(history), history.repeats()["same_call"], history.repeats()["steps"]) == (6, 6, 6)
    history.forget_before(0)
    assert len(history) == 6
