"""The system's clock and its source of randomness."""

import uuid
from datetime import UTC, datetime


class SystemClock:
    """ports.Clock: this machine's time in UTC."""

    def now(self) -> datetime:
        """The time now."""
        return datetime.now(UTC)


class RandomIdentifiers:
    """ports.Identifiers: UUID version 4 (RFC 9562), 122 random bits."""

    def new(self) -> str:
        """A new identifier."""
        return str(uuid.uuid4())
