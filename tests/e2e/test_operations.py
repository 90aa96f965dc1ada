"""What an operator and their tools see of running processes."""

import http.client
import json
import re
from datetime import timedelta
from typing import Any

import jwt
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from interlock.client import Interlock, Outcome, ToolCall
from interlock.core import token
from tests.e2e.processes import Server, wait_until
from tests.e2e.world import GATEWAY, World
from tests.waiting import PATIENCE_SECONDS

SERVICES = {
    "service": {"interlock.v1.DecisionService", "interlock.v1.AuditService"},
    "gateway": {"interlock.v1.GatewayService"},
}


def get(server: Server, path: str) -> bytes:
    """The body of a 200 answer of the HTTP port."""
    connection = http.client.HTTPConnection(server.http, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("part", SERVICES)
def test_reflection_lists_the_services(world: World, part: str) -> None:
    """A generic client learns what a server offers from the server itself."""
    stub = reflection_pb2_grpc.ServerReflectionStub(world.channel(getattr(world, part)))
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE_SECONDS)
    listed = {service.name for service in answer.list_services_response.service}
    assert listed >= SERVICES[part] | {"grpc.health.v1.Health"}


@pytest.mark.parametrize(("part", "services"), SERVICES.items())
def test_each_service_has_its_health(world: World, part: str, services: set[str]) -> None:
    """grpc.health.v1 answers for each service and for the whole server (invariant 2)."""
    stub = health_pb2_grpc.HealthStub(world.channel(getattr(world, part)))
    for service in ("", *services):
        request = health_pb2.HealthCheckRequest(service=service)
        answer = stub.Check(request, timeout=PATIENCE_SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("part", SERVICES)
def test_the_http_port_tells_the_state(world: World, part: str) -> None:
    """/healthz and /readyz answer 200 where all is well, the latter with each check by name."""
    server = getattr(world, part)
    assert json.loads(get(server, "/healthz")) == {"status": "alive"}
    ready = json.loads(get(server, "/readyz"))
    assert ready["status"] == "ready"
    assert set(ready["checks"].values()) == {True}


def test_unknown_names_make_no_new_metric(world: World, tester: Interlock) -> None:
    """A thousand names that an agent makes up add no label to /metrics (case 44)."""
    tester.decide_batch([ToolCall(tool="made_up", arguments={})])
    before = series(world)
    for start in range(0, 1_000, 250):
        calls = [ToolCall(tool=f"made_up_{start + number}", arguments={}) for number in range(250)]
        assert {decision.verdict for decision in tester.decide_batch(calls)} == {"deny"}  # type: ignore[union-attr]
    assert series(world) == before
    assert 'interlock_decisions_total{verdict="deny"}' in before


def series(world: World) -> set[str]:
    """Names and labels of what /metrics shows of our own."""
    text = get(world.service, "/metrics").decode()
    return {found[0] for found in re.findall(r"^(interlock_[^ ]+?)( \S+)$", text, re.MULTILINE)}


def test_a_stock_library_verifies_a_token_with_the_published_keys(world: World, tester: Interlock) -> None:
    """PyJWT takes a token with the key of /.well-known/jwks.json, and the gateway's name as its audience."""
    decision = tester.decide("echo", {})
    claims = verified_by_pyjwt(world, decision.execution_token)
    assert (claims["decision_id"], claims["tool"], claims["tenant"]) == (decision.decision_id, "echo", "acme")
    assert timedelta(seconds=claims["exp"] - claims["iat"]) <= timedelta(seconds=60)


def verified_by_pyjwt(world: World, execution_token: str) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(json.loads(get(world.service, "/.well-known/jwks.json")))
    header = jwt.get_unverified_header(execution_token)
    assert (header["typ"], header["alg"]) == ("exec+jwt", "EdDSA")
    return jwt.decode(
        execution_token, keys[header["kid"]], algorithms=["EdDSA"], audience=GATEWAY, issuer="interlock"
    )


def test_keys_rotate_while_all_goes_on(world: World, tester: Interlock) -> None:
    """Tokens of before and after a rotation are both good, at the gateway and for others (case 40)."""
    before = tester.decide("echo", {})
    rotated = world.interlock("keys", "rotate", "--at-once")
    assert rotated.returncode == 0, rotated.stderr
    wait_until(lambda: kid(tester.decide("echo", {}).execution_token) != kid(before.execution_token))
    after = tester.decide("echo", {})
    for decision in (after, before):
        assert tester.execute(decision, "echo", {}).outcome == Outcome.SUCCEEDED
        assert verified_by_pyjwt(world, decision.execution_token)["decision_id"] == decision.decision_id


def kid(execution_token: str) -> str:
    return token.key_id(execution_token)


def test_the_processes_log_json(world: World, tester: Interlock) -> None:
    """Each line of a process's log is one JSON object with its event, level and time."""
    tester.decide("echo", {})
    for server in (world.service, world.gateway):
        lines = [json.loads(line) for line in server.said().splitlines()]
        assert "serving" in {line["event"] for line in lines}
        assert all(line.keys() >= {"event", "level", "timestamp"} for line in lines)


def test_a_second_process_on_the_same_data_is_refused(world: World) -> None:
    """One store has one writer: a second service on it does not start, and says why (case 19)."""
    done = world.interlock("serve")
    assert done.returncode == 1
    assert f"is in use by process {world.service.process.pid}" in done.stderr
