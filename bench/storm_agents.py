"""The agents of the simulation: a steady rate of work, and two layers that try again when it fails.

A client layer repeats a failed call quickly, as many libraries do unasked; when that is used up, the agent's own
loop thinks for a moment and proposes the call again, as models do.
"""

import math
import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """Seconds, but for `turns`: how often an agent's loop comes back to a call before it gives the work up."""

    period: float = 5.0
    quick: tuple[float, ...] = (0.1, 0.2, 0.4)
    think: float = 2.0
    turns: int = 10
    honours_retry_after: bool = True


@dataclass(slots=True, kw_only=True)
class Task:
    """A piece of work: one call that has to succeed. `attempts` counts proposals of it."""

    number: int
    due: float
    attempts: int = 0
    quick: int = 0
    turns: int = 0


@dataclass(slots=True)
class Work:
    """What was due when, and which of it was done before the next piece was due: lists of due times."""

    due: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)


class Agent:
    """One agent. Work that falls due while it is still busy with an earlier piece is lost."""

    def __init__(self, number: int, plan: AgentPlan, work: Work, chance: random.Random) -> None:
        self.number = number
        self.task: Task | None = None
        self._plan = plan
        self._work = work
        self._next_due = chance.uniform(0, plan.period)
        self._wakes = math.inf
        self._tasks = 0

    def proposes(self, now: float) -> Task | None:
        """The task whose call it proposes at this moment."""
        while self._next_due <= now:
            self._falls_due(self._next_due)
            self._next_due += self._plan.period
        if self.task is None or self._wakes > now:
            return None
        self._wakes = math.inf
        self.task.attempts += 1
        return self.task

    def hears(self, now: float, *, succeeded: bool) -> None:
        """What came of the call."""
        assert self.task is not None
        if succeeded:
            if now < self.task.due + self._plan.period:
                self._work.done.append(self.task.due)
            self.task = None
        else:
            self._tries_again(self.task, now)

    def is_denied(self, now: float, retry_after: float | None) -> None:
        """The call was not let through; `retry_after` in seconds, None where waiting does not help."""
        assert self.task is not None
        if not self._plan.honours_retry_after:
            self._tries_again(self.task, now)
        elif retry_after is None:
            self.task = None
        else:
            self._comes_back(self.task, now + retry_after)

    def _falls_due(self, due: float) -> None:
        self._work.due.append(due)
        if self.task is None:
            self._tasks += 1
            self.task = Task(number=self._tasks, due=due)
            self._wakes = due

    def _tries_again(self, task: Task, now: float) -> None:
        if task.quick < len(self._plan.quick):
            self._wakes = now + self._plan.quick[task.quick]
            task.quick += 1
        else:
            self._comes_back(task, now + self._plan.think)

    def _comes_back(self, task: Task, at: float) -> None:
        """The agent's loop takes another turn, unless it has had all of them."""
        task.quick = 0
        task.turns += 1
        self._wakes = at
        if task.turns > self._plan.turns:
            self.task = None
