"""Composition root of the decision service: the only place that knows which adapters it runs on."""

import contextlib
import functools
import platform
import secrets
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import grpc
import structlog

from interlock.adapters import catalog_files
from interlock.adapters.clock import RandomIdentifiers, SystemClock
from interlock.adapters.keyed_digest import KeyedDigest
from interlock.adapters.metrics import PrometheusMeter
from interlock.adapters.signing_key import TokenSigner, open_or_create, secret_key
from interlock.compose.places import keys_folder, service_of
from interlock.compose.policy import RunningPolicy, run_policy
from interlock.compose.process import Process, Serving, background, serve
from interlock.compose.settings import ServiceSettings, Settings
from interlock.compose.store import Store, open_store
from interlock.core.conclusion import Terms
from interlock.core.decision import Decision
from interlock.core.normalize import normalize
from interlock.core.policy_pin import Activation
from interlock.core.proposal import Proposal
from interlock.core.session import TERMS_KEY_BYTES, Measuring
from interlock.core.store_secret import ShareSecret
from interlock.flows.authenticate import authenticate
from interlock.flows.coalesce import Bounds, Coalescer
from interlock.flows.decide import Decider, decide
from interlock.flows.forget import EVERY_SECONDS, forget_regularly
from interlock.flows.report_outcome import Reporting, report_outcome
from interlock.rpc.audit_servicer import AuditServicer
from interlock.rpc.decision_servicer import DecisionServicer
from interlock.rpc.endpoint import Deadlines, service_handler

logger = structlog.get_logger()


async def serve_decisions(settings: Settings, opa: Path | None, announce: Serving) -> None:
    """Run the decision service until SIGTERM or SIGINT; what was taken by then is answered.

    Raises SettingsError, and the errors of what it opens, before it listens: StoreUnusable, SigningKeyError,
    CatalogError, PolicyBundleError, SidecarError, ServerError.
    """
    service = service_of(settings)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(service))
        policy = await stack.enter_async_context(run_policy(service, opa))
        await _activate(store, policy, settings)
        measuring = await _measuring(service, store)
        forgetting = forget_regularly(store.state, SystemClock(), every_seconds=EVERY_SECONDS)
        await stack.enter_async_context(background(forgetting))
        await serve(_process(settings.environment, service, store, policy, measuring), announce)


def _process(
    environment: str, service: ServiceSettings, store: Store, policy: RunningPolicy, measuring: Measuring
) -> Process:
    clock, meter = SystemClock(), PrometheusMeter()
    signer = open_or_create(keys_folder(service), clock.now)
    coalescer = _coalescer(environment, service, store, policy, signer, clock, measuring)
    return Process(
        settings=service,
        handlers=_handlers(service, store, coalescer, clock, meter, measuring),
        checks={"decision_log": store.log.writable, "policy": policy.engine.ready},
        metrics=meter.expose,
        jwks=signer.jwks,
        drain=coalescer.drain,
        says={"policy_revision": policy.revision},
    )


async def _measuring(service: ServiceSettings, store: Store) -> Measuring:
    """How this service measures, with the secret that all replicas on the store share."""
    share = ShareSecret(name="terms", candidate=secrets.token_bytes(TERMS_KEY_BYTES))
    [terms_key] = await store.state.apply([share], durable=True)
    return Measuring(
        idle=timedelta(seconds=service.session_idle_seconds),
        retention=timedelta(days=service.session_retention_days),
        terms_key=terms_key,
    )


async def _activate(store: Store, policy: RunningPolicy, settings: Settings) -> None:
    activation = Activation(
        revision=policy.revision,
        sequence=policy.sequence,
        labels=_labels(settings.environment),
        time=SystemClock().now(),
    )
    await store.activate(activation)


def _coalescer(
    environment: str,
    service: ServiceSettings,
    store: Store,
    policy: RunningPolicy,
    signer: TokenSigner,
    clock: SystemClock,
    measuring: Measuring,
) -> Coalescer[Proposal, Decision]:
    terms = Terms(
        issuer=service.issuer,
        environment=environment,
        token_life=timedelta(seconds=service.token_life_seconds),
        labels=_labels(environment),
    )
    decider = Decider(
        log=store.log,
        reader=store.log,
        state=store.state,
        engine=policy.engine,
        signer=signer,
        clock=clock,
        identifiers=RandomIdentifiers(),
        terms=terms,
        measuring=measuring,
    )
    bounds = Bounds(batch=service.batch, in_flight=service.batches_in_flight, waiting=service.waiting)
    return Coalescer(lambda batch, limit: decide(batch, decider, limit_seconds=limit), bounds)


def _handlers(
    service: ServiceSettings,
    store: Store,
    coalescer: Coalescer[Proposal, Decision],
    clock: SystemClock,
    meter: PrometheusMeter,
    measuring: Measuring,
) -> list[tuple[str, grpc.GenericRpcHandler]]:
    secret = secret_key(keys_folder(service), "digests")
    catalog = catalog_files.load_catalog(service.catalog)
    reporting = Reporting(reader=store.log, log=store.log, clock=clock, measuring=measuring)
    decisions = DecisionServicer(
        normalize=functools.partial(
            normalize, catalog=catalog, conceal=KeyedDigest(secret, "concealed-arguments")
        ),
        coalescer=coalescer,
        report=functools.partial(report_outcome, reporting=reporting),
        meter=meter,
    )
    audit = AuditServicer(reader=store.log, seal=KeyedDigest(secret, "page-tokens"))
    handle = functools.partial(
        service_handler,
        meter=meter,
        deadlines=Deadlines(
            default=service.default_deadline_seconds, longest=service.longest_deadline_seconds
        ),
        authenticate=functools.partial(authenticate, credentials=store.credentials),
    )
    return [handle(decisions), handle(audit)]


def _labels(environment: str) -> dict[str, str]:
    """What a record says of the service that made it."""
    return {
        "service": "interlock",
        "version": version("interlock"),
        "host": platform.node(),
        "env": environment,
    }
