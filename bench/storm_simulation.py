"""The simulation: agents, what stands between them and the tool, and the tool, on a clock of their own."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from storm_agents import Agent, AgentPlan, Task, Work
from storm_tool import TICK_SECONDS, Call, Ending, Tool, ToolPlan

WINDOW_SECONDS = 5.0
RECOVERED_FROM = 0.95
"""Share of the work due in a window that is done: from there on, it is as it was before."""

STAYS_SECONDS = 30.0
"""So long it has to stay like this."""

SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A simulation of so many agents for so many seconds."""

    agents: int = 200
    seconds: float = 300.0
    agent: AgentPlan = field(default_factory=AgentPlan)
    tool: ToolPlan = field(default_factory=ToolPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether a proposal is let through, and with what; else the seconds after which to come back, and why not."""

    permission: object = None
    retry_after: float | None = None
    codes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the call may be made."""
        return self.permission is not None


class Door(Protocol):
    """What stands between agents and tool."""

    async def decide(self, asked: Sequence[tuple[int, Task]], now: float) -> list[Answer]:
        """An answer for each proposal: agent and task."""
        ...

    async def report(self, ended: Sequence[tuple[Call, Ending]], now: float) -> None:
        """What came of the calls that were let through."""
        ...


class OpenDoor:
    """Nothing: every call goes straight to the tool."""

    async def decide(self, asked: Sequence[tuple[int, Task]], now: float) -> list[Answer]:  # noqa: ARG002 - Door's
        """All are let through."""
        return [Answer(permission=True) for _ in asked]

    async def report(self, ended: Sequence[tuple[Call, Ending]], now: float) -> None:
        """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """By window: proposals, calls that reached the tool, and the shares of due work that were done.

    `refusals` counts reason codes of what was not let through.
    """

    plan: Plan
    proposals: Sequence[int]
    calls: Sequence[int]
    done: Sequence[float]
    refusals: dict[str, int]

    def calls_during_fault(self) -> int:
        """Calls that reached the tool while it was failing."""
        tool = self.plan.tool
        return sum(
            self.calls[int(tool.fault_begins / WINDOW_SECONDS) : int(tool.fault_ends / WINDOW_SECONDS)]
        )

    def recovered_after(self) -> float | None:
        """Seconds from the end of the fault until work is done as before, and stays so; None for never."""
        first, stays = int(self.plan.tool.fault_ends / WINDOW_SECONDS), int(STAYS_SECONDS / WINDOW_SECONDS)
        for window in range(first, len(self.done) - stays + 1):
            if min(self.done[window : window + stays]) >= RECOVERED_FROM:
                return (window - first) * WINDOW_SECONDS
        return None


async def simulate(plan: Plan, door: Door) -> Curves:
    """Run it. The same plan and door give the same curves."""
    chance, work, tool = random.Random(SEED), Work(), Tool(plan.tool)
    agents = [Agent(number, plan.agent, work, chance) for number in range(plan.agents)]
    proposed: list[float] = []
    reached: list[float] = []
    refusals: dict[str, int] = {}
    for tick in range(round(plan.seconds / TICK_SECONDS)):
        now = tick * TICK_SECONDS
        ended = tool.tick(now)
        await door.report(ended, now)
        for call, ending in ended:
            agents[call.agent].hears(now, succeeded=ending is Ending.ANSWERED)
        asked = [(agent.number, task) for agent in agents if (task := agent.proposes(now))]
        proposed.extend([now] * len(asked))
        for (number, _), answer in zip(asked, await door.decide(asked, now), strict=True):
            if answer.allowed:
                tool.take(Call(agent=number, began=now, permission=answer.permission), now)
                reached.append(now)
            else:
                agents[number].is_denied(now, answer.retry_after)
                for code in answer.codes:
                    refusals[code] = refusals.get(code, 0) + 1
    return Curves(
        plan=plan,
        proposals=_windows(proposed, plan),
        calls=_windows(reached, plan),
        done=_shares(work, plan),
        refusals=refusals,
    )


def _windows(moments: Sequence[float], plan: Plan) -> list[int]:
    counts = [0] * round(plan.seconds / WINDOW_SECONDS)
    for moment in moments:
        counts[int(moment / WINDOW_SECONDS)] += 1
    return counts


def _shares(work: Work, plan: Plan) -> list[float]:
    done, due = _windows(work.done, plan), _windows(work.due, plan)
    return [some / (all_ or 1) for some, all_ in zip(done, due, strict=True)]
