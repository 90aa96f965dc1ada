"""What a command in the sandbox sees of this machine, as options of bubblewrap (bwrap(1))."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

USER_ID = 1_000
HOME = "/tmp"  # noqa: S108 - the sandbox's own
PATH = "/usr/local/bin:/usr/bin:/bin"

TEMPORARY_BYTES = 64 * 2**20
SHARED_MEMORY_BYTES = 16 * 2**20
OPEN_FILES = 1_024

_LINKS_INTO_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# What programs look up in /etc and that tells nothing of this machine's users; `alternatives` are Debian's links.
_SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
)
_NETWORK_FILES = (
    "/etc/ca-certificates.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/pki/tls/certs",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)

MADE_UP = {
    "/etc/passwd": f"command:x:{USER_ID}:{USER_ID}::{HOME}:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "/etc/group": f"command:x:{USER_ID}:\nnogroup:x:65534:\n",
}
"""Files of /etc that are ours, and what is in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a command may use.

    CPU seconds, bytes of address space and of a file hold for each of its processes; for all of them their number,
    threads counted, the seconds of real time, and the bytes that are kept of each of the two outputs.
    """

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int
    processes: int
    wall_seconds: float
    output_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxedCommand:
    """A command and what it gets: words, its program first; folders of this machine, at their own paths."""

    words: tuple[str, ...] = field(repr=False)
    limits: Limits
    stdin: bytes = field(default=b"", repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    network: bool = False


def options(
    command: SandboxedCommand, files: Mapping[str, int], *, release: int, hold: int, status: int
) -> Iterator[str]:
    """The options, for descriptors that bwrap inherits.

    `files` hold what is in MADE_UP; `release` is read before the sandbox is made; `hold` is its other end, so that it
    never ends by itself; `status` is told how it goes.
    """
    yield from ("--unshare-user", "--disable-userns", "--uid", str(USER_ID), "--gid", str(USER_ID))
    yield from (
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        "sandbox",
    )
    if not command.network:
        yield "--unshare-net"
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    yield from ("--block-fd", str(release), "--sync-fd", str(hold), "--json-status-fd", str(status))
    yield from _environment(command)
    yield from _system(network=command.network)
    for path, descriptor in files.items():
        yield from ("--ro-bind-data", str(descriptor), path)
    # Innermost last, so that a root within another, or within /tmp, is not covered by it.
    for folder in sorted({*command.readable, *command.writable}):
        yield from ("--bind" if folder in command.writable else "--ro-bind", folder, folder)
    yield from ("--remount-ro", "/", "--chdir", HOME)


def limited(prlimit: str, command: SandboxedCommand) -> list[str]:
    """The words, run by prlimit(1) inside: a limit on processes counts those of the sandbox's own user namespace."""
    limits = command.limits
    return [
        prlimit,
        f"--cpu={limits.cpu_seconds}",
        f"--as={limits.memory_bytes}",
        f"--fsize={limits.file_bytes}",
        f"--nproc={limits.processes + 1}",  # the first process of the namespace is bwrap's own
        f"--nofile={OPEN_FILES}",
        "--core=0",
        "--",
        *command.words,
    ]


def _environment(command: SandboxedCommand) -> Iterator[str]:
    yield "--clearenv"
    given = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": HOME} | dict(command.environment)
    for name, value in given.items():
        yield from ("--setenv", name, value)


def _system(*, network: bool) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _LINKS_INTO_USR:
        yield from _as_here(name)
    for path in _SYSTEM_FILES + (_NETWORK_FILES if network else ()):
        yield from ("--ro-bind-try", path, path)
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--perms", "1777", "--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm")  # noqa: S108 - as above
    yield from ("--remount-ro", "/dev")
    yield from ("--perms", "1777", "--size", str(TEMPORARY_BYTES), "--tmpfs", HOME)


def _as_here(name: str) -> Iterator[str]:
    """`/lib` and its like: a link into /usr, or a folder of its own on older systems."""
    here = Path("/", name)
    if here.is_symlink():
        yield from ("--symlink", f"usr/{name}", f"/{name}")
    elif here.is_dir():
        yield from ("--ro-bind", f"/{name}", f"/{name}")
