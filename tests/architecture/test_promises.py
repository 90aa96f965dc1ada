"""What the tests promise, read from their docstrings; and that no file grows beyond what a person reads."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LARGEST_FILE_LINES = 800
INVARIANTS = range(1, 11)
CASES = [*range(1, 21), *range(22, 39), 42, 43, *range(45, 64)]
"""The adversarial cases that are covered so far; whoever covers another adds it."""

# "case 7", "cases 27, 29 and 31", "cases 28 to 30", "invariants 2 and 9".
_NAMED = re.compile(r"\b(case|invariant)s?\s+((?:\d+b?(?:\s+to\s+\d+)?(?:,?\s+and\s+|,\s*)?)+)")
_NUMBER_OR_RANGE = re.compile(r"(\d+)b?(?:\s+to\s+(\d+))?")


def promises(project: Path) -> Iterator[tuple[str, str]]:
    """Where each test function of the project is, and its docstring."""
    for path in sorted((project / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(project)}::{node.name}", ast.get_docstring(node) or ""


def named(docstring: str, what: str) -> set[int]:
    """The numbers of the cases or invariants that a docstring names."""
    numbers: set[int] = set()
    for kind, list_ in _NAMED.findall(docstring):
        if kind == what:
            for first, last in _NUMBER_OR_RANGE.findall(list_):
                numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


@pytest.mark.parametrize(
    ("docstring", "cases", "invariants"),
    [
        ("It holds (case 7).", {7}, set()),
        ("It holds (cases 27, 29 and 31; invariant 3).", {27, 29, 31}, {3}),
        ("It holds (cases 28 to 30, invariants 2 and\n9).", {28, 29, 30}, {2, 9}),
        ("In this case 45b is meant.", {45}, set()),
        ("It holds in any case.", set(), set()),
    ],
)
def test_numbers_are_read_from_docstrings(docstring: str, cases: set[int], invariants: set[int]) -> None:
    """Lists and ranges of numbers are all read."""
    assert named(docstring, "case") == cases
    assert named(docstring, "invariant") == invariants


def test_every_test_says_what_it_promises(project: Path) -> None:
    """No test is without a docstring, which is the promise that it checks."""
    assert [where for where, docstring in promises(project) if not docstring] == []


def test_every_invariant_has_its_tests(project: Path) -> None:
    """Each invariant of the design is named by a test: nothing of it is only words."""
    found = {number for _, docstring in promises(project) for number in named(docstring, "invariant")}
    assert set(INVARIANTS) - found == set()


def test_every_case_has_its_tests(project: Path) -> None:
    """Each adversarial case that is covered so far is named by a test."""
    found = {number for _, docstring in promises(project) for number in named(docstring, "case")}
    assert set(CASES) - found == set()


def test_no_file_grows_too_long(project: Path) -> None:
    """Every file of code and of tests is short enough to be read in one go."""
    written = [
        path
        for folder in ("src", "tests", "bench", "examples", "tools")
        for path in (project / folder).rglob("*.py")
        if "v1" not in path.parts
    ]
    long = {path: lines for path in written if (lines := path.read_text().count("\n")) >= LARGEST_FILE_LINES}
    assert long == {}
