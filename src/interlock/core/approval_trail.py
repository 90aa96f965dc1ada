"""The story of one approval in the decision log: who asked, who answered, what was decided, and what came of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from interlock.core.record import Record, RecordType, fields

_OUTCOMES = frozenset({RecordType.OUTCOME, RecordType.RECONCILIATION})


def trail(records: Iterable[Record], approval_id: str) -> Iterator[Record]:
    """Those of `records`, which come in the log's order, that are of the approval.

    They are the escalated decisions that waited for it, its changes, the decisions and failed attempts that weighed it,
    of a plan those of its steps too, and the outcomes of all these.
    """
    named, decisions = approval_id.encode(), set[str]()
    for record in records:
        # Most records do not name it: only what may is read.
        if named in record.content and approval_id in _named_in(fields(record)):
            decisions.add(record.decision_id)
            yield record
        elif record.type in _OUTCOMES and record.decision_id in decisions:
            yield record


def _named_in(stated: Mapping[str, Any]) -> set[str]:
    """The approvals that a record is of."""
    weighed = stated.get("input", {}).get("approval") or {}
    return {stated.get("approval_id", ""), stated.get("follows", ""), weighed.get("approval_id", "")}
