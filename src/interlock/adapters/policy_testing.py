"""The tests of a policy tree, run by opa, with all of it covered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.adapters.opa_binary import OpaError, OpaRun, run_opa

_TEST_LIMIT_SECONDS = 120
"""For one test, which may be a table of many cases on a machine that has other things to do; opa's own is 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTestRun:
    """How the tests went. `report` is for a person; `uncovered` holds places such as `a/b.rego:12`."""

    passed: bool
    report: str
    uncovered: tuple[str, ...] = ()


def run_policy_tests(opa: Path, source: Path, tests: Path) -> PolicyTestRun:
    """Run the tests in `tests` against the policies in `source`, both loaded as the bundles that ship.

    No tests, or a line that no test reaches, is a failure: `opa test` alone would pass both. Raises OpaError.
    """
    trees = ("--timeout", f"{_TEST_LIMIT_SECONDS}s", "--bundle", source.absolute(), tests.absolute())
    plain = run_opa(opa, "test", "--fail-on-empty", *trees)
    report = "\n".join(filter(None, [plain.output.decode("utf-8", "replace").strip(), plain.errors]))
    if not plain.succeeded:
        return PolicyTestRun(passed=False, report=report)
    # With `--threshold`, opa would say how much is missing, and not where.
    uncovered = _uncovered(run_opa(opa, "test", "--coverage", *trees))
    if not uncovered:
        return PolicyTestRun(passed=True, report=report)
    missing = f"not covered by a test: {', '.join(uncovered)}"
    return PolicyTestRun(passed=False, report=f"{report}\n{missing}", uncovered=uncovered)


def _uncovered(run: OpaRun) -> tuple[str, ...]:
    try:
        covered = json.loads(run.output)
        places = {(file, row) for file, found in covered["files"].items() for row in _rows(found)}
    except (ValueError, KeyError) as error:
        raise OpaError(f"`opa test --coverage` gives no report: {run.errors}") from error
    return tuple(f"{file}:{row}" for file, row in sorted(places))


def _rows(found: dict[str, Any]) -> Iterator[int]:
    for stretch in found.get("not_covered", []):
        yield stretch["start"]["row"]
