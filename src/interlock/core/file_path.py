"""What is written as a path, taken apart by rules alone; where it leads on a machine is adapters.file_paths' matter."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.core.destinations import DestinationProblem

MAX_PATH_BYTES = 4_096
MAX_NAME_BYTES = 255

PARENT = ".."

# Anything percent-encoded, `%2e%2e`, `%2f` and the doubly encoded `%252e` with it: whoever decodes it later reads
# another path than the one that was decided (case 47).
_PERCENT_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
# Control characters, invisible ones (bidirectional marks too), lone surrogates, and the two line breaks of Unicode.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Beneath:
    """A path beneath a declared root: the names of what is on the way, `..` among them, from the root on."""

    root: str
    folder: str
    names: tuple[str, ...]


def take_apart(roots: Mapping[str, str], text: str) -> "Beneath | DestinationProblem":
    """The path that is written, beneath the innermost root that it names; a relative one beneath the only root.

    `malformed` where it is no path of the one form: empty, over MAX_PATH_BYTES in UTF-8, a name over
    MAX_NAME_BYTES, not in NFC, with a backslash, something percent-encoded or a character that nobody sees; or
    relative where there are several roots. `outside_roots` where it is absolute and begins with none of them.
    """
    if not is_well_formed(text):
        return "malformed"
    names = split(text)
    if not text.startswith("/"):
        return _relative(roots, names)
    inner = innermost(roots, names)
    if inner is None:
        return "outside_roots"
    return Beneath(root=inner, folder=roots[inner], names=names[len(split(roots[inner])) :])


def lexical(beneath: Beneath) -> tuple[str, ...] | None:
    """The names with `..` taken out, as on a machine without links; None where it climbs above the root."""
    kept: list[str] = []
    for name in beneath.names:
        if name != PARENT:
            kept.append(name)
        elif kept:
            kept.pop()
        else:
            return None
    return tuple(kept)


def innermost(roots: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The name of the longest root that an absolute path with these names is in."""
    found = [name for name, folder in roots.items() if _begins(names, split(folder))]
    return max(found, key=lambda name: len(split(roots[name])), default=None)


def joined(folder: str, names: Sequence[str]) -> str:
    """The absolute path of what has these names beneath a folder."""
    return "/" + "/".join([*split(folder), *names])


def split(text: str) -> tuple[str, ...]:
    """The names in a path; `//` and `.` say nothing."""
    return tuple(name for name in text.split("/") if name not in ("", "."))


def is_well_formed(text: str) -> bool:
    """Whether the text is of the one form that a path may have."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return False
    return (
        0 < len(data) <= MAX_PATH_BYTES
        and "\\" not in text
        and not _PERCENT_ENCODED.search(text)
        and unicodedata.is_normalized("NFC", text)
        and not any(unicodedata.category(character) in _UNSEEN for character in text)
        and all(len(name.encode()) <= MAX_NAME_BYTES for name in text.split("/"))
    )


def is_root(folder: str) -> bool:
    """Whether a folder can be a root: absolute, in the one form, and with nothing to be taken out."""
    return is_well_formed(folder) and joined(folder, ()) == folder and PARENT not in split(folder)


def _relative(roots: Mapping[str, str], names: tuple[str, ...]) -> "Beneath | DestinationProblem":
    if len(roots) != 1:
        return "malformed"
    [(root, folder)] = roots.items()
    return Beneath(root=root, folder=folder, names=names)


def _begins(names: Sequence[str], beginning: Sequence[str]) -> bool:
    return list(names[: len(beginning)]) == list(beginning)
