"""What is kept of a session, which belongs to one agent of one tenant and is named by the agent."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from interlock.core.attempts import Attempts
from interlock.core.call_history import CallHistory
from interlock.core.cells import KIND_BYTE, CellKind, cell_key, cell_name
from interlock.core.facts import SpendInput, UntrustedSourceInput
from interlock.core.moments import SECOND, from_microseconds, microseconds_of, to_microseconds

VERSION = 1

GOAL_KEPT = 1_024
"""Characters of the goal that are kept to be shown; what it is compared by covers all of it."""

SOURCES_KEPT = 16
"""Untrusted sources that are kept by name; the step since when there are any is kept in any case."""

TERMS_KEY_BYTES = 16

GoalSetBy = Literal["none", "proposal", "user"]

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKey:
    """Whose session, and which. Another agent's session of the same name is another session (case 54)."""

    tenant: str
    agent: str
    session_id: str

    def cell(self, kind: CellKind) -> bytes:
        """The key of the session's cell of this kind."""
        return cell_key(kind, self.tenant, self.agent, self.session_id)

    def cells(self, *kinds: CellKind) -> list[bytes]:
        """The keys of the session's cells of these kinds."""
        name = cell_name(self.tenant, self.agent, self.session_id)
        return [KIND_BYTE[kind] + name for kind in kinds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How the service measures: when a session that does nothing ends, and how long one is remembered.

    `terms_key` (16 bytes, secret) keys the hashes of what a session saw, so that nobody can make a text whose
    hash is that of another.
    """

    idle: timedelta
    retention: timedelta
    terms_key: bytes = field(repr=False)


@dataclass(slots=True)
class Spend:
    """What a session used: calls that ran, and what outcomes and steps told."""

    calls: int = 0
    cost: int = 0
    model_tokens: int = 0
    compute_milliseconds: int = 0

    def add(
        self, *, calls: int = 0, cost: int = 0, model_tokens: int = 0, compute_milliseconds: int = 0
    ) -> None:
        """So much more."""
        self.calls += calls
        self.cost += cost
        self.model_tokens += model_tokens
        self.compute_milliseconds += compute_milliseconds

    def told(self) -> SpendInput:
        """As the policy sees it."""
        return {
            "calls": self.calls,
            "cost": self.cost,
            "model_tokens": self.model_tokens,
            "compute_milliseconds": self.compute_milliseconds,
        }


class Session:
    """A session's cell. Times are microseconds since the epoch; `last_time` never goes back (case 22)."""

    __slots__ = (
        "attempts",
        "ended",
        "goal",
        "goal_digest",
        "goal_set_by",
        "history",
        "last_step_number",
        "last_time",
        "previous_digest",
        "sources",
        "spend",
        "start_time",
        "state_digest",
        "tainted_since",
        "user",
    )

    def __init__(self) -> None:
        self.start_time = 0
        self.last_time = 0
        self.ended = False
        self.user = ""
        self.goal = ""
        self.goal_digest = ""
        self.goal_set_by: GoalSetBy = "none"
        self.state_digest = ""
        self.previous_digest = ""
        self.tainted_since = 0
        self.sources: list[tuple[str, str, int]] = []
        self.spend = Spend()
        self.last_step_number = 0
        self.attempts = Attempts()
        self.history = CallHistory()

    @classmethod
    def decode(cls, data: bytes) -> "Session":
        """What `encode` wrote; a session that has not begun, of empty bytes."""
        if not data:
            return cls()
        session = cls.__new__(cls)
        session._read(data)  # noqa: SLF001 - it sets everything, as `__init__` would
        return session

    def encode(self) -> bytes:
        """The short and the varied as JSON, then the attempts and the history as they encode themselves."""
        spend = self.spend
        head = orjson.dumps(
            [
                VERSION,
                self.start_time,
                self.last_time,
                self.ended,
                self.user,
                self.goal,
                self.goal_digest,
                self.goal_set_by,
                self.state_digest,
                self.previous_digest,
                self.tainted_since,
                self.sources,
                [spend.calls, spend.cost, spend.model_tokens, spend.compute_milliseconds],
                self.last_step_number,
            ]
        )
        return b"".join(
            (len(head).to_bytes(_LENGTH_BYTES, "little"), head, self.attempts.encode(), self.history.encode())
        )

    @property
    def began(self) -> bool:
        """Whether anything was ever proposed or set."""
        return self.start_time != 0

    @property
    def steps(self) -> int:
        """How many proposals were counted."""
        return self.history.steps

    def touch(self, at: datetime, measuring: Measuring) -> datetime:
        """Begin, or go on; a session that did nothing for too long has ended, and stays so.

        The time that the session takes it to be: `at`, or its own last where the clock was set back.
        """
        now = max(to_microseconds(at), self.last_time)
        if not self.began:
            self.start_time = now
        elif now - self.last_time > microseconds_of(measuring.idle):
            self.ended = True
        self.last_time = now
        return from_microseconds(now)

    def idle_seconds(self, at: datetime) -> int:
        """Seconds since it last did something."""
        return max(0, to_microseconds(at) - self.last_time) // SECOND if self.began else 0

    def has_ended(self, at: datetime, measuring: Measuring) -> bool:
        """Whether it is over at this time."""
        return self.ended or (self.began and at - from_microseconds(self.last_time) > measuring.idle)

    def set_goal(self, goal: str, by: GoalSetBy) -> None:
        """What the session is for, which never changes afterwards."""
        self.goal, self.goal_digest, self.goal_set_by = goal[:GOAL_KEPT], digest_of_text(goal), by

    def taint(self, kind: str, reference: str, step: int) -> None:
        """It has read something untrusted, and stays tainted from then on."""
        if not self.tainted_since:
            self.tainted_since = step
        known = any(source[:2] == (kind, reference) for source in self.sources)
        if not known and len(self.sources) < SOURCES_KEPT:
            self.sources.append((kind, reference, step))

    def taint_told(self) -> list[UntrustedSourceInput]:
        """The untrusted sources, as the policy sees them."""
        return [
            {"kind": kind, "reference": reference, "step": step} for kind, reference, step in self.sources
        ]

    def chain(self, call: bytes) -> None:
        """One more link of the digest that the agent is given, and sends back."""
        self.previous_digest = self.state_digest
        link = f"{self.state_digest}/{self.steps}/{call.hex()}"
        self.state_digest = digest_of_text(link)

    def _read(self, data: bytes) -> None:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        head: list[Any] = orjson.loads(data[_LENGTH_BYTES:end])
        if head[0] != VERSION:
            raise ValueError(f"a session's cell is of version {head[0]}, expected {VERSION}")
        (
            self.start_time,
            self.last_time,
            self.ended,
            self.user,
            self.goal,
            self.goal_digest,
            self.goal_set_by,
            self.state_digest,
            self.previous_digest,
            self.tainted_since,
            sources,
            spend,
            self.last_step_number,
        ) = head[1:]
        self.sources = [(kind, reference, step) for kind, reference, step in sources] if sources else []
        self.spend = Spend(*spend)
        self.attempts = Attempts.decode(data[end : end + Attempts.SIZE])
        self.history = CallHistory.decode(data[end + Attempts.SIZE :])


def digest_of_text(text: str) -> str:
    """SHA-256 of the text, hexadecimal, of which 128 bits are kept."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
