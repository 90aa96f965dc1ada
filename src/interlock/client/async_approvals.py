"""Approvals through the asynchronous client."""
# ruff: noqa: ASYNC109 - a call's timeout is its deadline, which travels to the service

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

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
from interlock.client.asking import AskAsync
from interlock.v1.approval_service_pb2 import (
    GetApprovalRequest,
    ListStandingApprovalsRequest,
    RevokeStandingApprovalRequest,
)

if TYPE_CHECKING:
    from interlock.v1.approval_service_pb2_grpc import ApprovalServiceAsyncStub


class AsyncApprovals:
    """What waits for people: `interlock.approvals`. All is for approvers; auditors may look.

    Raises as the client does. An answer holds for the very version that was seen, and the same answer of the same
    approver again changes nothing: asking again while the service is away answers once. Where the reply to an edit was
    lost, asking again ends with APPROVAL_CHANGED or APPROVAL_CLOSED, and the approval shows the edit.
    """

    def __init__(self, stub: "ApprovalServiceAsyncStub", ask: AskAsync) -> None:
        self._stub = stub
        self._ask = ask

    async def list(
        self,
        state: ApprovalState | str | None = None,
        *,
        page_size: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[Approval]:
        """The tenant's approvals, in this `state` only where it is given, asked for in pages of at most 200.

        Those that wait come by priority, then the oldest first; all others from the newest on. `timeout` holds for each
        page.
        """
        request, more = messages.list_request(state, page_size), True
        while more:
            page, following = await self._ask(self._stub.ListApprovals, request, messages.read_page, timeout)
            for each in page:
                yield each
            request, more = messages.following(request, following), bool(following)

    async def get(self, approval_id: str, *, timeout: float | None = None) -> ShownApproval:
        """An approval with all that an approver should see of it."""
        request = GetApprovalRequest(approval_id=approval_id)
        return await self._ask(self._stub.GetApproval, request, messages.read_shown, timeout)

    async def resolve(
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
        return await self._ask(self._stub.ResolveApproval, request, messages.read_resolved, timeout)

    async def standing(
        self, agent: str = "", *, page_size: int = 100, timeout: float | None = None
    ) -> AsyncIterator[StandingApproval]:
        """Standing approvals that still hold, of this `agent` only where it is named, newest first."""
        request, more = ListStandingApprovalsRequest(agent=agent, page_size=page_size), True
        while more:
            page, following = await self._ask(
                self._stub.ListStandingApprovals, request, messages.read_standing_page, timeout
            )
            for each in page:
                yield each
            request, more = messages.following_standing(request, following), bool(following)

    async def revoke_standing(
        self, standing_id: str, *, comment: str = "", timeout: float | None = None
    ) -> StandingApproval:
        """Take a standing approval back, and give it as it was; what it led to stays."""
        request = RevokeStandingApprovalRequest(standing_id=standing_id, comment=comment)
        return await self._ask(self._stub.RevokeStandingApproval, request, messages.read_revoked, timeout)
