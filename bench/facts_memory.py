"""What live sessions take in a store: all cells that their steps leave, of whatever kind.

Every step is played as the service plays it: counted, granted with the reservations that the stock policies ask
for, and settled; and what is over is forgotten on the way, as the service does. One tenant's sessions are played;
other tenants write the same in the same order, under keys of their own.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

from facts_state import AsChange, OpenState, answer_of, draft_of, grants_of, observe_all, settling_of
from population import STEP, Population, Put

from interlock.core.cells import KEY_BYTES, Cells, Change
from interlock.core.decision import Evaluated
from interlock.core.proposal import Proposal
from interlock.flows.forget import AT_ONCE as FORGOTTEN_AT_ONCE
from interlock.ports import SessionState

TENANT_SESSIONS = 500

TIDIED_EVERY_STEPS = 2
"""So many steps take a minute, after which PostgreSQL's autovacuum looks for what is outdated."""

Weigh = Callable[[], Awaitable[int]]
"""The bytes that the store takes now."""

Tidy = Callable[[], None]
"""What the store does by itself once a minute: here the minutes pass faster than its clock."""

Contents = Mapping[bytes, tuple[bytes, datetime]]
"""What cells hold, and until when."""

Kept: TypeAlias = MutableMapping[bytes, tuple[bytes, datetime]]

Result = TypeVar("Result")


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


async def weigh_sessions(
    opened: OpenState, weigh: Weigh, tidy: Tidy, counts: Sequence[int], *, steps: int
) -> list[Weight]:
    """Let tenants write until there are as many sessions as each of the rising counts says, and weigh them then."""
    population = Population(min(TENANT_SESSIONS, counts[0]), opened.population.trajectories)
    written = play_tenant(population, await answer_of(opened), steps, datetime.now(UTC))
    empty, weights = await weigh(), list[Weight]()
    tenants = 0
    for count in counts:
        wanted = range(tenants, count // population.sessions)
        for number, step in enumerate(written):
            await _write(opened.store.state, step, wanted)
            if number % TIDIED_EVERY_STEPS == 0:
                tidy()
        tenants = wanted.stop
        weights.append(Weight(sessions=tenants * population.sessions, size=await weigh() - empty))
    return weights


def play_tenant(population: Population, answer: Evaluated, steps: int, now: datetime) -> list[Written]:
    """All sessions of the tenant take their steps together, the last of them now."""
    kept: dict[bytes, tuple[bytes, datetime]] = {}
    written: list[Written] = []
    for step in range(steps):
        at = now - (steps - step) * STEP
        kept = {key: cell for key, cell in kept.items() if cell[1] >= at}
        proposals = [population.proposal(session, step) for session in range(population.sessions)]
        written.append(Written(at=at, contents=_take_step(kept, proposals, answer, at)))
    return written


def _take_step(kept: Kept, proposals: Sequence[Proposal], answer: Evaluated, at: datetime) -> Contents:
    """From the proposals to their outcomes, which come at once; what was written by all of it."""
    observed, counted = _run(observe_all(proposals, at), kept)
    drafts = [draft_of(*pair, answer, at) for pair in zip(proposals, observed, strict=True)]
    _, granted = _run(grants_of(drafts), kept)
    _, settled = _run([AsChange(draft, settling_of(draft, at)) for draft in drafts], kept)
    return {**counted, **granted, **settled}


def _run(changes: Sequence[Change[Result]], kept: Kept) -> tuple[list[Result], Contents]:
    """Run the changes on what is kept; what they gave and what they wrote."""
    keys = {key for change in changes for key in change.keys}
    cells = Cells({key: kept[key][0] if key in kept else b"" for key in keys})
    results = [change.run(cells) for change in changes]
    kept.update(cells.changed())
    return results, cells.changed()


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
