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
from interlock.adapters.policy_check import check_policies, render_approval_schema, render_input_schema
from interlock.adapters.policy_docs import render_reason_codes
from interlock.adapters.policy_rules import read_modules
from interlock.adapters.policy_testing import run_policy_tests
from interlock.core.approval_answer import ApprovalTerms, approval_schema
from interlock.core.catalog import Effect
from interlock.core.decision import PolicyAnswer
from interlock.core.policy_input import input_schema

PERMITS = {"deny": 0, "escalate": 1, "allow": 2}

Input = dict[str, Any]
Ask = Callable[[list[Any]], list[PolicyAnswer]]
AskApproval = Callable[[list[Any]], list[ApprovalTerms]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, opa: Path, policies: Path) -> PolicyBundle:
    """The bundle that ships."""
    folder = tmp_path_factory.mktemp("bundle")
    return build_bundle(opa, policies, folder / "bundle.tar.gz", open_signing_key(folder / "key"))


@pytest.fixture(scope="module")
def ask(opa: Path, bundle: PolicyBundle) -> Ask:
    """Asks the bundle for its answers to a batch of inputs."""

    def ask(inputs: list[Any]) -> list[PolicyAnswer]:
        answers = evaluated(opa, bundle, "data.interlock.decision.batch", inputs)
        return [PolicyAnswer.model_validate(answer) for answer in answers]

    return ask


@pytest.fixture(scope="module")
def ask_approval(opa: Path, bundle: PolicyBundle) -> AskApproval:
    """Asks the bundle who may approve, with a batch of questions."""

    def ask(questions: list[Any]) -> list[ApprovalTerms]:
        answers = evaluated(opa, bundle, "data.interlock.approval.batch", questions)
        return [ApprovalTerms.model_validate(answer) for answer in answers]

    return ask


def evaluated(opa: Path, bundle: PolicyBundle, query: str, inputs: list[Any]) -> list[Any]:
    """What a query gives for a batch of inputs, one for each."""
    flags = ("eval", "--stdin-input", "--strict-builtin-errors", "--format=raw", f"--bundle={bundle.path}")
    run = run_opa(opa, *flags, query, given=json.dumps({"batch": inputs}).encode())
    assert run.succeeded, run.errors
    answers: list[Any] = json.loads(run.output)
    assert len(answers) == len(inputs)
    return answers


@pytest.fixture(scope="module")
def cases(project: Path) -> dict[str, tuple[Input, dict[str, Any]]]:
    """The golden cases, whole: input and what is wanted."""
    base = yaml.safe_load((project / "policy-tests/base/data.yaml").read_text())
    return {
        f"{path.parent.name}: {name}": (laid_over(base, case["given"]), case["want"])
        for path in sorted((project / "policy-tests/cases").glob("*/data.yaml"))
        for name, case in yaml.safe_load(path.read_text()).items()
    }


@pytest.fixture(scope="module")
def questions(project: Path) -> dict[str, tuple[Input, dict[str, Any]]]:
    """The cases of the second entry point, whole: what is asked, and what is wanted."""
    base = yaml.safe_load((project / "policy-tests/base/data.yaml").read_text())
    answers = yaml.safe_load((project / "policy-tests/answers/data.yaml").read_text())
    asked = laid_over({"proposal": base}, answers["asked"])
    return {name: (laid_over(asked, case["given"]), case["want"]) for name, case in answers["cases"].items()}


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
    assert (policies / "schemas" / "approval.json").read_text() == render_approval_schema()


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
        if path[0] not in {"approval", "destinations", "facts", "plan", "tool"}
        or not validator.is_valid(document)
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


def test_bundle_says_who_may_approve_as_the_cases_want(
    ask_approval: AskApproval, questions: dict[str, tuple[Input, dict[str, Any]]]
) -> None:
    """Each case is a question that the service could ask, and what ships answers it to its contract, in order."""
    validator = jsonschema_rs.validator_for(approval_schema())
    wrong = {
        name: str(error) for name, (whole, _) in questions.items() for error in validator.iter_errors(whole)
    }
    assert wrong == {}
    answers = ask_approval([whole for whole, _ in questions.values()])
    got = [(sorted(reason.code for reason in terms.reasons), terms.sufficient) for terms in answers]
    assert got == [(want["codes"], want["sufficient"]) for _, want in questions.values()]
    assert [terms.permitted for terms in answers] == [not codes for codes, _ in got]


@pytest.mark.parametrize(
    "name",
    [
        "an approver approves a commit",
        "a deny of one is never an approval",
        "a delegate of its user does not",
        "an approver gives no standing approval",
        "the second of two is",
        "what nothing undoes needs a stronger role",
    ],
)
def test_question_that_is_wrong_never_lets_more_be_approved(
    ask_approval: AskApproval, questions: dict[str, tuple[Input, dict[str, Any]]], name: str
) -> None:
    """An absent or mistyped field permits no answer that was refused, and is never enough (invariant 1, case 50)."""
    whole, want = questions[name]
    replacements: list[Any] = [..., None, {}, [], "", 0, True]
    tried = [
        (path, replacement, changed(whole, path, replacement))
        for path in fields(whole)
        for replacement in replacements
    ]
    answers = ask_approval([document for *_, document in tried])
    worse = [
        (path, replacement)
        for (path, replacement, _), terms in zip(tried, answers, strict=True)
        if (terms.permitted and want["codes"]) or (terms.sufficient and not want["sufficient"])
    ]
    assert worse == []


@pytest.mark.parametrize("nothing", [None, {}, [], "", 0, True, "approve", {"permitted": True}])
def test_what_is_no_question_permits_nothing(ask_approval: AskApproval, nothing: object) -> None:
    """Whatever is asked, there are terms, and without an answer of somebody they permit none (invariant 1)."""
    (terms,) = ask_approval([nothing])
    assert not terms.permitted
    assert not terms.sufficient


def test_policies_know_the_effects_of_the_catalog(opa: Path, bundle: PolicyBundle) -> None:
    """The closed list of effects is the same in the catalog and in the rules."""
    query = "data.interlock.rules.effects._vocabulary"
    run = run_opa(opa, "eval", "--format=raw", f"--bundle={bundle.path}", query)
    assert set(json.loads(run.output)) == {effect.value for effect in Effect}
