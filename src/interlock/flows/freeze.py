"""An operator stops agents, and lets them go on: a freeze is on record before anybody is told that it stands."""

from dataclasses import dataclass, replace

from interlock.core.cells import LookAt
from interlock.core.errors import ErrorReason, InterlockError, invalid_field
from interlock.core.field_checks import check_identifier, check_text
from interlock.core.freeze import Freeze, FreezeScope, FreezeTarget
from interlock.core.freezing import BeginFreeze, EndFreeze, Frozen, freezes_key, keys_of
from interlock.core.identity import EVERY_TENANT, Caller, CallerKind
from interlock.core.record import Draft, RecordType
from interlock.ports import Clock, DecisionLog, SessionState

MAX_COMMENT = 1_024
MAX_NAME = 128

MOST_FREEZES = 256
"""In a tenant, at a time: all of them are looked at for each decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freezing:
    """What freezing needs of the world."""

    state: SessionState
    log: DecisionLog
    clock: Clock


async def freeze(target: FreezeTarget, comment: str, caller: Caller, freezing: Freezing) -> Freeze:
    """Freeze, and give the freeze that stands then: the one that stood before, where there was one.

    Raises InterlockError: INVALID_FIELD, CALLER_NOT_PERMITTED, DECISION_LOG_UNAVAILABLE.
    """
    _check(target, comment, caller)
    while True:
        frozen = await _look(target.tenant, freezing)
        standing = frozen.of(target)
        if standing is not None and standing.lasts:
            return standing
        now = freezing.clock.now()
        if standing is None and len(frozen.told(now)) >= MOST_FREEZES:
            raise invalid_field(
                "scope", f"at most {MOST_FREEZES} freezes may stand; freeze all of the tenant"
            )
        begin = BeginFreeze(target=target, comment=comment, at=now)
        await _append(target, frozen, _fields("began", comment, target, caller), begin, freezing)


async def unfreeze(target: FreezeTarget, comment: str, caller: Caller, freezing: Freezing) -> Freeze:
    """End the freeze, and give it as it ended. What was allowed before it stays refused (case 12).

    Raises InterlockError: FREEZE_NOT_FOUND where this is not frozen; else as `freeze`.
    """
    _check(target, comment, caller)
    frozen = await _look(target.tenant, freezing)
    standing = frozen.of(target)
    if standing is None or not standing.lasts:
        raise InterlockError(reason=ErrorReason.FREEZE_NOT_FOUND, message="this is not frozen")
    while True:
        end = EndFreeze(freeze=standing, at=freezing.clock.now())
        fields = _fields("ended", comment, target, caller) | {"freeze": standing.log_index}
        await _append(target, frozen, fields, end, freezing)
        frozen = await _look(target.tenant, freezing)
        found = frozen.of(target)
        if found is None or found.log_index != standing.log_index:
            return replace(standing, end_time=end.at)  # somebody froze it anew, which is another freeze
        if not found.lasts:
            return found


async def list_freezes(tenant: str, caller: Caller, freezing: Freezing) -> list[Freeze]:
    """What is frozen for a tenant, oldest first. Raises InterlockError: INVALID_FIELD, CALLER_NOT_PERMITTED."""
    if tenant != caller.tenant:
        _check(FreezeTarget(scope=FreezeScope.TENANT, tenant=tenant), "", caller)
    looks = [LookAt(key, Frozen) for key in keys_of(tenant)]
    found = await freezing.state.apply(looks, durable=False)
    lasting = [each for frozen in found for each in frozen.freezes if each.lasts]
    return sorted(lasting, key=lambda each: each.log_index)


def _check(target: FreezeTarget, comment: str, caller: Caller) -> None:
    """That the target can be one, and that the caller may freeze it."""
    check_text("comment", comment, MAX_COMMENT)
    if target.scope is FreezeScope.ALL:
        check_text("tenant", target.tenant, 0)
    else:
        check_identifier("tenant", target.tenant)
    if target.scope is FreezeScope.AGENT:
        check_identifier("name", target.name)
    else:
        named = target.scope is FreezeScope.TOOL
        check_text("name", target.name, MAX_NAME if named else 0, least=1 if named else 0)
    if target.tenant != caller.tenant and not _may_freeze_every_tenant(caller):
        raise InterlockError(
            reason=ErrorReason.CALLER_NOT_PERMITTED,
            message=f"what is not of the caller's own tenant is for operators with the role `{EVERY_TENANT}`",
        )


def _may_freeze_every_tenant(caller: Caller) -> bool:
    return caller.kind is CallerKind.OPERATOR and EVERY_TENANT in caller.roles


async def _look(tenant: str, freezing: Freezing) -> Frozen:
    [frozen] = await freezing.state.apply([LookAt(freezes_key(tenant), Frozen)], durable=False)
    return frozen


async def _append(
    target: FreezeTarget,
    frozen: Frozen,
    fields: dict[str, object],
    change: BeginFreeze | EndFreeze,
    freezing: Freezing,
) -> None:
    """Only as the next change after `frozen`: where another operator was faster, nothing is changed."""
    draft = Draft(
        type=RecordType.FREEZE,
        tenant=target.tenant,
        once=f"freeze/{target.tenant}/{frozen.changes}",
        decision_id="",
        timestamp=change.at,
        fields=fields,
        change=change,
    )
    await freezing.log.append([draft])


def _fields(change: str, comment: str, target: FreezeTarget, caller: Caller) -> dict[str, object]:
    return {
        "change": change,
        "comment": comment,
        "scope": target.scope.value,
        "frozen_tenant": target.tenant,
        "frozen_name": target.name,
        "requested_by": f"{caller.kind}/{caller.name}",
        "requested_in": caller.tenant,
        "credential_id": caller.credential_id,
    }
