"""The story of an approver: what waits is listed, shown and answered."""

from dataclasses import dataclass

from interlock.core.approval import Approval
from interlock.core.approval_view import GivenAnswer, ListQuery, Resolved, ShownApproval
from interlock.core.identity import Caller
from interlock.core.session import Measuring
from interlock.flows.follow import Following
from interlock.flows.page_tokens import Seal
from interlock.ports import Listings


@dataclass(frozen=True, slots=True, kw_only=True)
class Approving:
    """What answering approvals needs of the world."""

    following: Following
    listings: Listings
    measuring: Measuring
    seal: Seal


async def list_approvals(
    query: ListQuery, caller: Caller, approving: Approving
) -> tuple[list[Approval], str]:
    """A page of the tenant's approvals, and the token of the next page, empty on the last.

    Those that wait come by priority, then the oldest first; all others from the newest on. Raises InterlockError:
    INVALID_FIELD.
    """
    raise NotImplementedError


async def get_approval(
    approval_id: str, caller: Caller, approving: Approving, *, limit_seconds: float
) -> ShownApproval:
    """An approval with all that an approver should see of it.

    Raises InterlockError: INVALID_FIELD; APPROVAL_NOT_FOUND also for another tenant's (case 54).
    """
    raise NotImplementedError


async def resolve_approval(
    answer: GivenAnswer, caller: Caller, approving: Approving, *, limit_seconds: float
) -> Resolved:
    """Answer an approval.

    Raises InterlockError: INVALID_FIELD, MALFORMED_ARGUMENTS, APPROVAL_NOT_FOUND, APPROVAL_CHANGED,
    APPROVER_NOT_PERMITTED, APPROVAL_CLOSED, and those of ports.PolicyEngine: then nothing was answered.
    """
    raise NotImplementedError
