"""What a look into files finds on a real file system, and that it is bounded (cases 47, 51)."""

import asyncio
import hashlib
import os
import socket
from pathlib import Path

import pytest

from interlock.adapters.file_digests import FileContents
from interlock.core.named_files import ABSENT, NOT_A_FILE, UNREAD

INSIDE = hashlib.sha256(b"inside").hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A declared root with a file in a folder."""
    (tmp_path / "root" / "folder").mkdir(parents=True)
    (tmp_path / "root" / "folder" / "file").write_bytes(b"inside")
    return tmp_path / "root"


async def found(path: Path | str, root: Path | str, files: FileContents | None = None) -> str:
    """What a look finds at one path."""
    looked = await (files or FileContents()).digests({str(path): str(root)})
    assert looked.keys() == {str(path)}
    return looked[str(path)]


async def test_a_regular_file_is_its_digest(root: Path) -> None:
    """A file is the SHA-256 of its content, in hexadecimal; an empty one too."""
    (root / "empty").touch()
    assert await found(root / "folder" / "file", root) == INSIDE
    assert await found(root / "empty", root) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("name", ["new", "new/folder/file", "folder/file/beneath"])
async def test_what_is_not_there_is_absent(root: Path, name: str) -> None:
    """A path at which nothing is says so, so that a file that appears later is another one."""
    assert await found(root / name, root) == ABSENT


async def test_what_is_no_file_is_never_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, a pipe, a socket and a device are told as such; a pipe that nobody writes to holds up nothing."""
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for path in (root, root / "folder", root / "pipe", root / "socket"):
            assert await found(path, root) == NOT_A_FILE
    assert await found("/dev/null", "/dev") == NOT_A_FILE


async def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    """A link that stands at a canonical path by now, or on the way to it, leads nowhere (case 47)."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"outside")
    (root / "link").symlink_to(root / "folder" / "file")
    assert await found(root / "link", root) == UNREAD
    (root / "folder").rename(tmp_path / "moved")
    for target in (tmp_path / "elsewhere", tmp_path / "moved"):
        (root / "folder").symlink_to(target)
        assert await found(root / "folder" / "file", root) == UNREAD
        (root / "folder").unlink()


async def test_what_cannot_be_read_is_unread(root: Path, tmp_path: Path) -> None:
    """What gives nothing when it is read, or has its root on another machine: it is told, and is no error."""
    assert await found("/proc/self/mem", "/proc/self") == UNREAD
    assert await found(tmp_path / "nowhere" / "file", tmp_path / "nowhere") == UNREAD


async def test_a_huge_file_is_not_read(root: Path) -> None:
    """A sparse file of a terabyte costs nothing, and neither does one that holds more than its size says."""
    with (root / "huge").open("wb") as file:
        file.truncate(2**40)
    assert await found(root / "huge", root) == UNREAD
    endless = FileContents(largest_bytes=10)
    assert await found("/proc/self/maps", "/proc/self", endless) == UNREAD  # its size is said to be 0
    assert await found(root / "folder" / "file", root, endless) == INSIDE


async def test_one_look_reads_so_much_and_no_more(root: Path) -> None:
    """What is over the bound of all files together is unread, in the order of the paths, the same on both sides."""
    for name in "dcba":
        (root / name).write_bytes(name.encode() * 4)
    looked = await FileContents(most_bytes=10).digests({str(root / name): str(root) for name in "cabd"})
    assert [len(looked[str(root / name)]) for name in "abcd"] == [64, 64, len(UNREAD), len(UNREAD)]


async def test_a_look_ends_in_time(root: Path) -> None:
    """A look that takes longer than it may finds nothing: what was named stays unread."""
    path = root / "folder" / "file"
    assert await found(path, root, FileContents(limit_seconds=0.0)) == UNREAD


async def test_many_looks_at_once(root: Path) -> None:
    """Looks share few threads, and each ends with what it looked for."""
    files, path = FileContents(), root / "folder" / "file"
    assert await asyncio.gather(*(found(path, root, files) for _ in range(50))) == [INSIDE] * 50


async def test_no_paths_no_look() -> None:
    """Where arguments name no file, nothing is found."""
    assert await FileContents().digests({}) == {}
