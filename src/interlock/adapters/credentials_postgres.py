"""Credentials in the decision service's store on PostgreSQL."""

from datetime import datetime

from interlock.adapters.credential_rows import COLUMNS, from_row, to_row
from interlock.adapters.postgres import Connection, Postgres
from interlock.core.identity import Credential
from interlock.core.moments import to_microseconds

_FIND = f"SELECT {COLUMNS} FROM credentials WHERE credential_id = $1"
_LIST = f"SELECT {COLUMNS} FROM credentials ORDER BY create_time, credential_id"
_ADD = f"INSERT INTO credentials ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
_REVOKE = "UPDATE credentials SET revoke_time = $1 WHERE credential_id = $2 AND revoke_time IS NULL"


async def find_credential(database: Postgres, credential_id: str) -> Credential | None:
    """The credential of this id. Raises StoreUnavailable."""
    row = await database.read(lambda connection: connection.fetchrow(_FIND, credential_id))
    return from_row(row) if row else None


async def list_credentials(connection: Connection) -> list[Credential]:
    """All credentials, also revoked ones, oldest first."""
    return [from_row(row) for row in await connection.fetch(_LIST)]


async def add_credential(connection: Connection, credential: Credential) -> None:
    """Keep a new credential; durable on return."""
    await connection.execute(_ADD, *to_row(credential))


async def revoke_credential(connection: Connection, credential_id: str, now: datetime) -> bool:
    """End a credential; it stays listed. Whether there was one to end."""
    done = await connection.execute(_REVOKE, to_microseconds(now), credential_id)
    return done != "UPDATE 0"
