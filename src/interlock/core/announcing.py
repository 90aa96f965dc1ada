"""Announcements of approvals, for webhooks: kept with what they tell of, in the same transaction, until delivered."""

from datetime import datetime

from interlock.core.approval import Approval
from interlock.core.cells import CellKind, Cells, cell_key


def announcement_key(tenant: str, approval_id: str, version: int) -> bytes:
    """The cell of the announcement of this version of an approval."""
    return cell_key(CellKind.ANNOUNCEMENT, tenant, approval_id, str(version))


def announce(approval: Approval, cells: Cells, at: datetime) -> None:
    """Keep an announcement of the approval as it is now; its cell is held."""
