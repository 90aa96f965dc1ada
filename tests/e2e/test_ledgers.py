"""Ledgers as an operator has them: a finding about an unknown outcome, and replicas of a gateway on PostgreSQL."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from interlock.adapters.postgres_address import PostgresAddress
from interlock.client import AsyncInterlock, Interlock, InterlockCallError
from interlock.compose.doctor import Examination, examine
from interlock.core.record import RecordType
from tests.contract.postgres import PASSWORD, PostgresServer
from tests.e2e.processes import Server, wait_until
from tests.e2e.world import World
from tests.waiting import PATIENCE_SECONDS, until

CALLERS = 50


@pytest.fixture
def shared(own_world: World, postgres: PostgresServer, database: PostgresAddress) -> World:
    """A world whose gateway's ledger is in PostgreSQL, with the password in a file."""
    password = own_world.folder / "ledger.password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    own_world.settings["gateway"] |= {
        "ledger": postgres.url(database.database).replace(":o%27wner%20of%20all", ""),
        "ledger_password_file": str(password),
    }
    return own_world.start()


@pytest.fixture
def other(shared: World) -> Iterator[Server]:
    """A second replica of the gateway."""
    anywhere = {"data_dir": "gateway-replica", "listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    shared.write_settings(name="replica.toml", gateway=anywhere)
    variables = {"INTERLOCK_OPA": str(shared.opa), "INTERLOCK_CONFIG": "replica.toml"}
    server = Server("gateway", shared.folder, "replica", variables)
    try:
        with Interlock(server.grpc, credential="none", timeout=PATIENCE_SECONDS) as client:
            client.wait_ready()
        yield server
    finally:
        server.kill()


async def hang(world: World) -> str:
    """A decision whose call runs when its gateway is killed."""
    credential = world.credential("agent", "hanging", "tester")
    async with world.async_client(credential) as client:
        decision = await client.decide("hang", {})
        running = asyncio.create_task(client.execute(decision, "hang", {}))
        await until(lambda: world.runs() == ["hang"])
        world.gateway.kill()
        with pytest.raises(InterlockCallError):
            await running
    return decision.decision_id


async def test_an_unknown_outcome_is_reconciled_beside_the_gateway(own_world: World) -> None:
    """A person finds it, says what became of it, and that is on record without another run (case 25)."""
    world = own_world.start()
    decision_id = await hang(world)
    world.start_gateway()
    [listed] = json.loads(world.interlock("executions", "list", "--outcome", "unknown", "--json").stdout)
    assert listed["decision_id"] == decision_id
    found = ("--outcome", "not_run", "--comment", "its journal is empty", "--by", "ada")
    reconciled = world.interlock("executions", "reconcile", listed["execution_id"], *found)
    assert reconciled.returncode == 0, reconciled.stderr
    shown = json.loads(world.interlock("executions", "show", listed["execution_id"], "--json").stdout)
    assert (shown["outcome"], shown["finding"], shown["found_by"]) == ("unknown", "not_run", "ada")

    otherwise = ("--outcome", "failed", "--comment", "no")
    again = world.interlock("executions", "reconcile", listed["execution_id"], *otherwise)
    assert (again.returncode, "a finding is not changed" in again.stderr) == (1, True)
    nothing = world.interlock("executions", "reconcile", "no-such-execution", *otherwise)
    assert (nothing.returncode, "there is no execution" in nothing.stderr) == (1, True)

    wait_until(lambda: world.records(RecordType.RECONCILIATION) != [])
    [record] = world.records(RecordType.RECONCILIATION)
    assert (record["change"], record["comment"]) == ("not_run", "its journal is empty")
    assert (record["execution_id"], record["requested_by"]) == (listed["execution_id"], "gateway/gateway-1")
    assert "its journal is empty" in world.interlock("log", "list").stdout
    assert world.outcomes_of(decision_id) == ["unknown"]
    assert world.runs() == ["hang"]


async def test_a_token_at_two_replicas_runs_once(shared: World, other: Server) -> None:
    """100 callers present one token to two gateways at once: one run, and all others hear so (case 23)."""
    credential = shared.credential("agent", "coder", "tester")
    async with (
        shared.async_client(credential) as here,
        shared.async_client(credential, gateway=other.grpc) as there,
    ):
        decision = await here.decide("echo", {})

        async def present(client: AsyncInterlock) -> str:
            try:
                return (await client.execute(decision, "echo", {})).outcome
            except InterlockCallError as error:
                return error.reason

        heard = Counter(await asyncio.gather(*(present(each) for each in (here, there) * CALLERS)))
    assert heard == {"succeeded": 1, "TOKEN_ALREADY_REDEEMED": 2 * CALLERS - 1}
    assert shared.runs() == ["echo"]
    wait_until(lambda: sorted(shared.outcomes_of(decision.decision_id)) == ["refused", "succeeded"])


async def test_what_ran_on_a_killed_replica_is_told_by_the_other(shared: World, other: Server) -> None:
    """After kill -9 of one replica the other reports its execution as `unknown`, and no verb needs it (case 25)."""
    decision_id = await hang(shared)
    wait_until(lambda: shared.outcomes_of(decision_id) == ["unknown"])
    assert other.process.poll() is None
    [listed] = json.loads(shared.interlock("executions", "list", "--json").stdout)
    assert (listed["decision_id"], listed["outcome"]) == (decision_id, "unknown")
    looked = {look.subject: look for look in await asyncio.to_thread(_examine, shared)}
    assert looked["ledger"].problem == ""
    assert looked["ledger"].found.startswith("postgresql://interlock@127.0.0.1")
    assert PASSWORD not in other.said()
    assert not (shared.folder / "gateway" / "ledger.db").exists()


def test_a_gateway_without_its_ledger_runs_nothing(
    own_world: World, postgres: PostgresServer, database: PostgresAddress
) -> None:
    """While its PostgreSQL is out of reach a gateway refuses and is not ready; then it goes on by itself (case 16)."""
    own_world.settings["gateway"]["ledger"] = postgres.url(database.database)
    world = own_world.start()
    agent = world.agent()
    postgres.sql("postgres", f"ALTER DATABASE {database.database} ALLOW_CONNECTIONS false")
    postgres.sql(
        "postgres",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.database}'",
    )
    with pytest.raises(InterlockCallError) as refused:
        agent.execute(agent.decide("echo", {}), "echo", {}, timeout=PATIENCE_SECONDS)
    assert refused.value.reason == "LEDGER_UNAVAILABLE"
    assert world.runs() == []
    postgres.sql("postgres", f"ALTER DATABASE {database.database} ALLOW_CONNECTIONS true")
    wait_until(lambda: _runs(world))
    assert world.runs() == ["echo"]


def _examine(world: World) -> list[Examination]:
    return list(examine(world.write_settings()))


def _runs(world: World) -> bool:
    agent = world.agent()
    try:
        return agent.execute(agent.decide("echo", {}), "echo", {}).outcome == "succeeded"
    except InterlockCallError as error:
        if error.reason != "LEDGER_UNAVAILABLE":
            raise
        return False
