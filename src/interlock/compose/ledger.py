"""Which ledger a gateway has: the one place that knows that there is more than one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import NoReturn

from interlock.adapters import ledger_verbs
from interlock.adapters.clock import SystemClock
from interlock.adapters.ledger_postgres import PostgresLedger
from interlock.adapters.ledger_sqlite import SqliteLedger
from interlock.adapters.ledger_verbs import LedgerForVerbs
from interlock.adapters.postgres_address import PostgresAddress
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.places import ledger_file
from interlock.compose.postgres_settings import address_of
from interlock.core.errors import InterlockError

LOOK_SECONDS = 10.0
"""So often a gateway looks for replicas that are gone, and for what a person found beside it."""

GatewayLedger = SqliteLedger | PostgresLedger


@contextlib.asynccontextmanager
async def open_ledger(gateway: GatewaySettings) -> AsyncIterator[GatewayLedger]:
    """The ledger that the settings name, until the end of the block. Raises StoreUnusable, StoreUnavailable."""
    gateway.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = _address(gateway)
    ledger = await _enter(gateway, address) if address else await _open_file(gateway)
    try:
        now = SystemClock().now()
        await ledger.recover(now)
        await ledger.prune(now)
        yield ledger
    finally:
        await ledger.close()


async def look_again(ledger: GatewayLedger, wake: Callable[[], None]) -> NoReturn:
    """End what replicas left that are gone, and `wake` who reports it, again and again until cancelled.

    A file has no other replica; what an earlier process left there was ended when it was opened.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if isinstance(ledger, PostgresLedger):
            # A ledger that is away says so where it is used.
            with contextlib.suppress(InterlockError):
                await ledger.recover(SystemClock().now())
        wake()


def open_for_verbs(gateway: GatewaySettings, *, read_only: bool) -> AbstractContextManager[LedgerForVerbs]:
    """The same ledger beside running gateways. Raises StoreUnusable, StoreUnavailable."""
    if address := _address(gateway):
        return ledger_verbs.open_postgres(address, gateway.name, read_only=read_only)
    return ledger_verbs.open_sqlite(ledger_file(gateway), read_only=read_only)


def look_at_ledger(gateway: GatewaySettings) -> str:
    """Where the ledger is. Raises StoreUnusable, StoreUnavailable."""
    address = _address(gateway)
    if address is None and not ledger_file(gateway).exists():
        return f"{ledger_file(gateway)}, made at the first start"
    with open_for_verbs(gateway, read_only=True):
        return str(address or ledger_file(gateway))


async def _open_file(gateway: GatewaySettings) -> SqliteLedger:
    return await asyncio.to_thread(
        SqliteLedger, ledger_file(gateway), limit_seconds=gateway.ledger_limit_seconds
    )


async def _enter(gateway: GatewaySettings, address: PostgresAddress) -> PostgresLedger:
    ledger = PostgresLedger(address, gateway=gateway.name, limit_seconds=gateway.ledger_limit_seconds)
    await ledger.start()
    return ledger


def _address(gateway: GatewaySettings) -> PostgresAddress | None:
    """None for the ledger in a file."""
    return address_of(gateway.ledger, gateway.ledger_password_file, what="ledger")
