"""Files that arguments name, so that an approval is bound to what is in them (case 51).

A look at a path finds the SHA-256 of a regular file's content, in hexadecimal, or a word of FOUND. The decision service
looks when people are asked, when they answer, and before it grants; the gateway looks again before it redeems a token.
"""

from collections.abc import Iterable, Mapping

from interlock.core.canonical import digest_of
from interlock.core.catalog import Effect, Tool
from interlock.core.destinations import Destination

ABSENT = "absent"
NOT_A_FILE = "not_a_file"
UNREAD = "unread"

FOUND: Mapping[str, str] = {
    ABSENT: "nothing is there",
    NOT_A_FILE: "a folder, a pipe, a device or a socket is there",
    UNREAD: "too large, no rights, or on another machine, so the approval is not bound to it",
}
"""What a look may find in the place of a digest, and what each means."""


def paths_of(tool: Tool | None, destinations: Iterable[Destination]) -> dict[str, str]:
    """The canonical paths that arguments name, in order, each with the folder of the declared root that it is under."""
    if tool is None:
        return {}
    named = [each for each in destinations if each.kind == "path" and each.canonical]
    return {each.canonical: tool.roots[each.root] for each in sorted(named, key=lambda one: one.canonical)}


def digest_of_files(found: Mapping[str, str]) -> str:
    """SHA-256, base64url, of what was found by canonical path; empty where nothing but `unread` was.

    What is unread here may be read there, so it is left out: both sides must find the same of the rest.
    """
    bound = {path: what for path, what in found.items() if what != UNREAD}
    return digest_of(bound) if bound else ""


def changed_by(tool: Tool | None, destinations: Iterable[Destination]) -> frozenset[str]:
    """The canonical paths that a call may change: all that it names, unless it only reads."""
    if tool is None or set(tool.entry.effects) <= {Effect.READ}:
        return frozenset()
    return frozenset(paths_of(tool, destinations))


def is_touched(path: str, changed: Iterable[str]) -> bool:
    """Whether one of `changed` is this path, or a folder that it is in."""
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in changed)
