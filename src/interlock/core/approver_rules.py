"""Who may never approve, whatever the policy says: four eyes (case 50)."""

from collections.abc import Iterable

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import DELEGATE_OF, Caller


def check_approver(caller: Caller, authors: Iterable[str]) -> None:
    """That the approver is nobody whom the proposal comes from, and acts for none of them.

    `authors` are the proposing agents and their users, of all decisions that the proposal follows from, and of all
    proposals that joined the approval. Raises InterlockError: APPROVER_NOT_PERMITTED.
    """
    if acting_as(caller.name, caller.roles) & set(authors):
        raise InterlockError(
            reason=ErrorReason.APPROVER_NOT_PERMITTED,
            message="whoever proposed a call, stands behind its agent, or acts for one of them, may not answer it",
            metadata={"codes": "approvals.own_proposal"},
        )


def acting_as(approver: str, roles: Iterable[str]) -> frozenset[str]:
    """The approver's name, and the names of those whom it acts for."""
    acts_for = [role.removeprefix(DELEGATE_OF) for role in roles if role.startswith(DELEGATE_OF)]
    return frozenset([approver, *acts_for])
