"""ApprovalService over the flows."""

from interlock.core.identity import CallerKind
from interlock.flows.approve import resolve_approval
from interlock.flows.approving import Approving
from interlock.flows.show_approvals import get_approval, list_approvals
from interlock.flows.standing import list_standing, revoke_standing
from interlock.rpc import approval_wire
from interlock.rpc.endpoint import Call, caller_of
from interlock.v1 import approval_service_pb2 as pb


class ApprovalServicer:
    """What waits for people, for approvers and auditors to see and for approvers to answer (case 50)."""

    service = pb.DESCRIPTOR.services_by_name["ApprovalService"]

    def __init__(self, *, approving: Approving) -> None:
        self._approving = approving

    async def list_approvals(self, request: pb.ListApprovalsRequest, call: Call) -> pb.ListApprovalsResponse:
        """A page of approvals."""
        caller = caller_of(call, CallerKind.APPROVER, CallerKind.AUDITOR)
        page, following = await list_approvals(approval_wire.list_query(request), caller, self._approving)
        return pb.ListApprovalsResponse(
            approvals=map(approval_wire.approval, page), next_page_token=following
        )

    async def get_approval(self, request: pb.GetApprovalRequest, call: Call) -> pb.GetApprovalResponse:
        """One approval, with all that there is to see of it."""
        caller = caller_of(call, CallerKind.APPROVER, CallerKind.AUDITOR)
        shown = await get_approval(
            request.approval_id, caller, self._approving, limit_seconds=call.limit_seconds
        )
        return approval_wire.shown(shown)

    async def resolve_approval(
        self, request: pb.ResolveApprovalRequest, call: Call
    ) -> pb.ResolveApprovalResponse:
        """A person's answer."""
        caller = caller_of(call, CallerKind.APPROVER)
        answer = approval_wire.given_answer(request)
        resolved = await resolve_approval(answer, caller, self._approving, limit_seconds=call.limit_seconds)
        return approval_wire.resolved(resolved)

    async def list_standing_approvals(
        self, request: pb.ListStandingApprovalsRequest, call: Call
    ) -> pb.ListStandingApprovalsResponse:
        """A page of standing approvals."""
        caller = caller_of(call, CallerKind.APPROVER, CallerKind.AUDITOR)
        page, following = await list_standing(approval_wire.standing_query(request), caller, self._approving)
        return pb.ListStandingApprovalsResponse(
            standing_approvals=map(approval_wire.standing_approval, page), next_page_token=following
        )

    async def revoke_standing_approval(
        self, request: pb.RevokeStandingApprovalRequest, call: Call
    ) -> pb.RevokeStandingApprovalResponse:
        """A standing approval is taken back."""
        caller = caller_of(call, CallerKind.APPROVER)
        ended = await revoke_standing(request.standing_id, request.comment, caller, self._approving)
        return pb.RevokeStandingApprovalResponse(standing_approval=approval_wire.standing_approval(ended))
