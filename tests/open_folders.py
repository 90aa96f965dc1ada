"""Folders that every user of the machine may look into: commands run as nobody where the tests run as root."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder, its path without links, that everybody may read and write; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="interlock-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o777)
        yield folder
