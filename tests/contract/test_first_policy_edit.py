"""The README's first change of policy, made for real: data alone changes a verdict."""

import json
import re
import shutil
from pathlib import Path

import pytest

from interlock.adapters.opa_binary import run_opa
from interlock.adapters.policy_bundle import build_bundle, open_signing_key
from interlock.adapters.policy_check import check_policies
from interlock.adapters.policy_testing import run_policy_tests
from interlock.core.decision import PolicyAnswer
from tests.policy_inputs import an_input

OLD, NEW = "  effects: [read]\n", "  effects: [read, write]\n"
ROLES = Path("policies", "roles", "data.yaml")
CASES = Path("policy-tests", "cases", "effects", "data.yaml")
PINNED = "commit by a contributor needs a person"
OLD_WANT = "{verdict: escalate, codes: [effects.needs_person]}"
NEW_WANT = "{verdict: allow, codes: [effects.granted]}"


@pytest.fixture
def edited(project: Path, tmp_path: Path) -> Path:
    """The policies and their tests after the README's edit."""
    for folder in ("policies", "policy-tests"):
        shutil.copytree(project / folder, tmp_path / folder)
    replace_after("contributor:\n", OLD, NEW, tmp_path / ROLES)
    return tmp_path


def replace_after(place: str, old: str, new: str, path: Path) -> None:
    """Replace the first `old` that stands behind `place`."""
    before, found, after = path.read_text().partition(place)
    assert found
    assert old in after
    path.write_text(before + found + after.replace(old, new, 1))


def answer_to_a_commit(opa: Path, policies: Path, scratch: Path) -> PolicyAnswer:
    """What the bundle of these policies answers to a contributor's commit."""
    bundle = build_bundle(opa, policies, scratch / "bundle.tar.gz", open_signing_key(scratch / "key"))
    proposed = an_input(role="contributor")
    proposed["tool"] |= {"name": "git_commit", "effects": ["write"]}
    query = ("eval", "--stdin-input", "--strict-builtin-errors", "--format=raw", f"--bundle={bundle.path}")
    run = run_opa(opa, *query, "data.interlock.decision.result", given=json.dumps(proposed).encode())
    return PolicyAnswer.model_validate(json.loads(run.output))


def test_data_alone_changes_the_verdict(opa: Path, policies: Path, edited: Path, tmp_path: Path) -> None:
    """A role that is given an effect gets an allow where it got an escalate; no code knows of it (invariant 4)."""
    before = answer_to_a_commit(opa, policies, tmp_path)
    after = answer_to_a_commit(opa, edited / "policies", tmp_path)
    assert [(answer.verdict, answer.reasons[0].code) for answer in (before, after)] == [
        ("escalate", "effects.needs_person"),
        ("allow", "effects.granted"),
    ]


def test_the_golden_case_that_pinned_it_fails(opa: Path, edited: Path) -> None:
    """The old answer was pinned by one golden case, which fails by its name, and it alone."""
    assert check_policies(opa, edited / "policies") == []
    run = run_policy_tests(opa, edited / "policies", edited / "policy-tests")
    assert not run.passed
    assert f"  effects: {PINNED}: FAIL\n" in run.report
    assert "FAIL: 1/" in run.report


def test_the_case_as_the_readme_changes_it_passes(opa: Path, edited: Path) -> None:
    """With the new answer written into the golden case, all tests pass, and all rules are covered."""
    replace_after(f"{PINNED}:\n", OLD_WANT, NEW_WANT, edited / CASES)
    run = run_policy_tests(opa, edited / "policies", edited / "policy-tests")
    assert run.passed, run.report


def test_the_readme_shows_this_edit(project: Path) -> None:
    """The README shows the same edit, the same case and the same answers."""
    readme = (project / "README.md").read_text(encoding="utf-8")
    for shown in (f"-{OLD}+{NEW}", f"effects: {PINNED}: FAIL", NEW_WANT, str(ROLES), str(CASES)):
        assert shown in readme
    assert re.search(r"ESCALATE .*\n  effects\.needs_person: ", readme)
    assert re.search(r"ALLOW .*\n  effects\.granted: ", readme)
