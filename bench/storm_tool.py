"""The tool of the simulation: a queue before a fixed capacity, and a fault that lasts for a while.

Its callers wait only so long; it does not know who has given up, and works on their calls all the same. So it
can be busy with nothing that anybody still waits for, long after what began it is over (a metastable failure:
Bronson et al., HotOS 2021).
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

TICK_SECONDS = 0.1
"""The simulation's grain: what happens within one is decided and answered together."""


class Ending(StrEnum):
    """What came of a call: an answer, an error, or none while somebody waited."""

    ANSWERED = "answered"
    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPlan:
    """Seconds, but for `capacity` (calls a second) and `waiting` (calls that the queue holds)."""

    capacity: int = 60
    waiting: int = 600
    patience: float = 1.0
    fault_begins: float = 30.0
    fault_ends: float = 90.0


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that reached the tool; `permission` is whatever the caller was let through with."""

    agent: int
    began: float
    permission: object
    abandoned: bool = False


class Tool:
    """Takes calls, and says at each tick which have ended."""

    def __init__(self, plan: ToolPlan) -> None:
        self._plan = plan
        self._queue: deque[Call] = deque()
        self._patient: deque[Call] = deque()
        self._refused: list[Call] = []
        self._strength = 0.0

    def take(self, call: Call, now: float) -> None:
        """One more call; it ends at a later tick."""
        if self._is_at_fault(now) or len(self._queue) >= self._plan.waiting:
            self._refused.append(call)
        else:
            self._queue.append(call)
            self._patient.append(call)

    def tick(self, now: float) -> list[tuple[Call, Ending]]:
        """The calls that ended since the tick before."""
        if self._is_at_fault(now):
            self._refused.extend(call for call in self._queue if not call.abandoned)
            self._queue.clear()
            self._patient.clear()
        refused, self._refused = self._refused, []
        failed = [(call, Ending.FAILED) for call in refused]
        return [*failed, *((call, Ending.ANSWERED) for call in self._work()), *self._give_up(now)]

    def _work(self) -> list[Call]:
        """As many calls as it has strength for, those that were given up among them."""
        per_tick = self._plan.capacity * TICK_SECONDS
        self._strength = min(self._strength + per_tick, max(1.0, 2 * per_tick))
        answered = []
        while self._queue and self._strength >= 1:
            self._strength -= 1
            call = self._queue.popleft()
            if not call.abandoned:
                answered.append(call)
                call.abandoned = True  # nobody waits for it any more
        return answered

    def _give_up(self, now: float) -> list[tuple[Call, Ending]]:
        late = []
        while self._patient and now - self._patient[0].began >= self._plan.patience:
            call = self._patient.popleft()
            if not call.abandoned:
                call.abandoned = True
                late.append((call, Ending.LATE))
        return late

    def _is_at_fault(self, now: float) -> bool:
        return self._plan.fault_begins <= now < self._plan.fault_ends
