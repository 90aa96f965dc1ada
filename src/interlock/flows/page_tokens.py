"""Page tokens: where the next page begins, sealed for one tenant and one question (case 54)."""

import hmac
import re
from collections.abc import Callable, Sequence

from interlock.core.canonical import canonicalize
from interlock.core.errors import invalid_field

DEFAULT_PAGE = 100
LARGEST_PAGE = 1_000

Seal = Callable[[bytes], str]
"""Keyed digest that only this service can make; it has no `.`."""

_PLACE = re.compile(r"(?:[0-9a-f]{2}){1,256}\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,14})\Z")


def write(place: Sequence[int], bound_to: Sequence[str], seal: Seal) -> str:
    """The token of the page that begins at `place`, good for the question that `bound_to` names."""
    return ".".join([*map(str, place), seal(canonicalize([*place, *bound_to]))])


def read(token: str, first: Sequence[int], bound_to: Sequence[str], seal: Seal) -> tuple[int, ...]:
    """Where the page begins: `first` without a token. Raises InterlockError: INVALID_FIELD for one not given."""
    if not token:
        return tuple(first)
    numbers = token.split(".")[: len(first)]
    place = tuple(int(number) for number in numbers if _NUMBER.match(number))
    expected = write(place, bound_to, seal)
    if len(place) != len(first) or not hmac.compare_digest(
        token.encode("utf-8", "replace"), expected.encode()
    ):
        raise invalid_field("page_token", "is not one that this service gave for this question")
    return place


def write_place(place: bytes, bound_to: Sequence[str], seal: Seal) -> str:
    """The token of the page that begins after `place` of a list, good for the question that `bound_to` names."""
    return f"{place.hex()}.{seal(canonicalize([place.hex(), *bound_to]))}"


def read_place(token: str, bound_to: Sequence[str], seal: Seal) -> bytes:
    """After which place the page begins: empty without a token. Raises InterlockError as `read`."""
    if not token:
        return b""
    text = token.partition(".")[0]
    place = bytes.fromhex(text) if _PLACE.match(text) else b""
    if not hmac.compare_digest(token.encode("utf-8", "replace"), write_place(place, bound_to, seal).encode()):
        raise invalid_field("page_token", "is not one that this service gave for this question")
    return place


def page_size(asked: int, *, most: int = LARGEST_PAGE) -> int:
    """How many to give; 0 asks for the default. Raises InterlockError: INVALID_FIELD."""
    if not 0 <= asked <= most:
        raise invalid_field("page_size", f"must be from 0 to {most}, got {asked}")
    return asked or DEFAULT_PAGE
