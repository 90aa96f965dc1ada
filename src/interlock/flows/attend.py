"""A gateway tells what it can do and what it found, and hears what is frozen; several times a second."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.core.catalog import Catalog
from interlock.core.cells import Change, LookAt
from interlock.core.errors import invalid_field
from interlock.core.field_checks import check_count
from interlock.core.freeze import Freeze
from interlock.core.freezing import Frozen, keys_of
from interlock.core.gateway_abilities import NoteAbilities, check_abilities
from interlock.core.identity import Caller
from interlock.core.record import Draft, RecordType
from interlock.core.tool_drifts import Digests, DriftChange, Drifts, NoteDrift, drifts_key
from interlock.ports import Clock, DecisionLog, SessionState, ToolDrift

MOST_DRIFTED = 10_000

_DIGEST = re.compile(r"[A-Za-z0-9_-]{0,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attending:
    """What attending to gateways needs of the world."""

    state: SessionState
    log: DecisionLog
    clock: Clock
    catalog: Catalog


async def attend(
    obligations: Sequence[str], drifted: Sequence[ToolDrift], caller: Caller, attending: Attending
) -> list[Freeze]:
    """Note what the gateway says, and give the freezes that tokens of its tenant may be covered by.

    What it found of tools is on record once. Raises InterlockError: INVALID_FIELD, DECISION_LOG_UNAVAILABLE.
    """
    check_abilities(obligations)
    _check_drifted(drifted)
    now = attending.clock.now()
    changes: list[Change[Any]] = [
        *[LookAt(key, Frozen) for key in keys_of(caller.tenant)],
        LookAt(drifts_key(caller.tenant, caller.name), Drifts),
        NoteAbilities(tenant=caller.tenant, gateway=caller.name, types=tuple(obligations), at=now),
    ]
    of_all, of_tenant, drifts, _ = await attending.state.apply(changes, durable=False)
    await _note(drifts, drifted, caller, attending, now)
    return [*of_all.told(now), *of_tenant.told(now)]


async def _note(
    drifts: Drifts, drifted: Sequence[ToolDrift], caller: Caller, attending: Attending, now: datetime
) -> None:
    """Put on record what is not yet; of tools that are not this gateway's, nothing."""
    own = {
        each.tool: Digests(each.pinned_digest, each.listed_digest)
        for each in drifted
        if (tool := attending.catalog.find(each.tool)) is not None and tool.gateway == caller.name
    }
    due = drifts.due(own, now)
    if due:
        await attending.log.append(
            [_draft(change, number, caller, now) for number, change in enumerate(due, start=drifts.changes)]
        )


def _draft(change: DriftChange, number: int, caller: Caller, now: datetime) -> Draft:
    """`number` counts the changes of this gateway: where another replica was faster, it is told of the same again."""
    return Draft(
        type=RecordType.TOOL_DRIFT,
        tenant=caller.tenant,
        once=f"tool_drift/{caller.tenant}/{caller.name}/{number}",
        decision_id="",
        timestamp=now,
        fields={
            "change": change.change,
            "comment": change.tool,
            "drifted_tool": change.tool,
            "pinned_digest": change.digests.pinned,
            "listed_digest": change.digests.listed,
            "requested_by": f"{caller.kind}/{caller.name}",
            "credential_id": caller.credential_id,
        },
        change=NoteDrift(tenant=caller.tenant, gateway=caller.name, change=change, at=now),
    )


def _check_drifted(drifted: Sequence[ToolDrift]) -> None:
    check_count("drifted", len(drifted), MOST_DRIFTED)
    for each in drifted:
        if not (_DIGEST.match(each.pinned_digest) and _DIGEST.match(each.listed_digest)):
            raise invalid_field("drifted", "must hold digests of at most 64 characters of base64url")
