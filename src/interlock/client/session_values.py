"""What the clients take and give of sessions: frozen values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from interlock.client.values import MemoryRead, Outcome, Verdict


class GoalSetBy(StrEnum):
    """Who set a session's goal: nobody, the agent with its first proposal, or a user."""

    NONE = "none"
    PROPOSAL = "proposal"
    USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningStep:
    """A piece of an agent's planning, in its own words: at most 1,024 characters."""

    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWrite:
    """A memory entry that was written, and the version that it has since; `digest` is empty for none."""

    key: str
    version: int
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTransition:
    """A change of something that the agent keeps track of; the name and each state at most 128 characters."""

    name: str
    from_state: str
    to_state: str


StepKind: TypeAlias = PlanningStep | MemoryRead | MemoryWrite | StateTransition


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an agent did besides proposing a call. `number` grows within a session, from 1, gaps are allowed.

    `cost` (in the units of the catalog) and `model_tokens` are what it used, as far as the agent knows.
    """

    number: int
    kind: StepKind
    cost: int | None = None
    model_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsRecorded:
    """How many steps were recorded that had not been before, and the number of the session's last step."""

    recorded: int
    last_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEntry:
    """A decision in a timeline, and how its call repeats those before it in the session, itself counted.

    `same_call` counts identical calls; the calls end in `cycle_count` repeats of one cycle of `cycle_length`
    calls, both 0 where they do not. `approval_id` is the approval that it waits for, `follows` the one whose end it
    weighed, for the same proposal waited for that before; empty for none.
    """

    decision_id: str
    log_index: int
    verdict: Verdict
    tool: str
    arguments_digest: str
    reason_codes: tuple[str, ...]
    same_call: int
    cycle_length: int
    cycle_count: int
    approval_id: str = ""
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalEntry:
    """What happened to the approval that a decision of the session opened.

    `change` is `answer`, `approve`, `deny`, `expire`, `withdraw` or `supersede`, and `state` what it was after that.
    `requested_by` is who did it, `KIND/NAME`, or `service`.
    """

    approval_id: str
    decision_id: str
    change: str
    state: str
    requested_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeEntry:
    """What came of an allowed call, in a timeline."""

    decision_id: str
    execution_id: str
    outcome: Outcome
    result_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureEntry:
    """An attempt that ended in an error, in a timeline: `reason` is a name of `interlock.v1.ErrorReason`."""

    reason: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """Something that happened in a session, at `time` (UTC) by the service's clock.

    `number` is that of a recorded step, or the place of a decision's proposal among those of the session; else
    0. `entry` is None where the service is newer than this client and tells of something else.
    """

    time: datetime
    number: int
    entry: Step | DecisionEntry | ApprovalEntry | OutcomeEntry | FailureEntry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the service measured of a session. Times are in UTC.

    `goal` is at most the first 1,024 characters of it, `user` is empty where no user started the session.
    `steps` counts proposals; `last_step_number` is that of the last recorded step, 0 for none. `facts` are
    those that docs/facts.md tells of. `timeline` is what happened, oldest first, where it was asked for.
    """

    session_id: str
    agent: str
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
    timeline: tuple[TimelineEntry, ...] = ()
