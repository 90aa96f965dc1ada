"""Looks into the files that arguments name, so that an approval is bound to what is in them (case 51).

A look is bounded, for whoever proposes chooses the files: in bytes, and in time, on threads of its own. So a slow or
hanging file system keeps nothing waiting but looks, and those not for long.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from interlock.adapters.file_paths import LeadsElsewhere, open_exactly
from interlock.core.named_files import ABSENT, NOT_A_FILE, UNREAD

LARGEST_BYTES = 8 * 1024 * 1024
"""A larger file is not read."""

MOST_BYTES = 2 * LARGEST_BYTES
"""So much is read in one look, in the order of the paths; what would be more is not read."""

_LIMIT_SECONDS = 2.0
_AT_ONCE = 2
_CHUNK_BYTES = 1024 * 1024
_TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class FileContents:
    """ports.FileDigests on the file system that this process sees."""

    def __init__(
        self,
        *,
        limit_seconds: float = _LIMIT_SECONDS,
        largest_bytes: int = LARGEST_BYTES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._limit = limit_seconds
        self._largest = largest_bytes
        self._most = most_bytes
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="file-digests")

    async def digests(self, paths: Mapping[str, str]) -> Mapping[str, str]:
        """What is found at each path; all of it `unread` where the look took too long."""
        if not paths:
            return {}
        look = _Look(paths, largest=self._largest, left=self._most)
        running = asyncio.get_running_loop().run_in_executor(self._threads, look.run)
        try:
            return await asyncio.wait_for(running, self._limit)
        except TimeoutError:
            return dict.fromkeys(paths, UNREAD)
        finally:
            look.wanted = False


@dataclass(slots=True)
class _Look:
    """One look: so many bytes are `left` to be read; once it is not `wanted` any more it ends soon."""

    paths: Mapping[str, str]
    largest: int
    left: int
    wanted: bool = True

    def run(self) -> dict[str, str]:
        """What is found at each path."""
        return {path: self._found(path, self.paths[path]) for path in sorted(self.paths)}

    def _found(self, path: str, folder: str) -> str:
        """Never follows a link, and never opens a pipe or a device."""
        if not self.wanted:
            return UNREAD
        try:
            place = open_exactly(folder, path)
        except FileNotFoundError:
            return ABSENT
        except LeadsElsewhere:
            return UNREAD
        try:
            return self._digest(place) if stat.S_ISREG(os.fstat(place).st_mode) else NOT_A_FILE
        except OSError:  # no rights, or it has nothing to give
            return UNREAD
        finally:
            os.close(place)

    def _digest(self, place: int) -> str:
        limit = min(self.largest, self.left)
        if os.fstat(place).st_size > limit:
            return UNREAD
        # The very file that was looked at, whatever stands at its path by now.
        descriptor = os.open(f"/proc/self/fd/{place}", _TO_READ)
        try:
            size, digest = self._read(descriptor, limit)
        finally:
            os.close(descriptor)
        self.left -= min(size, limit)
        return digest if self.wanted and size <= limit else UNREAD

    def _read(self, descriptor: int, limit: int) -> tuple[int, str]:
        """How much was read, and its digest; a file that grows meanwhile is not read much beyond the limit."""
        digest, size = hashlib.sha256(), 0
        while self.wanted and size <= limit and (read := os.read(descriptor, _CHUNK_BYTES)):
            digest.update(read)
            size += len(read)
        return size, digest.hexdigest()
