"""The proposal of an escalated decision, from what was kept of it: as if its agent sent it again."""

from collections.abc import Mapping
from typing import Any

from interlock.core import kept_request
from interlock.core import record as records
from interlock.core.approval_binding import Asked
from interlock.core.approval_cells import request_key
from interlock.core.cells import LookAtBytes
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.plan_conclusion import steps_of
from interlock.core.record import Record
from interlock.flows.follow import Following, opened
from interlock.ports import RecordReader


async def kept_proposal(decision_id: str, caller: Caller, following: Following) -> Asked | None:
    """The proposal as if `caller` sent it again; None where nothing is kept of it.

    Raises InterlockError as `normalize` does, where the catalog no longer takes it; INTERNAL where it cannot be opened.
    """
    look = LookAtBytes(request_key(caller.tenant, decision_id))
    [sealed] = await following.changing.state.apply([look], durable=False)
    if not sealed:
        return None
    raw = kept_request.decode(opened(sealed, decision_id, following.vault), caller)
    return following.normalize(raw)


def agent_of(fields: Mapping[str, Any]) -> Caller:
    """Who proposed, from the record of the decision."""
    subject = fields["input"]["subject"]
    return Caller(
        kind=CallerKind.AGENT,
        tenant=subject["tenant"],
        name=subject["agent"],
        roles=tuple(subject["roles"]),
        credential_id=fields["credential_id"],
    )


async def escalated_fields(
    decision_id: str, reader: RecordReader
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """What the log holds of a decision that opened an approval, and of its calls: each with its step, empty for none.

    A record that was edited is shown to nobody, and nothing is approved from it (case 20). Raises InterlockError:
    INTERNAL.
    """
    [whole] = map(_fields, await reader.decision_records([decision_id]))
    steps = {step["step"]: step["decision_id"] for step in steps_of(whole)}
    if not steps:
        return whole, [("", whole)]
    found = map(_fields, await reader.decision_records(list(steps.values())))
    return whole, list(zip(steps, found, strict=True))


def _fields(found: Record | None) -> dict[str, Any]:
    if found is None or (problem := records.inner_problem(found)):
        why = "is not there" if found is None else f"{problem}"
        raise InterlockError(
            reason=ErrorReason.INTERNAL,
            message=f"the record of the escalated decision {why}, so nothing of it is shown or approved",
        )
    return records.fields(found)
