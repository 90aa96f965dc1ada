"""Where approvals are listed: after each change exactly where they belong, and in the order that people look in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from interlock.core.approval import TRANSITIONS, Approval, ApprovalState, Binding, Event
from interlock.core.approval_answer import MostPending
from interlock.core.approval_cells import (
    ApprovalCell,
    end_place,
    ending_list,
    entries_of,
    history_list,
    pending_list,
)
from interlock.core.approval_evidence import evidence_of
from interlock.core.approving import ApprovalCondition, ChangeApproval, OpenApproval
from interlock.core.cells import Cells
from interlock.core.record import Draft
from tests.drafts import a_draft
from tests.fakes import NOON, MemoryDecisionLog

A_MINUTE = timedelta(minutes=1)
BINDING = Binding(
    tenant="acme",
    agent="agent-1",
    user="",
    tool="git/commit",
    catalog_digest="catalog",
    arguments_digest="arguments",
    plan_digest="",
    destinations="",
    files="",
    policy_revision="revision-1",
)


def an_approval(approval_id: str = "approval-1", *, priority: int = 50, age: int = 0) -> Approval:
    """An approval that was opened `age` minutes ago, and is of its own bytes."""
    binding = replace(BINDING, arguments_digest=approval_id)
    return Approval(
        approval_id=approval_id,
        tenant=binding.tenant,
        agent=binding.agent,
        user="",
        tool=binding.tool,
        decision_id=f"decision-of-{approval_id}",
        session_id="session-1",
        binding=binding,
        reasons=(),
        authors=("agent-1",),
        priority=priority,
        quorum=1,
        roles=("approver",),
        use_seconds=60,
        group="group",
        open_time=NOON - age * A_MINUTE,
        expire_time=NOON + timedelta(hours=1),
        opened_as=binding.digest,
    )


def paths(length: int) -> Iterator[tuple[Event, ...]]:
    """What can happen to an approval, one after the other: all that the table has, and a use at the end."""
    walks: list[tuple[ApprovalState, tuple[Event, ...]]] = [(ApprovalState.PENDING, ())]
    for _ in range(length):
        walks = [
            (after, (*walk, event))
            for state, walk in walks
            for (before, event), after in TRANSITIONS.items()
            if before is state and Event.USE not in walk
        ]
        yield from (walk for _, walk in walks)


@dataclass(frozen=True, slots=True)
class Use:
    """A record's change: a decision is granted with the approval."""

    approval: Approval

    @property
    def keys(self) -> Iterable[bytes]:
        return self._condition.keys

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        self._condition.use("decision-2", cells, NOON)
        return draft

    @property
    def _condition(self) -> ApprovalCondition:
        evidence = evidence_of(self.approval, "approved")
        return ApprovalCondition(tenant="acme", evidence=evidence, user="", policy_revision="revision-1")


async def opened(log: MemoryDecisionLog, approval: Approval) -> None:
    """The approval is open, as with the decision that it is of."""
    change = OpenApproval(
        approval=approval,
        files={},
        most_pending=MostPending(agent=100, tenant=100, agent_an_hour=100),
        sealed_request=b"request",
        at=approval.open_time,
    )
    await log.append([a_draft(once=approval.approval_id, change=change)])


async def happens(log: MemoryDecisionLog, event: Event, before: Approval) -> Approval:
    """The approval after the event, as it is stored."""
    changed = {"used_by": "decision-2"} if event is Event.USE else {}
    after = before.after(event, NOON + A_MINUTE, **changed)
    change = Use(before) if event is Event.USE else ChangeApproval(before=before, after=after, at=NOON)
    await log.append([a_draft(once=f"{before.approval_id}/{before.version}", change=change)])
    return after


async def listed(log: MemoryDecisionLog, list_key: bytes, *, before: bytes | None = None) -> list[str]:
    """The approvals of a list, each as its cell holds it now."""
    page = await log.state.page(list_key, before=before, limit=100)
    found = [ApprovalCell.decode(line.data).approval for line in page]
    return [approval.approval_id for approval in found if approval]


@pytest.mark.parametrize("path", [*paths(3)], ids="-".join)
async def test_an_approval_stands_in_the_lists_that_its_state_says(path: tuple[Event, ...]) -> None:
    """After each change it is listed where it belongs and nowhere else, also where it has left a list for good."""
    log = MemoryDecisionLog()
    approval = an_approval()
    await opened(log, approval)
    for event in path:
        approval = await happens(log, event, approval)
        assert set(log.state.entries) == set(entries_of(approval))
    waits = approval.state is ApprovalState.PENDING
    ends = waits or (approval.state is ApprovalState.APPROVED and not approval.used_by)
    assert await listed(log, history_list("acme")) == ["approval-1"]
    assert await listed(log, pending_list("acme")) == ["approval-1"] * waits
    assert await listed(log, ending_list()) == ["approval-1"] * ends


async def test_what_waits_is_listed_by_priority_and_then_the_oldest_first() -> None:
    """The most urgent first, of those the oldest; all of them from the newest on; another tenant's in neither."""
    log = MemoryDecisionLog()
    for approval in (
        an_approval("low", priority=0, age=4),
        an_approval("new", age=1),
        an_approval("old", age=3),
        an_approval("high", priority=100, age=2),
    ):
        await opened(log, approval)
    await opened(log, replace(an_approval("theirs"), tenant="globex"))
    assert await listed(log, pending_list("acme")) == ["high", "old", "new", "low"]
    assert await listed(log, history_list("acme")) == ["new", "high", "old", "low"]
    assert await listed(log, pending_list("globex")) == ["theirs"]


async def test_what_has_ended_stands_before_the_moment() -> None:
    """A sweep for what is over reads no further than now, whichever tenant's it is."""
    log = MemoryDecisionLog()
    for minutes, tenant in ((3, "acme"), (1, "globex"), (2, "acme")):
        approval = an_approval(f"in-{minutes}")
        await opened(log, replace(approval, tenant=tenant, expire_time=NOON + minutes * A_MINUTE))
    assert await listed(log, ending_list()) == ["in-1", "in-2", "in-3"]
    over = end_place(NOON + 2 * A_MINUTE + timedelta(microseconds=1))
    assert await listed(log, ending_list(), before=over) == ["in-1", "in-2"]
