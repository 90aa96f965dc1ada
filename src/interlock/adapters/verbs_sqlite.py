"""The store on SQLite for a verb of the command line, beside the service that writes it or without one."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import apsw

from interlock.adapters import credentials_sqlite, store_sqlite
from interlock.adapters.record_rows import Flaw
from interlock.adapters.sqlite import open_database
from interlock.adapters.store_errors import StoreUnusable
from interlock.core.identity import Credential
from interlock.core.record import Head, Record, RecordType

_BUSY_MILLISECONDS = 5_000


@contextlib.contextmanager
def open_for_verbs(path: Path, *, read_only: bool) -> Iterator["SqliteForVerbs"]:
    """The store, made or migrated unless `read_only`; then also where its log has flaws. Raises StoreUnusable."""
    connection = _open(path, read_only=read_only)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    try:
        yield SqliteForVerbs(connection)
    except apsw.Error as error:
        raise StoreUnusable(f"`{path}` failed: {error}; restore the store from a copy") from error
    finally:
        connection.close()


def _open(path: Path, *, read_only: bool) -> apsw.Connection:
    if read_only:
        return open_database(path, store_sqlite.APPLICATION_ID, store_sqlite.MIGRATIONS, read_only=True)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return store_sqlite.open_store(path)


class SqliteForVerbs:
    """What verbs do with the store. All of it raises apsw.Error."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def scan(
        self, *, type: RecordType | None, decision_id: str, tenant: str, start: int, limit: int | None
    ) -> Iterator[Record]:
        """Records that match, oldest first; empty or None is no condition."""
        return store_sqlite.scan(
            self._connection, type=type, decision_id=decision_id, tenant=tenant, start=start, limit=limit
        )

    def find_flaws(self) -> list[Flaw]:
        """What is wrong anywhere in the log."""
        return list(store_sqlite.find_flaws(self._connection))

    def find_fork(self, noted: Head) -> Flaw | None:
        """How the log does not go on from a head that was noted earlier."""
        return store_sqlite.find_fork(self._connection, noted)

    def read_head(self) -> Head:
        """Where the log stands."""
        return store_sqlite.read_head(self._connection)

    def add_credential(self, credential: Credential) -> None:
        """Keep a new credential; durable on return."""
        credentials_sqlite.add_credential(self._connection, credential)

    def list_credentials(self) -> list[Credential]:
        """All credentials, also revoked ones, oldest first."""
        return credentials_sqlite.list_credentials(self._connection)

    def revoke_credential(self, credential_id: str, now: datetime) -> bool:
        """End a credential; it stays listed. Whether there was one to end."""
        return credentials_sqlite.revoke_credential(self._connection, credential_id, now)
