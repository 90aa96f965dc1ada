"""The `opa` program: where it is found, which versions do, and how it is run for a finite time."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PINNED_VERSION = (1, 22, 2)
PINNED_VERSION_TEXT = ".".join(map(str, PINNED_VERSION))
ENVIRONMENT_VARIABLE = "INTERLOCK_OPA"
RUN_LIMIT_SECONDS = 60.0

_REMEDIES = (
    f"install opa {PINNED_VERSION_TEXT} or newer, on the PATH or named in {ENVIRONMENT_VARIABLE}, "
    "or install Go and run `tools/install-opa`"
)
_VERSION_LIMIT_SECONDS = 10.0
_VERSION = re.compile(rb"^Version: (\d{1,6})\.(\d{1,6})\.(\d{1,6})(-\S+)?$", re.MULTILINE)


class OpaError(ValueError):
    """OPA cannot be found, or cannot be run; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaRun:
    """How a run of `opa` ended."""

    exit_code: int
    output: bytes
    errors: str

    @property
    def succeeded(self) -> bool:
        """Whether opa says that all went well."""
        return self.exit_code == 0


def find_opa(
    environ: Mapping[str, str], path_lookup: Callable[[str], str | None], tools_folder: Path
) -> Path:
    """The `opa` of the pinned version or newer: that of INTERLOCK_OPA, else the PATH, else the tools folder.

    `path_lookup` gives the path of a program by name, as `shutil.which` does. Raises OpaError: there is
    none, or INTERLOCK_OPA names one that does not do (it is never passed over in silence).
    """
    if named := environ.get(ENVIRONMENT_VARIABLE):
        if complaint := _complaint(Path(named)):
            raise OpaError(f"{ENVIRONMENT_VARIABLE} is `{named}`: {complaint}; {_REMEDIES}")
        return Path(named).absolute()
    on_path = path_lookup("opa")
    for candidate in ([Path(on_path)] if on_path else []) + [tools_folder / "opa"]:
        if not _complaint(candidate):
            return candidate.absolute()
    raise OpaError(f"no usable `opa` found; {_REMEDIES}")


def run_opa(
    opa: Path,
    *arguments: str | Path,
    folder: Path | None = None,
    given: bytes = b"",
    limit_seconds: float = RUN_LIMIT_SECONDS,
) -> OpaRun:
    """Run `opa` with these arguments in `folder`, with `given` as its standard input.

    Nothing of our environment is passed on: OPA takes any of its flags from there too. Raises OpaError:
    it cannot be started, or has not ended after `limit_seconds`.
    """
    command = [str(opa), *map(str, arguments)]
    try:
        done = subprocess.run(  # noqa: S603 - an argument list, no shell
            command,
            cwd=folder,
            input=given,
            capture_output=True,
            timeout=limit_seconds,
            env={"PATH": os.defpath},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OpaError(f"`opa {command[1]}` has not ended after {limit_seconds:g} s") from error
    except OSError as error:
        raise OpaError(f"`{opa}` cannot be run: {error.strerror}") from error
    errors = done.stderr.decode("utf-8", "replace").strip()
    return OpaRun(exit_code=done.returncode, output=done.stdout, errors=errors)


def _complaint(opa: Path) -> str | None:
    """What is wrong with this program, if anything."""
    try:
        run = run_opa(opa.absolute(), "version", limit_seconds=_VERSION_LIMIT_SECONDS)
    except OpaError as error:
        return str(error)
    found = _VERSION.search(run.output) if run.succeeded else None
    if found is None:
        return "it does not tell a version, so it is no opa"
    version = tuple(int(part) for part in found.groups()[:3])
    # A pre-release comes before the release of its number (SemVer 2.0.0, 11).
    if version < PINNED_VERSION or (version == PINNED_VERSION and found.group(4)):
        got = found.group(0).removeprefix(b"Version: ").decode("ascii", "replace")
        return f"expected opa {PINNED_VERSION_TEXT} or newer, got `{got}`"
    return None
