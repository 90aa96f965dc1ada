"""A production environment on this machine: TLS from end to end, with a private CA."""

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.client import Interlock, InterlockCallError, Outcome
from tests.contract.certificates import a_certificate_of
from tests.e2e.processes import wait_until
from tests.e2e.wire import a_request, bearer, refused
from tests.e2e.world import World
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def prod(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of environment `prod`, where both processes serve TLS."""
    with World(tmp_path_factory.mktemp("prod"), opa=opa, policies=policies) as world:
        world.settings["environment"] = "prod"
        world.use_tls(*a_certificate_of("127.0.0.1", world.folder))
        yield world.start()


def test_all_of_the_way_is_encrypted(prod: World) -> None:
    """Decision, execution, keys and the report of the outcome all go over TLS with a private CA (case 62)."""
    run = prod.agent().run("echo", {"text": "hello"})
    assert run.execution
    assert run.execution.outcome == Outcome.SUCCEEDED
    wait_until(lambda: prod.outcomes_of(run.decision.decision_id) == ["succeeded"])


@pytest.mark.parametrize("part", ["service", "gateway"])
def test_nothing_is_answered_in_clear(prod: World, part: str) -> None:
    """A client without TLS gets no answer, also with a good credential (case 62)."""
    channel = prod.channel(getattr(prod, part))
    data = a_request(request_id="in-clear").SerializeToString()
    metadata = bearer(prod.credential("agent", "in-clear", "tester"))
    assert refused(channel, "DecisionService/Decide", data, metadata).code == "UNAVAILABLE"


def test_a_certificate_of_somebody_else_is_refused(prod: World, tmp_path: Path) -> None:
    """A client sends nothing to a service that its CA does not vouch for (case 62)."""
    other, _ = a_certificate_of("127.0.0.1", tmp_path)
    credential = prod.credential("agent", "careful", "tester")
    with (
        Interlock(prod.service.grpc, credential=credential, ca_file=other, timeout=1.0) as client,
        pytest.raises(InterlockCallError) as caught,
    ):
        client.decide("echo", {})
    assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_the_http_port_has_the_same_certificate(prod: World) -> None:
    """Metrics and keys are served over TLS too, and not in clear (case 62)."""
    trust = ssl.create_default_context(cafile=prod.ca_file)
    connection = http.client.HTTPSConnection(prod.service.http, context=trust, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/.well-known/jwks.json")
    assert connection.getresponse().status == 200
    connection.close()
    in_clear = http.client.HTTPConnection(prod.service.http, timeout=PATIENCE_SECONDS)
    in_clear.request("GET", "/.well-known/jwks.json")
    with pytest.raises((http.client.HTTPException, OSError)):
        in_clear.getresponse()
    in_clear.close()


def test_a_token_says_where_it_is_for(prod: World) -> None:
    """A token of this environment is stamped with it (case 38)."""
    decision = prod.agent().decide("echo", {})
    shown = prod.interlock("token", "verify", given=decision.execution_token)
    assert shown.returncode == 0, shown.stderr
    assert '"env": "prod"' in shown.stdout


def test_the_client_asks_for_a_ca_beyond_this_machine() -> None:
    """No client sends a credential in clear to another machine (case 62)."""
    with pytest.raises(ValueError, match="never cross a network in clear"):
        Interlock("192.0.2.1:7410", credential="ilk")
