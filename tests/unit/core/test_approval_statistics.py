"""What people answer, by reason code: counts that add up, exact medians, and what is always answered alike."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.approval_statistics import (
    CodeStatistics,
    Fate,
    Question,
    Tendency,
    statistics_by_code,
)

QUESTIONS = st.lists(
    st.builds(
        Question,
        codes=st.lists(
            st.sampled_from(["loops.similar_call", "effects.needs_person", "a.b"]), max_size=4
        ).map(tuple),
        fate=st.sampled_from(Fate),
        edited=st.booleans(),
        wait_seconds=st.none() | st.floats(0, 1e6),
    ),
    max_size=40,
)


def a_question(fate: Fate = Fate.APPROVED, wait: float | None = None, **changed: Any) -> Question:
    fields: dict[str, Any] = {"codes": ("effects.needs_person",), "edited": False, **changed}
    return Question(fate=fate, wait_seconds=wait, **fields)


@given(QUESTIONS)
def test_every_question_is_counted_once_for_each_of_its_codes(questions: list[Question]) -> None:
    """Nothing is lost or counted twice: what was opened is what was answered, ended or waits."""
    for each in statistics_by_code(questions):
        asked = [question for question in questions if each.code in question.codes]
        assert each.opened == len(asked)
        assert each.opened == each.answered + each.expired + each.withdrawn + each.pending
        assert each.edited <= each.approved
    assert {each.code for each in statistics_by_code(questions)} == {
        code for each in questions for code in each.codes
    }


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_the_median_is_exact(waits: list[float]) -> None:
    """As many waited shorter as longer than the median wait."""
    [found] = statistics_by_code([a_question(wait=wait) for wait in waits])
    assert found.median_wait_seconds is not None
    assert sum(wait < found.median_wait_seconds for wait in waits) <= len(waits) / 2
    assert sum(wait > found.median_wait_seconds for wait in waits) <= len(waits) / 2


def test_one_code_with_all_that_can_become_of_it() -> None:
    """Each end has its own count; who got no answer does not count as waiting."""
    questions = [
        a_question(Fate.APPROVED, 10),
        a_question(Fate.APPROVED, 30, edited=True),
        a_question(Fate.DENIED, 20),
        a_question(Fate.EXPIRED),
        a_question(Fate.WITHDRAWN),
        a_question(Fate.PENDING),
    ]
    assert statistics_by_code(questions) == [
        CodeStatistics(
            code="effects.needs_person",
            opened=6,
            approved=2,
            denied=1,
            edited=1,
            expired=1,
            withdrawn=1,
            pending=1,
            median_wait_seconds=20,
        )
    ]


def test_the_busiest_code_comes_first() -> None:
    """Codes are in the order of how many questions they opened, then by name."""
    questions = [
        a_question(codes=("b.x",)),
        a_question(codes=("a.y",)),
        a_question(codes=("c.z", "c.z", "b.x")),
    ]
    assert [each.code for each in statistics_by_code(questions)] == ["b.x", "a.y", "c.z"]


@pytest.mark.parametrize(
    ("questions", "least", "tendency"),
    [
        (3 * [a_question()], 3, Tendency.ALWAYS_APPROVED),
        (2 * [a_question()], 3, None),
        (3 * [a_question(Fate.DENIED)], 3, Tendency.ALWAYS_DENIED),
        ([*3 * [a_question()], a_question(Fate.DENIED)], 3, None),
        ([*3 * [a_question()], a_question(edited=True)], 3, None),
        (
            [*3 * [a_question()], a_question(Fate.EXPIRED), a_question(Fate.PENDING)],
            3,
            Tendency.ALWAYS_APPROVED,
        ),
        (9 * [a_question(Fate.EXPIRED)], 0, None),
    ],
    ids=["yes", "too-few", "no", "mixed", "edited", "not-answered", "never-answered"],
)
def test_what_is_always_answered_alike(
    questions: list[Question], least: int, tendency: Tendency | None
) -> None:
    """A rule has a tendency where enough answers are all the same, and people changed nothing in what was asked."""
    [found] = statistics_by_code(questions)
    assert found.tendency(least) is tendency
