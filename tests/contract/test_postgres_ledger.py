"""Several replicas of a gateway on one ledger in PostgreSQL, and a PostgreSQL that fails them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.adapters.ledger_postgres import PostgresLedger
from interlock.adapters.postgres import connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnusable
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import OutcomeKind
from tests import redeeming_process
from tests.contract.postgres import PostgresServer
from tests.contract.test_ledger import LATER, a_redemption, a_refusal, an_end, an_unknown
from tests.contract.test_postgres_processes import running
from tests.drafts import SHORT_SECONDS
from tests.waiting import until

PROGRAM = Path(redeeming_process.__file__)
TOKENS = 5
CALLERS = 50


@contextlib.asynccontextmanager
async def replica(
    address: PostgresAddress, *, limit_seconds: float = 10.0, gone_after_seconds: float = 0.0
) -> AsyncIterator[PostgresLedger]:
    ledger = PostgresLedger(
        address, gateway="gateway-1", limit_seconds=limit_seconds, gone_after_seconds=gone_after_seconds
    )
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


async def refused(ledger: PostgresLedger, number: int = 1) -> None:
    with pytest.raises(InterlockError) as caught:
        await ledger.redeem(a_redemption(number))
    assert caught.value.reason is ErrorReason.LEDGER_UNAVAILABLE
    assert caught.value.retry_after


async def works(ledger: PostgresLedger) -> bool:
    try:
        return await ledger.writable()
    except InterlockError:
        return False


# --- several replicas -------------------------------------------------------------------------------------


async def test_a_hundred_redeems_of_one_token_at_two_gateways_are_one_run(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """2 processes present each token 50 times at once: its tool runs once, at one of them (case 23, invariant 3)."""
    work = ("race", str(TOKENS), str(CALLERS))
    with (
        running(postgres, database, *work, program=PROGRAM) as one,
        running(postgres, database, *work, program=PROGRAM) as other,
    ):
        assert one.told() == other.told() == {"opened": True}
        one.go()
        other.go()
        told = [one.told(), other.told()]
    assert sorted(told[0]["ran"] + told[1]["ran"]) == [f"token-{number}" for number in range(TOKENS)]
    heard = Counter(told[0]["heard"]) + Counter(told[1]["heard"])
    assert heard == {"succeeded": TOKENS, "TOKEN_ALREADY_REDEEMED": TOKENS * (2 * CALLERS - 1)}


async def test_only_what_ran_on_the_killed_replica_becomes_unknown(
    postgres: PostgresServer, database: PostgresAddress
) -> None:
    """After kill -9 of one replica its execution is `unknown`, the other's goes on to its end (case 25)."""
    with (
        running(postgres, database, "hold", "token-1", program=PROGRAM) as killed,
        running(postgres, database, "hold", "token-2", program=PROGRAM) as other,
    ):
        for process, token_id in ((killed, "token-1"), (other, "token-2")):
            assert process.told() == {"opened": True}
            process.go()
            assert process.told() == {"running": token_id}
        async with replica(database) as ledger:
            assert await ledger.recover(LATER) == []
            killed.end()
            await until(lambda: ended(ledger), poll_seconds=0.01)
            other.go()
            assert other.told() == {"ended": True}
            kinds = {each.token_id: each.kind for each in await ledger.list_executions()}
            assert kinds == {"token-1": OutcomeKind.UNKNOWN, "token-2": OutcomeKind.SUCCEEDED}
            assert await ledger.redeem(a_redemption(1, execution_id="again")) is not None


async def ended(ledger: PostgresLedger) -> bool:
    outcomes = await ledger.recover(LATER)
    assert {outcome.token_id for outcome in outcomes} <= {"token-1"}
    return bool(outcomes)


async def test_a_replica_that_was_not_seen_for_a_moment_is_not_gone(database: PostgresAddress) -> None:
    """A replica whose connection is lost and made anew keeps what runs on it (case 25)."""
    async with replica(database, gone_after_seconds=60) as one, replica(database) as other:
        await other.redeem(a_redemption())
        await lose_connections(database)
        assert await one.recover(LATER) == []
        await until(lambda: works(other), poll_seconds=0.01)
        assert await one.recover(LATER) == []
        await other.finish(an_end())
        assert await other.undelivered(10) == [an_end()]


async def test_what_another_replica_supposed_gives_way_to_what_happened(database: PostgresAddress) -> None:
    """A replica that was taken for gone, and was not, tells how its execution ended (case 25)."""
    async with replica(database) as one, replica(database) as other:
        await other.redeem(a_redemption())
        await other._replica.leave()
        assert await one.recover(LATER) == [an_unknown()]
        await one.delivered(an_unknown())
        await other.finish(an_end())
        assert await one.undelivered(10) == [an_end()]
        await other.finish(an_end(kind=OutcomeKind.FAILED))
        assert await one.undelivered(10) == [an_end()]


async def test_a_replica_that_is_not_seen_redeems_nothing(database: PostgresAddress) -> None:
    """What others could end as soon as it begins is not begun, and the token stays free."""
    async with replica(database) as ledger:
        await ledger._replica.leave()
        await refused(ledger)
        assert not await works(ledger)
    async with replica(database) as ledger:
        assert await ledger.redeem(a_redemption()) is None


async def test_each_replica_delivers_its_own_and_those_of_who_is_gone(database: PostgresAddress) -> None:
    """No outcome is delivered by two live replicas, and none is left when its replica goes."""
    async with replica(database) as one:
        async with replica(database) as other:
            for number, ledger in ((1, one), (2, other)):
                await ledger.redeem(a_redemption(number))
                await ledger.finish(an_end(number))
            await other.refuse(a_refusal(3, ErrorReason.TOKEN_EXPIRED))
            assert await one.undelivered(10) == [an_end(1)]
            assert await other.undelivered(10) == [an_end(2), a_refusal(3, ErrorReason.TOKEN_EXPIRED)]
        assert await one.undelivered(2) == [an_end(1), an_end(2)]


async def test_replicas_that_start_at_once_share_what_one_of_them_made(database: PostgresAddress) -> None:
    """Of several that open an empty database at the same time each gets a number of its own."""
    ledgers = [PostgresLedger(database, gateway="gateway-1", limit_seconds=10) for _ in range(4)]
    await asyncio.gather(*(ledger.start() for ledger in ledgers))
    assert len({ledger._replica.number for ledger in ledgers}) == len(ledgers)
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


async def test_another_gateway_is_told_to_take_another_database(database: PostgresAddress) -> None:
    """Outcomes are reported by the gateway that they are of, so a ledger is of one."""
    async with replica(database):
        other = PostgresLedger(database, gateway="gateway-2", limit_seconds=10)
        with pytest.raises(StoreUnusable, match="is the ledger of the gateway `gateway-1`"):
            await other.start()


# --- a PostgreSQL that fails ------------------------------------------------------------------------------


async def lose_connections(database: PostgresAddress) -> None:
    """End every other connection to the database."""
    async with connect(database) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND usename = current_user AND datname = current_database()"
        )


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.kill], ids=["stopped", "crashed"])
async def test_without_its_ledger_nothing_is_redeemed(end: Callable[[PostgresServer], None]) -> None:
    """While PostgreSQL is down every redemption is refused; when it is back all goes on by itself (case 16)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with replica(address, limit_seconds=SHORT_SECONDS, gone_after_seconds=60) as ledger:
            assert await ledger.redeem(a_redemption(0)) is None
            end(server)
            await refused(ledger)
            assert not await works(ledger)
            server.start()
            await until(lambda: works(ledger), poll_seconds=0.01)
            assert await ledger.redeem(a_redemption(0, execution_id="again")) == "execution-0"
            assert await ledger.redeem(a_redemption()) is None


async def test_a_hanging_ledger_is_given_up_within_the_limit() -> None:
    """While nothing of PostgreSQL moves every redemption is refused, and its token stays free (case 17)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with replica(address, limit_seconds=SHORT_SECONDS, gone_after_seconds=60) as ledger:
            server.pause()
            await refused(ledger)
            await refused(ledger, 2)
            server.go_on()
            await until(lambda: works(ledger), poll_seconds=0.01)
            assert await ledger.redeem(a_redemption()) is None
            assert await ledger.redeem(a_redemption(2)) is None


def set_standby(server: PostgresServer, name: str) -> None:
    """A commit waits until this standby has it; empty: for none."""
    server.sql(
        "postgres", f"ALTER SYSTEM SET synchronous_standby_names = '{name}'", "SELECT pg_reload_conf()"
    )


async def test_a_commit_that_comes_late_uses_no_token_up() -> None:
    """What was told to have failed is undone when its commit comes after all, and before any other (cases 17, 24)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with (
            replica(address, limit_seconds=SHORT_SECONDS, gone_after_seconds=60) as ledger,
            replica(address, gone_after_seconds=60) as other,
        ):
            set_standby(server, "away")
            await until(lambda: waits_for_standby(server), poll_seconds=0.05)
            await refused(ledger)
            await refused(ledger)
            set_standby(server, "")
            await until(lambda: works(ledger), poll_seconds=0.01)
            assert await ledger.redeem(a_redemption(execution_id="later")) is None
            listed = await other.list_executions()
            assert [execution.execution_id for execution in listed] == ["later"]


def waits_for_standby(server: PostgresServer) -> bool:
    return server.sql("postgres", "SHOW synchronous_standby_names") == "away"


async def test_what_a_caller_left_in_the_middle_is_undone(database: PostgresAddress) -> None:
    """A caller that is gone when its token is redeemed runs nothing, and so nothing is redeemed."""
    async with replica(database) as ledger, connect(database) as holder:
        await holder.execute("BEGIN; LOCK TABLE interlock_ledger.executions IN EXCLUSIVE MODE")
        leaving = asyncio.create_task(ledger.redeem(a_redemption()))
        await until(lambda: ledger._redeemer._batches != {})
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await holder.execute("ROLLBACK")
        await until(lambda: redeems(ledger), poll_seconds=0.01)


async def redeems(ledger: PostgresLedger) -> bool:
    return await ledger.redeem(replace(a_redemption(), execution_id="later")) in {None, "later"}


async def test_nothing_redeemed_is_lost_to_a_crash_of_postgresql() -> None:
    """After a crash of the server each token that was redeemed is used, with its plan and its end (case 24)."""
    with PostgresServer() as server:
        address = server.address(server.new_database())
        async with replica(address, gone_after_seconds=60) as ledger:
            await asyncio.gather(*(ledger.redeem(a_redemption(number)) for number in range(40)))
            await ledger.finish(an_end(7))
            server.kill()
            server.start()
        async with replica(address, gone_after_seconds=60) as ledger:
            again = [a_redemption(number, execution_id=f"again-{number}") for number in range(40)]
            answers = await asyncio.gather(*map(ledger.redeem, again))
            assert answers == [f"execution-{number}" for number in range(40)]
            assert await ledger.undelivered(10) == [an_end(7)]
