"""Where `opa` is found, which versions do, and how a run ends."""

from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.adapters.opa_binary import PINNED_VERSION_TEXT, OpaError, find_opa, run_opa

REMEDIES = "install opa 1.22.2 or newer, on the PATH or named in INTERLOCK_OPA, or install Go"

MakeOpa = Callable[..., Path]


@pytest.fixture
def make_opa(tmp_path: Path) -> MakeOpa:
    """Makes a program that tells a version as opa does."""

    def make(folder: str, version: str, script: str = "echo Version: {}") -> Path:
        path = tmp_path / folder / "opa"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script.format(version)}\n")
        path.chmod(0o755)
        return path

    return make


def nowhere(_: str) -> None:
    """No program of any name."""


def test_named_opa_comes_first(make_opa: MakeOpa, tmp_path: Path) -> None:
    """INTERLOCK_OPA is taken before the PATH and the tools folder."""
    named, on_path = make_opa("named", "1.22.2"), make_opa("path", "1.30.0")
    make_opa("tools", "1.22.2")
    found = find_opa({"INTERLOCK_OPA": str(named)}, lambda _: str(on_path), tmp_path / "tools")
    assert found == named


def test_path_comes_before_the_tools_folder(make_opa: MakeOpa, tmp_path: Path) -> None:
    """An opa on the PATH that is new enough is taken before one that was built here."""
    on_path = make_opa("path", "1.22.2")
    make_opa("tools", "1.22.2")
    assert find_opa({}, {"opa": str(on_path)}.get, tmp_path / "tools") == on_path


def test_old_opa_on_the_path_is_passed_over(make_opa: MakeOpa, tmp_path: Path) -> None:
    """An opa on the PATH that is too old does not hide the one that was built here."""
    on_path, built = make_opa("path", "1.22.1"), make_opa("tools", "1.22.2")
    assert find_opa({}, {"opa": str(on_path)}.get, tmp_path / "tools") == built


def test_empty_name_is_no_name(make_opa: MakeOpa, tmp_path: Path) -> None:
    """An empty INTERLOCK_OPA counts as unset."""
    built = make_opa("tools", "1.22.2")
    assert find_opa({"INTERLOCK_OPA": ""}, nowhere, tmp_path / "tools") == built


def test_relative_name_is_made_absolute(
    make_opa: MakeOpa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path found in one folder is still right when opa is run in another."""
    named = make_opa("named", "1.22.2")
    monkeypatch.chdir(tmp_path)
    assert find_opa({"INTERLOCK_OPA": "named/opa"}, nowhere, tmp_path / "tools") == named


@pytest.mark.parametrize("version", ["1.22.2", "1.22.3", "1.22.10", "1.100.0", "2.0.0", "1.23.0-rc1"])
def test_pinned_version_and_newer_do(make_opa: MakeOpa, tmp_path: Path, version: str) -> None:
    """Versions are compared as numbers, not as text."""
    assert find_opa({}, nowhere, make_opa("tools", version).parent)


@pytest.mark.parametrize("version", ["1.22.1", "1.9.9", "0.70.0", "1.22.2-rc1", "1.22", "", "x"])
def test_named_opa_that_does_not_do_is_an_error(make_opa: MakeOpa, tmp_path: Path, version: str) -> None:
    """What INTERLOCK_OPA names is used or refused, and never silently replaced by another."""
    named = make_opa("named", version)
    make_opa("tools", "1.22.2")
    with pytest.raises(OpaError, match="INTERLOCK_OPA is `") as caught:
        find_opa({"INTERLOCK_OPA": str(named)}, nowhere, tmp_path / "tools")
    assert REMEDIES in str(caught.value)


def test_named_opa_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A name that leads nowhere is told with the system's reason."""
    with pytest.raises(OpaError, match="cannot be run: No such file or directory"):
        find_opa({"INTERLOCK_OPA": str(tmp_path / "none")}, nowhere, tmp_path)


def test_named_program_that_fails_is_an_error(make_opa: MakeOpa, tmp_path: Path) -> None:
    """A program that ends with an error is no opa, whatever it prints."""
    named = make_opa("named", "1.22.2", "echo Version: {}; exit 1")
    with pytest.raises(OpaError, match="it is no opa"):
        find_opa({"INTERLOCK_OPA": str(named)}, nowhere, tmp_path)


def test_no_opa_anywhere_names_both_remedies(tmp_path: Path) -> None:
    """Neither an opa nor Go: one error that says what to install."""
    with pytest.raises(OpaError, match="no usable `opa` found") as caught:
        find_opa({}, nowhere, tmp_path)
    assert REMEDIES in str(caught.value)


def test_run_ends_in_time(make_opa: MakeOpa) -> None:
    """An opa that hangs is ended, and told as an error."""
    hangs = make_opa("hangs", "", "exec sleep 60")
    with pytest.raises(OpaError, match=r"`opa eval` has not ended after 0\.2 s"):
        run_opa(hangs, "eval", limit_seconds=0.2)


def test_run_passes_nothing_of_our_environment(make_opa: MakeOpa, monkeypatch: pytest.MonkeyPatch) -> None:
    """OPA takes its flags from the environment too, so `OPA_EVAL_…` of ours must not reach it."""
    monkeypatch.setenv("OPA_BUILD_REVISION", "forged")
    program = make_opa("prints", "", "env; cat >&2; exit 3")
    run = run_opa(program, "eval", given=b"what was given")
    assert b"forged" not in run.output
    assert (run.exit_code, run.errors, run.succeeded) == (3, "what was given", False)


def test_real_opa_is_new_enough(opa: Path) -> None:
    """The opa that all tests here run is one that `find_opa` takes by name."""
    assert find_opa({"INTERLOCK_OPA": str(opa)}, nowhere, opa.parent) == opa


def test_installer_pins_the_same_version(project: Path) -> None:
    """The version that `tools/install-opa` builds is the one that is asked for here."""
    assert f"\npinned={PINNED_VERSION_TEXT}\n" in (project / "tools" / "install-opa").read_text()
