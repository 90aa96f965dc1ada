"""A session's timeline: its decisions, approvals, outcomes and failed attempts from the log, and recorded steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any

from interlock.core.decision import Verdict
from interlock.core.outcome import OutcomeKind
from interlock.core.record import Record, RecordType, fields, proposed, told
from interlock.core.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade:
    """A decision, and how its call repeated those before it in the session, itself counted; 0 if not measured.

    Of a plan, `tool` says how many steps it has; those follow it. `approval_id` is the approval that it waits for,
    `follows` the one whose end it weighed; empty for none.
    """

    decision_id: str
    log_index: int
    verdict: Verdict
    tool: str
    arguments_digest: str
    reason_codes: tuple[str, ...]
    same_call: int
    cycle_length: int
    cycle_count: int
    approval_id: str = ""
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalChanged:
    """What happened to the approval that this decision opened; `change` and `state` are words of core.approval."""

    approval_id: str
    decision_id: str
    change: str
    state: str
    requested_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeReported:
    """What came of an allowed call."""

    decision_id: str
    execution_id: str
    kind: OutcomeKind
    result_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt that ended in an error, whose ErrorReason is `reason`."""

    reason: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that happened. `number` is that of a proposal or of a recorded step in its session, else 0."""

    time: datetime
    number: int
    event: Step | DecisionMade | ApprovalChanged | OutcomeReported | AttemptFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a timeline a page begins: the first log_index, and the last step's number before it."""

    log_index: int = 0
    after_step: int = 0


def page(
    records: Sequence[Record],
    steps: Iterable[tuple[datetime, Step]],
    *,
    begin: Place,
    not_before: datetime,
    size: int,
    more: bool,
) -> tuple[tuple[Entry, ...], Place | None]:
    """At most `size` entries from `begin` on, by time, and where the next page begins; None after the last.

    `records` are those from `begin` on, of which there are `more` or not; none of before `not_before` is shown.
    A page may be short, or empty, and not be the last.
    """
    told = [(record, _entry(record)) for record in records if record.timestamp >= not_before]
    # A step of after the records that are at hand may come after one that is not.
    horizon = records[-1].timestamp if more else None
    recorded = [
        Entry(time=time, number=step.number, event=step)
        for time, step in steps
        if step.number > begin.after_step and (horizon is None or time <= horizon)
    ]
    merged = list(merge((entry for _, entry in told), recorded, key=lambda entry: entry.time))
    shown = merged[:size]
    steps_shown = [entry.number for entry in shown if isinstance(entry.event, Step)]
    records_shown = len(shown) - len(steps_shown)
    if len(merged) <= size and not more:
        return tuple(shown), None
    if records_shown < len(told):
        following = told[records_shown][0].log_index
    else:
        following = records[-1].log_index + 1 if records else begin.log_index
    return tuple(shown), Place(log_index=following, after_step=max(steps_shown, default=begin.after_step))


def _entry(record: Record) -> Entry:
    stated = fields(record)
    loops = stated.get("input", {}).get("facts", {}).get("loops", {}).get("session", {})
    match record.type:
        case RecordType.DECISION:
            return Entry(
                time=record.timestamp, number=loops.get("steps", 0), event=_decision(record, stated, loops)
            )
        case RecordType.OUTCOME:
            return Entry(time=record.timestamp, number=0, event=_outcome(record, stated))
        case RecordType.APPROVAL:
            return Entry(time=record.timestamp, number=0, event=_approval(record, stated))
        case _:
            event = AttemptFailed(reason=stated["error"]["code"], tool=proposed(stated))
            return Entry(time=record.timestamp, number=0, event=event)


def _decision(record: Record, stated: dict[str, Any], loops: dict[str, Any]) -> DecisionMade:
    cycle = loops.get("cycle", {})
    verdict, reasons = told(stated)
    return DecisionMade(
        decision_id=record.decision_id,
        log_index=record.log_index,
        verdict=Verdict(verdict),
        tool=proposed(stated),
        arguments_digest=stated["input"].get("arguments_digest", ""),
        reason_codes=tuple(reason["code"] for reason in reasons),
        same_call=loops.get("same_call", 0),
        cycle_length=cycle.get("length", 0),
        cycle_count=cycle.get("count", 0),
        approval_id=stated.get("approval_id", ""),
        follows=stated.get("follows", ""),
    )


def _approval(record: Record, stated: dict[str, Any]) -> ApprovalChanged:
    return ApprovalChanged(
        approval_id=stated["approval_id"],
        decision_id=record.decision_id,
        change=stated["change"],
        state=stated["state"],
        requested_by=stated["requested_by"],
    )


def _outcome(record: Record, stated: dict[str, Any]) -> OutcomeReported:
    return OutcomeReported(
        decision_id=record.decision_id,
        execution_id=stated["execution_id"],
        kind=OutcomeKind(stated["outcome"]),
        result_digest=stated["result_digest"],
    )
