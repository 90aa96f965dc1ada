"""The whole service on PostgreSQL: every verb works on it, replicas share it, and its password is nowhere."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interlock.adapters.postgres_address import PostgresAddress
from interlock.cli.main import application
from interlock.client import Interlock, InterlockCallError
from interlock.compose.doctor import examine
from interlock.compose.settings import SettingsError, load_settings
from interlock.core.record import RecordType
from tests.contract.postgres import PASSWORD, PostgresServer
from tests.contract.processes import environment
from tests.e2e.processes import Server, run_interlock, wait_until
from tests.e2e.test_outages import get
from tests.e2e.world import GATEWAY, World
from tests.waiting import PATIENCE_SECONDS


def on_postgres(world: World, url: str) -> World:
    """The world, with its store there and none in a file."""
    forget_file(world)
    world.settings["service"]["store"] = url
    world.credential("gateway", GATEWAY, file=world.folder / "gateway.credential")
    return world


def forget_file(world: World) -> None:
    """Remove the store that a new world has in a file."""
    for file in (world.folder / "service").glob("interlock.db*"):
        file.unlink()


def looked_at_store(world: World) -> str:
    """What `doctor` finds wrong with the store."""
    return next(look for look in examine(world.write_settings()) if look.subject == "decision log").problem


@pytest.fixture
def url(postgres: PostgresServer, database: PostgresAddress) -> str:
    return postgres.url(database.database)


@pytest.fixture
def stored(own_world: World, url: str) -> World:
    """A world whose store is in PostgreSQL, in which nothing runs yet."""
    return on_postgres(own_world, url)


def replica(world: World, name: str) -> Iterator[Server]:
    """Another decision service on the same store, with the same keys."""
    data = world.folder / name
    data.mkdir(mode=0o700)
    (data / "keys").symlink_to(world.folder / "service" / "keys")
    anywhere = {"data_dir": str(data), "listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    world.write_settings(name=f"{name}.toml", service=anywhere)
    variables = {"INTERLOCK_OPA": str(world.opa), "INTERLOCK_CONFIG": f"{name}.toml"}
    server = Server("serve", world.folder, name, variables)
    try:
        with Interlock(server.grpc, credential="none", timeout=PATIENCE_SECONDS) as client:
            client.wait_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture
def other(stored: World) -> Iterator[Server]:
    """A second decision service beside the one of a world that runs."""
    stored.start()
    yield from replica(stored, "service-2")


def test_a_story_on_postgresql(stored: World) -> None:
    """A call is decided, run and reported, and nothing of it is in a SQLite file."""
    world = stored.start()
    done = world.agent().run("echo", {"text": "hello"})
    assert done.execution
    assert done.execution.outcome == "succeeded"
    wait_until(lambda: world.outcomes_of(done.decision.decision_id) == ["succeeded"])
    assert not (world.folder / "service" / "interlock.db").exists()
    assert [record["decision_id"] for record in world.records(RecordType.DECISION)] == [
        done.decision.decision_id
    ]


def test_every_verb_works_on_postgresql(stored: World, tmp_path: Path) -> None:
    """Credentials, log and doctor work on the store in PostgreSQL as on the one in a file."""
    world = stored.start()
    decision = world.agent(name="first").decide("echo", {})
    listed = json.loads(world.interlock("credentials", "list", "--json").stdout)
    assert [row["name"] for row in listed] == [GATEWAY, "first"]
    assert world.interlock("credentials", "revoke", listed[1]["credential_id"]).returncode == 0
    again = world.interlock("credentials", "revoke", listed[1]["credential_id"])
    assert (again.returncode, "there is no credential" in again.stderr) == (1, True)
    rows = json.loads(world.interlock("log", "list", "--json", "--decision-id", decision.decision_id).stdout)
    assert [row["log_index"] for row in rows] == [decision.log_index]
    shown = json.loads(world.interlock("log", "show", str(decision.log_index)).stdout)
    assert shown["record"]["decision_id"] == decision.decision_id
    verified = json.loads(world.interlock("log", "verify", "--json").stdout)
    assert verified["verified"]
    assert world.interlock("log", "verify", "--expect", verified["head"]).returncode == 0
    forged = f"{verified['head'].partition(':')[0]}:{'0' * 64}"
    assert world.interlock("log", "verify", "--expect", forged).returncode == 1
    exported = world.interlock("log", "export").stdout.splitlines()
    assert [json.loads(line)["log_index"] for line in exported] == list(range(len(exported)))
    doctor = world.interlock("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "its last records verified" in doctor.stdout


def test_a_store_by_option_is_handed_on_unseen(own_world: World, url: str) -> None:
    """`up --store` is all that it takes, and no child shows to others what it hands on (case 63)."""
    world = own_world
    forget_file(world)
    own = {"INTERLOCK_OPA": str(world.opa), "INTERLOCK_SERVICE__STORE": url}
    use_free_ports(world)
    created = run_interlock(
        *("credentials", "create", "--kind=gateway", f"--name={GATEWAY}", "--tenant=acme"),
        folder=world.folder,
        **own,
    )
    (world.folder / "gateway.credential").write_text(created.stdout)
    up = Server("up", world.folder, "up", {"INTERLOCK_OPA": str(world.opa)}, "--store", url)
    try:
        wait_until(lambda: "gateway: gRPC on" in up.output.read_text())
        gateway, service = sorted(up.children("python"), key=lambda child: "serve" in command_of(child))
        assert "serve" in command_of(service)
        for child in (gateway, service):
            assert PASSWORD not in command_of(child)
        assert environment(service)["INTERLOCK_SERVICE__STORE"] == url
        assert "INTERLOCK_SERVICE__STORE" not in environment(gateway)
        listed = run_interlock("log", "list", "--json", folder=world.folder, **own)
        assert json.loads(listed.stdout)[0]["type"] == "policy_activation"
        assert not (world.folder / "service" / "interlock.db").exists()
    finally:
        up.end()


def use_free_ports(world: World) -> None:
    """Settings whose ports are known before anything listens."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        service, http, gateway, gateway_http = (f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    world.settings["service"] |= {"listen": service, "http_listen": http}
    world.settings["gateway"] |= {
        "listen": gateway,
        "http_listen": gateway_http,
        "decision_service": service,
        "jwks_url": f"http://{http}/.well-known/jwks.json",
    }
    world.write_settings()


def command_of(process_id: int) -> str:
    return Path(f"/proc/{process_id}/cmdline").read_text().replace("\0", " ")


def test_replicas_give_one_answer(stored: World, other: Server) -> None:
    """Two services on one store: the same request has one decision, one record, and one token (invariant 9)."""
    credential = stored.credential("agent", "coder", "tester")
    with Interlock(
        other.grpc, credential=credential, gateway=stored.gateway.grpc, session_id="session-1"
    ) as elsewhere:
        here = stored.client(credential, session_id="session-1")
        decisions = [one.decide("echo", {"text": "x"}, request_id="same") for one in (here, elsewhere, here)]
        assert len({(one.decision_id, one.log_index) for one in decisions}) == 1
        assert elsewhere.execute(decisions[1], "echo", {"text": "x"}).outcome == "succeeded"
        with pytest.raises(InterlockCallError) as caught:
            here.execute(decisions[0], "echo", {"text": "x"})
        assert caught.value.reason == "TOKEN_ALREADY_REDEEMED"
        with pytest.raises(InterlockCallError) as caught:
            elsewhere.decide("echo", {"text": "y"}, request_id="same")
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert len(stored.records(RecordType.DECISION)) == 1
    assert len(stored.records(RecordType.POLICY_ACTIVATION)) == 1


def test_a_replica_goes_on_when_another_is_killed(stored: World, other: Server) -> None:
    """After SIGKILL of one service the other decides on, on the same log."""
    credential = stored.credential("agent", "coder", "tester")
    with Interlock(other.grpc, credential=credential) as elsewhere:
        assert elsewhere.decide("echo", {}).execution_token
        stored.service.kill()
        assert elsewhere.decide("echo", {}).execution_token
    assert stored.interlock("log", "verify").returncode == 0


def test_a_freeze_holds_at_every_replica(stored: World, other: Server) -> None:
    """What one service froze the other denies, and a gateway that asks only this one refuses (case 12)."""
    agent = stored.agent()
    decision = agent.decide("echo", {})
    with Interlock(other.grpc, credential=stored.credential("operator", "officer")) as operator:
        frozen = operator.freeze("agent", "coder")
    [reason] = agent.decide("echo", {}).reasons
    assert (reason.code, reason.metadata["log_index"]) == ("freezes.active", frozen.log_index)
    stored.until_heard()
    with pytest.raises(InterlockCallError) as caught:
        agent.execute(decision, "echo", {})
    assert caught.value.reason == "TOKEN_FROZEN"


def test_no_password_is_left_anywhere(stored: World, postgres: PostgresServer, url: str) -> None:
    """The store's password is in no data folder, log, error, command line or child of the service (case 63)."""
    world = stored.start()
    world.agent().run("echo", {})
    looked_at = [world.interlock(*verb) for verb in (("doctor",), ("doctor", "--json"), ("log", "list"))]
    for child in world.service.children("opa"):
        assert PASSWORD not in json.dumps(environment(child))
        assert PASSWORD not in command_of(child)
    broken = world.write_settings(service={"store": url.replace("%27", "'%ZZ") + "?sslmode=wrong"})
    looked_at.append(world.interlock("doctor"))
    with pytest.raises(SettingsError) as raised:
        load_settings(broken)
    world.write_settings(service={"store": postgres.url("missing")})
    looked_at.append(world.interlock("doctor"))
    looked_at.append(world.interlock("log", "verify"))
    world.write_settings()
    settings = load_settings(world.folder / "interlock.toml")
    said = [done.stdout + done.stderr for done in looked_at] + [str(raised.value), repr(settings)]
    written = [path for path in world.folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    said += [path.read_bytes().decode("utf-8", "replace") for path in written]
    for secret in (PASSWORD, url.partition("@")[0].rpartition(":")[2]):
        assert not [text for text in said if secret in text]


def test_a_password_comes_from_a_file(own_world: World, postgres: PostgresServer, url: str) -> None:
    """A password in a file that only this user can read is taken, and one that others can read is not (case 63)."""
    bare, file = url.replace(url[url.index(":", 11) : url.index("@")], ""), own_world.folder / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD + "\n")
    own_world.settings["service"] |= {"store": bare, "store_password_file": "password"}
    assert own_world.credential("agent", "coder", "tester")
    assert looked_at_store(own_world) == ""
    file.chmod(0o644)
    assert "run `chmod 600" in looked_at_store(own_world)
    file.unlink()
    assert "cannot be read" in looked_at_store(own_world)


def test_pgpass_and_its_kin_are_honoured(own_world: World, url: str) -> None:
    """A password that PostgreSQL's own programs would find is found."""
    bare = url.replace(url[url.index(":", 11) : url.index("@")], "")
    own_world.write_settings(service={"store": bare})
    listing = ("credentials", "list", "--json")
    found = run_interlock(*listing, folder=own_world.folder, PGPASSWORD=PASSWORD)
    assert json.loads(found.stdout) == []
    missing = run_interlock(*listing, folder=own_world.folder, PGPASSFILE="/dev/null")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr


MISTAKES = {
    "elsewhere in clear": ({"store": "postgresql://u@db.example.com/n"}, "needs `sslmode=verify-full`"),
    "elsewhere unchecked": (
        {"store": "postgresql://u@10.1.2.3/n?sslmode=disable"},
        "needs `sslmode=verify-full`",
    ),
    "one of several elsewhere": ({"store": "postgresql://u@127.0.0.1,db/n"}, "is at `db`"),
    "every address": ({"store": "postgresql://u@0.0.0.0/n"}, "is at `0.0.0.0`"),
    "no URL": ({"store": "interlock.db"}, "must be `postgresql://USER@HOST/DATABASE`"),
    "an unknown option": ({"store": "postgresql://u@localhost/n?options=x"}, "knows no options but"),
    "a file without a store": ({"store_password_file": "password"}, "needs `store`"),
    "two passwords": (
        {"store": "postgresql://u:p@localhost/n", "store_password_file": "password"},
        "not in both",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_an_unsafe_store_keeps_the_service_from_starting(own_world: World, name: str) -> None:
    """A store that would be reached in clear, or not as it is meant, is refused with what to mend (case 62)."""
    changes, says = MISTAKES[name]
    config = own_world.write_settings(service=changes)
    with pytest.raises(SettingsError, match=says):
        load_settings(config)
    [problem] = [looked_at.problem for looked_at in examine(config)]
    assert says in problem


def test_the_option_is_checked_as_the_setting_is(own_world: World) -> None:
    """A store on the command line is refused for the same reasons (case 62)."""
    config = own_world.write_settings()
    result = CliRunner().invoke(
        application, ["serve", f"--config={config}", "--store=postgresql://u@db.example.com/n"]
    )
    assert isinstance(result.exception, SettingsError)
    assert "`service.store`: is at `db.example.com`" in str(result.exception)


def test_a_service_without_its_store_refuses_and_recovers(own_world: World) -> None:
    """PostgreSQL down: UNAVAILABLE, no token, NOT_SERVING; back again, all goes on by itself (case 16, invariant 2)."""
    with PostgresServer() as server:
        world = on_postgres(own_world, server.url(server.new_database()))
        world.settings["service"]["log_limit_seconds"] = 1
        world.start_service()
        agent = world.agent()
        first = agent.decide("echo", {}, request_id="first")
        server.stop()
        with pytest.raises(InterlockCallError) as caught:
            agent.decide("echo", {}, timeout=2)
        assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        wait_until(lambda: get(world.service, "/readyz") == 503)
        server.start()
        agent.wait_ready()
        assert agent.decide("echo", {}, request_id="first").decision_id == first.decision_id
        assert world.interlock("log", "verify").returncode == 0
