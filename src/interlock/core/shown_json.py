"""JSON that others wrote, as lines for people: exact, escaped, and folded so that no part hides another (case 52)."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.core import json_pointer
from interlock.core.canonical import digest_of
from interlock.core.shown_text import MOST_CHARACTERS, quoted, remarks

MOST_REMARKS = 8
"""So many things that are odd are told one by one."""

_MOST_OF_A_POINTER = 64
_NO_END = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """How much is shown before it is folded: lines of a value, characters of a string, and of a key."""

    lines: int = 30
    characters: int = MOST_CHARACTERS
    of_a_key: int = 64


FOLDED = Fold()
WHOLE = Fold(lines=_NO_END, characters=_NO_END, of_a_key=_NO_END)

_Member = tuple[str, str | int, Any]
"""How it begins, its token in a JSON Pointer, and the value."""


def json_lines(value: Any, *, fold: Fold = FOLDED, concealed: Collection[str] = ()) -> list[str]:
    """The value as indented JSON, at most `fold.lines` lines; each string stands on one, as `quoted` shows it.

    Where not all of it fits, each member of an object or an array has its fair share of the lines, so that a large one
    takes nothing from a small one; in place of what is left out stand how many values that are, and the SHA-256
    (base64url) of the canonical form. `concealed` are JSON Pointers to `{"concealed": DIGEST}` that the service put in
    the place of a value: they are shown as what they are. Raises UnencodableError.
    """
    return _Drawing(fold, frozenset(concealed)).lines(value, "", fold.lines)


def json_remarks(value: Any) -> list[str]:
    """What is odd about the keys and strings in a value, each with its JSON Pointer.

    At most MOST_REMARKS lines, and one that says how many more there are.
    """
    found = [f"{quoted(pointer, most=_MOST_OF_A_POINTER)}: {told}" for pointer, told in _odd("", value)]
    more = len(found) - MOST_REMARKS
    return found if more <= 0 else [*found[:MOST_REMARKS], f"{more:,} more things are odd"]


@dataclass(frozen=True, slots=True)
class _Drawing:
    fold: Fold
    concealed: frozenset[str]

    def lines(self, value: Any, pointer: str, most: int) -> list[str]:
        if pointer in self.concealed:
            return [
                f"(concealed: {self._scalar(value.get('concealed') if isinstance(value, dict) else value)})"
            ]
        members = self._members(value)
        if not members:
            return [self._scalar(value)]
        inner = most - 2
        if inner < 1:
            return [_folded(value)]
        kept = members if len(members) <= inner else members[: inner - 1]
        return self._around(value, pointer, members, kept, inner)

    def _around(
        self, value: Any, pointer: str, members: list[_Member], kept: list[_Member], inner: int
    ) -> list[str]:
        begin, end = "{}" if isinstance(value, dict) else "[]"
        left_out = len(members) - len(kept)
        shares = _shares([_height(member) for _, _, member in kept], inner - bool(left_out))
        drawn = [
            [label + line if place == 0 else line for place, line in enumerate(lines)]
            for (label, token, member), share in zip(kept, shares, strict=True)
            for lines in [self.lines(member, json_pointer.append(pointer, token), share)]
        ]
        body = [f"  {line}" for line in _with_commas(drawn, goes_on=bool(left_out))]
        rest = [f"  … {left_out:,} more members {_told(value)}"] if left_out else []
        return [begin, *body, *rest, end]

    def _members(self, value: Any) -> list[_Member]:
        match value:
            case dict():
                return [
                    (f"{quoted(key, most=self.fold.of_a_key)}: ", key, member)
                    for key, member in value.items()
                ]
            case list() | tuple():
                return [("", place, member) for place, member in enumerate(value)]
        return []

    def _scalar(self, value: Any) -> str:
        if isinstance(value, str):
            return quoted(value, most=self.fold.characters)
        return json.dumps(value)


def _with_commas(drawn: Sequence[list[str]], *, goes_on: bool) -> Iterator[str]:
    for place, lines in enumerate(drawn):
        yield from lines[:-1]
        yield lines[-1] + ("," if goes_on or place < len(drawn) - 1 else "")


def _shares(wanted: Sequence[int], lines: int) -> list[int]:
    """How many of the lines each gets: the small ones all they want, the others the same of what is left."""
    shares = [0] * len(wanted)
    for left, place in zip(
        range(len(wanted), 0, -1), sorted(range(len(wanted)), key=wanted.__getitem__), strict=True
    ):
        shares[place] = min(wanted[place], lines // left)
        lines -= shares[place]
    return shares


def _height(value: Any) -> int:
    """How many lines it takes whole."""
    match value:
        case dict() if value:
            return 2 + sum(map(_height, value.values()))
        case list() | tuple() if value:
            return 2 + sum(map(_height, value))
    return 1


def _folded(value: Any) -> str:
    return f"{'{…}' if isinstance(value, dict) else '[…]'} {_told(value)}"


def _told(value: Any) -> str:
    return f"(folded: {_count(value):,} values in all, SHA-256 {digest_of(value)})"


def _count(value: Any) -> int:
    """How many strings, numbers and literals there are in it, an empty object or array counting one."""
    match value:
        case dict() if value:
            return sum(map(_count, value.values()))
        case list() | tuple() if value:
            return sum(map(_count, value))
    return 1


def _odd(pointer: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield from ((pointer, told) for told in remarks(value))
        case dict():
            for key, member in value.items():
                deeper = json_pointer.append(pointer, key)
                yield from ((deeper, told) for told in remarks(key))
                yield from _odd(deeper, member)
        case list() | tuple():
            for place, member in enumerate(value):
                yield from _odd(json_pointer.append(pointer, place), member)
