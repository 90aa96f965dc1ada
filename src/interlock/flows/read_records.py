"""An auditor reads the decision log: the own tenant's records, and those of the service itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.record import Record, RecordType
from interlock.flows import page_tokens
from interlock.flows.page_tokens import Seal
from interlock.ports import RecordReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records, and which page of them; `page_size` 0 is the default."""

    page_size: int
    page_token: str
    type: RecordType | None
    decision_id: str


async def list_records(
    query: Query, caller: Caller, reader: RecordReader, seal: Seal
) -> tuple[list[Record], str]:
    """A page of records and the token of the next page, empty on the last. Raises InterlockError."""
    size = page_tokens.page_size(query.page_size)
    bound_to = _bound_to(query, caller)
    (start,) = page_tokens.read(query.page_token, (0,), bound_to, seal)
    found = await reader.list_records(
        tenants=_visible_to(caller),
        type=query.type,
        decision_id=query.decision_id,
        start=start,
        limit=size + 1,
    )
    page = found[:size]
    more = len(found) > size
    return page, page_tokens.write((page[-1].log_index + 1,), bound_to, seal) if more else ""


async def get_record(log_index: int, caller: Caller, reader: RecordReader) -> Record:
    """One record. Another tenant's is not found, as one that does not exist. Raises InterlockError."""
    found = await reader.get_record(log_index) if 0 <= log_index < 2**53 else None
    if found is None or found.tenant not in _visible_to(caller):
        raise InterlockError(reason=ErrorReason.RECORD_NOT_FOUND, message=f"there is no record `{log_index}`")
    return found


def _visible_to(caller: Caller) -> Sequence[str]:
    return (caller.tenant, "")


def _bound_to(query: Query, caller: Caller) -> tuple[str, ...]:
    return (caller.tenant, query.type.value if query.type else "", query.decision_id)
