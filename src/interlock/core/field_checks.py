"""The rules that fields of requests have in common: each breaks with INVALID_FIELD and the field's path."""

import re

from interlock.core.errors import invalid_field

# Plain character classes of bounded length: linear in any engine (case 14).
_IDENTIFIER = re.compile(r"[a-z0-9-]{1,64}\Z")
_REFUSED_CHARACTER = re.compile(r"[\x00\ud800-\udfff]")

MAX_NUMBER = 2**53 - 1


def check_identifier(name: str, value: str) -> None:
    """A name of a caller's choice. Raises InterlockError: INVALID_FIELD."""
    if not _IDENTIFIER.match(value):
        raise invalid_field(name, "must be 1 to 64 characters of [a-z0-9-]")


def check_text(name: str, value: str, limit: int, *, least: int = 0) -> None:
    """`least` to `limit` characters that JSON can carry. Raises InterlockError: INVALID_FIELD."""
    if not least <= len(value) <= limit:
        bounds = f"{least} to {limit}" if least else f"at most {limit}"
        raise invalid_field(name, f"must be {bounds} characters, got {len(value)}")
    if _REFUSED_CHARACTER.search(value):
        raise invalid_field(name, "must not hold U+0000 or a lone surrogate")


def check_count(name: str, count: int, limit: int, *, least: int = 0) -> None:
    """`least` to `limit` entries. Raises InterlockError: INVALID_FIELD."""
    if not least <= count <= limit:
        bounds = f"{least} to {limit}" if least else f"at most {limit}"
        raise invalid_field(name, f"must have {bounds} entries, got {count}")


def check_number(name: str, value: int, *, least: int = 0) -> None:
    """A whole number that a double holds exactly. Raises InterlockError: INVALID_FIELD."""
    if not least <= value <= MAX_NUMBER:
        raise invalid_field(name, f"must be from {least} to 2^53 - 1")
