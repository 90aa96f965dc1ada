"""Calls of an MCP client wait for people, who may change them; what the client takes back, nobody is asked of."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from mcp.client.client import Client

from interlock.client import Approval, ApprovalState, AsyncInterlock, Resolution
from tests.e2e.mcp_fronts import over_stdio, text_of
from tests.e2e.world import TENANT, World
from tests.waiting import PATIENCE_SECONDS, until


async def found(
    approver: AsyncInterlock, is_it: Callable[[Approval], bool], state: ApprovalState
) -> Approval:
    """The agent's approval in this state, once there is one."""
    seen: list[Approval] = []

    async def look() -> bool:
        seen[:] = [each async for each in approver.approvals.list(state) if is_it(each)]
        return bool(seen)

    await until(look, poll_seconds=0.05)
    return seen[0]


async def test_a_call_that_waits_runs_as_an_approver_changed_it_or_is_taken_back(
    world: World, tmp_path: Path
) -> None:
    """The model hears what was changed; a call that its client cancels is asked of nobody any more (invariant 3)."""
    name = f"waits-{tmp_path.name}"
    starts = over_stdio(
        world,
        world.credential("agent", "waiter-of-people", "contributor"),
        name,
        escalation_wait_seconds=PATIENCE_SECONDS,
    )
    approver = world.async_client(world.credential("approver", "alice", "approver", tenant=TENANT))
    arguments = {"repo_path": str(world.repository), "message": "change it"}
    elsewhere = {"repo_path": str(world.folder / "no-repository"), "message": "change it"}

    def mine(approval: Approval) -> bool:
        return approval.agent == "waiter-of-people"

    async with approver, Client(starts) as client:
        calling = asyncio.create_task(client.call_tool("git_commit", arguments))
        waiting = await found(approver, mine, ApprovalState.PENDING)
        shown = await approver.approvals.get(waiting.approval_id)
        await approver.approvals.resolve(shown, Resolution.APPROVE, edited_arguments=elsewhere)
        result = await calling
        assert "An approver changed the arguments before the call ran, at `/repo_path`" in text_of(result)
        assert (result.meta or {})["interlock.edited_arguments"] == elsewhere

        calling = asyncio.create_task(client.call_tool("git_commit", arguments))
        waiting = await found(approver, mine, ApprovalState.PENDING)
        calling.cancel()
        withdrawn = await found(approver, mine, ApprovalState.WITHDRAWN)
        assert withdrawn.approval_id == waiting.approval_id
