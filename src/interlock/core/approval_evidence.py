"""What stands behind a proposal that is decided again: the approval of its escalated decision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from interlock.core.approval import Approval, Binding
from interlock.core.policy_input import ApprovalInput, EditInput
from interlock.core.reason import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the policy sees of an approval, and what must still be so when a decision is granted with it.

    `binding` is of what people saw; a decision on anything else is not granted with it (case 51). It is None where
    nobody remembers the approval. `codes_of_steps` has a plan's step and a code for each reason that is of a step.
    """

    approval_id: str
    version: int
    binding: Binding | None
    told: ApprovalInput
    codes_of_steps: tuple[tuple[str, str], ...] = ()

    @property
    def approves(self) -> bool:
        """Whether it is a yes."""
        return self.told["state"] == "approved"

    def of_step(self, step: str) -> "Evidence":
        """The evidence for one step of a plan: with the codes of its own reasons."""
        codes = sorted({code for name, code in self.codes_of_steps if name == step})
        return replace(self, told={**self.told, "codes": codes})


def evidence_of(
    approval: Approval,
    state: Literal["approved", "denied", "expired", "withdrawn"],
    edits: Sequence[EditInput] = (),
) -> Evidence:
    """The approval as evidence that the policy weighs."""
    answers = approval.answers if state == "approved" else ()
    return Evidence(
        approval_id=approval.approval_id,
        version=approval.version,
        binding=approval.binding,
        told={
            "approval_id": approval.approval_id,
            "state": state,
            "decision_id": approval.decision_id,
            "codes": sorted({reason.code for reason in approval.reasons}),
            "answers": [
                {
                    "approver": answer.approver,
                    "roles": list(answer.roles),
                    "comment": answer.comment,
                    "unix": int(answer.time.timestamp()),
                }
                for answer in answers
            ],
            "edits": list(edits),
        },
        codes_of_steps=tuple(
            (step, reason.code)
            for reason in approval.reasons
            if isinstance(step := reason.metadata.get("step"), str)
        ),
    )


def forgotten(approval_id: str, decision_id: str, reasons: Sequence[Reason]) -> Evidence:
    """What is left of an approval that nobody remembers: its time was over long ago, and that means deny."""
    return Evidence(
        approval_id=approval_id,
        version=0,
        binding=None,
        told={
            "approval_id": approval_id,
            "state": "expired",
            "decision_id": decision_id,
            "codes": sorted({reason.code for reason in reasons}),
            "answers": [],
            "edits": [],
        },
    )
