"""Approvals through the synchronous client."""

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.client import approval_messages as messages
from interlock.client.approval_values import (
    Approval,
    ApprovalState,
    Resolution,
    Resolved,
    ShownApproval,
    StandingApproval,
    StandingTerms,
)
from interlock.client.asking import Ask
from interlock.v1.approval_service_pb2 import (
    GetApprovalRequest,
    ListStandingApprovalsRequest,
    RevokeStandingApprovalRequest,
)
from interlock.v1.approval_service_pb2_grpc import ApprovalServiceStub


class Approvals:
    """What waits for people: `interlock.approvals`. All is for approvers; auditors may look.

    Raises as the client does. An answer holds for the very version that was seen, and the same answer of the same
    approver again changes nothing: asking again while the service is away answers once. Where the reply to an edit was
    lost, asking again ends with APPROVAL_CHANGED or APPROVAL_CLOSED, and the approval shows the edit.
    """

    def __init__(self, stub: ApprovalServiceStub, ask: Ask) -> None:
        self._stub = stub
        self._ask = ask

    def list(
        self,
        state: ApprovalState | str | None = None,
        *,
        page_size: int = 100,
        timeout: float | None = None,
    ) -> Iterator[Approval]:
        """The tenant's approvals, in this `state` only where it is given, asked for in pages of at most 200.

        Those that wait come by priority, then the oldest first; all others from the newest on. `timeout` holds for each
        page.
        """
        request, more = messages.list_request(state, page_size), True
        while more:
            page, following = self._ask(self._stub.ListApprovals, request, messages.read_page, timeout)
            yield from page
            request, more = messages.following(request, following), bool(following)

    def get(self, approval_id: str, *, timeout: float | None = None) -> ShownApproval:
        """An approval with all that an approver should see of it."""
        request = GetApprovalRequest(approval_id=approval_id)
        return self._ask(self._stub.GetApproval, request, messages.read_shown, timeout)

    def resolve(
        self,
        approval: Approval | ShownApproval,
        resolution: Resolution | str,
        *,
        comment: str = "",
        edited_arguments: Mapping[str, Any] | None = None,
        standing: StandingTerms | None = None,
        timeout: float | None = None,
    ) -> Resolved:
        """Answer the `approval` as it was seen: `approve` or `deny`, with why in at most 1,024 characters.

        With an approve of a single call, `edited_arguments` take the place of the proposed ones, and `standing`
        approves the like of it too. Raises InterlockCallError: APPROVAL_CHANGED where it is no longer what was seen,
        APPROVER_NOT_PERMITTED, APPROVAL_CLOSED.
        """
        request = messages.resolve_request(
            approval, resolution, comment=comment, edited_arguments=edited_arguments, standing=standing
        )
        return self._ask(self._stub.ResolveApproval, request, messages.read_resolved, timeout)

    def standing(
        self, agent: str = "", *, page_size: int = 100, timeout: float | None = None
    ) -> Iterator[StandingApproval]:
        """Standing approvals that still hold, of this `agent` only where it is named, newest first."""
        request, more = ListStandingApprovalsRequest(agent=agent, page_size=page_size), True
        while more:
            page, following = self._ask(
                self._stub.ListStandingApprovals, request, messages.read_standing_page, timeout
            )
            yield from page
            request, more = messages.following_standing(request, following), bool(following)

    def revoke_standing(
        self, standing_id: str, *, comment: str = "", timeout: float | None = None
    ) -> StandingApproval:
        """Take a standing approval back, and give it as it was; what it led to stays."""
        request = RevokeStandingApprovalRequest(standing_id=standing_id, comment=comment)
        return self._ask(self._stub.RevokeStandingApproval, request, messages.read_revoked, timeout)
