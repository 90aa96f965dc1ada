"""A gateway tells what it did: the decision log keeps it, and what the decision had taken is settled."""

import asyncio
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from interlock.core import record, settling
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.outcome import Outcome, OutcomeKind, Reconciliation
from interlock.core.plan_cell import NoteFinding, plan_key
from interlock.core.record import Draft, Record, RecordType, rfc3339, session_name
from interlock.core.session import Measuring
from interlock.ports import Clock, DecisionLog, RecordReader

_MOST_OUTCOMES = 64
"""A decision's outcomes that are looked through: refusals of its token, and how its one run ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """What reporting needs of the world."""

    reader: RecordReader
    log: DecisionLog
    clock: Clock
    measuring: Measuring


async def report_outcome(outcome: Outcome, caller: Caller, reporting: Reporting) -> Record:
    """Record an outcome once; reported again, the record that is there is given back, and nothing changes.

    What a person found of an unknown one since is a record of its own, as much once.

    Raises InterlockError: DECISION_NOT_FOUND where this gateway has no such token to redeem, whatever the
    cause, so that no gateway learns of another's.
    """
    [found] = await reporting.reader.decision_records([outcome.decision_id])
    fields = {} if found is None else record.fields(found)
    if not fields or not _is_for(fields, caller, outcome.token_id):
        raise InterlockError(
            reason=ErrorReason.DECISION_NOT_FOUND,
            message="there is no such decision with such a token for this gateway",
        )
    ran_before = await _ran_before(outcome, caller, reporting.reader)
    # Reading a large result takes milliseconds, in which others go on.
    draft = await asyncio.to_thread(_draft, outcome, caller, fields, reporting, first=not ran_before)
    drafts = [draft]
    if outcome.reconciliation is not None:
        finding = _finding_draft(outcome, outcome.reconciliation, caller, draft.timestamp)
        drafts.append(replace(finding, change=_finding_in_plan(fields, outcome.reconciliation, finding)))
    recorded, *_ = await reporting.log.append(drafts)
    return recorded


def _is_for(decision: dict[str, Any], caller: Caller, token_id: str) -> bool:
    token = decision["token"]
    return (
        token is not None
        and decision["tenant"] == caller.tenant
        and token["aud"] == caller.name
        and token["jti"] == token_id
    )


def _draft(
    outcome: Outcome, caller: Caller, fields: dict[str, Any], reporting: Reporting, *, first: bool
) -> Draft:
    decision, now = settling.decided(fields), reporting.clock.now()
    return Draft(
        type=RecordType.OUTCOME,
        tenant=caller.tenant,
        once=f"outcome/{caller.tenant}/{caller.name}/{outcome.execution_id}/{outcome.kind}",
        decision_id=outcome.decision_id,
        session=session_name(decision.agent, decision.session_id),
        timestamp=now,
        fields={
            "requested_by": f"{caller.kind}/{caller.name}",
            "credential_id": caller.credential_id,
            "execution_id": outcome.execution_id,
            "jti": outcome.token_id,
            "outcome": outcome.kind.value,
            "refusal": outcome.refusal,
            "result_digest": outcome.result_digest,
            "result_truncated": outcome.result_truncated,
            "usage": None if outcome.usage is None else asdict(outcome.usage),
            "memory_writes": [asdict(write) for write in outcome.memory_writes],
            "obligation_results": [asdict(result) for result in outcome.obligation_results],
            "start_time": rfc3339(outcome.start_time),
            "end_time": rfc3339(outcome.end_time),
        },
        change=settling.Settle(
            decision,
            outcome,
            first=first,
            at=now,
            measuring=reporting.measuring,
        ),
    )


def _finding_draft(outcome: Outcome, found: Reconciliation, caller: Caller, now: datetime) -> Draft:
    """A person's finding, once: it stands beside the outcome, of no session, and settles nothing anew."""
    return Draft(
        type=RecordType.RECONCILIATION,
        tenant=caller.tenant,
        once=f"reconciliation/{caller.tenant}/{caller.name}/{outcome.execution_id}",
        decision_id=outcome.decision_id,
        timestamp=now,
        fields={
            "requested_by": f"{caller.kind}/{caller.name}",
            "credential_id": caller.credential_id,
            "execution_id": outcome.execution_id,
            "jti": outcome.token_id,
            "change": found.finding.value,
            "comment": found.comment,
            "found_by": found.found_by,
            "find_time": rfc3339(found.time),
        },
    )


def _finding_in_plan(fields: dict[str, Any], found: Reconciliation, draft: Draft) -> NoteFinding | None:
    """What the finding changes for the plan that the call is a step of."""
    plan = fields.get("plan")
    if plan is None:
        return None
    key = plan_key(draft.tenant, plan["decision_id"])
    return NoteFinding(key=key, step=plan["step"], finding=found.finding, at=draft.timestamp)


async def _ran_before(outcome: Outcome, caller: Caller, reader: RecordReader) -> bool:
    """Whether an outcome on record already says that the call ran: a decision is settled as run only once."""
    earlier = await reader.list_records(
        tenants=[caller.tenant],
        type=RecordType.OUTCOME,
        decision_id=outcome.decision_id,
        start=0,
        limit=_MOST_OUTCOMES,
    )
    return any(record.fields(each)["outcome"] != OutcomeKind.REFUSED for each in earlier)
