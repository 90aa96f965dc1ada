"""What the scripted agent does, and what it is told."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import approver
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent
from world import World

from interlock.client import Decision, Execution, Interlock, InterlockCallError, PlanStep, Verdict

GOAL = "see what changed in the repository, and commit it"
WAIT_SECONDS = 30.0

LEEWAY_SECONDS = 1.5
"""A little more than the gateway's `leeway_seconds`."""

FREEZE_SECONDS = 2.0
"""Every gateway knows of a freeze after so long."""

MEANING = {
    Verdict.ALLOW: "may run; this agent went no further",
    Verdict.DENY: "nothing ran; the reasons tell the agent why",
    Verdict.ESCALATE: "nothing ran; a person must approve it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the story."""

    did: str
    answer: str
    why: str
    result: str


def tell(world: World) -> list[Step]:
    """Play the whole story."""
    repository = {"repo_path": str(world.repository)}
    with Interlock(world.service, credential=world.agent, gateway=world.gateway) as agent:
        return [
            allowed(agent, "git_diff_unstaged", repository),
            *denied(agent, "git_commit", {**repository, "message": "wip"}, world),
            proposed(agent, "git_reset", repository),
            proposed(agent, "git_log", {**repository, "max_count": "ten"}),
            proposed(agent, "git_push", repository),
            replayed(agent, repository),
            changed(agent, repository),
            planned(agent, repository),
            expired(agent, repository),
            *asyncio.run(through_mcp(world)),
            frozen(agent, repository, world),
        ]


def allowed(agent: Interlock, tool: str, arguments: Mapping[str, Any]) -> Step:
    """A read, which is allowed and really runs."""
    run = agent.run(tool, arguments, goal=GOAL)
    return step(f"proposes {tool}", run.decision, output(run.execution) if run.execution else "NOT RUN")


def proposed(agent: Interlock, tool: str, arguments: Mapping[str, Any]) -> Step:
    """A call that the stock policies do not allow."""
    decision = agent.decide(tool, arguments, goal=GOAL)
    shown = {name: value for name, value in arguments.items() if name != "repo_path"}
    return step(f"proposes {tool} {json.dumps(shown) if shown else ''}", decision, MEANING[decision.verdict])


def denied(agent: Interlock, tool: str, arguments: Mapping[str, Any], world: World) -> list[Step]:
    """A call that the policies ask a person about, who says no."""
    decision = agent.decide(tool, arguments, goal=GOAL)
    approver.deny(world, decision.approval_id)
    answered = agent.wait_decision(decision, timeout=WAIT_SECONDS)
    return [
        step(
            f"proposes {tool} {json.dumps({'message': arguments['message']})}",
            decision,
            MEANING[decision.verdict],
        ),
        step("waits for a person, who denies it", answered, MEANING[answered.verdict]),
    ]


def replayed(agent: Interlock, arguments: Mapping[str, Any]) -> Step:
    """A token that is presented twice."""
    decision = agent.decide("git_status", arguments, goal=GOAL)
    agent.execute(decision, "git_status", arguments)
    return refused(
        agent, "presents the token of an allowed git_status again", decision, "git_status", arguments
    )


def changed(agent: Interlock, arguments: Mapping[str, Any]) -> Step:
    """A token that is presented with another argument than was decided."""
    decision = agent.decide("git_log", {**arguments, "max_count": 1}, goal=GOAL)
    other = {**arguments, "max_count": 1000}
    return refused(agent, "changes max_count from 1 to 1000 after the decision", decision, "git_log", other)


def expired(agent: Interlock, arguments: Mapping[str, Any]) -> Step:
    """A token that is presented too late."""
    decision = agent.decide("git_status", arguments, goal=GOAL)
    if decision.token_expire_time is not None:
        left = (decision.token_expire_time - datetime.now(UTC)).total_seconds()
        threading.Event().wait(left + LEEWAY_SECONDS)
    return refused(agent, "waits until the token has expired", decision, "git_status", arguments)


def planned(agent: Interlock, arguments: Mapping[str, Any]) -> Step:
    """Two reads that are decided as one plan; the second may not run before the first has succeeded."""
    steps = [
        PlanStep(step_id="look", tool="git_status", arguments=arguments),
        PlanStep(
            step_id="read", tool="git_show", arguments={**arguments, "revision": "HEAD"}, after=("look",)
        ),
    ]
    plan = agent.decide_plan(steps, goal=GOAL)
    did = "plans git_status, then git_show, and begins with the second"
    return refused(agent, did, plan.steps[1].execution_token, "git_show", steps[1].arguments)


def frozen(agent: Interlock, arguments: Mapping[str, Any], world: World) -> Step:
    """A token that was given before an operator froze the agent."""
    decision = agent.decide("git_log", {**arguments, "max_count": 2}, goal=GOAL)
    with Interlock(world.service, credential=world.operator) as operator:
        operator.freeze("agent", "coder", comment="shown in the demo")
        threading.Event().wait(FREEZE_SECONDS)
        told = refused(
            agent,
            "presents a token after an operator froze the agent",
            decision,
            "git_log",
            {**arguments, "max_count": 2},
        )
        operator.unfreeze("agent", "coder", comment="the demo goes on")
    return told


async def through_mcp(world: World) -> list[Step]:
    """The same server through an unchanged MCP client, which knows nothing of Interlock."""
    headers = {"Authorization": f"Bearer {world.agent}"}
    repository = {"repo_path": str(world.repository)}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"http://{world.front}/mcp", http_client=http)
        async with Client(transport) as client:
            tools = ", ".join(sorted(tool.name for tool in (await client.list_tools()).tools))
            read = await client.call_tool("git_status", repository)
            person = approver.approve_next(world)
            commit = await client.call_tool("git_commit", {**repository, "message": "Say goodbye"})
            person.join()
            log = await client.call_tool("git_log", {**repository, "max_count": 1})
    return [
        Step(did="an MCP client lists the tools", answer="SHOWN", why="those of its roles", result=tools),
        mcp_step("an MCP client calls git_status", "SUCCEEDED", read),
        mcp_step(
            "it calls git_commit, and waits; a person runs `interlock approvals approve`", "APPROVED", commit
        ),
        mcp_step("it looks at what was committed", "SUCCEEDED", log),
    ]


def mcp_step(did: str, answer: str, called: CallToolResult) -> Step:
    """What the model behind an MCP client reads."""
    told = "\n".join(part.text for part in called.content if isinstance(part, TextContent))
    if called.is_error:
        return Step(did=did, answer=answer, why=told, result="nothing ran")
    return Step(did=did, answer=answer, why="it was decided, executed once, and is on record", result=told)


def refused(
    agent: Interlock, did: str, decision: Decision | str, tool: str, arguments: Mapping[str, Any]
) -> Step:
    """What the gateway says to a token that it must not take."""
    try:
        execution = agent.execute(decision, tool, arguments)
    except InterlockCallError as error:
        return Step(did=did, answer="REFUSED", why=f"{error.reason}: {error.message}", result="nothing ran")
    return Step(did=did, answer="RAN", why="THIS MUST NOT HAPPEN", result=output(execution))


def step(did: str, decision: Decision, result: str) -> Step:
    """What a decision said."""
    why = [
        f"{reason.code}: {reason.metadata.get('message', reason.message)} {reason.path}"
        for reason in decision.reasons
    ]
    return Step(did=did.strip(), answer=decision.verdict.value.upper(), why="\n".join(why), result=result)


def output(execution: Execution) -> str:
    """The text that the tool gave."""
    texts = [part.get("text", "") for part in execution.result["content"]]
    return f"{execution.outcome.value}:\n" + "\n".join(texts).strip()
