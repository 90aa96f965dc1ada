"""What the state behind the facts costs the service's process: counting, granting and settling, without the rest.

Real stores, and real proposals, answers and reservations; what they are made with is not counted.
"""

import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measure import BATCH
from population import MEASURING, Population, settle_in
from servers import Place

from interlock.compose.places import service_of
from interlock.compose.policy import RunningPolicy, run_policy
from interlock.compose.settings import ServiceSettings, load_settings
from interlock.compose.store import Store, open_store
from interlock.core import conclusion, settling
from interlock.core.canonical import digest
from interlock.core.cells import Cells
from interlock.core.conclusion import Terms
from interlock.core.decision import Evaluated
from interlock.core.observing import NO_PARENT, Observe, Observed
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, DraftChange

STEPS = 50
SEED = 7
LIMIT_SECONDS = 30.0
TERMS = Terms(issuer="interlock", environment="dev", token_life=timedelta(seconds=30), labels={})

_LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)")
_WORDS_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Processor time of the process, all of its threads, in µs for one proposal, decision and outcome."""

    observe: float
    grant: float
    settle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenState:
    """A store with live sessions in it, and the policies that ship."""

    population: Population
    store: Store
    policy: RunningPolicy
    chance: random.Random


class AsChange:
    """A Change that does what a draft's change does, without the draft's record."""

    def __init__(self, draft: Draft, change: DraftChange) -> None:
        self._draft = draft
        self._change = change

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of the draft's change."""
        return self._change.keys

    def run(self, cells: Cells) -> Draft:
        """Run it."""
        return self._change.run(self._draft, cells, 0)


@asynccontextmanager
async def open_state(
    place: Place, population: Population, *, address: str = "", steps: int = STEPS
) -> AsyncIterator[OpenState]:
    """A store until the end of the block: PostgreSQL at the address, else the place's own.

    Its sessions have so many steps; with none, it is empty.
    """
    service = service_of(load_settings(place.settings, store=address))
    async with open_unhurried(service) as store, run_policy(service, place.opa) as policy:
        if steps:
            await settle_in(store.state, population, steps=steps, now=datetime.now(UTC))
        yield OpenState(population=population, store=store, policy=policy, chance=random.Random(SEED))


def open_unhurried(service: ServiceSettings) -> AbstractAsyncContextManager[Store]:
    """The service's store, with more time for an operation: those that fill it are large."""
    return open_store(service.model_copy(update={"log_limit_seconds": LIMIT_SECONDS}))


async def measure_round(opened: OpenState, first_step: int, batches: int) -> Cost:
    """So many batches, each of different sessions that take another step."""
    spent = _ProcessorTime()
    decided = 0
    for step in range(first_step, first_step + batches):
        decided += await _measure_batch(opened, step, spent)
    return Cost(
        observe=spent.seconds["observe"] / (batches * BATCH) * 1e6,
        grant=spent.seconds["grant"] / decided * 1e6,
        settle=spent.seconds["settle"] / decided * 1e6,
    )


async def _measure_batch(opened: OpenState, step: int, spent: "_ProcessorTime") -> int:
    """How many of the batch were allowed."""
    state, now = opened.store.state, datetime.now(UTC)
    sessions = opened.population.draw(BATCH, opened.chance)
    proposals = [opened.population.proposal(session, step) for session in sessions]
    with spent.on("observe"):
        observed = await state.apply(observe_all(proposals, now), durable=False)
    drafts = await _conclude(opened, proposals, observed, now)
    grants = grants_of(drafts)
    with spent.on("grant"):
        await state.apply(grants, durable=False)
    with spent.on("settle"):
        await state.apply([AsChange(draft, settling_of(draft, now)) for draft in drafts], durable=False)
    return len(drafts)


class _ProcessorTime:
    """Processor seconds of this process, by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.process_time() - began


async def answer_of(opened: OpenState) -> Evaluated:
    """What the policies that ship answer to a call that they allow."""
    proposal, now = opened.population.proposal(0, 0), datetime.now(UTC)
    [observe] = observe_all([proposal], now)
    document = conclusion.policy_input(proposal, observe.run(Cells(dict.fromkeys(observe.keys, b""))), now)
    [answer] = await opened.policy.engine.evaluate([document], limit_seconds=LIMIT_SECONDS)
    assert isinstance(answer, Evaluated)
    return answer


async def observe_batches(opened: OpenState, first_step: int, batches: int) -> None:
    """The first part of it alone."""
    for step in range(first_step, first_step + batches):
        sessions = opened.population.draw(BATCH, opened.chance)
        proposals = [opened.population.proposal(session, step) for session in sessions]
        await opened.store.state.apply(observe_all(proposals, datetime.now(UTC)), durable=False)


def grants_of(drafts: Iterable[Draft]) -> list[AsChange]:
    """What allowed decisions change besides the log."""
    return [AsChange(draft, draft.change) for draft in drafts if draft.change]


def observe_all(proposals: Iterable[Proposal], now: datetime) -> list[Observe]:
    """The changes that count them."""
    return [Observe(proposal, NO_PARENT, at=now, measuring=MEASURING) for proposal in proposals]


def settling_of(draft: Draft, now: datetime) -> settling.Settle:
    """The outcome of a call that took a moment, and whose result's text did not come."""
    fields = {**draft.fields, "tenant": draft.tenant, "decision_id": draft.decision_id}
    outcome = Outcome(
        execution_id=draft.decision_id,
        decision_id=draft.decision_id,
        token_id=draft.decision_id,
        kind=OutcomeKind.SUCCEEDED,
        result_digest=digest(draft.decision_id.encode()),
        refusal="",
        start_time=now,
        end_time=now,
    )
    return settling.Settle(settling.decided(fields), outcome, first=True, at=now, measuring=MEASURING)


async def _conclude(
    opened: OpenState, proposals: Sequence[Proposal], observed: Sequence[Observed], now: datetime
) -> list[Draft]:
    """Drafts of what the policies allow."""
    documents = [
        conclusion.policy_input(proposal, facts, now)
        for proposal, facts in zip(proposals, observed, strict=True)
    ]
    answers = await opened.policy.engine.evaluate(documents, limit_seconds=LIMIT_SECONDS)
    return [
        draft_of(proposal, facts, answer, now)
        for proposal, facts, answer in zip(proposals, observed, answers, strict=True)
        if isinstance(answer, Evaluated) and answer.answer.allows
    ]


def draft_of(proposal: Proposal, observed: Observed, answer: Evaluated, now: datetime) -> Draft:
    """The draft of a decision, with what it changes."""
    return conclusion.conclude(
        proposal,
        observed,
        conclusion.policy_input(proposal, observed, now),
        answer,
        decision_id=f"decision-{proposal.request_id}",
        token_id=f"token-{proposal.request_id}",
        kid="key",
        terms=TERMS,
        now=now,
    )


def statements(log: Path, begins_at: int) -> Counter[str]:
    """How often each kind of statement was run, by its first words, from this place in PostgreSQL's log on."""
    text = log.read_text()[begins_at:]
    return Counter(" ".join(statement.split()[:_WORDS_TOLD]) for statement in _LOGGED.findall(text))
