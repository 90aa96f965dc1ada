"""Digests of the files that arguments name, so that an approval is bound to what is in them (case 51)."""

import asyncio
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence

LARGEST_BYTES = 64 * 1024 * 1024
"""A larger file is not read: its approval is not bound to its content, and says so."""


class FileContents:
    """ports.FileDigests on the file system that this process sees."""

    async def digests(self, paths: Sequence[str]) -> Mapping[str, str]:
        """SHA-256 of each regular file that can be read, by path."""
        if not paths:
            return {}
        return await asyncio.to_thread(_digests, paths)


def _digests(paths: Sequence[str]) -> dict[str, str]:
    return {path: digest for path in paths if (digest := _digest(path))}


def _digest(path: str) -> str:
    """The digest of a regular file; empty for anything else. Never follows a link, waits for a pipe or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
            return ""
        return hashlib.file_digest(file, "sha256").hexdigest()
