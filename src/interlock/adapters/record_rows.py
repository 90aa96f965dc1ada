"""Records as rows of a table, the same on every store, and what can be wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interlock.core import record as records
from interlock.core.moments import from_microseconds, to_microseconds
from interlock.core.record import Head, Record, RecordType

COLUMNS = "log_index, type, tenant, once, decision_id, session, timestamp, content, leaf_hash, chain_hash"

CHECKED_AT_START = 10_000
"""So many of the last records are checked at start; `interlock log verify` checks all."""

Row = Sequence[Any]
"""The COLUMNS of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A place where the log is not what was written. `problem` goes on from "record N"."""

    log_index: int
    problem: str


def to_row(record: Record) -> tuple[Any, ...]:
    """The record as it is stored."""
    return (
        record.log_index,
        record.type.value,
        record.tenant,
        record.once,
        record.decision_id,
        record.session,
        to_microseconds(record.timestamp),
        record.content,
        record.leaf_hash,
        record.chain_hash,
    )


def from_row(row: Row) -> Record:
    """The record that is stored. Raises ValueError, OverflowError for a type or a time that none has."""
    log_index, kind, tenant, once, decision_id, session, timestamp, content, leaf, chain = row
    return Record(
        log_index=log_index,
        type=RecordType(kind),
        tenant=tenant,
        once=once,
        decision_id=decision_id,
        session=session,
        timestamp=from_microseconds(timestamp),
        content=content,
        leaf_hash=leaf,
        chain_hash=chain,
    )


def head_after_row(row: Row) -> Head:
    """The head of a log whose last record is this row."""
    return Head(size=row[0] + 1, chain_hash=row[-1])


def problem_of(row: Row, head: Head) -> str:
    """What is wrong with a row that stands where one that follows `head` should; empty if nothing is."""
    try:
        return records.problem(from_row(row), head)
    except (ValueError, OverflowError):
        return "has a type or a time that no record has"


def fork_from(noted: Head, chain_hash: bytes | None, size: int) -> Flaw | None:
    """How a log of `size` does not go on from a noted head, in whose place `chain_hash` stands; None where it does."""
    last = noted.size - 1
    if chain_hash is None:
        return Flaw(log_index=last, problem=f"is missing: expected {noted.size} records, got {size}")
    if chain_hash != noted.chain_hash:
        return Flaw(log_index=last, problem="is not the one that the noted head ends with")
    return None


def refusal(store: str, flaw: Flaw) -> str:
    """Why a store with this flaw is not used."""
    return (
        f"`{store}`: record {flaw.log_index} {flaw.problem}; "
        "see `interlock log verify`, restore the store from a copy"
    )
