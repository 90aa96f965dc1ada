"""Approvers, and the flows of approvals on the parts of a decider."""

from dataclasses import replace

from interlock.core.approval import Resolution
from interlock.core.approval_view import GivenAnswer, Resolved
from interlock.core.identity import Caller, CallerKind, Credential
from interlock.core.standing import StandingTerms
from interlock.flows import approve, show_approvals
from interlock.flows.approving import Approving
from interlock.flows.decide import Decider
from interlock.ports import Listings
from tests.fakes import NOON, MemoryCredentials
from tests.proposals import AGENT

ALICE = Caller(
    kind=CallerKind.APPROVER,
    tenant=AGENT.tenant,
    name="alice",
    roles=("approver",),
    credential_id="a11ce00000000000",
)
BOB = replace(ALICE, name="bob", credential_id="b0b0000000000000")
LIMIT_SECONDS = 5.0


def known(*callers: Caller) -> MemoryCredentials:
    """Credentials of these callers."""
    return MemoryCredentials(
        *(Credential(caller=caller, secret_hash=bytes(32), create_time=NOON) for caller in callers)
    )


def approving(decider: Decider, listings: Listings) -> Approving:
    """What approvers' flows need, on the parts of a decider."""
    return Approving(
        following=decider.following,
        listings=listings,
        measuring=decider.measuring,
        seal=lambda data: f"seal-{hash(data)}",
    )


async def answer(
    parts: Approving,
    approval_id: str,
    resolution: Resolution,
    caller: Caller = ALICE,
    *,
    version: int | None = None,
    edited_arguments_json: bytes = b"",
    standing: StandingTerms | None = None,
) -> Resolved:
    """What comes of an answer to an approval as it is now, or as it was in this version. Raises InterlockError."""
    seen = version
    if seen is None:
        seen = (await show_approvals.seen_approval(approval_id, caller, parts)).version
    given = GivenAnswer(
        approval_id=approval_id,
        resolution=resolution,
        comment="because",
        version=seen,
        edited_arguments_json=edited_arguments_json,
        standing=standing,
    )
    return await approve.resolve_approval(given, caller, parts, limit_seconds=LIMIT_SECONDS)
