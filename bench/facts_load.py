"""Decisions a second with facts and without, and with how many live sessions."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crowd import Crowd, gather
from facts_state import STEPS, open_unhurried
from inputs import decide_first, write_inputs
from measure import Job, Kind, Load, run_load
from policy_copies import for_load
from population import Population, settle_in
from servers import PRODUCT, Place, Server, git_catalog, make_place, running_service
from trajectories import Trajectories

from interlock.compose.places import service_of
from interlock.compose.settings import load_settings

PLAIN = (sys.executable, str(Path(__file__).with_name("plain_service.py")), "serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A decision service: the product or the one that counts nothing, with the topics of state or without."""

    key: str
    title: str
    command: Sequence[str]
    of_state: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of it: the kind of calls, and how many of them in flight."""

    title: str
    kind: Kind
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long each measurement takes, in how many rounds."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A service that runs, its crowd, and what it is sent."""

    server: Server
    crowd: Crowd
    templates: Mapping[Kind, Path]


WITH = Composition(key="with", title="with facts, all topics", command=PRODUCT, of_state=True)
COUNTED = Composition(
    key="counted", title="facts counted, no topic that uses them", command=PRODUCT, of_state=False
)
WITHOUT = Composition(key="without", title="without facts", command=PLAIN, of_state=False)
COMPOSITIONS = (WITH, COUNTED, WITHOUT)

ASKED = (
    Asked(title="Decide", kind="decide", in_flight=64),
    Asked(title="DecideBatch of 64", kind="batch", in_flight=4),
)

Loads = Mapping[tuple[str, Kind], Load]
"""What was measured in one round, by composition and kind of call."""


def compare(
    folder: Path, opa: Path, trajectories: Trajectories, *, sessions: int, effort: Effort
) -> list[Loads]:
    """All compositions side by side, in turns, with so many live sessions."""
    population = Population(sessions, trajectories)
    with contextlib.ExitStack() as stack:
        ready = {
            composition.key: stack.enter_context(_running(folder, opa, population, composition))
            for composition in COMPOSITIONS
        }
        return [_round(ready, effort.seconds) for _ in range(effort.rounds)]


def scale(
    folder: Path, opa: Path, trajectories: Trajectories, *, sessions: int, effort: Effort
) -> list[Loads]:
    """The product alone, with so many live sessions."""
    with _running(folder, opa, Population(sessions, trajectories), WITH) as ready:
        return [_round({WITH.key: ready}, effort.seconds) for _ in range(effort.rounds)]


@contextlib.contextmanager
def _running(folder: Path, opa: Path, population: Population, composition: Composition) -> Iterator[Ready]:
    own = folder / f"{composition.key}-{population.sessions}"
    place = make_place(
        own / "place", opa, git_catalog(), policies=for_load(own, of_state=composition.of_state)
    )
    crowd = gather(place, population.sessions)
    if composition is not WITHOUT:
        asyncio.run(_fill(place, population))
    with running_service(place, composition.command) as server:
        yield Ready(server=server, crowd=crowd, templates=_templates(place, server, crowd))


async def _fill(place: Place, population: Population) -> None:
    async with open_unhurried(service_of(load_settings(place.settings))) as store:
        await settle_in(store.state, population, steps=STEPS, now=datetime.now(UTC))


def _templates(place: Place, server: Server, crowd: Crowd) -> Mapping[Kind, Path]:
    answer = decide_first(server.address, crowd.read()[0])
    shown = place.interlock("log", "show", str(answer.decision.log_index))
    return write_inputs(place.folder, answer, shown).templates


def _round(ready: Mapping[str, Ready], seconds: float) -> Loads:
    return {
        (key, asked.kind): _measure(each, asked, seconds) for asked in ASKED for key, each in ready.items()
    }


def _measure(ready: Ready, asked: Asked, seconds: float) -> Load:
    job = Job(
        kind=asked.kind,
        address=ready.server.address,
        template=str(ready.templates[asked.kind]),
        in_flight=asked.in_flight,
        watched=ready.server.watched,
        seconds=seconds,
        warm_seconds=seconds / 5,
        credentials=str(ready.crowd.credentials),
        sessions=ready.crowd.sessions,
    )
    return run_load(job)
