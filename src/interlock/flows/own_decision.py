"""A decision that its agent names, and what its request has come to since."""

from interlock.core import conclusion
from interlock.core import record as records
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.field_checks import check_identifier
from interlock.core.identity import Caller
from interlock.core.record import Record
from interlock.flows.decided import Recorded, recall
from interlock.flows.follow import MOST_FOLLOWED
from interlock.ports import DecisionLog, RecordReader


async def own_decision(decision_id: str, caller: Caller, log: DecisionLog, reader: RecordReader) -> Recorded:
    """The decision, or where others follow from it, the last of them.

    Raises InterlockError: INVALID_FIELD; DECISION_NOT_FOUND for what is not this agent's, whatever the cause (case 54);
    DECISION_LOG_UNAVAILABLE.
    """
    check_identifier("decision_id", decision_id)
    [found] = await reader.decision_records([decision_id])
    stated = await _stated(found if _is_of(found, caller) else None, reader)
    for _ in range(MOST_FOLLOWED):
        if not stated.waits:
            return stated
        [found] = await log.recall([_following(stated)])
        if found is None:
            return stated
        stated = await _stated(found, reader)
    return stated


def _is_of(found: Record | None, caller: Caller) -> bool:
    return (
        found is not None
        and found.tenant == caller.tenant
        and records.fields(found).get("agent") == caller.name
    )


async def _stated(found: Record | None, reader: RecordReader) -> Recorded:
    if found is None:
        raise InterlockError(
            reason=ErrorReason.DECISION_NOT_FOUND, message="there is no such decision of this agent"
        )
    stated = await recall(found, reader)
    if isinstance(stated, InterlockError):
        raise stated
    return stated


def _following(stated: Recorded) -> str:
    concluded = stated.concluded
    return conclusion.once_of(
        concluded.tenant, concluded.agent, concluded.request_id, follows=concluded.approval_id
    )
