"""Standing approvals are listed while they hold, and taken back: on record before anybody is told that it is so."""

from dataclasses import replace

import orjson

from interlock.core import record as records
from interlock.core.cells import LookAt, LookAtBytes
from interlock.core.field_checks import check_identifier, check_text
from interlock.core.identity import Caller, CallerKind
from interlock.core.record import Draft, RecordType
from interlock.core.standing import StandingApproval, StandingCell, StandingQuery, standing_key
from interlock.core.standing_changes import (
    RevokeStanding,
    listed_id,
    place_key,
    standing_list,
    standing_not_found,
)
from interlock.flows import page_tokens
from interlock.flows.approving import Approving
from interlock.flows.authenticate import require
from interlock.flows.givers import still_given

MAX_COMMENT = 1_024


async def list_standing(
    query: StandingQuery, caller: Caller, approving: Approving
) -> tuple[list[StandingApproval], str]:
    """A page of the tenant's standing approvals that hold, newest first, and the next page's token, empty on the last.

    A page may hold fewer than asked for where more follow. Raises InterlockError: INVALID_FIELD,
    CALLER_NOT_PERMITTED, DECISION_LOG_UNAVAILABLE.
    """
    require(caller, CallerKind.APPROVER, CallerKind.AUDITOR)
    if query.agent:
        check_identifier("agent", query.agent)
    size = page_tokens.page_size(query.page_size)
    bound_to = (caller.tenant, "standing", query.agent)
    after = page_tokens.read_place(query.page_token, bound_to, approving.seal)
    lines = await approving.listings.page(
        standing_list(caller.tenant, query.agent), after=after, limit=size + 1
    )
    now = approving.following.changing.clock.now()
    found = [StandingCell.decode(line.data).find(listed_id(line.place)) for line in lines[:size]]
    lasting = [each for each in found if each is not None and each.lasts(now)]
    following = (
        page_tokens.write_place(lines[size - 1].place, bound_to, approving.seal) if len(lines) > size else ""
    )
    return list(await still_given(lasting, approving.following.credentials)), following


async def revoke_standing(
    standing_id: str, comment: str, caller: Caller, approving: Approving
) -> StandingApproval:
    """Take it back, and give it as it was with nothing remaining. What it led to stays.

    Raises InterlockError: INVALID_FIELD, CALLER_NOT_PERMITTED, DECISION_LOG_UNAVAILABLE; APPROVAL_NOT_FOUND for what is
    over, was taken back before, or is another tenant's (case 54).
    """
    require(caller, CallerKind.APPROVER)
    check_identifier("standing_id", standing_id)
    check_text("comment", comment, MAX_COMMENT)
    changing = approving.following.changing
    found = await _look(caller.tenant, standing_id, approving)
    change = RevokeStanding(found, changing.clock.now())
    change_id = changing.identifiers.new()
    [stored] = await changing.log.append([_draft(change, change_id, comment, caller)])
    if records.fields(stored)["change_id"] != change_id:
        raise standing_not_found()  # somebody else was faster
    return replace(found, remaining=0)


async def _look(tenant: str, standing_id: str, approving: Approving) -> StandingApproval:
    state = approving.following.changing.state
    [place] = await state.apply([LookAtBytes(place_key(tenant, standing_id))], durable=False)
    if not place:
        raise standing_not_found()
    agent, tool = orjson.loads(place)
    [held] = await state.apply([LookAt(standing_key(tenant, agent, tool), StandingCell)], durable=False)
    found = held.find(standing_id)
    if found is None:
        raise standing_not_found()
    return found


def _draft(change: RevokeStanding, change_id: str, comment: str, caller: Caller) -> Draft:
    """The record; the change adds what the standing approval was when it ended."""
    standing = change.standing
    return Draft(
        type=RecordType.APPROVAL,
        tenant=standing.tenant,
        once=f"standing/{standing.tenant}/{standing.standing_id}",
        decision_id="",
        timestamp=change.at,
        fields={
            "change": "standing_revoked",
            "change_id": change_id,
            "comment": comment,
            "approval_id": standing.approval_id,
            "agent": standing.agent,
            "user": standing.user,
            "tool": standing.tool,
            "session_id": standing.session_id,
            "codes": list(standing.codes),
            "requested_by": f"{caller.kind}/{caller.name}",
            "credential_id": caller.credential_id,
            "caller_roles": list(caller.roles),
        },
        change=change,
    )
