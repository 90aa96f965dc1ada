"""A gateway tells what it did, and the decision log keeps it."""

from typing import Any

from interlock.core import record
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.outcome import Outcome
from interlock.core.record import Draft, Record, RecordType, rfc3339
from interlock.ports import Clock, DecisionLog, RecordReader


async def report_outcome(
    outcome: Outcome, caller: Caller, *, reader: RecordReader, log: DecisionLog, clock: Clock
) -> Record:
    """Record an outcome once; reported again, the record that is there is given back.

    Raises InterlockError: DECISION_NOT_FOUND where this gateway has no such token to redeem, whatever the
    cause, so that no gateway learns of another's.
    """
    [decided] = await reader.decision_records([outcome.decision_id])
    if decided is None or not _is_for(record.fields(decided), caller, outcome.token_id):
        raise InterlockError(
            reason=ErrorReason.DECISION_NOT_FOUND,
            message="there is no such decision with such a token for this gateway",
        )
    [recorded] = await log.append([_draft(outcome, caller, clock)])
    return recorded


def _is_for(decision: dict[str, Any], caller: Caller, token_id: str) -> bool:
    token = decision["token"]
    return (
        token is not None
        and decision["tenant"] == caller.tenant
        and token["aud"] == caller.name
        and token["jti"] == token_id
    )


def _draft(outcome: Outcome, caller: Caller, clock: Clock) -> Draft:
    return Draft(
        type=RecordType.OUTCOME,
        tenant=caller.tenant,
        once=f"outcome/{caller.tenant}/{caller.name}/{outcome.execution_id}/{outcome.kind}",
        decision_id=outcome.decision_id,
        timestamp=clock.now(),
        fields={
            "requested_by": f"{caller.kind}/{caller.name}",
            "credential_id": caller.credential_id,
            "execution_id": outcome.execution_id,
            "jti": outcome.token_id,
            "outcome": outcome.kind.value,
            "refusal": outcome.refusal,
            "result_digest": outcome.result_digest,
            "start_time": rfc3339(outcome.start_time),
            "end_time": rfc3339(outcome.end_time),
        },
    )
