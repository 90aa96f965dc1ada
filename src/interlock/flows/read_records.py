"""An auditor reads the decision log: the own tenant's records, and those of the service itself."""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, InterlockError, invalid_field
from interlock.core.identity import Caller
from interlock.core.record import Record, RecordType
from interlock.ports import RecordReader

DEFAULT_PAGE = 100
LARGEST_PAGE = 1_000

_PLACE = re.compile(r"[1-9][0-9]{0,14}")

Seal = Callable[[bytes], str]
"""Keyed digest that only this service can make."""


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
    size = _page_size(query.page_size)
    start = _start(query, caller, seal)
    found = await reader.list_records(
        tenants=_visible_to(caller),
        type=query.type,
        decision_id=query.decision_id,
        start=start,
        limit=size + 1,
    )
    page = found[:size]
    following = _page_token(page[-1].log_index + 1, query, caller, seal) if len(found) > size else ""
    return page, following


async def get_record(log_index: int, caller: Caller, reader: RecordReader) -> Record:
    """One record. Another tenant's is not found, as one that does not exist. Raises InterlockError."""
    found = await reader.get_record(log_index) if 0 <= log_index < 2**53 else None
    if found is None or found.tenant not in _visible_to(caller):
        raise InterlockError(reason=ErrorReason.RECORD_NOT_FOUND, message=f"there is no record `{log_index}`")
    return found


def _visible_to(caller: Caller) -> Sequence[str]:
    return (caller.tenant, "")


def _page_size(asked: int) -> int:
    if not 0 <= asked <= LARGEST_PAGE:
        raise invalid_field("page_size", f"must be from 0 to {LARGEST_PAGE}, got {asked}")
    return asked or DEFAULT_PAGE


def _page_token(start: int, query: Query, caller: Caller, seal: Seal) -> str:
    return f"{start}.{_page_seal(start, query, caller, seal)}"


def _start(query: Query, caller: Caller, seal: Seal) -> int:
    """Where the page begins. A token is bound to its tenant and filter (case 54)."""
    if not query.page_token:
        return 0
    number, _, _ = query.page_token.partition(".")
    start = int(number) if _PLACE.fullmatch(number) else 0
    expected = _page_token(start, query, caller, seal)
    if not hmac.compare_digest(query.page_token.encode("utf-8", "replace"), expected.encode()):
        raise invalid_field("page_token", "is not one that this service gave for this filter")
    return start


def _page_seal(start: int, query: Query, caller: Caller, seal: Seal) -> str:
    kind = query.type.value if query.type else ""
    return seal(canonicalize([start, caller.tenant, kind, query.decision_id]))
