"""Reading the gateway's ledger, beside a running gateway or without one."""

from interlock.adapters import ledger_sqlite
from interlock.compose.places import gateway_of, ledger_file
from interlock.compose.settings import Settings
from interlock.core.execution import Execution
from interlock.core.outcome import OutcomeKind


def list_executions(settings: Settings, kind: OutcomeKind | None, limit: int) -> list[Execution]:
    """Executions and refusals, newest first. Raises StoreUnusable."""
    connection = ledger_sqlite.open_ledger(ledger_file(gateway_of(settings)), read_only=True)
    try:
        return ledger_sqlite.list_executions(connection, kind=kind, limit=limit)
    finally:
        connection.close()
