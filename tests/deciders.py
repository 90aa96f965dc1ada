"""A decision service's flow on given parts, with fakes for what a test does not speak of."""

from collections.abc import Callable
from functools import partial

from interlock.core.announcing import Hearer
from interlock.core.catalog import Catalog
from interlock.core.conclusion import Terms
from interlock.core.destinations import ResolvePath
from interlock.core.plan import normalize_request
from interlock.core.session import Measuring
from interlock.flows.change_approval import Changing
from interlock.flows.decide import Decider
from interlock.flows.follow import Following
from interlock.ports import (
    Clock,
    Credentials,
    DecisionLog,
    FileDigests,
    Identifiers,
    PolicyEngine,
    SessionState,
    TokenSigner,
)
from tests.fakes import CountingIdentifiers, MemoryCredentials, NoFiles, OpenVault, no_files
from tests.proposals import CATALOG, MEASURING, TERMS


def a_decider(
    *,
    log: DecisionLog,
    state: SessionState,
    engine: PolicyEngine,
    signer: TokenSigner,
    clock: Clock,
    identifiers: Identifiers | None = None,
    credentials: Credentials | None = None,
    catalog: Catalog = CATALOG,
    terms: Terms = TERMS,
    measuring: Measuring = MEASURING,
    woken: Callable[[str], None] = lambda _: None,
    files: FileDigests | None = None,
    resolve: ResolvePath = no_files,
    hearers: tuple[Hearer, ...] = (),
) -> Decider:
    """The flow. `log` reads records too. Arguments that name files name none, unless `files` knows them."""
    names = identifiers or CountingIdentifiers()
    changing = Changing(state=state, log=log, clock=clock, identifiers=names, woken=woken, hearers=hearers)
    return Decider(
        log=log,
        reader=log,  # type: ignore[arg-type]  # each log that tests use reads, too
        state=state,
        engine=engine,
        signer=signer,
        clock=clock,
        identifiers=names,
        terms=terms,
        measuring=measuring,
        following=Following(
            changing=changing,
            reader=log,  # type: ignore[arg-type]  # as above
            engine=engine,
            credentials=credentials or MemoryCredentials(),
            vault=OpenVault(),
            files=files or NoFiles(),
            normalize=partial(
                normalize_request,
                catalog=catalog,
                conceal=lambda data: f"concealed-{len(data)}",
                resolve=resolve,
            ),
        ),
    )
