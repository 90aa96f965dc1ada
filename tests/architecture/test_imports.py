"""The import contracts hold, and they bite: a copy of the code with wrong imports breaks each of them."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WRONG = {
    "core/errors.py": "import interlock.flows.decide",
    "core/record.py": "import aiohttp",
    "flows/decide.py": "import interlock.v1.decision_pb2",
    "compose/gateway.py": "import interlock.adapters.signing_key",
    "adapters/mcp_servers.py": "import interlock.adapters.opa",
    "helpers.py": "",
}
"""What is added to which file of the copy; the last is a new place that no layer has."""

# Modules that know the time, chance, the environment or the world outside.
_IMPURE = {"time", "random", "secrets", "uuid", "os", "socket", "subprocess", "tempfile", "threading"}
_ASKS_THE_CLOCK = {"now", "utcnow", "today"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of `folder` against the code in its `src`."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def report(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a copy of the code with the WRONG imports."""
    copy = tmp_path_factory.mktemp("wrong-imports")
    shutil.copytree(project / "src" / "interlock", copy / "src" / "interlock")
    shutil.copyfile(project / "pyproject.toml", copy / "pyproject.toml")
    for name, line in WRONG.items():
        with (copy / "src" / "interlock" / name).open("a") as module:
            module.write(line + "\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    return done.stdout


def test_the_contracts_hold(project: Path) -> None:
    """Dependencies point one way, the core does no IO, and the gateway can neither decide nor sign (invariant 5)."""
    done = lint_imports(project)
    assert done.returncode == 0, done.stdout


def test_every_contract_can_break(report: str) -> None:
    """No contract is satisfied by whatever the code does (invariant 5)."""
    kept = re.findall(r"^(.*) KEPT$", report, re.MULTILINE)
    broken = re.findall(r"^(.*) BROKEN$", report, re.MULTILINE)
    assert kept == []
    assert len(broken) == 4


@pytest.mark.parametrize(
    "found",
    [
        "interlock.core.errors -> interlock.flows.decide",
        "interlock.core.record -> aiohttp",
        "interlock.flows.decide -> interlock.v1.decision_pb2",
        "interlock.compose.gateway -> interlock.adapters.signing_key",
        "interlock.adapters.mcp_servers -> interlock.adapters.opa",
        "- interlock.helpers",
    ],
)
def test_each_wrong_import_is_found(report: str, found: str) -> None:
    """Each way round a contract is named, also the one that goes through another module (invariant 5)."""
    assert found in report


def pure_modules(project: Path) -> list[Path]:
    package = project / "src" / "interlock"
    return [*(package / "core").glob("*.py"), *(package / "flows").glob("*.py"), package / "ports.py"]


def test_the_core_knows_no_time_chance_or_environment(project: Path) -> None:
    """A verdict cannot depend on what is not on record: clock and chance come in through ports (invariant 7)."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in pure_modules(project)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.expr | ast.stmt) and _is_impure(node)
    ]
    assert found == []


def _is_impure(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(name.name.partition(".")[0] in _IMPURE for name in names)
        case ast.ImportFrom(module=str(module)):
            return module.partition(".")[0] in _IMPURE
        case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attribute):
            return attribute in _ASKS_THE_CLOCK
    return False
