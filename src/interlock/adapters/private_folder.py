"""A folder of secrets on disk: nobody but its owner may enter it, and a write is whole or not there."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_LOCK = ".lock"


class PrivateFolderError(ValueError):
    """A folder or a file in it that cannot be trusted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class PrivateFolder:
    """A folder of mode 0700 that exists, with files of mode 0600. Made by `open_folder`."""

    path: Path

    def read(self, name: str) -> bytes | None:
        """The file's bytes, None where there is none.

        Raises PrivateFolderError: the file is open to others, is no regular file, or cannot be read.
        """
        path = self.path / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PrivateFolderError(f"`{path}` cannot be opened: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            _check_file(path, os.fstat(file.fileno()))
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Put the file in place, durable on return; a crash leaves the old file or the new one."""
        path, draft = self.path / name, self.path / f".{name}.new"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self._sync()

    def remove(self, name: str) -> None:
        """Take the file away, durable on return. No file is no error."""
        (self.path / name).unlink(missing_ok=True)
        self._sync()

    def version(self, name: str) -> tuple[int, ...]:
        """What changes whenever the file is replaced; empty where there is none. One stat(2)."""
        try:
            found = (self.path / name).stat(follow_symlinks=False)
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time is in here, by flock(2)."""
        descriptor = os.open(
            self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_folder(path: Path, *, create: bool) -> PrivateFolder:
    """The folder at `path`, made with mode 0700 where there is none and `create` is set.

    Raises PrivateFolderError: there is none, it is no folder, or group or others may enter it.
    """
    try:
        if create:
            path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise PrivateFolderError(f"folder `{path}` cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise PrivateFolderError(f"`{path}` is not a folder")
    if mode & _OTHERS:
        raise PrivateFolderError(_open_to_others("folder", path, mode, _FOLDER_MODE))
    return PrivateFolder(path)


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise PrivateFolderError(f"`{path}` is not a regular file")
    if found.st_mode & _OTHERS:
        raise PrivateFolderError(_open_to_others("file", path, found.st_mode, _FILE_MODE))


def _open_to_others(what: str, path: Path, mode: int, wanted: int) -> str:
    got = stat.S_IMODE(mode)
    return (
        f"{what} `{path}` is open to others: expected mode {wanted:04o}, got {got:04o}; "
        f"find out who could read it, then run `chmod {wanted:o} {path}` or remove it for new keys"
    )
