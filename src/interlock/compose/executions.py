"""A gateway's ledger as a person sees it, beside a running gateway or without one."""

import getpass

from interlock.adapters.clock import SystemClock
from interlock.adapters.ledger_rows import ReconciliationRefused
from interlock.compose.ledger import open_for_verbs
from interlock.compose.places import gateway_of
from interlock.compose.settings import Settings
from interlock.core.execution import Execution
from interlock.core.outcome import MAX_COMMENT, MAX_FOUND_BY, Finding, OutcomeKind, Reconciliation


class ExecutionNotFound(Exception):
    """No execution has this id; the message says so."""


def list_executions(settings: Settings, kind: OutcomeKind | None, limit: int) -> list[Execution]:
    """Executions and refusals, newest first. Raises StoreUnusable, StoreUnavailable."""
    with open_for_verbs(gateway_of(settings), read_only=True) as ledger:
        return ledger.list_executions(kind=kind, limit=limit)


def show_execution(settings: Settings, execution_id: str) -> Execution:
    """One of them. Raises ExecutionNotFound, StoreUnusable, StoreUnavailable."""
    with open_for_verbs(gateway_of(settings), read_only=True) as ledger:
        return _found(ledger.find_execution(execution_id), execution_id)


def reconcile(
    settings: Settings, execution_id: str, finding: Finding, *, comment: str, found_by: str
) -> Execution:
    """Keep a person's finding, once, which the gateway reports. `found_by` empty: who runs this.

    Raises ReconciliationRefused, StoreUnusable, StoreUnavailable.
    """
    found_by = found_by or _who_runs_this()
    if not 1 <= len(comment.strip()) <= len(comment) <= MAX_COMMENT or len(found_by) > MAX_FOUND_BY:
        raise ReconciliationRefused(
            f"a comment must be 1 to {MAX_COMMENT} characters, and a name at most {MAX_FOUND_BY}"
        )
    found = Reconciliation(finding=finding, comment=comment, found_by=found_by, time=SystemClock().now())
    with open_for_verbs(gateway_of(settings), read_only=False) as ledger:
        ledger.reconcile(execution_id, found)
        return _found(ledger.find_execution(execution_id), execution_id)


def _found(execution: Execution | None, execution_id: str) -> Execution:
    if execution is None:
        raise ExecutionNotFound(
            f"there is no execution `{execution_id}` in this ledger; see `interlock executions list`"
        )
    return execution


def _who_runs_this() -> str:
    try:
        return getpass.getuser()[:MAX_FOUND_BY]
    except (KeyError, OSError):
        return ""
