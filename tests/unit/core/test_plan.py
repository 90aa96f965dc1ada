"""A plan is read strictly: a bounded acyclic graph whose steps refer only to what comes before them (case 59)."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.plan import MAX_STEPS, PlanProposal, RawStep, normalize_plan
from interlock.core.plan_references import MAX_REFERENCES, find_references, take_back
from tests.fakes import no_files
from tests.plans import a_plan, a_raw_plan, a_step, conceal, refer
from tests.proposals import CATALOG


def refusal(*steps: RawStep, **changes: Any) -> InterlockError:
    """Why the plan is refused."""
    with pytest.raises(InterlockError) as raised:
        a_plan(*steps, **changes)
    return raised.value


def place_of(error: InterlockError) -> tuple[str, str]:
    """Field and JSON Pointer of its one violation."""
    [violation] = error.violations
    return violation.field.removeprefix("proposal.plan.steps"), violation.pointer


def places(plan: PlanProposal) -> list[tuple[str, int, int]]:
    """Name, position and depth of each step."""
    return [(step.plan.step, step.plan.position, step.plan.depth) for step in plan.steps if step.plan]


def test_steps_come_after_what_they_need() -> None:
    """Whatever the order they are given in, each step stands behind those it comes after."""
    plan = a_plan(a_step("c", ["a", "b"]), a_step("b", ["a"]), a_step("a"), a_step("x"))
    assert places(plan) == [("a", 0, 0), ("x", 1, 0), ("b", 2, 1), ("c", 3, 2)]


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        ([], ("", "")),
        ([a_step(f"s-{number}") for number in range(MAX_STEPS + 1)], ("", "")),
        ([a_step(f"s-{number}") for number in range(10_000)], ("", "")),
        ([a_step("")], ("[0].step_id", "")),
        ([a_step("A")], ("[0].step_id", "")),
        ([a_step("a" * 65)], ("[0].step_id", "")),
        ([a_step("a"), a_step("a")], ("[1].step_id", "")),
        ([a_step("a", ["b"])], ("[0].after[0]", "")),
        ([a_step("a", ["a"])], ("[0].after[0]", "")),
        ([a_step("a"), a_step("b", ["a", "a"])], ("[1].after", "")),
        ([a_step("a", ["b"]), a_step("b", ["a"])], ("[0].after", "")),
        ([a_step("x"), a_step("a", ["c"]), a_step("b", ["a"]), a_step("c", ["b"])], ("[1].after", "")),
        ([a_step("a", tool="no tool")], ("[0].tool_call.tool", "")),
    ],
    ids=[
        "none",
        "one too many",
        "ten thousand",
        "no name",
        "upper case",
        "long name",
        "twice",
        "unknown",
        "self",
        "after twice",
        "cycle of two",
        "cycle of three",
        "tool",
    ],
)
def test_what_is_no_small_acyclic_graph_is_refused(steps: Sequence[RawStep], where: tuple[str, str]) -> None:
    """Cycles, duplicates and floods of steps are errors that say where (case 59)."""
    error = refusal(*steps)
    assert error.reason is ErrorReason.INVALID_FIELD
    assert place_of(error) == where


@given(st.data())
def test_a_plan_is_accepted_exactly_when_it_is_acyclic(data: st.DataObject) -> None:
    """Of any graph: without a cycle it is ordered so that each edge leads on, with one it is refused (case 59)."""
    count = data.draw(st.integers(1, 12))
    names = [f"s-{number}" for number in range(count)]
    edges = data.draw(st.sets(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=30))
    after = {name: [before for before, behind in edges if behind == name] for name in names}
    steps = [a_step(name, after[name]) for name in names]
    if has_cycle(after):
        assert refusal(*steps).reason is ErrorReason.INVALID_FIELD
        return
    plan = a_plan(*steps)
    position = {name: place for name, place, _ in places(plan)}
    depth = {name: deep for name, _, deep in places(plan)}
    assert sorted(position.values()) == list(range(count))
    assert all(position[before] < position[behind] for before, behind in edges)
    assert all(depth[name] == max((depth[each] + 1 for each in after[name]), default=0) for name in names)


def has_cycle(after: dict[str, list[str]]) -> bool:
    """Whether taking away what nothing is before, over and over, leaves something."""
    left = dict(after)
    while free := [name for name, before in left.items() if not set(before) & left.keys()]:
        for name in free:
            del left[name]
    return bool(left)


@given(st.randoms(use_true_random=False))
def test_the_digest_covers_every_step_and_no_order(shuffle: random.Random) -> None:
    """Steps in another order are the same plan; a step put in, left out or changed makes another (case 59)."""
    steps = [a_step("a"), a_step("b", ["a"]), a_step("c", ["a", "b"])]
    digest = a_plan(*steps).digest
    mixed = [replace(step, after=tuple(shuffle.sample(step.after, len(step.after)))) for step in steps]
    shuffle.shuffle(mixed)
    assert a_plan(*mixed).digest == digest
    others = [
        [*steps, a_step("d")],
        steps[:2],
        [*steps[:2], a_step("c", ["b"])],
        [*steps[:2], a_step("c", ["a", "b"], arguments={"repo_path": "other"})],
        [*steps[:2], a_step("c", ["a", "b"], tool="git_commit")],
        [*steps[:2], a_step("d", ["a", "b"], arguments={"repo_path": "c"})],
    ]
    assert len({digest, *(a_plan(*other).digest for other in others)}) == len(others) + 1


def test_the_payload_is_the_same_whatever_the_catalog_is() -> None:
    """A request that comes again after the catalog changed is known again; the plan's digest tells the difference."""
    tool = CATALOG.tools["git_log"]
    changed = replace(CATALOG, tools={"git_log": replace(tool, digest="d" * 43)})
    first, second = a_plan(a_step("a"), catalog=CATALOG), a_plan(a_step("a"), catalog=changed)
    assert first.payload_digest == second.payload_digest
    assert first.digest != second.digest


def test_references_lead_to_any_step_before() -> None:
    """A step may refer to what comes before it by whatever way, anywhere in its arguments."""
    plan = a_plan(
        a_step("a"),
        a_step("b", ["a"]),
        a_step(
            "c",
            ["b"],
            tool="send_mail",
            arguments={"x": [1, {"~/": refer("a", "/p/0")}], "y": refer("b", "")},
        ),
    )
    last = plan.steps[-1].plan
    assert last is not None
    assert [(each.place, each.step, each.pointer) for each in last.references] == [
        ("/x/1/~0~1", "a", "/p/0"),
        ("/y", "b", ""),
    ]
    assert [step.plan.wanted for step in plan.steps if step.plan] == [("/p/0",), ("",), ()]
    assert [step.plan.at_once for step in plan.steps if step.plan] == [True, True, False]


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (refer("later", ""), "/x"),
        (refer("a", ""), "/x"),
        (refer("none", ""), "/x"),
        (refer("before", "p"), "/x"),
        (refer("before", "/~2"), "/x"),
        ({"$result": {"step": "before"}}, "/x"),
        ({"$result": {"step": "before", "pointer": "", "more": 1}}, "/x"),
        ({"$result": {"step": "before", "pointer": 1}}, "/x"),
        ({"$result": "before"}, "/x"),
        ({"$result": {"steps": [{"step_id": "nested"}]}}, "/x"),
        (refer("before", "") | {"default": 1}, "/x"),
        ([[{"deep": refer("later", "")}]], "/x/0/0/deep"),
    ],
    ids=[
        "later step",
        "itself",
        "no step",
        "no pointer",
        "bad escape",
        "no pointer given",
        "more keys",
        "pointer is a number",
        "text",
        "nested plan",
        "beside others",
        "deep",
    ],
)
def test_a_reference_of_another_form_or_to_another_step_is_refused(value: Any, pointer: str) -> None:
    """`$result` is never plain data in a plan, and never leads forward (case 59)."""
    steps = [
        a_step("before"),
        a_step("a", ["before"], tool="send_mail", arguments={"x": value}),
        a_step("later", ["a"]),
    ]
    error = refusal(*steps)
    assert error.reason is ErrorReason.INVALID_FIELD
    assert place_of(error) == ("[1].tool_call.arguments_json", pointer)


def test_arguments_are_no_reference_as_a_whole() -> None:
    """What the arguments are named is never left to a result."""
    error = refusal(a_step("a"), a_step("b", ["a"], tool="send_mail", arguments=refer("a", "")))
    assert place_of(error) == ("[1].tool_call.arguments_json", "")


def test_references_are_bounded() -> None:
    """One step refers to a bounded number of values."""
    many = {"x": [refer("a", f"/{number}") for number in range(MAX_REFERENCES + 1)]}
    assert place_of(refusal(a_step("a"), a_step("b", ["a"], tool="send_mail", arguments=many))) == (
        "[1].tool_call.arguments_json",
        "",
    )


def test_a_plans_arguments_are_bounded_together() -> None:
    """Steps that are each small enough are not a mebibyte together (case 32)."""
    steps = [a_step(f"s-{n}", tool="send_mail", arguments={"x": "x" * 200_000}) for n in range(6)]
    assert place_of(refusal(*steps)) == ("", "")


def test_what_is_malformed_in_a_step_says_which() -> None:
    """Arguments of a step are read as strictly as those of any call (case 27)."""
    step = RawStep(step_id="a", tool="git_log", arguments_json=b'{"a": 1, "a": 2}', after=())
    error = refusal(step)
    assert error.reason is ErrorReason.MALFORMED_ARGUMENTS
    assert error.violations[0].field == "proposal.plan.steps[0].tool_call.arguments_json"


def test_an_operation_names_a_call_and_no_plan() -> None:
    """Steps of one plan are no attempts at one thing."""
    [violation] = refusal(a_step("a"), operation="deploy").violations
    assert violation.field == "proposal.operation"


def test_only_what_is_filled_in_later_may_miss_the_schema() -> None:
    """Of a place that a reference holds nothing is said yet; any other violation is one."""
    fine = a_plan(a_step("a"), a_step("b", ["a"], arguments={"repo_path": refer("a", "/p")})).steps[1]
    assert fine.violations == ()
    wrong = a_plan(
        a_step("a"), a_step("b", ["a"], arguments={"repo_path": refer("a", "/p"), "max_count": "x"})
    ).steps[1]
    assert [violation.path for violation in wrong.violations] == ["/max_count"]


def test_a_secret_of_a_step_that_refers_stays_concealed() -> None:
    """A sensitive argument is concealed, also where the others are not all there yet (case 63)."""
    arguments = {"repo_path": refer("a", "/p"), "message": "secret"}
    step = a_plan(a_step("a"), a_step("b", ["a"], tool="git_commit", arguments=arguments)).steps[1]
    assert step.disclosed_arguments == {
        "repo_path": refer("a", "/p"),
        "message": {"concealed": "concealed 8 bytes"},
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab~/*0"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("ab~/*0"), json_values, max_size=3), st.data())
def test_taking_back_undoes_filling(arguments: dict[str, Any], data: st.DataObject) -> None:
    """Whatever stands in a reference's place, and nowhere else, gives way to the reference again."""
    planned = with_references(arguments, data)
    found = find_references(planned, field="f")
    changed = filled_with(planned, data)
    assert canonicalize(take_back(changed, found)) == canonicalize(planned)


def with_references(value: Any, data: st.DataObject) -> Any:
    """The value with references in some of its places; never as a whole."""
    if isinstance(value, dict):
        return {key: maybe_reference(member, data) for key, member in value.items()}
    if isinstance(value, list):
        return [maybe_reference(element, data) for element in value]
    return value


def maybe_reference(value: Any, data: st.DataObject) -> Any:
    return refer("a", "/p") if data.draw(st.booleans()) else with_references(value, data)


def filled_with(value: Any, data: st.DataObject) -> Any:
    """The value with anything at all in the places of references."""
    if isinstance(value, dict):
        if "$result" in value:
            return data.draw(json_values)
        return {key: filled_with(member, data) for key, member in value.items()}
    if isinstance(value, list):
        return [filled_with(element, data) for element in value]
    return value


def test_normalizing_takes_steps_as_they_are() -> None:
    """What comes over the wire is what is read: the same plan, from its raw form."""
    raw = a_raw_plan(a_step("a"))
    assert normalize_plan(raw, CATALOG, conceal, no_files) == a_plan(a_step("a"), catalog=CATALOG)
