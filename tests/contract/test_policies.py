"""The policies that ship: checked, tested, and asked as the bundle that runs."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from interlock.adapters.opa_binary import run_opa
from interlock.adapters.policy_bundle import PolicyBundle, build_bundle, open_signing_key
from interlock.adapters.policy_check import check_policies, render_input_schema
from interlock.adapters.policy_docs import render_reason_codes
from interlock.adapters.policy_rules import read_modules
from interlock.adapters.policy_testing import run_policy_tests
from interlock.core.catalog import Effect
from interlock.core.decision import PolicyAnswer
from interlock.core.policy_input import input_schema

PERMITS = {"deny": 0, "escalate": 1, "allow": 2}

Input = dict[str, Any]
Ask = Callable[[list[Any]], list[PolicyAnswer]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, opa: Path, policies: Path) -> PolicyBundle:
    """The bundle that ships."""
    folder = tmp_path_factory.mktemp("bundle")
    return build_bundle(opa, policies, folder / "bundle.tar.gz", open_signing_key(folder / "key"))


@pytest.fixture(scope="module")
def ask(opa: Path, bundle: PolicyBundle) -> Ask:
    """Asks the bundle for its answers to a batch of inputs."""

    def ask(inputs: list[Any]) -> list[PolicyAnswer]:
        query = ("eval", "--stdin-input", "--strict-builtin-errors", "--format=raw")
        given = json.dumps({"batch": inputs}).encode()
        run = run_opa(opa, *query, f"--bundle={bundle.path}", "data.interlock.decision.batch", given=given)
        assert run.succeeded, run.errors
        return [PolicyAnswer.model_validate(answer) for answer in json.loads(run.output)]

    return ask


@pytest.fixture(scope="module")
def cases(project: Path) -> dict[str, tuple[Input, dict[str, Any]]]:
    """The golden cases, whole: input and what is wanted."""
    base = yaml.safe_load((project / "policy-tests/base/data.yaml").read_text())
    return {
        f"{path.parent.name}: {name}": (laid_over(base, case["given"]), case["want"])
        for path in sorted((project / "policy-tests/cases").glob("*/data.yaml"))
        for name, case in yaml.safe_load(path.read_text()).items()
    }


def laid_over(base: Any, given: Any) -> Any:
    """As Rego's `object.union`: objects are merged, everything else is replaced."""
    if not (isinstance(base, dict) and isinstance(given, dict)):
        return given
    return base | {key: laid_over(base.get(key), value) for key, value in given.items()}


def fields(value: Any) -> Iterator[tuple[Any, ...]]:
    """The path of every object's member in a document."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        if isinstance(value, dict):
            yield (key,)
        yield from ((key, *path) for path in fields(member))


def changed(whole: Input, path: tuple[Any, ...], replacement: Any) -> Input:
    """The document with one member replaced, or taken away where the replacement is `...`."""
    document = copy.deepcopy(whole)
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    if replacement is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = replacement
    return document


def test_nothing_is_wrong_with_the_policies(opa: Path, policies: Path) -> None:
    """Format, strict compilation, schema, capabilities and the house rules hold."""
    assert check_policies(opa, policies) == []


def test_policy_tests_pass_and_cover_everything(opa: Path, project: Path, policies: Path) -> None:
    """Every rule is reached by a test, in the bundles that ship."""
    run = run_policy_tests(opa, policies, project / "policy-tests")
    assert run.passed, run.report


def test_generated_files_are_current(opa: Path, project: Path, policies: Path) -> None:
    """The schema and the page of reason codes are what `tools/generate_policy_docs.py` writes."""
    page = (project / "docs" / "reason-codes.md").read_text(encoding="utf-8")
    assert page == render_reason_codes(read_modules(opa, policies))
    assert (policies / "schemas" / "input.json").read_text() == render_input_schema()


def test_golden_inputs_are_inputs(cases: dict[str, tuple[Input, dict[str, Any]]]) -> None:
    """Each golden case is an input that the service could have given, whole and of the right types."""
    validator = jsonschema_rs.validator_for(input_schema())
    wrong = {name: str(error) for name, (whole, _) in cases.items() for error in validator.iter_errors(whole)}
    assert wrong == {}


def test_bundle_answers_as_the_golden_cases_want(
    ask: Ask, cases: dict[str, tuple[Input, dict[str, Any]]]
) -> None:
    """What ships answers as what was tested, to the strict contract of an answer, in order."""
    answers = ask([whole for whole, _ in cases.values()])
    got = [(answer.verdict, sorted(reason.code for reason in answer.reasons)) for answer in answers]
    assert got == [(want["verdict"], sorted(want["codes"])) for _, want in cases.values()]


@pytest.mark.parametrize("replacement", [..., None, {}, [], "", 0, True])
def test_field_that_is_wrong_never_permits_more(
    ask: Ask, cases: dict[str, tuple[Input, dict[str, Any]]], replacement: object
) -> None:
    """An absent or mistyped field never turns a deny into more, nor an escalate into an allow (invariant 1)."""
    validator = jsonschema_rs.validator_for(input_schema())
    tried = [
        (name, path, want["verdict"], document)
        for name, (whole, want) in cases.items()
        for path in fields(whole)
        for document in [changed(whole, path, replacement)]
        # What is measured or looked up may as well be so: then it is another call, and none is wrong.
        if path[0] not in {"approval", "destinations", "facts", "plan", "tool"} or not validator.is_valid(document)
    ]
    answers = ask([document for *_, document in tried])
    worse = [
        (name, path, answer.verdict)
        for (name, path, verdict, _), answer in zip(tried, answers, strict=True)
        if PERMITS[answer.verdict] > PERMITS[verdict]
    ]
    assert worse == []


@pytest.mark.parametrize("nothing", [None, {}, [], "", 0, True, "allow", {"verdict": "allow"}])
def test_what_is_no_input_is_denied(ask: Ask, nothing: object) -> None:
    """Whatever is asked, there is an answer, and without a proposal it is a deny (invariant 1)."""
    (answer,) = ask([nothing])
    assert answer.verdict == "deny"


def test_policies_know_the_effects_of_the_catalog(opa: Path, bundle: PolicyBundle) -> None:
    """The closed list of effects is the same in the catalog and in the rules."""
    query = "data.interlock.rules.effects._vocabulary"
    run = run_opa(opa, "eval", "--format=raw", f"--bundle={bundle.path}", query)
    assert set(json.loads(run.output)) == {effect.value for effect in Effect}
