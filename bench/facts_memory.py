"""What live sessions take in a store: all cells that their steps leave, of whatever kind.

Every step is played as the service plays it: counted, granted with the reservations that the stock policies ask
for, and settled; and what is over is forgotten on the way, as the service does. One tenant's sessions are played;
other tenants write the same in the same order, under keys of their own.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from facts_state import TERMS, OpenState, answer_of
from population import MEASURING, STEP, Population, Put

from interlock.core import settling
from interlock.core.canonical import digest
from interlock.core.cells import KEY_BYTES, Cells
from interlock.core.decision import PolicyAnswer
from interlock.core.granting import Grant, hold_ends
from interlock.core.holding import Holder, reservation_keys
from interlock.core.observing import NO_PARENT, Observe, request_tag
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, RecordType
from interlock.flows.forget import AT_ONCE as FORGOTTEN_AT_ONCE
from interlock.ports import SessionState

TENANT_SESSIONS = 500

Weigh = Callable[[], Awaitable[int]]
"""The bytes that the store takes now."""

Contents = Mapping[bytes, tuple[bytes, datetime]]
"""What cells hold, and until when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What so many live sessions take, in bytes, beyond what the empty store takes."""

    sessions: int
    size: int

    @property
    def of_session(self) -> float:
        """Bytes for each of them."""
        return self.size / self.sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What all sessions of a tenant wrote at one of their steps."""

    at: datetime
    contents: Contents


class Step:
    """A Change: one step of a session, from its proposal to its outcome, which comes at once."""

    def __init__(self, proposal: Proposal, answer: PolicyAnswer, *, at: datetime) -> None:
        self._proposal = proposal
        self._answer = answer
        self._at = at
        self._observe = Observe(proposal, NO_PARENT, at=at, measuring=MEASURING)
        self._holder = Holder(
            tenant=proposal.caller.tenant,
            agent=proposal.caller.name,
            user="",
            session_id=proposal.session_id,
            tool=proposal.tool_name,
            decision_id=proposal.request_id,
        )

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of what is counted, and of what is reserved."""
        return (*self._observe.keys, *reservation_keys(self._answer.reservations, self._holder))

    def run(self, cells: Cells) -> None:
        """Count, grant and settle."""
        observed = self._observe.run(cells)
        token_ends = self._at + TERMS.token_life
        granted = Grant(
            reservations=self._answer.reservations,
            holder=self._holder,
            to_mark=observed.to_mark,
            at=self._at,
            token_ends=token_ends,
            ends=hold_ends(token_ends, self._answer),
        )
        draft = self._draft()
        granted.run(draft, cells)
        assert not granted.lacking, granted.lacking
        outcome = self._outcome()
        settle = settling.Settle(self._decided(), outcome, first=True, at=self._at, measuring=MEASURING)
        settle.run(draft, cells)

    def _draft(self) -> Draft:
        return Draft(
            type=RecordType.DECISION,
            tenant=self._proposal.caller.tenant,
            once="",
            decision_id=self._proposal.request_id,
            timestamp=self._at,
            fields={},
        )

    def _decided(self) -> settling.Decided:
        proposal = self._proposal
        return settling.Decided(
            tenant=proposal.caller.tenant,
            agent=proposal.caller.name,
            user="",
            session_id=proposal.session_id,
            decision_id=proposal.request_id,
            request=request_tag(proposal.request_id, proposal.payload_digest),
            tool=proposal.tool_name,
            trusted=True,
            step=1,
            arguments_digest=proposal.arguments_digest,
            operation="",
            reservations=tuple(self._answer.reservations),
        )

    def _outcome(self) -> Outcome:
        name = self._proposal.request_id
        return Outcome(
            execution_id=name,
            decision_id=name,
            token_id=name,
            kind=OutcomeKind.SUCCEEDED,
            result_digest=digest(name.encode()),
            refusal="",
            start_time=self._at,
            end_time=self._at,
        )


async def weigh_sessions(
    opened: OpenState, weigh: Weigh, counts: Sequence[int], *, steps: int
) -> list[Weight]:
    """Let tenants write until there are as many sessions as each of the rising counts says, and weigh them then."""
    population = Population(min(TENANT_SESSIONS, counts[0]), opened.population.trajectories)
    written = play_tenant(population, await answer_of(opened), steps, datetime.now(UTC))
    empty, weights = await weigh(), list[Weight]()
    tenants = 0
    for count in counts:
        wanted = range(tenants, count // population.sessions)
        for step in written:
            await _write(opened.store.state, step, wanted)
        tenants = wanted.stop
        weights.append(Weight(sessions=tenants * population.sessions, size=await weigh() - empty))
    return weights


def play_tenant(population: Population, answer: PolicyAnswer, steps: int, now: datetime) -> list[Written]:
    """All sessions of the tenant take their steps together, the last of them now."""
    kept: dict[bytes, tuple[bytes, datetime]] = {}
    written: list[Written] = []
    for step in range(steps):
        at = now - (steps - step) * STEP
        kept = {key: cell for key, cell in kept.items() if cell[1] >= at}
        changes = [
            Step(population.proposal(session, step), answer, at=at) for session in range(population.sessions)
        ]
        keys = {key for change in changes for key in change.keys}
        cells = Cells({key: kept[key][0] if key in kept else b"" for key in keys})
        for change in changes:
            change.run(cells)
        kept.update(cells.changed())
        written.append(Written(at=at, contents=dict(cells.changed())))
    return written


async def _write(state: SessionState, step: Written, tenants: Iterable[int]) -> None:
    """The step of these tenants; then the service forgets what is over."""
    for tenant in tenants:
        contents = {_own(key, tenant): cell for key, cell in step.contents.items()}
        await state.apply([Put(contents)], durable=False)
    while await state.prune(step.at, limit=FORGOTTEN_AT_ONCE):
        pass


def _own(key: bytes, tenant: int) -> bytes:
    """The tenant's key for what another tenant has under this one."""
    return key[:1] + hashlib.sha256(key + tenant.to_bytes(4)).digest()[: KEY_BYTES - 1]
