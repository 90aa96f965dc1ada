"""What must be so of an approval in the transaction that grants with it, whatever the policy said."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from interlock.core.approval import Answer, Approval, ApprovalState, Binding, Resolution
from interlock.core.approval_cells import ApprovalCell
from interlock.core.approval_evidence import evidence_of, forgotten
from interlock.core.approving import ApprovalCondition
from interlock.core.cells import Cells
from interlock.core.reservation import Shortfall
from interlock.core.store_secret import NEVER
from tests.fakes import NOON, MemoryDecisionLog
from tests.unit.core.test_approval_lists import an_approval

ANSWER = Answer(
    approver="alice",
    roles=("approver", "delegate-of-carol"),
    credential_id="a11ce00000000000",
    resolution=Resolution.APPROVE,
    comment="",
    time=NOON,
)
APPROVED = replace(an_approval(), state=ApprovalState.APPROVED, answers=(ANSWER,), version=2, user="ada")
CONDITION = ApprovalCondition(
    tenant="acme",
    evidence=evidence_of(APPROVED, "approved"),
    user=APPROVED.binding.user,
    policy_revision=APPROVED.binding.policy_revision,
    authors=("agent-1", "ada"),
)


@dataclass(frozen=True, slots=True)
class Lacking:
    """The Change that puts an approval into its cell, and gives what a condition says of it."""

    stored: Approval | None
    condition: ApprovalCondition
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        return self.condition.keys

    def run(self, cells: Cells) -> tuple[Shortfall, ...]:
        [key] = self.condition.keys
        if self.stored:
            cells.keep(key, ApprovalCell(self.stored), expire_time=NEVER)
        return self.condition.lacking(cells, self.at)


async def lacking(
    stored: Approval | None = APPROVED, condition: ApprovalCondition = CONDITION, at: datetime = NOON
) -> list[str]:
    """Codes and states of what is lacking."""
    [found] = await MemoryDecisionLog().state.apply([Lacking(stored, condition, at)], durable=False)
    return [f"{each.code} {each.metadata['state']}" for each in found]


async def test_an_approval_as_it_was_weighed_holds() -> None:
    """Approved, unused, in time, in the same version, for the very same: nothing is lacking."""
    assert await lacking() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"state": ApprovalState.PENDING},
        {"state": ApprovalState.DENIED},
        {"state": ApprovalState.EXPIRED},
        {"state": ApprovalState.WITHDRAWN},
        {"state": ApprovalState.SUPERSEDED},
        {"used_by": "decision-2"},
        {"version": 3},
        {"expire_time": NOON},
    ],
    ids=str,
)
async def test_what_happened_to_an_approval_meanwhile_takes_the_grant(changes: dict[str, Any]) -> None:
    """An approval that was denied, used, changed or ran out since the policy weighed it grants nothing (case 49)."""
    stored = replace(APPROVED, **changes)
    assert await lacking(stored) == [f"approvals.changed {stored.state}"]


@pytest.mark.parametrize("name", [each.name for each in fields(Binding)])
async def test_an_approval_of_anything_else_grants_nothing(name: str) -> None:
    """Of all that an approval is bound to nothing may be otherwise (case 51)."""
    other = replace(APPROVED, binding=replace(APPROVED.binding, **{name: "other"}))
    assert await lacking(other) == ["approvals.changed approved"]


@pytest.mark.parametrize("changes", [{"user": "bob"}, {"policy_revision": "revision-2"}], ids=str)
async def test_the_decision_itself_is_what_was_approved(changes: dict[str, Any]) -> None:
    """The user and the policy that decide are those of the approval: a newer policy voids it (case 51)."""
    assert await lacking(condition=replace(CONDITION, **changes)) == ["approvals.changed approved"]


@pytest.mark.parametrize("author", ["alice", "carol"])
async def test_nobodys_yes_is_for_a_proposal_of_their_own(author: str) -> None:
    """A proposal that comes from its approver, or from whom the approver acts for, is not granted (case 50)."""
    condition = replace(CONDITION, authors=(*CONDITION.authors, author))
    assert await lacking(condition=condition) == ["approvals.changed approved"]


async def test_an_approval_that_nobody_remembers_grants_nothing() -> None:
    """Where there is no approval, or another tenant has it, there is no grant (case 54)."""
    unknown = replace(CONDITION, evidence=forgotten("approval-1", "decision-1", ()))
    assert await lacking(None) == await lacking(None, unknown) == ["approvals.changed unknown"]
    assert await lacking(at=NOON + timedelta(hours=2)) == ["approvals.changed approved"]
