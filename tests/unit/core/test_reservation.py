"""What a policy's answer may reserve: exactly five kinds, in exact types, each only once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from interlock.core.canonical import canonicalize, parse_canonical
from interlock.core.decision import PolicyAnswer
from interlock.core.reservation import (
    MAX_AMOUNT,
    MAX_SECONDS,
    RETRY_AFTER,
    SHORTFALL_CODES,
    Reservation,
    Shortfall,
    waiting,
)

BUDGET: dict[str, Any] = {
    "type": "budget",
    "scope": "session",
    "unit": "calls",
    "amount": 1,
    "limit": 10,
    "window": "sliding",
    "window_seconds": 60,
    "name": "",
}
RATE: dict[str, Any] = {
    "type": "rate",
    "scope": "agent",
    "limit": 5,
    "period_seconds": 1,
    "burst": 10,
    "name": "tools/mail.send",
}
CONCURRENCY: dict[str, Any] = {"type": "concurrency", "scope": "user", "limit": 0, "name": ""}
LEASE: dict[str, Any] = {"type": "lease", "resource": "database/orders"}
BREAKER: dict[str, Any] = {
    "type": "breaker",
    "probe": False,
    "failure_percent": 50,
    "minimum_calls": 20,
    "window_seconds": 60,
    "slow_milliseconds": 0,
    "slow_percent": 100,
    "open_seconds": 30,
}
KINDS = [BUDGET, RATE, CONCURRENCY, LEASE, BREAKER]

reservation: TypeAdapter[Reservation] = TypeAdapter(Reservation)


def answer(*reservations: object) -> PolicyAnswer:
    reasons = [{"code": "test.fine", "message": "fine"}]
    return PolicyAnswer.model_validate(
        {"verdict": "allow", "reasons": reasons, "obligations": [], "reservations": list(reservations)}
    )


def budgets(count: int) -> list[dict[str, Any]]:
    return [{**BUDGET, "name": f"budget-{number}"} for number in range(count)]


def test_every_kind_is_read_as_it_is() -> None:
    """What a policy reserves goes on record key for key, and is read from the record as the same."""
    given_answer = answer(*KINDS)
    assert given_answer.as_json()["reservations"] == KINDS
    assert PolicyAnswer.model_validate(parse_canonical(canonicalize(given_answer.as_json()))) == given_answer


@pytest.mark.parametrize("kind", [BUDGET, RATE, CONCURRENCY], ids=lambda kind: kind["type"])
def test_a_name_may_be_left_out(kind: dict[str, Any]) -> None:
    """What has no name has the empty one, also on record."""
    unnamed = {key: value for key, value in kind.items() if key != "name"}
    assert answer(unnamed).as_json()["reservations"] == [{**kind, "name": ""}]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["type"])
def test_nothing_else_may_be_left_out_or_added(kind: dict[str, Any]) -> None:
    """A limit that a policy forgot is no limit of zero or of everything: the answer is out of contract."""
    for missing in kind.keys() - {"name"}:
        with pytest.raises(ValidationError):
            answer({key: value for key, value in kind.items() if key != missing})
    with pytest.raises(ValidationError):
        answer({**kind, "per": "day"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "quota"},
        {"scope": "team"},
        {"unit": "seconds"},
        {"window": "rolling"},
        {"amount": -1},
        {"amount": 1.0},
        {"amount": "1"},
        {"amount": True},
        {"amount": MAX_AMOUNT + 1},
        {"limit": -1},
        {"limit": None},
        {"window_seconds": 0},
        {"window_seconds": MAX_SECONDS + 1},
        {"window": "whole"},
        {"window": "whole", "window_seconds": 0, "scope": "agent"},
        {"name": "with a space"},
        {"name": "line\n"},
        {"name": "a" * 129},
    ],
    ids=str,
)
def test_a_budget_of_another_kind_is_refused(wrong: dict[str, Any]) -> None:
    """A budget has a known scope, unit and window, and whole amounts that every JSON can hold."""
    with pytest.raises(ValidationError):
        answer({**BUDGET, **wrong})


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RATE, {"limit": 0}),
        (RATE, {"burst": 0}),
        (RATE, {"period_seconds": 0}),
        (RATE, {"limit": 1, "period_seconds": MAX_SECONDS, "burst": 2}),
        (RATE, {"burst": MAX_AMOUNT}),
        (CONCURRENCY, {"limit": -1}),
        (LEASE, {"resource": ""}),
        (LEASE, {"resource": "a" * 513}),
        (LEASE, {"resource": "\ud800"}),
        (BREAKER, {"probe": 0}),
        (BREAKER, {"failure_percent": 0}),
        (BREAKER, {"failure_percent": 101}),
        (BREAKER, {"minimum_calls": 0}),
        (BREAKER, {"slow_milliseconds": -1}),
        (BREAKER, {"open_seconds": 0}),
    ],
    ids=lambda value: str(value.get("type", value)),
)
def test_other_terms_out_of_range_are_refused(kind: dict[str, Any], wrong: dict[str, Any]) -> None:
    """No terms mean that nothing is ever limited, or cannot be counted with."""
    with pytest.raises(ValidationError):
        answer({**kind, **wrong})


def test_a_whole_budget_is_that_of_a_session() -> None:
    """The budget of a session's life has no seconds."""
    whole = {**BUDGET, "window": "whole", "window_seconds": 0}
    assert answer(whole).as_json()["reservations"] == [whole]


def test_sixteen_reservations_are_the_most() -> None:
    """An answer may ask for sixteen reservations, and not for more."""
    assert len(answer(*budgets(16)).reservations) == 16
    with pytest.raises(ValidationError, match="at most 16"):
        answer(*budgets(17))


@pytest.mark.parametrize(
    "change",
    [
        (BUDGET, {"amount": 7, "limit": 3}),
        (RATE, {"limit": 1, "burst": 1}),
        (CONCURRENCY, {"limit": 9}),
        (LEASE, {}),
        (BREAKER, {"probe": True, "minimum_calls": 1}),
    ],
    ids=lambda change: change[0]["type"],
)
def test_two_for_one_cell_are_refused(change: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Of two limits on the same, a policy must say which it means."""
    kind, other = change
    with pytest.raises(ValidationError, match="two reservations are for the same"):
        answer(kind, {**kind, **other})


@pytest.mark.parametrize(
    "change",
    [
        (BUDGET, {"scope": "tenant"}),
        (BUDGET, {"unit": "cost"}),
        (BUDGET, {"window": "tumbling"}),
        (BUDGET, {"window_seconds": 3600}),
        (BUDGET, {"name": "mail"}),
        (RATE, {"name": ""}),
        (CONCURRENCY, {"scope": "agent"}),
        (LEASE, {"resource": "database/stock"}),
    ],
    ids=str,
)
def test_two_of_a_kind_stand_beside_each_other(change: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """A policy may set a limit by the minute and by the day, for a session and its tenant, by name."""
    kind, other = change
    assert len(answer(kind, {**kind, **other}).reservations) == 2


def test_a_million_broken_reservations_are_one_error() -> None:
    """The first broken reservation ends the reading, whatever comes after it."""
    with pytest.raises(ValidationError) as caught:
        answer(*[0] * 1_000_000)
    assert caught.value.error_count() == 1


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers())))
def test_what_is_no_object_is_no_reservation(value: object) -> None:
    """No scalar and no list is taken for a reservation."""
    with pytest.raises(ValidationError):
        reservation.validate_python(value)


@pytest.mark.parametrize("code", SHORTFALL_CODES)
def test_a_shortfall_is_a_reason_that_can_go_on_record(code: str) -> None:
    """Every code of the service fits the form of a reason, with metadata that a record can hold."""
    shortfall = Shortfall(
        code=code, message=SHORTFALL_CODES[code], metadata={"limit": 3, **waiting(2_500_000)}
    )
    reason = shortfall.reason()
    assert (reason.code, reason.path) == (code, "")
    assert reason.metadata == {"limit": 3, RETRY_AFTER: 2.5}
    canonicalize(reason.model_dump())


def test_what_waiting_does_not_help_has_no_time() -> None:
    """A number of seconds is only given where waiting so long helps; a whole one is an integer."""
    assert waiting(None) == {}
    assert waiting(-5) == {RETRY_AFTER: 0}
    assert str(waiting(3_000_000)[RETRY_AFTER]) == "3"
