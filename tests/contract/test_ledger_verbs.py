"""The ledger for a person: beside a gateway that runs, and without one."""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.adapters import ledger_verbs
from interlock.adapters.ledger_postgres import PostgresLedger
from interlock.adapters.ledger_rows import ReconciliationRefused
from interlock.adapters.ledger_sqlite import (
    SqliteLedger,
)
from interlock.adapters.ledger_verbs import LedgerForVerbs
from interlock.adapters.store_errors import StoreUnusable
from interlock.core.outcome import (
    Finding,
    OutcomeKind,
)
from tests.contract.test_ledger import (
    A_FINDING,
    PostgresReplicas,
    a_step,
    an_unknown,
    an_unknown_step,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_person_reconciles_beside_a_running_gateway(
    path: Path, request: pytest.FixtureRequest, stored: str
) -> None:
    """A verb shows and reconciles while a gateway has the ledger, and the gateway delivers what was found."""
    with asyncio.Runner() as runner:
        ledger = runner.run(open_stored(stored, path, request))
        runner.run(an_unknown_step(ledger))
        with open_for_verbs(stored, path, request, read_only=True) as verbs:
            found = verbs.find_execution("execution-1")
            assert found is not None
            assert (found.kind, found.reconciliation) == (OutcomeKind.UNKNOWN, None)
            assert verbs.find_execution("execution-2") is None
        with open_for_verbs(stored, path, request, read_only=False) as verbs:
            verbs.reconcile("execution-1", A_FINDING)
            verbs.reconcile("execution-1", A_FINDING)
            with pytest.raises(ReconciliationRefused):
                verbs.reconcile("execution-1", replace(A_FINDING, finding=Finding.NOT_RUN))
            with pytest.raises(ReconciliationRefused):
                verbs.reconcile("execution-2", A_FINDING)
            assert verbs.list_executions(kind=OutcomeKind.UNKNOWN, limit=1) == runner.run(
                ledger.list_executions()
            )
        [waiting] = runner.run(ledger.undelivered(10))
        assert waiting == replace(an_unknown(), reconciliation=A_FINDING)
        assert runner.run(ledger.redeem(a_step("two", "one", number=3))) is None
        runner.run(ledger.close())


def test_a_ledger_that_is_not_there_is_not_made_by_looking(path: Path) -> None:
    """A verb on a machine without a gateway's ledger says so, and leaves nothing."""
    with (
        pytest.raises(StoreUnusable, match="no gateway has started"),
        ledger_verbs.open_sqlite(path, read_only=False),
    ):
        pass
    assert not path.exists()


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def open_stored(kind: str, path: Path, request: pytest.FixtureRequest) -> SqliteLedger | PostgresLedger:
    if kind == "sqlite":
        return SqliteLedger(path, limit_seconds=10)
    return await PostgresReplicas.entered(request.getfixturevalue("database"))


def open_for_verbs(
    kind: str, path: Path, request: pytest.FixtureRequest, *, read_only: bool
) -> AbstractContextManager[LedgerForVerbs]:
    if kind == "sqlite":
        return ledger_verbs.open_sqlite(path, read_only=read_only)
    return ledger_verbs.open_postgres(request.getfixturevalue("database"), "gateway-1", read_only=read_only)
