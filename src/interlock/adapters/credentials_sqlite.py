"""Credentials in the decision service's store on SQLite."""

from datetime import datetime

import apsw

from interlock.adapters.credential_rows import COLUMNS, from_row, to_row
from interlock.adapters.sqlite import SingleWriter
from interlock.core.identity import Credential
from interlock.core.moments import to_microseconds


async def find_credential(writer: SingleWriter, credential_id: str) -> Credential | None:
    """The credential of this id. Raises StoreUnavailable."""
    return await writer.read(lambda connection: read_credential(connection, credential_id))


def read_credential(connection: apsw.Connection, credential_id: str) -> Credential | None:
    """The credential of this id."""
    query = f"SELECT {COLUMNS} FROM credentials WHERE credential_id = ?"
    row = connection.execute(query, (credential_id,)).fetchone()
    return from_row(row) if row else None


def list_credentials(connection: apsw.Connection) -> list[Credential]:
    """All credentials, also revoked ones, oldest first."""
    query = f"SELECT {COLUMNS} FROM credentials ORDER BY create_time, credential_id"
    return [from_row(row) for row in connection.execute(query)]


def add_credential(connection: apsw.Connection, credential: Credential) -> None:
    """Keep a new credential; durable on return."""
    connection.execute(
        f"INSERT INTO credentials ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", to_row(credential)
    )


def revoke_credential(connection: apsw.Connection, credential_id: str, now: datetime) -> bool:
    """End a credential; it stays listed. Whether there was one to end."""
    connection.execute(
        "UPDATE credentials SET revoke_time = ? WHERE credential_id = ? AND revoke_time IS NULL",
        (to_microseconds(now), credential_id),
    )
    return connection.changes() > 0
