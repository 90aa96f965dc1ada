"""When a call is made again: on UNAVAILABLE only, within the deadline, and less and less while much fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.client.errors import InterlockCallError
from interlock.client.retry import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Attempts, Throttle


def failure(code: str = "UNAVAILABLE", retry_after: float | None = None) -> InterlockCallError:
    return InterlockCallError(method="Decide", code=code, message="away", retry_after=retry_after)


def longest(_: float, high: float) -> float:
    return high


def middle(low: float, high: float) -> float:
    return (low + high) / 2


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def attempts(
    *, seconds: float = 100.0, throttle: Throttle | None = None, clock: Clock | None = None
) -> Attempts:
    return Attempts(seconds=seconds, throttle=throttle or Throttle(), clock=clock or Clock(), jitter=middle)


def test_delays_double_up_to_the_longest() -> None:
    """Each failure doubles the delay, until it is as long as delays get (case 57)."""
    made = attempts()
    delays = [made.wait_after(failure()) for _ in range(7)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS]


@given(st.floats(0.5, 1.5))
def test_delays_are_jittered(chance: float) -> None:
    """Those who wait do not all come back at the same moment (case 57)."""
    made = Attempts(seconds=100.0, throttle=Throttle(), clock=Clock(), jitter=lambda _low, _high: chance)
    assert made.wait_after(failure()) == FIRST_DELAY_SECONDS * chance


@given(st.floats(0.0, 50.0))
def test_never_sooner_than_the_service_asked_for(retry_after: float) -> None:
    """RetryInfo is honoured: the delay is never shorter than it."""
    seconds = attempts().wait_after(failure(retry_after=retry_after))
    assert seconds is not None
    assert seconds >= retry_after


@pytest.mark.parametrize(
    "code",
    ["DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "CANCELLED", "ABORTED", "OK", ""],
)
def test_other_codes_end_the_call(code: str) -> None:
    """Nothing but UNAVAILABLE is tried again, also where the service names a time."""
    assert attempts().wait_after(failure(code, retry_after=0.1)) is None


def test_no_attempt_begins_after_the_deadline() -> None:
    """A wait that would outlast the deadline is none: the failure is told at once."""
    clock = Clock()
    made = attempts(seconds=1.0, clock=clock)
    clock.now += 0.95
    assert made.wait_after(failure()) is None


def test_a_time_beyond_the_deadline_ends_the_call() -> None:
    """Where the service asks for more time than the caller has, the caller hears so at once."""
    assert attempts(seconds=5.0).wait_after(failure(retry_after=60.0)) is None


def test_each_attempt_has_what_is_left() -> None:
    """All attempts share one deadline."""
    clock = Clock()
    made = attempts(seconds=5.0, clock=clock)
    clock.now += 2.0
    assert made.remaining() == 3.0


def test_no_tokens_no_second_attempt() -> None:
    """With a throttle of nothing, no call is ever made again."""
    assert attempts(throttle=Throttle(most=0)).wait_after(failure()) is None


def test_throttle_ends_retries_while_much_fails() -> None:
    """Half of the tokens spent ends retries for every call of the client, until calls succeed (case 57)."""
    throttle = Throttle(most=10)
    assert [throttle.failed() for _ in range(6)] == [True, True, True, True, False, False]
    for _ in range(31):
        throttle.succeeded()
    assert throttle.failed()


def test_throttle_forgives_all_in_the_end() -> None:
    """However much failed, a tenth of a token for each success brings all of them back, and no more."""
    throttle = Throttle(most=10)
    for _ in range(1_000):
        throttle.failed()
    for _ in range(1_000):
        throttle.succeeded()
    assert [throttle.failed() for _ in range(5)] == [True, True, True, True, False]


def test_answers_give_back_what_failures_cost() -> None:
    """An attempt that succeeds counts as a success of the client."""
    throttle = Throttle(most=3)
    made = attempts(throttle=throttle)
    assert made.wait_after(failure()) is not None
    for _ in range(10):
        made.succeeded()
    assert made.wait_after(failure()) is not None


def test_longest_jitter_stays_bounded() -> None:
    """No backoff of its own is longer than one and a half of the longest delay."""
    made = Attempts(seconds=1e9, throttle=Throttle(most=1e9), clock=Clock(), jitter=longest)
    delays = [made.wait_after(failure()) for _ in range(200)]
    assert max(filter(None, delays)) == LONGEST_DELAY_SECONDS * 1.5
