"""What the decision service asks people with: approvals, put together once for all that use them."""

from collections.abc import Callable
from dataclasses import dataclass

from interlock.adapters.clock import RandomIdentifiers
from interlock.adapters.file_digests import FileContents
from interlock.adapters.vault import SealingVault
from interlock.compose.store import Store
from interlock.core.announcing import Hearer
from interlock.core.approval_binding import Asked
from interlock.core.plan import RawPlan
from interlock.core.proposal import RawProposal
from interlock.flows.change_approval import Changing
from interlock.flows.escalate import Escalating
from interlock.flows.follow import Following
from interlock.ports import Clock, PolicyEngine

SEALED = "approval-requests"
"""Label of the key that seals what agents and approvers sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """How approvals are opened, changed, and followed."""

    escalating: Escalating
    changing: Changing
    following: Following


def approvals_of(
    store: Store,
    engine: PolicyEngine,
    clock: Clock,
    secret: bytes,
    normalize: Callable[[RawProposal | RawPlan], Asked],
    *,
    hearers: tuple[Hearer, ...] = (),
    woken: Callable[[str], None],
) -> Approvals:
    """Approvals on a store. `secret` is this service's, and its replicas'; `woken` hears of each change."""
    vault, files, identifiers = SealingVault(secret, SEALED), FileContents(), RandomIdentifiers()
    changing = Changing(
        state=store.state,
        log=store.log,
        clock=clock,
        identifiers=identifiers,
        woken=woken,
        hearers=hearers,
    )
    return Approvals(
        escalating=Escalating(
            engine=engine, vault=vault, files=files, identifiers=identifiers, hearers=hearers
        ),
        changing=changing,
        following=Following(
            changing=changing,
            reader=store.log,
            engine=engine,
            credentials=store.credentials,
            vault=vault,
            files=files,
            normalize=normalize,
        ),
    )
