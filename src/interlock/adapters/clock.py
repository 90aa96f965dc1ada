"""The system's clock and its source of randomness."""

import secrets
import time
import uuid
from datetime import UTC, datetime

RANDOM_BYTES = 10
"""Of their bits, version and variant take the place of six."""

_FIXED = 0xF << 76 | 0b11 << 62
_VERSION_AND_VARIANT = 7 << 76 | 0b10 << 62


class SystemClock:
    """ports.Clock: this machine's time in UTC."""

    def now(self) -> datetime:
        """The time now."""
        return datetime.now(UTC)


class RandomIdentifiers:
    """ports.Identifiers: UUID version 7, with this machine's time and 74 random bits."""

    def new(self) -> str:
        """A new identifier."""
        return time_ordered_uuid(time.time_ns() // 1_000_000, secrets.token_bytes(RANDOM_BYTES))


def time_ordered_uuid(milliseconds: int, random: bytes) -> str:
    """The UUID of version 7 (RFC 9562 5.7) of a time since the epoch, with RANDOM_BYTES random bytes."""
    value = milliseconds << 80 | int.from_bytes(random)
    return str(uuid.UUID(int=value & ~_FIXED | _VERSION_AND_VARIANT))
