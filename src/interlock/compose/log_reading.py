"""Reading and verifying the decision log from its store, beside a running service or without one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from interlock.adapters import store_sqlite
from interlock.adapters.sqlite import open_database
from interlock.adapters.store_errors import StoreUnusable
from interlock.adapters.store_sqlite import APPLICATION_ID, MIGRATIONS, Flaw
from interlock.compose.places import service_of, store_file
from interlock.compose.settings import Settings
from interlock.core.record import Head, Record, RecordType


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a check of the whole log found; the log is as it was written when `flaws` is empty."""

    head: Head
    flaws: tuple[Flaw, ...]


@contextlib.contextmanager
def open_log(settings: Settings) -> Iterator[apsw.Connection]:
    """The store for reading only, also where its log has flaws. Raises StoreUnusable."""
    connection = open_database(store_file(service_of(settings)), APPLICATION_ID, MIGRATIONS, read_only=True)
    try:
        yield connection
    except apsw.Error as error:
        raise StoreUnusable(
            f"the decision log cannot be read: {error}; restore the store from a copy"
        ) from error
    finally:
        connection.close()


def read_records(
    settings: Settings,
    *,
    type: RecordType | None,
    decision_id: str,
    tenant: str,
    start: int,
    limit: int | None,
) -> Iterator[Record]:
    """Records that match, oldest first, of all tenants unless one is named."""
    with open_log(settings) as store:
        yield from store_sqlite.scan(
            store, type=type, decision_id=decision_id, tenant=tenant, start=start, limit=limit
        )


def verify_log(settings: Settings, expected: Head | None) -> Verification:
    """Check every record, and that the log goes on from `expected`, a head that was noted earlier."""
    with open_log(settings) as store:
        flaws = tuple(store_sqlite.find_flaws(store))
        if expected is not None and (flaw := store_sqlite.find_fork(store, expected)):
            flaws = (*flaws, flaw)
        return Verification(head=store_sqlite.read_head(store), flaws=flaws)
