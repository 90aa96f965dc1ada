"""Credentials that were found in a store, remembered for a second (docs/decisions/0011)."""

import time
from collections.abc import Awaitable, Callable

from interlock.adapters.store_errors import unavailable
from interlock.core.identity import Credential

REMEMBERED_SECONDS = 1.0
"""For so long a credential may still be taken after another process revoked it."""

MOST_REMEMBERED = 10_000

Read = Callable[[str], Awaitable[Credential | None]]
"""Reads the credential of this id from the store. Raises StoreUnavailable."""


class RememberedCredentials:
    """ports.Credentials on a store."""

    def __init__(self, read: Read, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._monotonic = monotonic
        self._remembered: dict[str, tuple[float, Credential]] = {}

    async def find(self, credential_id: str) -> Credential | None:
        """The credential of this id. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
        now = self._monotonic()
        known = self._remembered.get(credential_id)
        if known and now - known[0] < REMEMBERED_SECONDS:
            return known[1]
        with unavailable():
            found = await self._read(credential_id)
        self._remember(credential_id, now, found)
        return found

    def _remember(self, credential_id: str, now: float, found: Credential | None) -> None:
        """Only what exists is remembered, so that guesses cost no memory."""
        if found is None:
            self._remembered.pop(credential_id, None)
            return
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[credential_id] = (now, found)
