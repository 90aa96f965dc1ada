"""Sessions seen from outside: begun before the first proposal, told of steps, and shown with their timeline."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from interlock.core import timeline
from interlock.core.errors import ErrorReason, InterlockError, invalid_field
from interlock.core.field_checks import check_count, check_identifier, check_text
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import MAX_GOAL_CHARACTERS
from interlock.core.record import session_name
from interlock.core.session import Measuring, SessionKey
from interlock.core.session_changes import (
    RecordSteps,
    SessionView,
    StartSession,
    StepsRecorded,
    ViewSession,
)
from interlock.core.steps import Step, check_step
from interlock.core.timeline import Entry, Place
from interlock.flows import page_tokens
from interlock.flows.page_tokens import Seal
from interlock.ports import Clock, RecordReader, SessionState

MAX_STEPS_AT_ONCE = 256
MAX_STEPS_IN_A_CALL = 10_000

CLOCKS_DIFFER = timedelta(minutes=5)
"""The most that clocks of several services differ (case 22): so much before its beginning, a session has records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """What these stories need of the world, and how sessions are measured."""

    state: SessionState
    reader: RecordReader
    clock: Clock
    measuring: Measuring
    seal: Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The session that is to be started; `agent` may be empty where the agent itself asks."""

    session_id: str
    agent: str
    goal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which session to show, and which page of its timeline; `page_size` 0 is the default."""

    session_id: str
    agent: str
    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A session, a page of its timeline, and the token of the next page, empty on the last."""

    session: SessionView
    timeline: tuple[Entry, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatch:
    """Steps of one session that came in one message."""

    session_id: str
    steps: tuple[Step, ...]


async def start_session(opening: Opening, caller: Caller, sessions: Sessions) -> SessionView:
    """Begin a session before its first proposal; the same again gives the same.

    Only a user's own credential sets a goal here: what an agent says later may be an attacker's. Raises
    InterlockError: INVALID_FIELD; SESSION_ALREADY_STARTED where it has begun otherwise.
    """
    check_identifier("session_id", opening.session_id)
    agent = _check_opening(opening, caller)
    change = StartSession(
        key=SessionKey(tenant=caller.tenant, agent=agent, session_id=opening.session_id),
        user=caller.name if caller.kind is CallerKind.USER else "",
        goal=opening.goal,
        at=sessions.clock.now(),
        measuring=sessions.measuring,
    )
    [view] = await sessions.state.apply([change], durable=True)
    return view


async def get_session(query: Query, caller: Caller, sessions: Sessions) -> Shown:
    """A session and a page of its timeline.

    Raises InterlockError: INVALID_FIELD; SESSION_NOT_FOUND also for one that the caller may not see, so that
    nobody learns whether it is there (case 54).
    """
    check_identifier("session_id", query.session_id)
    size = page_tokens.page_size(query.page_size)
    key = SessionKey(tenant=caller.tenant, agent=_agent_asked_for(query, caller), session_id=query.session_id)
    bound_to = (key.tenant, key.agent, key.session_id)
    log_index, after_step = page_tokens.read(query.page_token, (0, 0), bound_to, sessions.seal)
    begin = Place(log_index=log_index, after_step=after_step)
    view = await _view(key, caller, sessions)
    records = await sessions.reader.session_records(
        tenant=key.tenant,
        session=session_name(key.agent, key.session_id),
        start=begin.log_index,
        limit=size + 1,
    )
    shown, following = timeline.page(
        records,
        view.recorded_steps,
        begin=begin,
        # An earlier session of this name that was forgotten may have been another user's.
        not_before=view.start_time - CLOCKS_DIFFER,
        size=size,
        more=len(records) > size,
    )
    return Shown(
        session=view,
        timeline=shown,
        next_page_token=_page_token(following, bound_to, sessions.seal) if following else "",
    )


async def record_steps(
    batches: AsyncIterator[StepBatch], caller: Caller, sessions: Sessions
) -> StepsRecorded:
    """Record steps of one session; each batch is durable before the next is asked for.

    Raises InterlockError: INVALID_FIELD or STEP_NUMBER_WENT_BACK, and what the batches raise; its metadata
    says in `recorded` how many steps of this call were recorded before, which stay.
    """
    recording = _Recording(caller, sessions)
    try:
        async for batch in batches:
            await recording.add(batch)
        return recording.told()
    except InterlockError as error:
        error.metadata = {**error.metadata, "recorded": str(recording.recorded)}
        raise


class _Recording:
    """One call of RecordSteps, as far as it went."""

    def __init__(self, caller: Caller, sessions: Sessions) -> None:
        self.recorded = 0
        self._caller = caller
        self._sessions = sessions
        self._session_id = ""
        self._came = 0
        self._last_number = 0

    async def add(self, batch: StepBatch) -> None:
        self._check(batch)
        change = RecordSteps(
            key=SessionKey(tenant=self._caller.tenant, agent=self._caller.name, session_id=batch.session_id),
            steps=batch.steps,
            at=self._sessions.clock.now(),
            measuring=self._sessions.measuring,
        )
        [done] = await self._sessions.state.apply([change], durable=True)
        self.recorded += done.recorded
        self._last_number = done.last_number

    def told(self) -> StepsRecorded:
        if not self._session_id:
            raise invalid_field("steps", f"must have 1 to {MAX_STEPS_AT_ONCE} entries, got no message")
        return StepsRecorded(recorded=self.recorded, last_number=self._last_number)

    def _check(self, batch: StepBatch) -> None:
        check_identifier("session_id", batch.session_id)
        if self._session_id not in ("", batch.session_id):
            raise invalid_field("session_id", "must be the same in all messages of a call")
        self._session_id = batch.session_id
        check_count("steps", len(batch.steps), MAX_STEPS_AT_ONCE, least=1)
        self._came += len(batch.steps)
        if self._came > MAX_STEPS_IN_A_CALL:
            raise invalid_field("steps", f"must be at most {MAX_STEPS_IN_A_CALL} in a call")
        for position, step in enumerate(batch.steps):
            check_step(step, f"steps[{position}]")


def _check_opening(opening: Opening, caller: Caller) -> str:
    """The agent whose session it is to be."""
    if caller.kind is CallerKind.USER:
        check_identifier("agent", opening.agent)
        check_text("goal", opening.goal, MAX_GOAL_CHARACTERS, least=1)
        return opening.agent
    if opening.agent not in ("", caller.name):
        raise invalid_field("agent", "must be empty or the calling agent's own name")
    if opening.goal:
        raise invalid_field(
            "goal",
            "must be empty from an agent: a user's credential sets it, or the session's first proposal",
        )
    return caller.name


def _agent_asked_for(query: Query, caller: Caller) -> str:
    if caller.kind is not CallerKind.AGENT:
        check_identifier("agent", query.agent)
        return query.agent
    if query.agent not in ("", caller.name):
        raise _not_found()
    return caller.name


async def _view(key: SessionKey, caller: Caller, sessions: Sessions) -> SessionView:
    change = ViewSession(key=key, at=sessions.clock.now(), measuring=sessions.measuring)
    [view] = await sessions.state.apply([change], durable=False)
    if view is None or not _may_see(view, caller):
        raise _not_found()
    return view


def _may_see(view: SessionView, caller: Caller) -> bool:
    match caller.kind:
        case CallerKind.AGENT:
            return view.key.agent == caller.name
        case CallerKind.USER:
            return view.user == caller.name
        case CallerKind.AUDITOR:
            return True
        case CallerKind.GATEWAY | CallerKind.OPERATOR | CallerKind.APPROVER:
            return False
    assert_never(caller.kind)


def _page_token(place: Place, bound_to: tuple[str, ...], seal: Seal) -> str:
    return page_tokens.write((place.log_index, place.after_step), bound_to, seal)


def _not_found() -> InterlockError:
    """The same for every cause, so that a guess learns nothing."""
    return InterlockError(
        reason=ErrorReason.SESSION_NOT_FOUND, message="there is no such session that this caller may see"
    )
