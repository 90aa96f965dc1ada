"""From a command's template and a call's arguments to the words that it is started with; never a shell's string."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.core import json_pointer
from interlock.core.canonical import canonicalize
from interlock.core.connector_entries import CommandEntry

MAX_WORDS = 1_024
MAX_WORDS_BYTES = 131_072
"""Of all words with a NUL after each; the kernel takes no longer single one (MAX_ARG_STRLEN, execve(2))."""

END_OF_OPTIONS = "--"

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]{1,128})\}")
_SHELLS = frozenset({"ash", "bash", "busybox", "dash", "fish", "ksh", "mksh", "sh", "zsh"})
_RUNS_A_STRING = re.compile(r"-[A-Za-z]*c[A-Za-z]*")


class BadWord(ValueError):
    """An argument cannot be a word of the command. `path` is its JSON Pointer; the message never holds its value."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """An element of the template. `after_end` says that a `--` stands before it."""

    text: str
    argument: str
    after_end: bool


def words_of(
    entry: CommandEntry, arguments: Mapping[str, Any], paths: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The words that the command is started with, its program first.

    Fixed text stays as it is. Instead of `{name}` stands the argument: a string as it is, a number in its canonical
    form, a boolean as `true` or `false`, a list as one word for each of its elements; none where it is absent or null.
    `paths` are canonical paths by JSON Pointer, for arguments that name files.

    Raises BadWord: an object or a list in a list, a NUL, a word that begins with `-` where an option could stand, or
    words that are too many or too long (case 48).
    """
    words: list[str] = []
    for part in _parts(entry):
        words += _words(part, entry, arguments, paths or {}) if part.argument else [part.text]
    if len(words) > MAX_WORDS or sum(len(word.encode()) + 1 for word in words) > MAX_WORDS_BYTES:
        raise BadWord("", f"the command has over {MAX_WORDS} words or {MAX_WORDS_BYTES} bytes")
    return tuple(words)


def stdin_of(entry: CommandEntry, arguments: Mapping[str, Any]) -> bytes:
    """What the command reads: the argument's text, or the canonical JSON of what is no text; empty where absent."""
    value = arguments.get(entry.stdin) if entry.stdin else None
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else canonicalize(value)


def problems(
    entry: CommandEntry,
    schema: Mapping[str, Any],
    *,
    sensitive: Iterable[str],
    paths: Iterable[str],
    roots: Mapping[str, str],
) -> Iterator[str]:
    """What is wrong with a command's entry, for a person; nothing where it can be used.

    `sensitive` and `paths` are JSON Pointers to secrets and to what names files; `roots` are the file's.
    """
    properties = schema.get("properties")
    known = set(properties) if isinstance(properties, dict) else set()
    used = [part.argument for part in _parts(entry) if part.argument]
    yield from _template_problems(entry, known)
    secrets = {json_pointer.to_path(pointer)[0] for pointer in sensitive}
    for name in used:
        if name not in known:
            yield f"`{{{name}}}` in `argv` is none of the arguments that the schema names"
        if secrets & {name, json_pointer.EVERY}:
            # What stands in a command line, every user of the machine can read (case 63).
            yield f"`{{{name}}}` is sensitive, so it cannot be in `argv`; give it as `stdin`"
    if entry.stdin and entry.stdin not in known:
        yield f"`stdin` names `{entry.stdin}`, which is none of the arguments that the schema names"
    if entry.stdin and {entry.stdin, json_pointer.EVERY} & {json_pointer.to_path(path)[0] for path in paths}:
        # What is read is given as it was written, not as the path that was decided (case 47).
        yield f"`{entry.stdin}` names files, so it cannot be `stdin`; put it in `argv`"
    if lost := set(entry.leading_dash) - set(used):
        yield f"`leading_dash` names `{min(lost)}`, which is not in `argv`"
    if lost := set(entry.roots) - set(roots):
        yield f"`roots` names `{min(lost)}`, which the file's `roots` lack"
    if "/" in {roots[name] for name in entry.roots if name in roots}:
        yield "`roots` names the whole file system, which would show the command everything"
    if lost := set(entry.writable) - set(entry.roots):
        yield f"`writable` names `{min(lost)}`, which the command's `roots` lack"


def _template_problems(entry: CommandEntry, known: set[str]) -> Iterator[str]:
    parts = list(_parts(entry))
    if parts[0].argument:
        yield "`argv` begins with an argument, expected a program"
    for part in parts:
        if "\x00" in part.text:
            yield "`argv` has a NUL"
        if not part.argument and (inside := known & set(_PLACEHOLDER.findall(part.text))):
            yield f"`{{{min(inside)}}}` is part of an element of `argv`, expected all of it"
    shell = False
    for before, part in itertools.pairwise(parts):
        shell = shell or before.text.rsplit("/", 1)[-1] in _SHELLS
        if shell and part.argument and _RUNS_A_STRING.fullmatch(before.text):
            yield f"`{{{part.argument}}}` would be a shell's program; name the program itself in `argv`"


def _parts(entry: CommandEntry) -> Iterator[_Part]:
    after_end = False
    for text in entry.argv:
        found = _PLACEHOLDER.fullmatch(text)
        yield _Part(text=text, argument=found[1] if found else "", after_end=after_end)
        after_end = after_end or text == END_OF_OPTIONS


def _words(
    part: _Part, entry: CommandEntry, arguments: Mapping[str, Any], paths: Mapping[str, str]
) -> Iterator[str]:
    value, pointer = arguments.get(part.argument), json_pointer.append("", part.argument)
    listed = isinstance(value, list | tuple)
    for position, element in enumerate(value if listed and value is not None else [value]):
        where = json_pointer.append(pointer, position) if listed else pointer
        if element is None and not listed:
            return
        word = paths[where] if where in paths else _word(element, where)
        if word.startswith("-") and not (part.after_end or part.argument in entry.leading_dash):
            raise BadWord(where, "a value that begins with `-` would be taken for an option")
        yield word


def _word(value: Any, where: str) -> str:
    if value is None or isinstance(value, dict | list | tuple):
        raise BadWord(where, "only a string, a number or a boolean can be a word of a command")
    word = value if isinstance(value, str) else canonicalize(value).decode()
    if "\x00" in word:
        raise BadWord(where, "a word of a command cannot hold a NUL")
    return word
