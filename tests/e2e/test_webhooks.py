"""Webhooks of a real service: what they are to hear outlives it, and nothing that they could fetch answers."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from interlock.client import Verdict
from interlock.core.record import RecordType
from tests.e2e.processes import wait_until
from tests.e2e.world import World
from tests.waiting import PATIENCE_SECONDS

SECRET = "0123456789abcdef0123456789abcdef"
ARGUMENT = "what the agent proposes to say"
GOAL = "words of the agent's own"


@dataclass(slots=True)
class Endpoint:
    """A web server on this machine. It answers `status`, and notes by path each delivery, its body and the answer."""

    port: int = 0
    status: int = 500
    heard: dict[str, list[tuple[str, bytes, int]]] = field(default_factory=dict)


@contextlib.contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Serve until the end of the block."""
    noted = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, delivery = noted.status, self.headers["Interlock-Delivery"]
            noted.heard.setdefault(self.path, []).append((delivery, body, status))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        noted.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield noted
        finally:
            server.shutdown()
            thread.join()


def ask_people(world: World) -> None:
    """The role `tester` may still call its tools, but only with an approval."""
    roles = world.folder / "policies" / "roles" / "data.yaml"
    stock, _, tester = roles.read_text().rpartition("tester:")
    roles.write_text(f"{stock}tester:{tester.replace('effects: [read]', 'effects: []')}")


def use_webhooks(world: World, port: int) -> None:
    """One for programs, and one for Slack, whose addresses are secrets."""
    secret = world.folder / "webhook.secret"
    secret.touch(mode=0o600)
    secret.write_text(f"{SECRET}\n")
    address = f"http://127.0.0.1:{port}"
    world.settings["service"]["webhooks"] = [
        {"name": "on-call", "url": f"{address}/secret-1", "secret_file": "webhook.secret"},
        {"name": "chat", "url": f"{address}/secret-2", "form": "slack"},
    ]


def fetched(address: str) -> int:
    """The status that a GET is answered with."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_webhooks_hear_of_an_approval_over_a_crash(own_world: World) -> None:
    """What was not delivered when the service was killed is delivered by the next one (cases 52, 63)."""
    ask_people(own_world)
    with endpoint() as hooks:
        use_webhooks(own_world, hooks.port)
        first = own_world.start_service()
        credential = own_world.credential("agent", "coder", "tester")
        client = own_world.client(credential, session_id="session-1")
        decision = client.decide("echo", {"text": ARGUMENT}, goal=GOAL)
        assert decision.verdict == Verdict.ESCALATE
        wait_until(lambda: first.said().count("webhook_put_off") >= 2)
        first.kill()

        hooks.status = 204
        second = own_world.start_service()
        wait_until(lambda: all(each[-1][2] == 204 for each in hooks.heard.values()))
        assert_a_get_changes_nothing(own_world, decision.approval_id)
        assert second.end() == 0

    assert set(hooks.heard) == {"/secret-1", "/secret-2"}
    for each in hooks.heard.values():
        assert len({(delivery, body) for delivery, body, _ in each}) == 1
        assert decision.approval_id in each[0][1].decode()
    sent = "".join(body.decode() for each in hooks.heard.values() for _, body, _ in each)
    said = first.said() + second.said()
    for word in (ARGUMENT, GOAL, SECRET):
        assert word not in sent + said
    assert "secret-1" not in said
    assert "secret-2" not in said


def assert_a_get_changes_nothing(world: World, approval_id: str) -> None:
    """Every address of the service can be fetched by anybody, and no record comes of it (case 52)."""
    service = f"http://{world.service.http}"
    before = world.records()
    for path in ("healthz", "readyz", "metrics", ".well-known/jwks.json"):
        assert fetched(f"{service}/{path}") == 200
    for path in (
        "",
        f"approvals/{approval_id}",
        f"approvals/{approval_id}/approve",
        f"approve?id={approval_id}",
    ):
        assert fetched(f"{service}/{path}") == 404
    assert world.records() == before
    assert not [each for each in before if each["type"] == RecordType.APPROVAL.value]
