"""Secrets: after a whole story, no file that the processes wrote holds one."""

import http.client
from pathlib import Path

import pytest

from interlock.client import InterlockCallError
from tests.e2e.processes import Server, wait_until
from tests.e2e.wire import a_request, bearer, refused
from tests.e2e.world import World
from tests.waiting import PATIENCE_SECONDS

PASSWORD = "correct-horse-battery-staple"
UNREADABLE = "swordfish-in-broken-json"


def live_through(world: World, credential: str) -> list[str]:
    """Everything that an agent can do with a secret argument; the tokens that it was given."""
    agent = world.client(credential)
    done = agent.run("echo", {"text": "hello", "password": PASSWORD})
    assert done.execution
    assert done.execution.result["structuredContent"]["password"] == PASSWORD
    unused = agent.decide("fail", {"password": PASSWORD})
    assert agent.decide("echo", {"password": [PASSWORD]}).execution_token == ""
    assert agent.decide("echo", {"password": 7, "pasword": PASSWORD}).execution_token == ""
    for token, password in ((done.decision, PASSWORD), (unused, PASSWORD + "!"), ("a.b.c", PASSWORD)):
        with pytest.raises(InterlockCallError):
            agent.execute(token, "echo", {"password": password})
    assert agent.decide("unknown_tool", {"text": PASSWORD}).execution_token == ""
    broken = a_request(b'{"password":"' + UNREADABLE.encode() + b'","password":1}', request_id="broken")
    refused(world.channel(), "DecisionService/Decide", broken.SerializeToString(), bearer(credential))
    assert agent.execute(unused, "fail", {"password": PASSWORD}).outcome == "failed"
    return [done.decision.execution_token, unused.execution_token]


def metrics(server: Server) -> bytes:
    connection = http.client.HTTPConnection(server.http, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_no_secret_is_left_anywhere(own_world: World) -> None:
    """Sensitive arguments, credentials and tokens are in no data folder, log, error or metric (case 63)."""
    world = own_world.start()
    credential = world.credential("agent", "coder", "tester")
    unknown = "ilk_0123456789abcdef_" + "k" * 43
    refused(world.channel(), "DecisionService/Decide", b"", bearer(unknown))
    tokens = live_through(world, credential)
    wait_until(lambda: '"delivery": "waiting"' not in world.interlock("executions", "list", "--json").stdout)
    written = {f"metrics of {server.http}": metrics(server) for server in (world.service, world.gateway)}
    assert world.gateway.end() == 0
    assert world.service.end() == 0

    gateway_credential = (world.folder / "gateway.credential").read_text()
    secrets = [PASSWORD, UNREADABLE, *(text.split("_", 2)[2] for text in (credential, gateway_credential))]
    secrets += [unknown.split("_", 2)[2], *(part for token in tokens for part in token.split(".")[1:])]
    written |= {str(path): path.read_bytes() for path in _written_by_processes(world.folder)}
    assert any(b'"text":"hello"' in data for data in written.values()), "nothing would be found at all"
    found = [
        (name, secret) for name, data in written.items() for secret in secrets if secret.encode() in data
    ]
    assert found == []


def _written_by_processes(folder: Path) -> list[Path]:
    data = [path for part in ("service", "gateway") for path in (folder / part).rglob("*") if path.is_file()]
    return [*data, *folder.glob("*.out"), *folder.glob("*.err"), folder / "journal"]
