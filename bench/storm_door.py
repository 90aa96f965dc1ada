"""Interlock as what stands between the simulation's agents and their tool.

The real flows, on a real store and the real OPA with the policies that ship; only the clock is the simulation's.
"""

import base64
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from policy_copies import with_role
from servers import make_place
from storm_agents import Task
from storm_simulation import Answer
from storm_tool import Call, Ending

from interlock.adapters.catalog_files import load_catalog
from interlock.adapters.file_paths import resolve_path
from interlock.adapters.signing_key import open_or_create
from interlock.compose.approvals import following_on
from interlock.compose.places import keys_folder, service_of
from interlock.compose.policy import run_policy
from interlock.compose.settings import load_settings
from interlock.compose.store import open_store
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import CatalogFile, Effect, ResultTrust, ToolEntry, build_catalog
from interlock.core.conclusion import Terms
from interlock.core.decision import Decision
from interlock.core.errors import InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import normalize
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.core.plan import normalize_request
from interlock.core.proposal import Context, Proposal, RawProposal
from interlock.core.session import Measuring
from interlock.flows.decide import Decider, decide
from interlock.flows.forget import EVERY_SECONDS, forget
from interlock.flows.report_outcome import Reporting, report_outcome

BEGINNING = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BATCH = 64
LIMIT_SECONDS = 30.0
TENANT, ROLE, GATEWAY, TOOL = "acme", "worker", "gateway-1", "submit_order"

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_KINDS = {
    Ending.ANSWERED: OutcomeKind.SUCCEEDED,
    Ending.FAILED: OutcomeKind.FAILED,
    Ending.LATE: OutcomeKind.UNKNOWN,
}
_CATALOG = CatalogFile(
    gateway=GATEWAY,
    server="orders",
    tools=(
        ToolEntry(
            name=TOOL, arguments={"type": "object"}, effects=(Effect.WRITE,), results=ResultTrust.TRUSTED
        ),
    ),
)
_GATEWAY = Caller(
    kind=CallerKind.GATEWAY, tenant=TENANT, name=GATEWAY, roles=(), credential_id="0000000000000000"
)


class SimulatedClock:
    """ports.Clock at the simulation's time."""

    def __init__(self) -> None:
        self._now = BEGINNING

    def now(self) -> datetime:
        """The simulation's time."""
        return self._now

    def move_to(self, seconds: float) -> None:
        """So many seconds after the beginning."""
        self._now = BEGINNING + timedelta(seconds=seconds)


class CountedIdentifiers:
    """ports.Identifiers that are the same in every run."""

    def __init__(self) -> None:
        self._given = 0

    def new(self) -> str:
        """The next one."""
        self._given += 1
        return f"id-{self._given}"


class InterlockDoor:
    """A Door that asks Interlock; the permission that it gives is the decision."""

    def __init__(self, decider: Decider, reporting: Reporting, clock: SimulatedClock) -> None:
        self._decider = decider
        self._reporting = reporting
        self._clock = clock
        self._forgets_at = EVERY_SECONDS
        self._normalize = functools.partial(
            normalize, catalog=build_catalog([_CATALOG]), conceal=lambda _: "concealed", resolve=resolve_path
        )

    async def decide(self, asked: Sequence[tuple[int, Task]], now: float) -> list[Answer]:
        """The decisions, made in batches."""
        self._clock.move_to(now)
        proposals = [self._normalize(_proposed(number, task)) for number, task in asked]
        answers: list[Answer] = []
        for start in range(0, len(proposals), BATCH):
            answers += await self._decide(proposals[start : start + BATCH])
        return answers

    async def report(self, ended: Sequence[tuple[Call, Ending]], now: float) -> None:
        """The outcomes, in their order; and what is over is forgotten from time to time, as in the service."""
        self._clock.move_to(now)
        for call, ending in ended:
            assert isinstance(call.permission, Decision)
            outcome = _outcome(call.permission, ending, began=call.began, now=now)
            await report_outcome(outcome, _GATEWAY, self._reporting)
        if now >= self._forgets_at:
            self._forgets_at = now + EVERY_SECONDS
            await forget(self._decider.state, self._clock)

    async def _decide(self, proposals: Sequence[Proposal]) -> list[Answer]:
        decisions = await decide(proposals, self._decider, limit_seconds=LIMIT_SECONDS)
        return [_answer(decision) for decision in decisions]


@contextlib.asynccontextmanager
async def interlock_door(folder: Path, opa: Path) -> AsyncIterator[InterlockDoor]:
    """A door with a new store in the folder. Raises PolicyBundleError, SidecarError, StoreUnusable."""
    policies = with_role(folder, ROLE, tools=[TOOL], effects=["write"])
    settings = load_settings(make_place(folder / "place", opa, _CATALOG, policies=policies).settings)
    service, clock = service_of(settings), SimulatedClock()
    measuring = Measuring(
        idle=timedelta(seconds=service.session_idle_seconds),
        retention=timedelta(days=service.session_retention_days),
        terms_key=bytes(16),
    )
    async with open_store(service) as store, run_policy(service, opa) as policy:
        following = following_on(
            store,
            policy.engine,
            clock,
            bytes(32),
            functools.partial(
                normalize_request, catalog=load_catalog(service.catalog), conceal=str, resolve=resolve_path
            ),
            woken=lambda _: None,
        )
        decider = Decider(
            log=store.log,
            reader=store.log,
            state=store.state,
            engine=policy.engine,
            signer=open_or_create(keys_folder(service), clock.now),
            clock=clock,
            identifiers=CountedIdentifiers(),
            terms=Terms(
                issuer=service.issuer,
                environment=settings.environment,
                token_life=timedelta(seconds=service.token_life_seconds),
                labels={},
            ),
            measuring=measuring,
            following=following,
        )
        reporting = Reporting(reader=store.log, log=store.log, clock=clock, measuring=measuring)
        yield InterlockDoor(decider, reporting, clock)


def _proposed(number: int, task: Task) -> RawProposal:
    """Each piece of work is a session of its own, and asks for something that no other asks for."""
    name = f"agent-{number}"
    order = " ".join(_DIGITS[int(digit)] for digit in f"{number}{task.number:03}")
    return RawProposal(
        caller=Caller(
            kind=CallerKind.AGENT, tenant=TENANT, name=name, roles=(ROLE,), credential_id="0000000000000000"
        ),
        request_id=f"{name}-{task.number}-{task.attempts}",
        session_id=f"work-{task.number}",
        parent_decision_id="",
        goal=f"submit the order {order}",
        tool=TOOL,
        arguments_json=canonicalize({"order": order}),
        context=Context(),
    )


def _answer(decision: Decision | InterlockError) -> Answer:
    if isinstance(decision, InterlockError):
        raise decision
    if decision.execution_token:
        return Answer(permission=decision)
    return Answer(retry_after=decision.retry_after, codes=tuple(reason.code for reason in decision.reasons))


def _outcome(decision: Decision, ending: Ending, *, began: float, now: float) -> Outcome:
    result = "" if ending is Ending.LATE else digest_of([ending, decision.arguments_digest])
    return Outcome(
        execution_id=f"execution-{decision.request_id}",
        decision_id=decision.decision_id,
        token_id=_token_id(decision.execution_token),
        kind=_KINDS[ending],
        result_digest=result,
        refusal="",
        start_time=BEGINNING + timedelta(seconds=began),
        end_time=BEGINNING + timedelta(seconds=now),
    )


def _token_id(execution_token: str) -> str:
    claims = execution_token.split(".")[1]
    token_id: str = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
    return token_id
