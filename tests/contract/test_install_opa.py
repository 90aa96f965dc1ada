"""`tools/install-opa`: the same order as `find_opa`, and a build with Go as the last resort."""

import shutil
import subprocess
from pathlib import Path

import pytest

COMMANDS = ("bash", "dirname", "sed", "sort", "head", "env", "mkdir", "cat", "chmod", "cp")


class Machine:
    """A folder with a checkout that holds the script, and a PATH with little on it."""

    def __init__(self, root: Path, script: Path) -> None:
        self.programs = root / "bin"
        self.programs.mkdir()
        for command in COMMANDS:
            (self.programs / command).symlink_to(str(shutil.which(command)))
        self.tools = root / "checkout" / ".tools"
        (root / "checkout" / "tools").mkdir(parents=True)
        self.script = shutil.copy(script, root / "checkout" / "tools")

    def add(self, path: Path, script: str) -> Path:
        """Put a program in place."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)
        return path

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            [str(self.script)],
            env={"PATH": str(self.programs), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path, project: Path) -> Machine:
    """A machine with neither opa nor Go."""
    return Machine(tmp_path, project / "tools" / "install-opa")


def test_neither_opa_nor_go_is_one_clear_error(machine: Machine) -> None:
    """The error names both remedies, and nothing is printed that a caller could take for a path."""
    run = machine.run()
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == (
        "install-opa: neither a usable opa nor Go is here; install opa 1.22.2 or newer, on the PATH or "
        "named in INTERLOCK_OPA, or install Go and run this again\n"
    )


def test_named_opa_comes_first(machine: Machine, tmp_path: Path) -> None:
    """INTERLOCK_OPA is taken before the PATH."""
    machine.add(machine.programs / "opa", "echo Version: 1.22.2")
    named = machine.add(tmp_path / "named" / "opa", "echo Version: 1.22.2")
    assert machine.run(INTERLOCK_OPA=str(named)).stdout == f"{named}\n"


@pytest.mark.parametrize("version", ["1.22.1", "1.22.2-rc1", "0.9.0", "none"])
def test_named_opa_that_does_not_do_is_an_error(machine: Machine, tmp_path: Path, version: str) -> None:
    """What INTERLOCK_OPA names is used or refused, and never silently replaced by another."""
    machine.add(machine.programs / "opa", "echo Version: 1.22.2")
    named = machine.add(tmp_path / "named" / "opa", f"echo Version: {version}")
    run = machine.run(INTERLOCK_OPA=str(named))
    assert (run.returncode, run.stdout) == (1, "")
    assert f"INTERLOCK_OPA is `{named}`, which is no opa 1.22.2 or newer" in run.stderr


@pytest.mark.parametrize("version", ["1.22.2", "1.22.10", "1.100.0", "2.0.0", "1.23.0-rc1"])
def test_path_comes_before_the_tools_folder(machine: Machine, version: str) -> None:
    """An opa on the PATH that is new enough is taken."""
    on_path = machine.add(machine.programs / "opa", f"echo Version: {version}")
    machine.add(machine.tools / "opa", "echo Version: 1.22.2")
    assert machine.run().stdout == f"{on_path}\n"


def test_old_opa_on_the_path_is_passed_over(machine: Machine) -> None:
    """An opa that was built here before is taken where the PATH has only an old one."""
    machine.add(machine.programs / "opa", "echo Version: 1.9.0")
    built = machine.add(machine.tools / "opa", "echo Version: 1.22.2")
    assert machine.run().stdout == f"{built}\n"


def test_go_builds_the_pinned_version_into_the_tools_folder(machine: Machine) -> None:
    """With Go and no opa, `go install` is asked for the pinned version, into the project alone."""
    script = 'echo "$*" >&2; mkdir -p "$GOBIN"; printf "#!/bin/sh\\necho Version: 1.22.2\\n" > "$GOBIN/opa"; '
    machine.add(machine.programs / "go", script + 'chmod 755 "$GOBIN/opa"')
    run = machine.run()
    assert run.stdout == f"{machine.tools}/opa\n"
    assert "install github.com/open-policy-agent/opa@v1.22.2" in run.stderr


def test_go_that_fails_is_a_clear_error(machine: Machine) -> None:
    """A failed build prints no path, and says what failed."""
    machine.add(machine.programs / "go", "exit 1")
    run = machine.run()
    assert (run.returncode, run.stdout) == (1, "")
    assert "`go install` of opa 1.22.2 failed; install opa" in run.stderr
