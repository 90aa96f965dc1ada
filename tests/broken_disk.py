"""A disk that fails or hangs: a VFS under SQLite, over the real one."""

import threading
from types import TracebackType
from typing import Self

import apsw

_NAME = "broken-disk"


class BrokenDisk(apsw.VFS):
    """The default VFS of this process within `with`. Set `fails` to the name of a method that shall fail."""

    def __init__(self) -> None:
        self.fails = ""
        self._may_sync = threading.Event()
        self._may_sync.set()
        super().__init__(_NAME, "unix", makedefault=True)

    def hang(self) -> None:
        """From now on no sync returns, until `go_on`."""
        self._may_sync.clear()

    def go_on(self) -> None:
        """Whatever hangs goes on."""
        self._may_sync.set()

    def check(self, method: str) -> None:
        """What each method of a file does first."""
        if method == "xSync":
            self._may_sync.wait()
        if method == self.fails:
            raise apsw.IOError(f"{method} failed")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on()
        self.unregister()


class _File(apsw.VFSFile):
    def __init__(self, disk: BrokenDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.check("xWrite")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.check("xSync")
        super().xSync(flags)
