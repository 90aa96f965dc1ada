"""A web service behind the gateway, with real processes: decided by one, asked for at the other, and on record."""

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.client import Decision, Interlock, Verdict, http_arguments
from interlock.core.record import RecordType
from tests.e2e.processes import wait_until
from tests.e2e.world import GATEWAY, World
from tests.waiting import PATIENCE_SECONDS

HERE = "127.0.0.2"  # an address of this machine that `localhost` is not


class Service(ThreadingHTTPServer):
    """A web service; `asked` are the paths that reached it. `/v1/slow` is answered once `go_on` is set."""

    def __init__(self) -> None:
        super().__init__((HERE, 0), _Handler)
        self.asked: list[str] = []
        self.go_on = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        body = json.dumps({"asked": self.path}).encode()
        self.server.asked.append(self.path)
        if self.path == "/v1/slow":
            self.server.go_on.wait(PATIENCE_SECONDS)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A real web service on this machine."""
    server = Service()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def web(
    opa: Path, policies: Path, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A world whose gateway has this web service and HTTP as its way in."""
    with World(tmp_path_factory.mktemp("web"), opa=opa, policies=policies) as world:
        _add_service(world, service.server_address[1])
        world.start_service()
        world.start_gateway("http")
        yield world


@pytest.fixture(scope="module")
def agent(web: World) -> Interlock:
    """An agent that may ask the service, and fetch."""
    return web.agent("browser")


def _add_service(world: World, port: int) -> None:
    tool = {"arguments": {"type": "object"}, "effects": ["read"]}
    tools = [
        {"name": "orders", **tool, "http": {"base": f"http://{HERE}:{port}/v1"}},
        {"name": "fetch", **tool, "http": {}},
    ]
    catalog = {"gateway": GATEWAY, "server": "web", "tools": tools}
    (world.folder / "web.yaml").write_text(json.dumps(catalog))
    for part in ("service", "gateway"):
        world.settings[part]["catalog"] = ["odd.yaml", "web.yaml"]
    world.settings["gateway"]["http"] = {"web": {"networks": [f"{HERE}/32"]}}
    world.settings["gateway"]["forward"] = {"listen": "127.0.0.1:0"}
    with (world.folder / "policies" / "roles" / "data.yaml").open("a") as roles:
        roles.write("browser:\n  tools: [orders, fetch]\n  effects: [read]\n")
    limits = world.folder / "policies" / "limits" / "data.yaml"
    stated = yaml.safe_load(limits.read_text())
    stated["destinations"]["not_public_hosts"] = [HERE]
    limits.write_text(yaml.safe_dump(stated))


def forward(world: World, target: str, token: str) -> tuple[int, Mapping[str, str], Any]:
    """Ask the gateway for this target; status, headers and JSON body."""
    found = re.search(r"forward on (\S+),", world.gateway.output.read_text())
    assert found
    request = urllib.request.Request(
        f"http://{found[1]}{target}", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)


def token_of(decision: Decision) -> str:
    """The token of a decision that allowed."""
    assert decision.execution_token, decision
    return decision.execution_token


def test_a_decided_request_goes_through_once_and_is_on_record(
    web: World, agent: Interlock, service: Service
) -> None:
    """Decide, then ask the gateway: the service answers, once, and the outcome is recorded (invariant 3)."""
    decision = agent.decide("orders", http_arguments("GET", "/items", query=[("q", "a b")]))
    token = token_of(decision)
    status, headers, body = forward(web, "/orders/items?q=a+b", token)
    assert (status, body) == (200, {"asked": "/v1/items?q=a%20b"})
    assert headers["Interlock-Outcome"] == "succeeded"
    status, _, problem = forward(web, "/orders/items?q=a+b", token)
    assert (status, problem["reason"]) == (409, "TOKEN_ALREADY_REDEEMED")
    assert service.asked.count("/v1/items?q=a%20b") == 1
    wait_until(lambda: "succeeded" in web.outcomes_of(decision.decision_id))


def test_the_policy_sees_where_a_request_leads(web: World, agent: Interlock) -> None:
    """The decision's record has the canonical address and host that the gateway asks (case 45)."""
    decision = agent.decide("orders", http_arguments("GET", "/a/../%7eb"))
    record = next(
        each for each in web.records(RecordType.DECISION) if each["decision_id"] == decision.decision_id
    )
    [destination] = record["input"]["destinations"]
    assert destination["host"] == HERE
    assert destination["canonical"].endswith("/v1/~b")


def test_another_request_than_the_decided_one_is_refused(web: World, agent: Interlock) -> None:
    """A token does not stretch to another path, and stays good for its own (case 26)."""
    token = token_of(agent.decide("orders", http_arguments("GET", "/mine")))
    status, _, problem = forward(web, "/orders/yours", token)
    assert (status, problem["reason"]) == (403, "CALL_MISMATCH")
    assert forward(web, "/orders/mine", token)[0] == 200


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://2852039166/", "destinations.malformed"),
        ("http://0xa9fea9fe/latest/", "destinations.malformed"),
        ("http://127.1/", "destinations.malformed"),
        ("http://good.example\\@127.0.0.1/", "destinations.malformed"),
        ("http://169.254.169.254/latest/", "destinations.not_public"),
        ("http://[::ffff:127.0.0.1]/", "destinations.not_public"),
        ("http://[64:ff9b::a9fe:a9fe]/", "destinations.not_public"),
    ],
)
def test_no_decision_allows_an_address_that_leads_inwards(agent: Interlock, url: str, code: str) -> None:
    """Numbers in trick forms, and addresses that are not public, get no token (case 45)."""
    decision = agent.decide("fetch", http_arguments("GET", url=url))
    assert decision.verdict is Verdict.DENY
    assert code in [reason.code for reason in decision.reasons]
    assert decision.execution_token == ""


def test_a_name_that_leads_inwards_is_refused_at_the_gateway(web: World, agent: Interlock) -> None:
    """What a name means is only known when it is looked up, and then no token helps (case 46)."""
    decision = agent.decide("fetch", http_arguments("GET", url="http://localhost/"))
    status, _, problem = forward(web, "/fetch/http://localhost/", token_of(decision))
    assert (status, problem["reason"]) == (403, "ADDRESS_REFUSED")
    wait_until(lambda: "refused" in web.outcomes_of(decision.decision_id))


def test_the_same_gateway_takes_the_call_over_grpc(agent: Interlock) -> None:
    """HTTP is one more way in to the same tools: the Python client executes the same call."""
    run = agent.run("orders", http_arguments("GET", "/over-grpc"))
    assert run.execution
    assert run.execution.result["body"] == {"asked": "/v1/over-grpc"}


def test_the_gateway_ends_in_good_order(web: World, agent: Interlock, service: Service) -> None:
    """At SIGTERM a request in flight is answered; what was redeemed stays redeemed after a start (invariant 8)."""
    token = token_of(agent.decide("orders", http_arguments("GET", "/slow")))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(forward, web, "/orders/slow", token)
        wait_until(lambda: "/v1/slow" in service.asked)
        web.gateway.process.terminate()
        wait_until(lambda: "draining" in web.gateway.said())
        service.go_on.set()
        assert answer.result()[0] == 200
    assert web.gateway.process.wait(PATIENCE_SECONDS) == 0
    web.start_gateway("http")
    assert forward(web, "/orders/slow", token)[0] == 409


def test_the_network_is_served_with_tls_only(web: World) -> None:
    """A forward that others could reach without TLS is refused before it listens."""
    file = web.write_settings(name="open.toml", gateway={"forward": {"listen": "0.0.0.0:0"}})
    done = web.interlock("gateway", "http", "--config", file)
    assert done.returncode == 1
    assert "without `tls`, only a loopback address" in done.stderr
