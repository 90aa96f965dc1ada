"""Whether commands can run in a sandbox on this machine, and what to do about it where they cannot."""

import shutil
from pathlib import Path

from interlock.adapters.sandbox import NotStarted, Sandbox, TimeLimitReached
from interlock.adapters.sandbox_options import Limits, SandboxedCommand

_TRUE = "true"
_OLDEST = "0.8.0"  # with --disable-userns and --size
_PROBE = Limits(
    cpu_seconds=5,
    memory_bytes=2**30,
    file_bytes=0,
    processes=8,
    wall_seconds=10.0,
    output_bytes=65_536,
)

# What keeps a user from making namespaces, and how it is allowed.
_SWITCHES = (
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "an AppArmor profile for `bwrap` that allows `userns`",
    ),
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
)


class SandboxError(Exception):
    """Commands cannot be run here; the message says what to install or to change."""


def locate_sandbox() -> Sandbox:
    """The sandbox of this machine's programs. Raises SandboxError where one is not there."""
    return Sandbox(bwrap=_program("bwrap", "bubblewrap"), prlimit=_program("prlimit", "util-linux"))


async def try_sandbox(
    sandbox: Sandbox, *, readable: tuple[str, ...] = (), writable: tuple[str, ...] = ()
) -> None:
    """Run nothing in a sandbox with these folders. Raises SandboxError where it cannot be made."""
    probe = SandboxedCommand(words=(_TRUE,), limits=_PROBE, readable=readable, writable=writable)
    try:
        ended = await sandbox.run(probe)
    except TimeLimitReached as error:
        raise SandboxError(f"`bwrap` made no sandbox within {_PROBE.wall_seconds:g} s") from error
    except NotStarted as error:
        raise SandboxError(
            f"`bwrap` cannot make a sandbox: {error or 'it says not why'}{_advice(str(error))}"
        ) from error
    if ended.exit_status:
        said = ended.stderr.data.decode(errors="replace").strip()
        raise SandboxError(
            f"nothing can run in a sandbox of `bwrap`: {said or f'status {ended.exit_status}'}"
        )


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SandboxError(
            f"commands run in a sandbox of `{name}`, which is not on the PATH; install it: `apt-get install {package}`"
        )
    return found


def _advice(said: str) -> str:
    if "option" in said:
        return f"; version {_OLDEST} or newer is needed"
    for setting, bad, remedy in _SWITCHES:
        path = Path("/proc/sys", setting)
        if path.exists() and path.read_text().strip() == bad:
            return f"; `{setting.replace('/', '.')}` is {bad}, so users can make no namespaces: allow it with {remedy}"
    return ""
