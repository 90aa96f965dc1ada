"""The story of an agent that takes its escalated proposal back, so that nobody is asked any more."""

from interlock.core.approval import Approval, ApprovalState, Event
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.flows.change_approval import Changing, change_if_first
from interlock.flows.follow import current
from interlock.flows.own_decision import own_decision
from interlock.ports import RecordReader


async def withdraw_decision(
    decision_id: str, caller: Caller, changing: Changing, reader: RecordReader
) -> str:
    """Withdraw the approval that the decision waits for, or that it got and did not use; its approval_id.

    Empty, and nothing is withdrawn, where the decision only joined the approval: others wait for that. Withdrawn again,
    the answer is the same. Raises InterlockError: DECISION_NOT_FOUND, alike for what is another's; APPROVAL_CLOSED
    where there is nothing to withdraw, with its `state`; DECISION_LOG_UNAVAILABLE.
    """
    stated = await own_decision(decision_id, caller, changing.log, reader)
    named = stated.concluded
    while True:
        approval = await current(named.tenant, named.approval_id or named.follows, changing)
        if approval and approval.state is ApprovalState.WITHDRAWN:
            return approval.approval_id
        if approval is None or not stated.waits or not approval.takes(Event.WITHDRAW):
            raise _closed(approval)
        if approval.decision_id != named.decision_id:
            return ""
        await change_if_first(approval, Event.WITHDRAW, changing, at=changing.clock.now(), caller=caller)


def _closed(approval: Approval | None) -> InterlockError:
    state = approval.state.value if approval else "none"
    return InterlockError(
        reason=ErrorReason.APPROVAL_CLOSED,
        message=f"there is no approval to withdraw any more; its state is `{state}`",
        metadata={"state": state},
    )
