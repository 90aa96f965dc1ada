"""Live sessions with a history, in any store: what a service has that has been running for a while.

What the sessions are for and what they propose is taken from real models' runs. A few of them are played
through; the others are given what these have, under keys of their own.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from crowd import TENANT, agent_name, agent_of, agents_of, session_name, sessions_of
from loops import ROLE, catalog
from trajectories import Trajectories

from interlock.adapters.file_paths import resolve_path
from interlock.core.agent import KEPT as AGENT_KEPT
from interlock.core.canonical import digest
from interlock.core.catalog import build_catalog
from interlock.core.cells import CellKind, Cells, cell_key
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import normalize
from interlock.core.observing import NO_PARENT, Observe
from interlock.core.proposal import Context, Proposal, RawProposal
from interlock.core.session import Measuring, SessionKey
from interlock.ports import SessionState

MEASURING = Measuring(idle=timedelta(hours=1), retention=timedelta(days=7), terms_key=bytes(16))
STEP = timedelta(seconds=30)
CALLS_OF_AGENT = 40
"""An agent's work is made up of so many different calls that follow one another in the data."""

AGENTS_PLAYED, SESSIONS_PLAYED = 100, 3
AT_ONCE = 1_000

_CREDENTIAL = "0000000000000000"
_KINDS = (CellKind.SESSION, CellKind.TERMS)


@dataclass(frozen=True)
class Population:
    """So many sessions of a tenant's agents; what each proposes at each of its steps is always the same."""

    sessions: int
    trajectories: Trajectories = field(repr=False)

    def proposal(self, session: int, step: int) -> Proposal:
        """A call like those of the data that are its agent's, and that nobody else ever makes."""
        calls = self._calls
        unique = f"{session_name(session)}-{step}"
        caller = replace(calls[0].caller, name=agent_name(agent_of(session)))
        place = agent_of(session) * CALLS_OF_AGENT + (session + step) % CALLS_OF_AGENT
        return replace(
            calls[place % len(calls)],
            caller=caller,
            session_id=session_name(session),
            request_id=unique,
            goal=self._goal(session),
            arguments_digest=digest(unique.encode()),
        )

    def observe(self, session: int, step: int, at: datetime) -> Observe:
        """The same as a change of the state."""
        return Observe(self.proposal(session, step), NO_PARENT, at=at, measuring=MEASURING)

    def key(self, session: int) -> SessionKey:
        """The session's name with whose it is."""
        agent = agent_name(agent_of(session))
        return SessionKey(tenant=TENANT, agent=agent, session_id=session_name(session))

    def agent_key(self, agent: int) -> bytes:
        """The agent's cell."""
        return cell_key(CellKind.AGENT, TENANT, agent_name(agent))

    def draw(self, count: int, chance: random.Random) -> list[int]:
        """Different sessions."""
        return chance.sample(range(self.sessions), count)

    def _goal(self, session: int) -> str:
        """Agents of which one was given what the other has, have one goal."""
        runs = self.trajectories.runs
        return runs[agent_of(session) % AGENTS_PLAYED % len(runs)].goal

    @cached_property
    def _calls(self) -> list[Proposal]:
        """All calls of the data, as the ingress makes them."""
        known = build_catalog([catalog(self.trajectories.tools)])
        caller = Caller(
            kind=CallerKind.AGENT, tenant=TENANT, name="agent", roles=(ROLE,), credential_id=_CREDENTIAL
        )
        return [
            normalize(
                RawProposal(
                    caller=caller,
                    request_id="request",
                    session_id="session",
                    parent_decision_id="",
                    goal=run.goal,
                    tool=call.tool,
                    arguments_json=call.arguments_json,
                    context=Context(),
                ),
                known,
                lambda _: "concealed",
                resolve_path,
            )
            for run in self.trajectories.runs
            for call in run.calls
        ]


class Put:
    """A Change that makes cells what they are told to be, until when they are told."""

    def __init__(self, contents: Mapping[bytes, tuple[bytes, datetime]]) -> None:
        self._contents = contents

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells."""
        return self._contents

    def run(self, cells: Cells) -> None:
        """Put them."""
        for key, (data, expire_time) in self._contents.items():
            cells.put(key, data, expire_time=expire_time)


@dataclass(frozen=True, slots=True)
class Played:
    """What an agent and some of its sessions have, once they went through their steps; all cells, too."""

    agent: bytes
    sessions: Sequence[Mapping[CellKind, bytes]]
    cells: Mapping[bytes, bytes]


async def settle_in(state: SessionState, population: Population, *, steps: int, now: datetime) -> None:
    """Give all sessions so many steps, the last of them a moment ago, and their agents what these did."""
    agents = agents_of(population.sessions)
    played = [play(population, agent, steps, now) for agent in range(min(AGENTS_PLAYED, agents))]
    for part in _parts(range(population.sessions)):
        contents: dict[bytes, tuple[bytes, datetime]] = {}
        for session in part:
            own = played[agent_of(session) % len(played)].sessions
            cells = own[session % len(own)]
            key = population.key(session)
            contents.update((key.cell(kind), (cells[kind], now + MEASURING.retention)) for kind in _KINDS)
        await state.apply([Put(contents)], durable=False)
    for part in _parts(range(agents)):
        contents = {
            population.agent_key(agent): (played[agent % len(played)].agent, now + AGENT_KEPT)
            for agent in part
        }
        await state.apply([Put(contents)], durable=False)


def play(population: Population, agent: int, steps: int, now: datetime) -> Played:
    """Some of the agent's sessions take their steps in turns."""
    sessions = sessions_of(agent, population.sessions)[:SESSIONS_PLAYED]
    cells: dict[bytes, bytes] = {}
    for step in range(steps):
        for session in sessions:
            observe = population.observe(session, step, now - (steps - step) * STEP)
            opened = Cells({key: cells.get(key, b"") for key in observe.keys})
            observe.run(opened)
            cells.update((key, data) for key, (data, _) in opened.changed().items())
    keys = [population.key(session) for session in sessions]
    return Played(
        cells=cells,
        agent=cells[population.agent_key(agent)],
        sessions=[{kind: cells[key.cell(kind)] for kind in _KINDS} for key in keys],
    )


def _parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), AT_ONCE):
        yield numbers[start : start + AT_ONCE]
