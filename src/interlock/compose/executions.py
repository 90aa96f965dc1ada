"""Reading the gateway's ledger, beside a running gateway or without one."""

from interlock.adapters import ledger_sqlite
from interlock.compose.gateway import LEDGER_FILE
from interlock.compose.settings import Settings, SettingsError
from interlock.core.execution import Execution
from interlock.core.outcome import OutcomeKind


def list_executions(settings: Settings, kind: OutcomeKind | None, limit: int) -> list[Execution]:
    """Executions and refusals, newest first. Raises StoreUnusable."""
    if settings.gateway is None:
        raise SettingsError("there is no `[gateway]`, so there is no ledger")
    connection = ledger_sqlite.open_ledger(settings.gateway.data_dir / LEDGER_FILE, read_only=True)
    try:
        return ledger_sqlite.list_executions(connection, kind=kind, limit=limit)
    finally:
        connection.close()
