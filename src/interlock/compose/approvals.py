"""What the decision service asks people with: approvals, put together once for all that use them."""

from collections.abc import Callable

from interlock.adapters.clock import RandomIdentifiers
from interlock.adapters.file_digests import FileContents
from interlock.adapters.vault import SealingVault
from interlock.compose.store import Store
from interlock.core.announcing import Hearer
from interlock.core.approval_binding import Asked
from interlock.core.plan import RawPlan
from interlock.core.proposal import RawProposal
from interlock.flows.change_approval import Changing
from interlock.flows.follow import Following
from interlock.ports import Clock, PolicyEngine

SEALED = "approval-requests"
"""Label of the key that seals what agents and approvers sent."""


def following_on(
    store: Store,
    engine: PolicyEngine,
    clock: Clock,
    secret: bytes,
    normalize: Callable[[RawProposal | RawPlan], Asked],
    *,
    hearers: tuple[Hearer, ...] = (),
    woken: Callable[[str], None],
) -> Following:
    """How approvals are opened, changed and followed on a store.

    `secret` is this service's, and its replicas'; `woken` hears of each change, `hearers` are the webhooks that do.
    """
    return Following(
        changing=Changing(
            state=store.state,
            log=store.log,
            clock=clock,
            identifiers=RandomIdentifiers(),
            woken=woken,
            hearers=hearers,
        ),
        reader=store.log,
        engine=engine,
        credentials=store.credentials,
        vault=SealingVault(secret, SEALED),
        files=FileContents(),
        normalize=normalize,
    )
