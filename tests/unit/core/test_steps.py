"""Steps: their bounds, and the form in which a timeline keeps them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.steps import Step, StepKind, check_step, from_json, to_json

PLANNING = Step(number=1, kind=StepKind.PLANNING, summary="look first")
READ = Step(number=2, kind=StepKind.MEMORY_READ, key="plan", version=3, digest="d")
WRITE = replace(READ, kind=StepKind.MEMORY_WRITE)
MOVED = Step(number=3, kind=StepKind.STATE_TRANSITION, name="phase", from_state="plan", to_state="act")

text = st.text(max_size=20)
numbers = st.integers(0, 2**53 - 1)
used: dict[str, Any] = {"number": numbers, "cost": numbers, "model_tokens": numbers}
entry: dict[str, Any] = {"key": text, "version": numbers, "digest": text}
steps = st.one_of(
    st.builds(Step, kind=st.just(StepKind.PLANNING), summary=text, **used),
    st.builds(Step, kind=st.sampled_from([StepKind.MEMORY_READ, StepKind.MEMORY_WRITE]), **entry, **used),
    st.builds(
        Step, kind=st.just(StepKind.STATE_TRANSITION), name=text, from_state=text, to_state=text, **used
    ),
)


@given(steps)
def test_a_timeline_keeps_a_step_as_it_was(step: Step) -> None:
    """Whatever a step says is there again after it was kept as JSON."""
    assert from_json(orjson.loads(orjson.dumps(to_json(step)))) == step


@given(steps, steps)
def test_steps_are_the_same_when_what_is_kept_is(one: Step, other: Step) -> None:
    """Two steps are kept as the same list only where they are the same, so that a duplicate is told by it."""
    assert (to_json(one) == to_json(other)) == (one == other)


@pytest.mark.parametrize("step", [PLANNING, READ, WRITE, MOVED, replace(READ, digest="", version=0)])
def test_a_step_within_its_bounds_passes(step: Step) -> None:
    """A good step of each kind is no error."""
    check_step(step, "steps[0]")


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (replace(PLANNING, number=0), "number"),
        (replace(PLANNING, number=-1), "number"),
        (replace(PLANNING, number=2**53), "number"),
        (replace(PLANNING, cost=-1), "usage.cost"),
        (replace(PLANNING, model_tokens=2**53), "usage.model_tokens"),
        (replace(PLANNING, summary="s" * 1_025), "planning.summary"),
        (replace(PLANNING, summary="nul \0"), "planning.summary"),
        (replace(READ, key=""), "memory_read.key"),
        (replace(READ, key="k" * 257), "memory_read.key"),
        (replace(READ, version=-1), "memory_read.version"),
        (replace(WRITE, digest="d" * 129), "memory_write.digest"),
        (replace(MOVED, name=""), "state_transition.name"),
        (replace(MOVED, from_state="f" * 129), "state_transition.from_state"),
        (replace(MOVED, to_state="t" * 129), "state_transition.to_state"),
    ],
)
def test_a_step_out_of_its_bounds_is_told_with_its_place(step: Step, field: str) -> None:
    """What is too long, too large or missing is INVALID_FIELD, with the path and without the value."""
    with pytest.raises(InterlockError) as caught:
        check_step(step, "steps[7]")
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    assert [violation.field for violation in caught.value.violations] == [f"steps[7].{field}"]
    assert "ssss" not in caught.value.message
