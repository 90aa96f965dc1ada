"""Composition root of the decision service: the only place that knows which adapters it runs on."""

import contextlib
import functools
import platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import grpc
import structlog

from interlock.adapters import catalog_files
from interlock.adapters.clock import RandomIdentifiers, SystemClock
from interlock.adapters.file_paths import resolve_path
from interlock.adapters.keyed_digest import KeyedDigest
from interlock.adapters.metrics import PrometheusMeter
from interlock.adapters.signing_key import TokenSigner, open_or_create, secret_key
from interlock.compose.approvals import following_on
from interlock.compose.places import keys_folder, service_of
from interlock.compose.policy import RunningPolicy, run_policy
from interlock.compose.process import Process, Serving, background, serve
from interlock.compose.settings import ServiceSettings, Settings
from interlock.compose.store import Store, open_store
from interlock.compose.webhooks import hearers, telling
from interlock.core.catalog import Catalog
from interlock.core.conclusion import Terms
from interlock.core.decision import Decision
from interlock.core.plan import PlanProposal, RawPlan, normalize_request
from interlock.core.policy_pin import Activation
from interlock.core.proposal import Proposal, RawProposal
from interlock.core.session import TERMS_KEY_BYTES, Measuring
from interlock.core.store_secret import ShareSecret
from interlock.flows import expire
from interlock.flows.approving import Approving
from interlock.flows.attend import Attending
from interlock.flows.authenticate import authenticate
from interlock.flows.coalesce import Bounds, Coalescer
from interlock.flows.decide import Decider, decide
from interlock.flows.follow import Following
from interlock.flows.forget import EVERY_SECONDS, forget_regularly
from interlock.flows.freeze import Freezing
from interlock.flows.list_tools import Offering
from interlock.flows.report_outcome import Reporting, report_outcome
from interlock.flows.sessions import Sessions
from interlock.flows.wait import Waiting, wait_decision
from interlock.flows.waiters import Waiters
from interlock.flows.withdraw import withdraw_decision
from interlock.rpc.approval_servicer import ApprovalServicer
from interlock.rpc.audit_servicer import AuditServicer
from interlock.rpc.control_servicer import ControlServicer
from interlock.rpc.decision_servicer import DecisionServicer
from interlock.rpc.endpoint import Deadlines, service_handler

logger = structlog.get_logger()


async def serve_decisions(settings: Settings, opa: Path | None, announce: Serving) -> None:
    """Run the decision service until SIGTERM or SIGINT; what was taken by then is answered.

    Raises SettingsError, and the errors of what it opens, before it listens: StoreUnusable, SigningKeyError,
    CatalogError, PolicyBundleError, SidecarError, WebhookError, ServerError.
    """
    service = service_of(settings)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(service))
        policy = await stack.enter_async_context(run_policy(service, opa))
        await _activate(store, policy, settings)
        parts = Parts(
            environment=settings.environment,
            service=service,
            store=store,
            policy=policy,
            measuring=await _measuring(service, store),
            catalog=catalog_files.load_catalog(service.catalog),
            secret=secret_key(keys_folder(service), "digests"),
        )
        forgetting = forget_regularly(store.state, parts.clock, every_seconds=EVERY_SECONDS)
        await stack.enter_async_context(background(forgetting))
        expiring = expire.expire_regularly(
            store.state, parts.following.changing, every_seconds=expire.EVERY_SECONDS
        )
        await stack.enter_async_context(background(expiring))
        await stack.enter_async_context(_telling(parts))
        await serve(_process(parts), announce)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the decision service is made of, before it is put together."""

    environment: str
    service: ServiceSettings
    store: Store
    policy: RunningPolicy
    measuring: Measuring
    catalog: Catalog
    secret: bytes = field(repr=False)
    clock: SystemClock = field(default_factory=SystemClock)
    meter: PrometheusMeter = field(default_factory=PrometheusMeter)

    @functools.cached_property
    def normalize(self) -> Callable[[RawProposal | RawPlan], Proposal | PlanProposal]:
        """From what came over the wire to a proposal in its one form."""
        return functools.partial(
            normalize_request,
            catalog=self.catalog,
            conceal=KeyedDigest(self.secret, "concealed-arguments"),
            resolve=resolve_path,
        )

    @functools.cached_property
    def waiters(self) -> Waiters:
        """Who waits for approvals here."""
        return Waiters(self.store.log)

    @functools.cached_property
    def following(self) -> Following:
        """How people are asked."""
        return following_on(
            self.store,
            self.policy.engine,
            self.clock,
            self.secret,
            self.normalize,
            woken=self.waiters.wake,
            hearers=hearers(self.service.webhooks),
        )


def _telling(parts: Parts) -> contextlib.AbstractAsyncContextManager[None]:
    service = parts.service
    return telling(service.webhooks, parts.store, parts.clock, parts.meter, end_seconds=service.drain_seconds)


def _process(parts: Parts) -> Process:
    signer = open_or_create(keys_folder(parts.service), parts.clock.now)
    decider = _decider(parts, signer)
    coalescer = _coalescer(parts, decider)
    return Process(
        settings=parts.service,
        handlers=_handlers(parts, coalescer, decider),
        checks={"decision_log": parts.store.log.writable, "policy": parts.policy.engine.ready},
        metrics=parts.meter.expose,
        jwks=signer.jwks,
        stop_waiting=parts.waiters.end,
        drain=coalescer.drain,
        says={"policy_revision": parts.policy.revision},
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


def _decider(parts: Parts, signer: TokenSigner) -> Decider:
    service = parts.service
    terms = Terms(
        issuer=service.issuer,
        environment=parts.environment,
        token_life=timedelta(seconds=service.token_life_seconds),
        labels=_labels(parts.environment),
    )
    return Decider(
        log=parts.store.log,
        reader=parts.store.log,
        state=parts.store.state,
        engine=parts.policy.engine,
        signer=signer,
        clock=parts.clock,
        identifiers=RandomIdentifiers(),
        terms=terms,
        measuring=parts.measuring,
        following=parts.following,
    )


def _coalescer(parts: Parts, decider: Decider) -> Coalescer[Proposal | PlanProposal, Decision]:
    service = parts.service
    bounds = Bounds(batch=service.batch, in_flight=service.batches_in_flight, waiting=service.waiting)
    return Coalescer(
        lambda batch, limit: decide(batch, decider, limit_seconds=limit),
        bounds,
        weigh=lambda asked: len(asked.calls),
    )


async def _ask(
    asked: Proposal | PlanProposal, seconds: float, coalescer: Coalescer[Proposal | PlanProposal, Decision]
) -> Decision:
    [future] = coalescer.submit([asked], limit_seconds=seconds)
    return await future


def _handlers(
    parts: Parts, coalescer: Coalescer[Proposal | PlanProposal, Decision], decider: Decider
) -> list[tuple[str, grpc.GenericRpcHandler]]:
    service, log = parts.service, parts.store.log
    seal = KeyedDigest(parts.secret, "page-tokens")
    waiting = Waiting(
        decider=decider, ask=functools.partial(_ask, coalescer=coalescer), waiters=parts.waiters
    )
    reporting = Reporting(reader=log, log=log, clock=parts.clock, measuring=parts.measuring)
    sessions = Sessions(
        state=parts.store.state, reader=log, clock=parts.clock, measuring=parts.measuring, seal=seal
    )
    offering = Offering(
        catalog=parts.catalog, engine=parts.policy.engine, clock=parts.clock, measuring=parts.measuring
    )
    decisions = DecisionServicer(
        normalize=parts.normalize,
        coalescer=coalescer,
        wait=lambda name, caller, limit: wait_decision(name, caller, waiting, limit_seconds=limit),
        withdraw=functools.partial(withdraw_decision, changing=parts.following.changing, reader=log),
        report=functools.partial(report_outcome, reporting=reporting),
        sessions=sessions,
        offering=offering,
        meter=parts.meter,
    )
    control = ControlServicer(
        attending=Attending(state=parts.store.state, log=log, clock=parts.clock, catalog=parts.catalog),
        freezing=Freezing(state=parts.store.state, log=log, clock=parts.clock),
    )
    approvals = ApprovalServicer(
        approving=Approving(
            following=parts.following,
            listings=parts.store.state,
            measuring=parts.measuring,
            seal=seal,
        )
    )
    handle = functools.partial(
        service_handler,
        meter=parts.meter,
        deadlines=Deadlines(
            default=service.default_deadline_seconds, longest=service.longest_deadline_seconds
        ),
        authenticate=functools.partial(authenticate, credentials=parts.store.credentials),
    )
    audit = AuditServicer(reader=log, seal=seal)
    return [handle(each) for each in (decisions, control, approvals, audit)]


def _labels(environment: str) -> dict[str, str]:
    """What a record says of the service that made it."""
    return {
        "service": "interlock",
        "version": version("interlock"),
        "host": platform.node(),
        "env": environment,
    }
