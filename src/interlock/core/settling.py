"""What an outcome changes besides the log: it settles what the decision took, and tells what came of the call.

The decision's record says all that is needed: whose session it was, which step, and what it had reserved.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from interlock.core import agent as agents
from interlock.core import memory, observing, provenance
from interlock.core.agent import Agent
from interlock.core.attempts import WINDOW_SECONDS, Attempts
from interlock.core.call_history import RESULT_BYTES, CallHistory
from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.holding import Holder, reservation_keys, settle
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.core.plan_cell import KEPT, PlanCell, digests_at, plan_key
from interlock.core.provenance import Heard, Source
from interlock.core.record import Draft
from interlock.core.reservation import Reservation
from interlock.core.session import Measuring, Session, SessionKey

TOOL_RESULT = "tool_result"
"""Kind of the source that taints a session where it was the result of a tool."""

_RESERVATIONS: TypeAdapter[tuple[Reservation, ...]] = TypeAdapter(tuple[Reservation, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """Which step of which plan the call is, and what of its result later steps refer to (JSON Pointers)."""

    decision_id: str
    step: str
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the record of an allowed decision says of the call whose outcome it is."""

    tenant: str
    agent: str
    user: str
    session_id: str
    decision_id: str
    request: bytes
    tool: str
    trusted: bool
    changes: bool
    step: int
    arguments_digest: str
    operation: str
    reservations: tuple[Reservation, ...]
    plan: PlannedStep | None

    @property
    def session(self) -> SessionKey:
        """The call's session."""
        return SessionKey(tenant=self.tenant, agent=self.agent, session_id=self.session_id)

    @property
    def holder(self) -> Holder:
        """Who holds the reservations."""
        return Holder(
            tenant=self.tenant,
            agent=self.agent,
            user=self.user,
            session_id=self.session_id,
            tool=self.tool,
            decision_id=self.decision_id,
        )


def decided(fields: Mapping[str, Any]) -> Decided:
    """From the fields of a decision's record, also one of a version that measured nothing."""
    document = fields["input"]
    context, tool = document["context"], document["tool"]
    loops = document["facts"].get("loops")
    return Decided(
        tenant=fields["tenant"],
        agent=fields["agent"],
        user=document["subject"]["user"],
        session_id=context["session_id"],
        decision_id=fields["decision_id"],
        request=observing.request_tag(fields["request_id"], fields["payload_digest"]),
        tool=tool["name"],
        trusted=tool.get("results") == "trusted",
        changes=tool["effects"] != ["read"],
        step=loops["session"]["steps"] if loops else 0,
        arguments_digest=document["arguments_digest"],
        operation=context.get("operation", ""),
        reservations=_RESERVATIONS.validate_python(tuple(fields["result"]["reservations"])),
        plan=_planned(fields["plan"]) if "plan" in fields else None,
    )


def _planned(stated: Mapping[str, Any]) -> PlannedStep:
    return PlannedStep(decision_id=stated["decision_id"], step=stated["step"], wanted=tuple(stated["wanted"]))


class Settle:
    """A DraftChange for an outcome. `first` is false where an earlier outcome already told that the call ran.

    A large result takes its time to be read, which is here and not while the store holds its cells.
    """

    def __init__(
        self, decision: Decided, outcome: Outcome, *, first: bool, at: datetime, measuring: Measuring
    ) -> None:
        tenant = decision.tenant
        self._decision = decision
        self._outcome = outcome
        self._first = first
        self._at = at
        self._measuring = measuring
        self._heard = _heard(decision, outcome, measuring) if first and outcome.result_digest else None
        self._session, self._terms = decision.session.cells(CellKind.SESSION, CellKind.TERMS)
        self._agent = common_cell_key(CellKind.AGENT, tenant, decision.agent)
        self._tool = common_cell_key(CellKind.TOOL, tenant, decision.tool)
        self._operations = observing.operation_places(
            tenant, decision.tool, decision.arguments_digest, decision.operation
        )
        self._plan = [plan_key(tenant, decision.plan.decision_id)] if decision.plan else []
        self._values = digests_at(outcome, decision.plan.wanted) if decision.plan else {}

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of all that an outcome tells something about."""
        decision = self._decision
        return (
            self._session,
            self._terms,
            self._agent,
            self._tool,
            *self._plan,
            *(place.cell for place in self._operations),
            *(memory.memory_key(decision.tenant, write.key) for write in self._outcome.memory_writes),
            *reservation_keys(decision.reservations, decision.holder),
        )

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """Settle, and note what came of the call where it ran; the draft stays as it is."""
        if self._decision.plan:
            self._note_in_plan(self._decision.plan, cells)
        if not self._first:
            return draft
        outcome = self._outcome
        elapsed = max(timedelta(0), outcome.end_time - outcome.start_time)
        settle(
            self._decision.reservations,
            self._decision.holder,
            cells,
            at=self._at,
            kind=outcome.kind,
            refusal=outcome.refusal,
            usage=outcome.usage,
            elapsed=elapsed,
        )
        if outcome.kind is not OutcomeKind.REFUSED:
            self._note(cells, elapsed)
        return draft

    def _note(self, cells: Cells, elapsed: timedelta) -> None:
        """The call ran, or may have."""
        self._note_attempt(cells)
        for write in self._outcome.memory_writes:
            tenant, at = self._decision.tenant, self._at
            memory.note_write(tenant, write.key, write.version, write.digest, cells, at)
        session = cells.open(self._session, Session)
        if session.began:
            self._note_in_session(session, cells, elapsed)

    def _note_in_plan(self, plan: PlannedStep, cells: Cells) -> None:
        """Also of a second outcome, which may tell how one of unknown end really ended."""
        [key] = self._plan
        cell = cells.open(key, PlanCell)
        if cell.steps:
            cell.note(plan.step, self._outcome, self._values)
            cells.keep(key, cell, expire_time=self._at + KEPT)

    def _note_attempt(self, cells: Cells) -> None:
        failed = self._outcome.kind is not OutcomeKind.SUCCEEDED
        seconds = int(self._at.timestamp())
        agent = cells.open(self._agent, Agent)
        self._note_result(agent.history)
        tool = cells.open(self._tool, Attempts)
        agent.attempts.ended(seconds, failed=failed)
        tool.ended(seconds, failed=failed)
        cells.keep(self._agent, agent, expire_time=self._at + agents.KEPT)
        cells.keep(self._tool, tool, expire_time=self._at + timedelta(seconds=WINDOW_SECONDS))
        observing.change_operations(
            self._operations, cells, self._at, lambda operation: operation.ended(seconds, failed=failed)
        )

    def _note_in_session(self, session: Session, cells: Cells, elapsed: timedelta) -> None:
        outcome, decision = self._outcome, self._decision
        at = session.touch(self._at, self._measuring)
        session.attempts.ended(int(at.timestamp()), failed=outcome.kind is not OutcomeKind.SUCCEEDED)
        self._note_result(session.history)
        usage = outcome.usage
        session.spend.add(
            calls=1,
            cost=(usage.cost if usage else None) or 0,
            model_tokens=(usage.model_tokens if usage else None) or 0,
            compute_milliseconds=(usage.compute_milliseconds if usage else None)
            or elapsed // timedelta(milliseconds=1),
        )
        if outcome.result_digest and not decision.trusted:
            session.taint(TOOL_RESULT, decision.tool, decision.step)
        cells.keep(self._session, session, expire_time=at + self._measuring.retention)
        if self._heard:
            ends = at + self._measuring.retention
            provenance.note_sight(self._heard, cells, self._terms, step=decision.step, expire_time=ends)

    def _note_result(self, history: CallHistory) -> None:
        """What tells whether two results are the same; of a call that may not have run nothing is known."""
        if self._outcome.kind is not OutcomeKind.UNKNOWN:
            result = observing.tag(self._outcome.kind.encode(), self._outcome.result_digest.encode())
            changed = self._decision.changes and self._outcome.kind is OutcomeKind.SUCCEEDED
            history.set_result(self._decision.request, result[:RESULT_BYTES], changed=changed)


def _heard(decision: Decided, outcome: Outcome, measuring: Measuring) -> Heard:
    """What the result says, as far as it came; where it did not come whole, what is missing is unknown."""
    return provenance.hear(
        Source.TRUSTED if decision.trusted else Source.UNTRUSTED,
        outcome.result,
        key=measuring.terms_key,
        complete=bool(outcome.result) and not outcome.result_truncated,
    )
