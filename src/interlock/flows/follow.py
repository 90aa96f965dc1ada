"""What follows an escalated decision that is asked for again: it waits, or its proposal is decided again.

An approval is no token. What people said is evidence, with which the policy decides anew on the facts of then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from interlock.core import approval_binding, conclusion
from interlock.core.approval import Approval, ApprovalState, Event
from interlock.core.approval_binding import Asked, binding_of, paths_of
from interlock.core.approval_cells import edit_key
from interlock.core.approval_evidence import Evidence, evidence_of, forgotten
from interlock.core.argument_edits import edits_between
from interlock.core.cells import LookAtBytes
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.plan import PlanProposal, RawPlan
from interlock.core.policy_input import EditInput
from interlock.core.proposal import Proposal, RawProposal
from interlock.flows.change_approval import Changing, change_if_first, look
from interlock.flows.decided import Recorded, recall
from interlock.flows.givers import all_hold
from interlock.ports import Credentials, FileDigests, PolicyEngine, RecordReader, Vault

MOST_FOLLOWED = 64
"""So many escalated decisions in a row; each took an answer of a person."""

_ENDED: dict[ApprovalState, Literal["denied", "expired", "withdrawn"]] = {
    ApprovalState.DENIED: "denied",
    ApprovalState.EXPIRED: "expired",
    ApprovalState.WITHDRAWN: "withdrawn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What opening approvals, and following them, needs of the world. `normalize` knows the catalog."""

    changing: Changing
    reader: RecordReader
    engine: PolicyEngine
    credentials: Credentials
    vault: Vault
    files: FileDigests
    normalize: Callable[[RawProposal | RawPlan], Asked]


async def follow(
    asked: Asked, stated: Recorded | InterlockError, following: Following
) -> Recorded | InterlockError | Asked:
    """What the request has come to: the decision that stands, or the proposal to be decided (again) now.

    Raises InterlockError: DECISION_LOG_UNAVAILABLE.
    """
    for _ in range(MOST_FOLLOWED):
        if not _is_followed(asked, stated):
            return stated
        assert isinstance(stated, Recorded)
        approval_id = stated.concluded.approval_id
        tenant = asked.caller.tenant
        asked = replace(asked, follows=approval_id, evidence=None)
        [found], approval = await asyncio.gather(
            following.changing.log.recall([conclusion.once(asked)]),
            current(tenant, approval_id, following.changing),
        )
        if found is None:
            return await _decide_again(asked, stated, approval, following)
        stated = await recall(found, following.reader)
        if isinstance(stated, Recorded) and stated.concluded.edited:
            edited = await edited_arguments(tenant, approval_id, following)
            asked = with_edit(asked, edited, following) if edited else asked
            stated = replace(stated, edited_arguments_json=edited)
    return stated


def _is_followed(asked: Asked, stated: Recorded | InterlockError) -> bool:
    return (
        isinstance(stated, Recorded)
        and stated.concluded.payload_digest == asked.payload_digest
        and stated.waits
    )


async def _decide_again(
    asked: Asked, stated: Recorded, approval: Approval | None, following: Following
) -> Recorded | Asked:
    """The escalated decision, while its approval waits; else the proposal, with what became of the approval."""
    concluded = stated.concluded
    if approval is None:
        return with_evidence(
            asked, forgotten(concluded.approval_id, concluded.decision_id, concluded.answer.reasons)
        )
    if approval.state is ApprovalState.PENDING:
        return stated
    if ended := _ENDED.get(approval.state):
        return with_evidence(asked, evidence_of(approval, ended))
    if approval.state is ApprovalState.SUPERSEDED or approval.used_by:
        return asked
    return await _approved(asked, approval, following)


async def current(tenant: str, approval_id: str, changing: Changing) -> Approval | None:
    """The approval as it is now; one whose time is over has expired, on record (expiry always means deny)."""
    while True:
        approval = await look(tenant, approval_id, changing.state)
        now = changing.clock.now()
        if approval is None or not approval.is_over(now):
            return approval
        if expired := await change_if_first(approval, Event.EXPIRE, changing, at=now):
            return expired


async def edited_arguments(tenant: str, approval_id: str, following: Following) -> bytes:
    """The arguments that an approver put in the place of the proposed ones; empty where none did."""
    [sealed] = await following.changing.state.apply(
        [LookAtBytes(edit_key(tenant, approval_id))], durable=False
    )
    return opened(sealed, approval_id, following.vault) if sealed else b""


def opened(sealed: bytes, name: str, vault: Vault) -> bytes:
    """What was kept sealed. Raises InterlockError: INTERNAL where it is not as this service sealed it."""
    try:
        return vault.unseal(sealed, name)
    except ValueError as error:
        raise InterlockError(reason=ErrorReason.INTERNAL, message=str(error)) from error


async def void_because(asked: Asked, approval: Approval, following: Following) -> str:
    """Why an approval stands for something else than the proposal as it is now; empty where it does not."""
    files = asked.files or await following.files.digests(paths_of(asked))
    now = binding_of(
        asked, user=approval.binding.user, policy_revision=following.engine.revision, files=files
    ).as_json()
    for name, stated in approval.binding.as_json().items():
        if now[name] != stated:
            return name
    given_with = [answer.credential_id for answer in approval.answers]
    return "" if await all_hold(given_with, following.credentials) else "credential"


def with_edit(asked: Asked, arguments_json: bytes, following: Following) -> Proposal:
    """The proposal with other arguments, for the same request.

    Raises InterlockError: INVALID_FIELD or MALFORMED_ARGUMENTS.
    """
    assert isinstance(asked, Proposal)
    assert asked.raw is not None
    edited = following.normalize(replace(asked.raw, arguments_json=arguments_json))
    assert isinstance(edited, Proposal)
    return replace(
        edited,
        payload_digest=asked.payload_digest,
        raw=asked.raw,
        follows=asked.follows,
        edited=True,
    )


async def as_approved(asked: Asked, approval: Approval, following: Following) -> Asked:
    """The proposal with the approval behind it, and with an approver's arguments in the place of the proposed ones."""
    decided = asked
    if approval.edited and isinstance(asked, Proposal):
        decided = await with_kept_edit(asked, approval, following)
    files = await following.files.digests(paths_of(decided))
    evidence = evidence_of(approval, "approved", edits_of(asked, decided))
    return with_evidence(replace(decided, files=files), evidence)


def edits_of(sent: Asked, decided: Asked) -> list[EditInput]:
    """Where the arguments that are decided differ from those that the agent sent, as policies see both."""
    if sent is decided or not (isinstance(sent, Proposal) and isinstance(decided, Proposal)):
        return []
    return edits_between(sent.disclosed_arguments, decided.disclosed_arguments)


async def with_kept_edit(asked: Proposal, approval: Approval, following: Following) -> Proposal:
    """The proposal as the last edit of its approval left it. Raises InterlockError: INTERNAL where that is not kept."""
    edited = await edited_arguments(approval.tenant, approval.approval_id, following)
    if not edited:
        raise InterlockError(
            reason=ErrorReason.INTERNAL,
            message="the edited arguments are no longer kept, so nothing is decided",
        )
    return with_edit(asked, edited, following)


async def _approved(asked: Asked, approval: Approval, following: Following) -> Asked:
    """The proposal as people approved it; without the approval where that stands for something else now."""
    decided = await as_approved(asked, approval, following)
    if why := await void_because(decided, approval, following):
        await supersede(approval, why, following.changing)
        return asked
    return decided


async def supersede(approval: Approval, why: str, changing: Changing) -> None:
    """Put on record that the approval stands for what is no longer so; somebody else may have been faster."""
    at, more = changing.clock.now(), {"changed": why}
    await change_if_first(approval, Event.SUPERSEDE, changing, at=at, more=more)


def with_evidence(asked: Asked, evidence: Evidence) -> Asked:
    """The proposal with an approval behind it; of a plan, each step with the reasons of its own."""
    if isinstance(asked, Proposal):
        return replace(asked, evidence=evidence)
    return replace(
        asked, evidence=evidence, steps=tuple(_step_with(each, asked, evidence) for each in asked.steps)
    )


def _step_with(step: Proposal, plan: PlanProposal, evidence: Evidence) -> Proposal:
    assert step.plan is not None
    return replace(
        step, evidence=evidence.of_step(step.plan.step), files=approval_binding.files_of_step(step, plan)
    )
