"""What is done to a session besides proposing: it is started, told of steps, and looked at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from interlock.core import memory, provenance, steps
from interlock.core.cells import CellKind, Cells
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.moments import SECOND, from_microseconds, to_microseconds
from interlock.core.provenance import Source
from interlock.core.session import GoalSetBy, Measuring, Session, SessionKey, digest_of_text
from interlock.core.steps import Step, StepKind

STEPS_KEPT = 256
"""So many of the newest steps of a session are kept; the numbers of all are checked."""


class Timeline:
    """A session's recorded steps: when each was told (microseconds since the epoch), and the step itself."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[tuple[int, list[Any]]] | None = None) -> None:
        self.entries = entries or []

    @classmethod
    def decode(cls, data: bytes) -> "Timeline":
        """What `encode` wrote; an empty one of empty bytes."""
        return cls([(time, step) for time, step in orjson.loads(data)] if data else None)

    def encode(self) -> bytes:
        """The newest steps, oldest first."""
        return orjson.dumps(self.entries[-STEPS_KEPT:])


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as it is shown. `facts` is what the next proposal would be told, of those about the session.

    `goal` is shortened to the characters that are kept. `recorded_steps` are the newest, oldest first.
    """

    key: SessionKey
    user: str
    goal: str
    goal_set_by: GoalSetBy
    start_time: datetime
    last_time: datetime
    ended: bool
    state_digest: str
    steps: int
    last_step_number: int
    facts: dict[str, Any]
    recorded_steps: tuple[tuple[datetime, Step], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsRecorded:
    """How many of the steps were new, and the highest number that the session was ever told."""

    recorded: int
    last_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSession:
    """The Change that begins a session. `user` is empty where the agent itself begins it, and sets no goal.

    Its run raises InterlockError: SESSION_ALREADY_STARTED, unless it was begun with just this before.
    """

    key: SessionKey
    user: str
    goal: str
    at: datetime
    measuring: Measuring

    @property
    def keys(self) -> Iterable[bytes]:
        """The session's own cells."""
        return _cells_of(self.key)

    def run(self, cells: Cells) -> SessionView:
        """Begin it, and show it."""
        session = cells.open(self.key.cell(CellKind.SESSION), Session)
        if session.began:
            self._check_same(session)
        else:
            self._begin(session, cells)
        return _view(self.key, session, cells, self.at, self.measuring)

    def _check_same(self, session: Session) -> None:
        same_goal = (digest_of_text(self.goal) if self.goal else "") == session.goal_digest
        if session.steps or session.user != self.user or not same_goal:
            raise InterlockError(
                reason=ErrorReason.SESSION_ALREADY_STARTED,
                message=f"the session `{self.key.session_id}` has begun, and its user and goal never change",
            )

    def _begin(self, session: Session, cells: Cells) -> None:
        at = session.touch(self.at, self.measuring)
        session.user = self.user
        if self.goal:
            session.set_goal(self.goal, "user")
            heard = provenance.hear(Source.GOAL, self.goal, key=self.measuring.terms_key)
            terms, ends = self.key.cell(CellKind.TERMS), at + self.measuring.retention
            provenance.note_sight(heard, cells, terms, step=0, expire_time=ends)
        cells.keep(self.key.cell(CellKind.SESSION), session, expire_time=at + self.measuring.retention)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSteps:
    """The Change that adds steps to a session, which begins with them where it had not.

    Its run raises InterlockError: STEP_NUMBER_WENT_BACK, and then none of the steps is recorded. A step that is
    among those kept already, the same in all, is passed over: a reply that was lost is no fault of the agent.
    """

    key: SessionKey
    steps: tuple[Step, ...]
    at: datetime
    measuring: Measuring

    @property
    def keys(self) -> Iterable[bytes]:
        """The session's own cells, and those of the memory that was written."""
        written = (step.key for step in self.steps if step.kind is StepKind.MEMORY_WRITE)
        return (*_cells_of(self.key), *(memory.memory_key(self.key.tenant, key) for key in written))

    def run(self, cells: Cells) -> StepsRecorded:
        """Add them."""
        session = cells.open(self.key.cell(CellKind.SESSION), Session)
        timeline = cells.open(self.key.cell(CellKind.TIMELINE), Timeline)
        at = session.touch(self.at, self.measuring)
        recorded = 0
        for step in self.steps:
            recorded += self._add(step, session, timeline, cells, at)
        cells.keep(self.key.cell(CellKind.SESSION), session, expire_time=at + self.measuring.retention)
        if recorded:
            cells.keep(self.key.cell(CellKind.TIMELINE), timeline, expire_time=at + self.measuring.retention)
        return StepsRecorded(recorded=recorded, last_number=session.last_step_number)

    def _add(self, step: Step, session: Session, timeline: Timeline, cells: Cells, at: datetime) -> bool:
        """One step. False for a duplicate."""
        stored = steps.to_json(step)
        if step.number <= session.last_step_number:
            if any(kept == stored for _, kept in timeline.entries):
                return False
            raise _went_back(step, session)
        session.last_step_number = step.number
        session.spend.add(cost=step.cost, model_tokens=step.model_tokens)
        timeline.entries.append((to_microseconds(at), stored))
        if step.kind is StepKind.MEMORY_WRITE:
            memory.note_write(self.key.tenant, step.key, step.version, step.digest, cells, at)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSession:
    """The Change that only looks at a session. Its run gives None for one that never began."""

    key: SessionKey
    at: datetime
    measuring: Measuring

    @property
    def keys(self) -> Iterable[bytes]:
        """The session's own cells."""
        return _cells_of(self.key)

    def run(self, cells: Cells) -> SessionView | None:
        """Show it."""
        session = cells.open(self.key.cell(CellKind.SESSION), Session)
        return _view(self.key, session, cells, self.at, self.measuring) if session.began else None


def _went_back(step: Step, session: Session) -> InterlockError:
    return InterlockError(
        reason=ErrorReason.STEP_NUMBER_WENT_BACK,
        message=f"step {step.number} came after step {session.last_step_number} of the session; "
        "numbers of steps only grow",
        metadata={"last_number": str(session.last_step_number)},
    )


def _cells_of(key: SessionKey) -> Sequence[bytes]:
    return key.cells(CellKind.SESSION, CellKind.TERMS, CellKind.TIMELINE)


def _view(key: SessionKey, session: Session, cells: Cells, at: datetime, measuring: Measuring) -> SessionView:
    timeline = cells.open(key.cell(CellKind.TIMELINE), Timeline)
    return SessionView(
        key=key,
        user=session.user,
        goal=session.goal,
        goal_set_by=session.goal_set_by,
        start_time=from_microseconds(session.start_time),
        last_time=from_microseconds(session.last_time),
        ended=session.has_ended(at, measuring),
        state_digest=session.state_digest,
        steps=session.steps,
        last_step_number=session.last_step_number,
        facts=_facts(session),
        recorded_steps=tuple(
            (from_microseconds(time), steps.from_json(stored)) for time, stored in timeline.entries
        ),
    )


def _facts(session: Session) -> dict[str, Any]:
    """Those of the facts that are about the session alone."""
    return {
        "loops": session.history.repeats(),
        "retries": session.attempts.told(session.last_time // SECOND),
        "spend": session.spend.told(),
        "context": {
            "untrusted_since_step": session.tainted_since,
            "untrusted_sources": session.taint_told(),
            "goal_set_by": session.goal_set_by,
        },
    }
