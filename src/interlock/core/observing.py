"""Counting a proposal, and telling what it makes of the session, the agent, the tool and the tenant.

A proposal is counted once, however often its request is sent: what comes again is told of the same step, and
changes nothing. What a proposal would change only by being allowed (novelty, reservations) is not changed here.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from interlock.core import agent as agents
from interlock.core import argument_forms, memory, novelty, provenance
from interlock.core.agent import Agent
from interlock.core.attempts import (
    OPERATION_SECONDS,
    WINDOW_SECONDS,
    Attempts,
    Operation,
    Operations,
    worst_of,
)
from interlock.core.breaker import breaker_facts, breaker_key
from interlock.core.call_history import TAG_BYTES
from interlock.core.cells import KIND_BYTE, CellKind, Cells, cell_name, common_cell_key
from interlock.core.facts import FactsInput, LoopsInput, MeasuredContextInput, RetriesInput, ViolationInput
from interlock.core.freezing import FreezeCondition
from interlock.core.moments import SECOND
from interlock.core.proposal import Proposal, SourceTrust
from interlock.core.provenance import Sightings, Source
from interlock.core.session import Measuring, Session, digest_of_text
from interlock.core.standing import StandingApproval, StandingMatch, as_fact

OPERATION_CELLS = 128
"""Operations of a tenant's tool, or that its agents name, are spread over so many cells."""

_WINDOW = timedelta(seconds=WINDOW_SECONDS)
_OPERATION = timedelta(seconds=OPERATION_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What is known of the decision that a proposal says it follows from: its `depth`, and whom it comes from."""

    known: bool
    depth: int
    authors: tuple[str, ...] = ()


NO_PARENT = Parent(known=True, depth=0)
UNKNOWN_PARENT = Parent(known=False, depth=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was measured of one proposal. `to_mark` are the cells that say what is new in it, once allowed.

    `standing` are the standing approvals that hold for it, as its facts tell.
    """

    facts: FactsInput
    user: str
    state_digest: str
    to_mark: tuple[bytes, ...]
    authors: tuple[str, ...] = ()
    standing: tuple[StandingApproval, ...] = ()


class Observe:
    """The Change that counts a proposal, and tells what was Observed."""

    def __init__(self, proposal: Proposal, parent: Parent, *, at: datetime, measuring: Measuring) -> None:
        tenant, agent, tool = proposal.caller.tenant, proposal.caller.name, proposal.tool_name
        self._proposal = proposal
        self._parent = parent
        self._at = at
        self._measuring = measuring
        self._request = request_tag(proposal.request_id, proposal.payload_digest)
        name = cell_name(tenant, agent, proposal.session_id)
        self._session, self._terms = KIND_BYTE[CellKind.SESSION] + name, KIND_BYTE[CellKind.TERMS] + name
        self._agent = common_cell_key(CellKind.AGENT, tenant, agent)
        self._tool = common_cell_key(CellKind.TOOL, tenant, tool)
        self._operations = operation_places(tenant, tool, proposal.arguments_digest, proposal.operation)
        self._breaker = breaker_key(tenant, tool)
        self._freezes = FreezeCondition(tenant=tenant, agent=agent, tool=tool)
        self._standing = StandingMatch(proposal)
        roles = proposal.tool.entry.roles if proposal.tool else {}
        self._arguments = argument_forms.classified(proposal.disclosed_arguments, roles)
        self._novelty = novelty.novelty_of(proposal, self._arguments)

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of all that is counted or looked at."""
        tenant, reads = self._proposal.caller.tenant, self._proposal.context.memory_reads
        return (
            self._session,
            self._terms,
            self._agent,
            self._tool,
            *(place.cell for place in self._operations),
            self._breaker,
            *self._freezes.keys,
            *self._standing.keys,
            *self._novelty.keys,
            *(memory.memory_key(tenant, read.key) for read in reads),
        )

    def run(self, cells: Cells) -> Observed:
        """Count it, unless it was counted before, and tell."""
        session = cells.open(self._session, Session)
        idle_seconds = session.idle_seconds(self._at)
        place = session.history.place_of(self._request)
        if place < 0:
            self._count(session, cells)
        standing = self._standing.found(cells, self._at, user=session.user)
        return Observed(
            facts=self._facts(session, cells, place, idle_seconds, standing),
            user=session.user,
            state_digest=session.state_digest,
            to_mark=self._novelty.to_mark(cells, self._at),
            authors=self._parent.authors,
            standing=standing,
        )

    def _count(self, session: Session, cells: Cells) -> None:
        """One more step of the session and of the agent, and one more attempt of the tool and the operation."""
        at = session.touch(self._at, self._measuring)
        seconds = int(at.timestamp())
        call, form = self._tags()
        self._count_step(session, cells, at, call=call, form=form)

        retry = self._count_attempt(cells, at)
        agent = cells.open(self._agent, Agent)
        agent.history.forget_before(seconds - agents.CALLS_SECONDS)
        agent.history.add(call=call, form=form, request=self._request, seconds=seconds)
        tool = cells.open(self._tool, Attempts)
        invalid = self._proposal.tool is None or bool(self._proposal.violations)
        for attempts in (session.attempts, agent.attempts, tool):
            attempts.proposed(seconds, retry=retry, invalid=invalid)

        cells.keep(self._session, session, expire_time=at + self._measuring.retention)
        cells.keep(self._agent, agent, expire_time=at + agents.KEPT)
        cells.keep(self._tool, tool, expire_time=at + _WINDOW)

    def _count_attempt(self, cells: Cells, at: datetime) -> bool:
        """One more attempt of the operation, under its name and as the call that it is. Whether it is a retry."""
        seconds = int(at.timestamp())
        tried = change_operations(self._operations, cells, at, lambda operation: operation.proposed(seconds))
        return worst_of(tried).attempts > 1

    def _count_step(self, session: Session, cells: Cells, at: datetime, *, call: bytes, form: bytes) -> None:
        """The session's own: its goal, its history, its chain of digests, and what taints it."""
        proposal = self._proposal
        if session.steps == 0 and session.goal_set_by == "none" and proposal.goal:
            session.set_goal(proposal.goal, "proposal")
            self._see_goal(cells, at)
        session.history.add(call=call, form=form, request=self._request, seconds=int(at.timestamp()))
        session.chain(call)
        for source in proposal.context.sources:
            if source.trust is SourceTrust.UNTRUSTED:
                session.taint(source.kind, source.reference, session.steps)

    def _see_goal(self, cells: Cells, at: datetime) -> None:
        heard = provenance.hear(Source.GOAL, self._proposal.goal, key=self._measuring.terms_key)
        ends = at + self._measuring.retention
        provenance.note_sight(heard, cells, self._terms, step=0, expire_time=ends)

    def _tags(self) -> tuple[bytes, bytes]:
        """What tells whether two calls are the same, and whether they are alike."""
        proposal = self._proposal
        name = proposal.tool_name.encode()
        roles = proposal.tool.entry.roles if proposal.tool else {}
        form = argument_forms.similar_form(proposal.disclosed_arguments, roles)
        return tag(name, proposal.arguments_digest.encode()), tag(name, form)

    def _facts(
        self,
        session: Session,
        cells: Cells,
        place: int,
        idle_seconds: int,
        standing: Iterable[StandingApproval],
    ) -> FactsInput:
        proposal = self._proposal
        listed, unlisted = provenance.provenance_of(
            self._arguments, cells.open(self._terms, Sightings), self._measuring.terms_key
        )
        return {
            "violations": _violations(proposal),
            "loops": self._loops(session, cells, place),
            "retries": self._retries(session, cells),
            "breaker": breaker_facts(cells.get(self._breaker), at=self._at),
            "spend": session.spend.told(),
            "context": self._context(session, cells, place, idle_seconds),
            "provenance": listed,
            "provenance_unlisted": unlisted,
            "novelty": self._novelty.told(cells),
            "freezes": self._freezes.told(cells),
            "standing": [as_fact(each) for each in standing],
        }

    def _loops(self, session: Session, cells: Cells, place: int) -> LoopsInput:
        history = cells.open(self._agent, Agent).history
        return {
            "session": session.history.repeats(place),
            "agent": history.repeats(history.place_of(self._request)),
            "depth": self._parent.depth + 1,
            "parent_known": self._parent.known,
        }

    def _retries(self, session: Session, cells: Cells) -> RetriesInput:
        seconds = session.last_time // SECOND
        operation = worst_of(cells.open(place.cell, Operations).get(place.tag) for place in self._operations)
        return {
            "operation": operation.told(seconds, key_given=bool(self._proposal.operation)),
            "session": session.attempts.told(seconds),
            "agent": cells.open(self._agent, Agent).attempts.told(seconds),
            "tool": cells.open(self._tool, Attempts).told(seconds),
        }

    def _context(self, session: Session, cells: Cells, place: int, idle_seconds: int) -> MeasuredContextInput:
        proposal, sent = self._proposal, self._proposal.context.state_digest
        newest = place < 0 or place == len(session.history) - 1
        return {
            "digest_sent": bool(sent),
            # Of a step before the newest nobody knows any more which digest it had to send: it does not match.
            "digest_matches": not sent or (newest and sent == session.previous_digest),
            "stale_reads": memory.stale_reads(proposal.caller.tenant, proposal.context.memory_reads, cells),
            "untrusted_since_step": session.tainted_since,
            "untrusted_sources": session.taint_told(),
            "goal_set_by": session.goal_set_by,
            "goal_changed": bool(proposal.goal) and digest_of_text(proposal.goal) != session.goal_digest,
            "session_ended": session.ended,
            "idle_seconds": idle_seconds,
        }


def request_tag(request_id: str, payload_digest: str) -> bytes:
    """Names a request among those that were counted: the same only where the proposal is the same too."""
    return tag(request_id.encode(), payload_digest.encode())


class OperationPlace(NamedTuple):
    """Where an operation is counted: a cell, and its tag in there."""

    cell: bytes
    tag: bytes


def operation_places(
    tenant: str, tool: str, arguments_digest: str, operation: str
) -> tuple[OperationPlace, ...]:
    """Of this tool with these arguments, and of the operation that the caller names, where it names one.

    Both are counted, so that another name for each attempt hides nothing.
    """
    call = _operation_place(tenant, f"call {tool}", arguments_digest)
    return (call, _operation_place(tenant, "named", operation)) if operation else (call,)


def change_operations(
    places: Iterable[OperationPlace], cells: Cells, at: datetime, change: Callable[[Operation], None]
) -> list[Operation]:
    """Change the operation in each of its places, which are held; as it is then."""
    changed = []
    for place in places:
        operations = cells.open(place.cell, Operations)
        operation = operations.get(place.tag)
        change(operation)
        operations.put(place.tag, operation, int(at.timestamp()))
        cells.keep(place.cell, operations, expire_time=at + _OPERATION)
        changed.append(operation)
    return changed


def _operation_place(tenant: str, kind: str, name: str) -> OperationPlace:
    found = tag(name.encode())
    bucket = str(int.from_bytes(found[:2], "big") % OPERATION_CELLS)
    return OperationPlace(common_cell_key(CellKind.OPERATION, tenant, kind, bucket), found)


def tag(*parts: bytes) -> bytes:
    """8 bytes of SHA-256 over the parts, none of which but the last may hold a newline."""
    return hashlib.sha256(b"\n".join(parts)).digest()[:TAG_BYTES]


def _violations(proposal: Proposal) -> list[ViolationInput]:
    if proposal.tool is None:
        return [
            {"code": "unknown_tool", "path": "", "rule": "catalog", "message": "the catalog has no such tool"}
        ]
    return [
        {"code": "schema", "path": violation.path, "rule": violation.rule, "message": violation.message}
        for violation in proposal.violations
    ]
