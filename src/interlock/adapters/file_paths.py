"""Finding where a path leads on this machine, and opening what it names, beneath declared folders only (case 47)."""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Self

from interlock.core.destinations import DestinationProblem
from interlock.core.file_path import (
    PARENT,
    Beneath,
    innermost,
    is_well_formed,
    joined,
    lexical,
    split,
    take_apart,
)

Resolved = tuple[str, str, DestinationProblem]

_MAX_LINKS = 40  # as Linux, path_resolution(7)
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02  # openat2(2)
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08


class LeadsElsewhere(Exception):
    """What is at a path is not what it was resolved to: a link stands on the way, or it leads out of the root."""


def resolve_path(roots: Mapping[str, str], text: str) -> Resolved:
    """core.destinations.ResolvePath on this machine's files. Never raises.

    What does not exist yet is no problem. Where the root is not on this machine, or cannot be read by us, the result
    is that of the text alone: a gateway that finds a link there refuses the call.
    """
    beneath = take_apart(roots, text)
    if not isinstance(beneath, Beneath):
        return "", "", beneath
    try:
        found = _follow(beneath)
    except _Problem as error:
        return "", "", error.problem
    except OSError:  # no rights, a loop of mounts: nothing good is known of it
        return "", "", "malformed"
    canonical = joined(beneath.folder, found)
    if not is_well_formed(canonical):  # a link may say anything
        return "", "", "malformed"
    return canonical, innermost(roots, split(canonical)) or beneath.root, ""


def open_beneath(folder: str, canonical: str) -> int:
    """A descriptor (O_PATH) of what is at the canonical path beneath the folder.

    Where nothing is there yet, it is of the nearest folder on the way that is. Raises LeadsElsewhere: it is not what
    it was resolved to any more.
    """
    with _root(folder) as root:
        try:
            return _open_nearest(root, _names_beneath(folder, canonical))
        except OSError as error:
            raise LeadsElsewhere(str(error.strerror)) from error


def open_exactly(folder: str, canonical: str) -> int:
    """A descriptor (O_PATH) of what is at the canonical path beneath the folder; nothing of it is opened.

    Raises FileNotFoundError where nothing is there, LeadsElsewhere where it cannot be reached beneath the folder.
    """
    with _root(folder) as root:
        try:
            return _openat2(root, "/".join(_names_beneath(folder, canonical)) or ".")
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(canonical) from None
        except OSError as error:
            raise LeadsElsewhere(str(error.strerror)) from error


@contextlib.contextmanager
def _root(folder: str) -> Iterator[int]:
    """The declared folder, open until the block ends. Raises LeadsElsewhere: it is not there."""
    try:
        root = os.open(folder, _FOLDER)
    except OSError as error:
        raise LeadsElsewhere(f"the root is not there: {error.strerror}") from error
    try:
        yield root
    finally:
        os.close(root)


def _names_beneath(folder: str, canonical: str) -> tuple[str, ...]:
    return split(canonical)[len(split(folder)) :]


class _Problem(Exception):
    def __init__(self, problem: DestinationProblem) -> None:
        super().__init__(problem)
        self.problem = problem


def _follow(beneath: Beneath) -> tuple[str, ...]:
    """The names on the way with links followed. Raises _Problem, OSError."""
    try:
        root = os.open(beneath.folder, _FOLDER)
    except OSError:
        return _or_outside(lexical(beneath))
    with _Walk(root, beneath) as walk:
        return walk.run()


def _or_outside(names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        raise _Problem("outside_roots")
    return names


class _Walk:
    """From the root on, one name after the other, each looked up in the folder that is open: no race leads out."""

    def __init__(self, root: int, beneath: Beneath) -> None:
        self._beneath = beneath
        self._open = [root]  # the folders that are open, the root first
        self._found: list[str] = []
        self._links = 0
        self._missing = 0  # how many names at the end do not exist

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._open:
            os.close(folder)

    def run(self) -> tuple[str, ...]:
        were_links: list[bool] = []  # of the names in the text that are not taken back by a `..`
        for name in self._beneath.names:
            if name != PARENT:
                were_links.append(self._go([name]))
                continue
            # After a link, whoever takes `..` out of the text reads another path than whoever follows the link.
            if were_links and were_links.pop():
                raise _Problem("malformed")
            self._up()
        return tuple(self._found)

    def _go(self, names: list[str]) -> bool:
        """Go on by these names; whether there was a link."""
        waiting, links = names, self._links
        while waiting:
            name = waiting.pop()
            if name == PARENT:
                self._up()
            elif (target := self._step(name)) is not None:
                waiting.extend(reversed(self._target(target)))
        return self._links > links

    def _up(self) -> None:
        if not self._found:
            raise _Problem("outside_roots")
        self._found.pop()
        if self._missing:
            self._missing -= 1
        else:
            os.close(self._open.pop())

    def _step(self, name: str) -> str | None:
        """Go to `name`; what it says instead where it is a symbolic link."""
        if self._missing:
            self._found.append(name)
            self._missing += 1
            return None
        here = self._open[-1]
        try:
            status = os.lstat(name, dir_fd=here)
        except (FileNotFoundError, NotADirectoryError):
            self._found.append(name)
            self._missing += 1
            return None
        if stat.S_ISLNK(status.st_mode):
            self._links += 1
            if self._links > _MAX_LINKS:
                raise _Problem("malformed")
            return os.readlink(name, dir_fd=here)
        _check_case(name, here, status)
        self._open.append(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here))
        self._found.append(name)
        return None

    def _target(self, text: str) -> tuple[str, ...]:
        """The names that a link stands for, from here on, or from the root on where it is absolute."""
        names = split(text)
        if not text.startswith("/"):
            return names
        for folder in (self._beneath.folder, os.path.realpath(self._beneath.folder)):
            beginning = split(folder)
            if names[: len(beginning)] == beginning:
                self._to_root()
                return names[len(beginning) :]
        raise _Problem("outside_roots")

    def _to_root(self) -> None:
        while len(self._open) > 1:
            os.close(self._open.pop())
        self._found.clear()


def _check_case(name: str, folder: int, status: os.stat_result) -> None:
    """A folder in which another spelling names the same file has no one form for it (case 47)."""
    other = name.swapcase()
    if other == name:
        return
    with contextlib.suppress(OSError):
        same = os.lstat(other, dir_fd=folder)
        if (same.st_dev, same.st_ino) == (status.st_dev, status.st_ino):
            raise _Problem("malformed")


def _open_nearest(root: int, names: tuple[str, ...]) -> int:
    for length in range(len(names), -1, -1):
        with contextlib.suppress(FileNotFoundError):
            return _openat2(root, "/".join(names[:length]) or ".")
    raise FileNotFoundError


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_LIBC = ctypes.CDLL(None, use_errno=True)


def _openat2(root: int, path: str) -> int:
    """openat2(2): nothing on the way may be a link, and nothing may lead out. Raises OSError."""
    how = _How(
        flags=os.O_PATH | os.O_CLOEXEC,
        resolve=_RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS,
    )
    opened: int = _LIBC.syscall(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return opened
