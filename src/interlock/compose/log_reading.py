"""Reading and verifying the decision log from its store, beside a running service or without one."""

from collections.abc import Iterator
from dataclasses import dataclass

from interlock.adapters.record_rows import Flaw
from interlock.compose.places import service_of
from interlock.compose.settings import Settings
from interlock.compose.store import open_for_verbs
from interlock.core.approval_trail import trail
from interlock.core.record import Head, Record, RecordType


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a check of the whole log found; the log is as it was written when `flaws` is empty."""

    head: Head
    flaws: tuple[Flaw, ...]


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
    with open_for_verbs(service_of(settings), read_only=True) as store:
        yield from store.scan(type=type, decision_id=decision_id, tenant=tenant, start=start, limit=limit)


def read_trail(settings: Settings, approval_id: str, *, tenant: str, start: int) -> Iterator[Record]:
    """The records that are of an approval, oldest first. It reads the whole log from `start` on."""
    yield from trail(
        read_records(settings, type=None, decision_id="", tenant=tenant, start=start, limit=None), approval_id
    )


def verify_log(settings: Settings, expected: Head | None) -> Verification:
    """Check every record, and that the log goes on from `expected`, a head that was noted earlier."""
    with open_for_verbs(service_of(settings), read_only=True) as store:
        flaws = tuple(store.find_flaws())
        if expected is not None and (flaw := store.find_fork(expected)):
            flaws = (*flaws, flaw)
        return Verification(head=store.read_head(), flaws=flaws)
