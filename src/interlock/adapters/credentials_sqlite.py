"""Credentials in the decision service's store."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import apsw
import orjson

from interlock.adapters.sqlite import SingleWriter, from_microseconds, to_microseconds
from interlock.adapters.store_errors import unavailable
from interlock.core.identity import Caller, CallerKind, Credential

REMEMBERED_SECONDS = 1.0
"""For so long a credential may still be taken after another process revoked it."""

MOST_REMEMBERED = 10_000

_COLUMNS = "credential_id, kind, tenant, name, roles, secret_hash, create_time, revoke_time"


class SqliteCredentials:
    """ports.Credentials on the store; what was found is remembered for a second."""

    def __init__(self, writer: SingleWriter, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._monotonic = monotonic
        self._remembered: dict[str, tuple[float, Credential]] = {}

    async def find(self, credential_id: str) -> Credential | None:
        """The credential of this id. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
        now = self._monotonic()
        known = self._remembered.get(credential_id)
        if known and now - known[0] < REMEMBERED_SECONDS:
            return known[1]
        with unavailable():
            found = await self._writer.read(lambda db: read_credential(db, credential_id))
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


def read_credential(connection: apsw.Connection, credential_id: str) -> Credential | None:
    """The credential of this id."""
    query = f"SELECT {_COLUMNS} FROM credentials WHERE credential_id = ?"
    row = connection.execute(query, (credential_id,)).fetchone()
    return _credential(row) if row else None


def list_credentials(connection: apsw.Connection) -> list[Credential]:
    """All credentials, also revoked ones, oldest first."""
    query = f"SELECT {_COLUMNS} FROM credentials ORDER BY create_time, credential_id"
    return [_credential(row) for row in connection.execute(query)]


def add_credential(connection: apsw.Connection, credential: Credential) -> None:
    """Keep a new credential; durable on return."""
    caller = credential.caller
    connection.execute(
        f"INSERT INTO credentials ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            caller.credential_id,
            caller.kind.value,
            caller.tenant,
            caller.name,
            orjson.dumps(caller.roles).decode(),
            credential.secret_hash,
            to_microseconds(credential.create_time),
        ),
    )


def revoke_credential(connection: apsw.Connection, credential_id: str, now: datetime) -> bool:
    """End a credential; it stays listed. Whether there was one to end."""
    connection.execute(
        "UPDATE credentials SET revoke_time = ? WHERE credential_id = ? AND revoke_time IS NULL",
        (to_microseconds(now), credential_id),
    )
    return connection.changes() > 0


def _credential(row: tuple[Any, ...]) -> Credential:
    credential_id, kind, tenant, name, roles, secret_hash, create_time, revoke_time = row
    return Credential(
        caller=Caller(
            kind=CallerKind(kind),
            tenant=tenant,
            name=name,
            roles=tuple(orjson.loads(roles)),
            credential_id=credential_id,
        ),
        secret_hash=secret_hash,
        create_time=from_microseconds(create_time),
        revoke_time=None if revoke_time is None else from_microseconds(revoke_time),
    )
