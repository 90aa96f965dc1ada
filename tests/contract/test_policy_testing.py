"""Policy tests through the real OPA: what counts as a failure."""

from pathlib import Path

import pytest

from interlock.adapters.policy_testing import run_policy_tests

POLICY = "package interlock.x\n\nyes if input.yes\n\nno if input.no\n"
TESTS = """package tests.x_test

import data.interlock.x

test_yes if x.yes with input as {"yes": true}

test_no if x.no with input as {"no": true}
"""


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A policy, and tests that cover it."""
    for folder, root, text in (("policies", "interlock", POLICY), ("policy-tests", "tests", TESTS)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".manifest").write_text(f'{{"roots": ["{root}"]}}')
        (tmp_path / folder / "x.rego").write_text(text)
    return tmp_path / "policies", tmp_path / "policy-tests"


def test_covering_tests_pass(opa: Path, trees: tuple[Path, Path]) -> None:
    """All tests pass and every line is reached."""
    run = run_policy_tests(opa, *trees)
    assert run.passed
    assert "PASS: 2/2" in run.report


def test_failing_test_fails(opa: Path, trees: tuple[Path, Path]) -> None:
    """A test that fails is named in the report."""
    (trees[1] / "x.rego").write_text(TESTS.replace('{"no": true}', "{}"))
    run = run_policy_tests(opa, *trees)
    assert not run.passed
    assert "test_no: FAIL" in run.report


def test_line_that_no_test_reaches_fails(opa: Path, trees: tuple[Path, Path]) -> None:
    """A rule without a test is told with its place."""
    (trees[1] / "x.rego").write_text(TESTS[: TESTS.index("test_no")])
    run = run_policy_tests(opa, *trees)
    assert not run.passed
    assert [place.rpartition("/")[2] for place in run.uncovered] == ["x.rego:5"]
    assert "not covered by a test: " in run.report


def test_no_tests_fail(opa: Path, trees: tuple[Path, Path]) -> None:
    """No tests are no success, though `opa test` says so."""
    (trees[1] / "x.rego").unlink()
    assert not run_policy_tests(opa, *trees).passed


def test_data_of_another_name_is_not_there(opa: Path, trees: tuple[Path, Path]) -> None:
    """Tests see the data that ships, and not a file that `opa build` leaves out."""
    (trees[0] / "limits.yaml").write_text("interlock: {limit: 3}")
    (trees[1] / "x.rego").write_text(TESTS + "\ntest_limit if data.interlock.limit == 3\n")
    run = run_policy_tests(opa, *trees)
    assert not run.passed
    assert "test_limit: FAIL" in run.report
