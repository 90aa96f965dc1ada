"""Parts that fail while the service runs: no token meanwhile, and it recovers by itself."""

import asyncio
import contextlib
import http.client
import os
import resource
import signal
import subprocess
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interlock.client import InterlockCallError, Outcome
from interlock.client.errors import from_rpc
from interlock.core.record import RecordType
from interlock.v1 import decision_service_pb2 as pb
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub
from tests.e2e.processes import Server, wait_until
from tests.e2e.wire import Metadata, a_request, bearer, refused
from tests.e2e.world import World
from tests.waiting import PATIENCE_SECONDS, until

DECIDE = "DecisionService/Decide"


class Watch:
    """One agent that asks a service over a channel of its own, without retries."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.channel = world.channel()
        self.metadata: Metadata = bearer(world.credential("agent", "watch", "tester"))
        self._asked = 0

    def refusal(self) -> InterlockCallError:
        """How the service refuses to decide."""
        return refused(self.channel, DECIDE, self.request().SerializeToString(), self.metadata)

    def request(self) -> pb.DecideRequest:
        self._asked += 1
        return a_request(request_id=f"watch-{id(self)}-{self._asked}")

    def decides(self) -> bool:
        """Whether the service decides, and with a token."""
        try:
            answer = DecisionServiceStub(self.channel).Decide(
                self.request(), metadata=self.metadata, timeout=PATIENCE_SECONDS
            )
        except grpc.RpcError:
            return False
        assert answer.decision.execution_token
        return True

    def serving(self) -> bool:
        """What grpc.health.v1 says of the service."""
        request = health_pb2.HealthCheckRequest(service="interlock.v1.DecisionService")
        answer = health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=PATIENCE_SECONDS)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def readyz(self) -> int:
        """Status of /readyz."""
        return get(self.world.service, "/readyz")


def get(server: Server, path: str) -> int:
    """The status with which the server's HTTP port answers."""
    connection = http.client.HTTPConnection(server.http, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def watch(breakable_world: World) -> Watch:
    """An agent that sees the service decide."""
    watching = Watch(breakable_world)
    assert watching.decides()
    return watching


@contextlib.contextmanager
def without_opa(world: World) -> Iterator[None]:
    """OPA is killed and cannot be started again, until the end of the block."""
    program = world.opa.resolve()
    world.opa.unlink()
    try:
        for child in world.service.children("opa"):
            os.kill(child, signal.SIGKILL)
        yield
    finally:
        world.opa.symlink_to(program)


def test_without_opa_nothing_is_decided(breakable_world: World, watch: Watch) -> None:
    """OPA killed: UNAVAILABLE on record, and a service that heals itself (case 1, invariants 1 and 10)."""
    with without_opa(breakable_world):
        wait_until(lambda: not watch.serving())
        error = watch.refusal()
        assert (error.code, error.reason) == ("UNAVAILABLE", "POLICY_ENGINE_UNAVAILABLE")
        assert watch.readyz() == 503
    [*_, failure] = breakable_world.records(RecordType.FAILURE)
    assert failure["error"]["code"] == "POLICY_ENGINE_UNAVAILABLE"
    wait_until(watch.decides)
    wait_until(watch.serving)
    assert breakable_world.service.process.poll() is None


@contextlib.contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """No file of the process can be written, its own error output included, until the end of the block."""
    kind, process = resource.RLIMIT_FSIZE, server.process.pid
    soft, hard = resource.prlimit(process, kind)
    resource.prlimit(process, kind, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(process, kind, (soft, hard))


def test_a_caller_that_cannot_wait_gets_no_decision(breakable_world: World, watch: Watch) -> None:
    """Past the caller's deadline there is no token, the attempt is on record, and the request_id is free (case 2)."""
    [opa] = breakable_world.service.children("opa")
    request, decide = watch.request(), DecisionServiceStub(watch.channel).Decide
    os.kill(opa, signal.SIGSTOP)
    try:
        with pytest.raises(grpc.RpcError) as caught:
            decide(request, metadata=watch.metadata, timeout=0.5)
        wait_until(lambda: request.request_id in failures_of(breakable_world))
    finally:
        os.kill(opa, signal.SIGCONT)
    assert from_rpc(caught.value, method="Decide").code == "DEADLINE_EXCEEDED"
    assert failures_of(breakable_world)[request.request_id] == "POLICY_ENGINE_TIMEOUT"
    answer = decide(request, metadata=watch.metadata, timeout=PATIENCE_SECONDS)
    assert answer.decision.execution_token


def failures_of(world: World) -> dict[str, str]:
    """The failed attempts on record: request_id and error."""
    return {record["request_id"]: record["error"]["code"] for record in world.records(RecordType.FAILURE)}


def test_with_a_full_disk_nothing_is_decided(breakable_world: World, watch: Watch) -> None:
    """A log that cannot be written: UNAVAILABLE, NOT_SERVING, no token; it recovers (case 16, invariant 2)."""
    before = len(breakable_world.records())
    with full_disk(breakable_world.service):
        error = watch.refusal()
        assert (error.code, error.reason) == ("UNAVAILABLE", "DECISION_LOG_UNAVAILABLE")
        assert error.retry_after
        wait_until(lambda: not watch.serving())
        assert watch.readyz() == 503
        assert get(breakable_world.service, "/healthz") == 200
        assert watch.refusal().reason == "DECISION_LOG_UNAVAILABLE"
    assert len(breakable_world.records()) == before
    wait_until(watch.decides)
    wait_until(watch.serving)
    assert watch.readyz() == 200


def test_a_log_that_hangs_is_not_waited_for(breakable_world: World, watch: Watch) -> None:
    """A store that hangs: UNAVAILABLE before the caller's deadline, and it recovers (case 17, invariant 2)."""
    other = breakable_world.open_store()
    other.execute("BEGIN IMMEDIATE")
    try:
        error = watch.refusal()
        assert (error.code, error.reason) == ("UNAVAILABLE", "DECISION_LOG_UNAVAILABLE")
        wait_until(lambda: not watch.serving())
        assert watch.readyz() == 503
    finally:
        other.execute("ROLLBACK")
    wait_until(watch.decides)
    wait_until(watch.serving)


def test_a_full_disk_at_the_gateway_redeems_nothing(breakable_world: World) -> None:
    """A ledger that cannot be written: UNAVAILABLE, nothing runs, and the token is still good afterwards (case 16)."""
    world, before = breakable_world, len(breakable_world.runs())
    agent = world.agent()
    decision = agent.decide("echo", {})
    with full_disk(world.gateway):
        with pytest.raises(InterlockCallError) as caught:
            agent.execute(decision, "echo", {})
        assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "LEDGER_UNAVAILABLE")
        assert not caught.value.may_have_run
        wait_until(lambda: get(world.gateway, "/readyz") == 503)
        assert world.runs()[before:] == []
    wait_until(lambda: get(world.gateway, "/readyz") == 200)
    agent.execute(decision, "echo", {})
    assert world.runs()[before:] == ["echo"]


async def test_outcomes_wait_for_a_service_that_is_away(breakable_world: World) -> None:
    """What ends at a gateway while the service is down comes on record when it is back (case 25, invariant 8)."""
    world, before = breakable_world, len(breakable_world.runs())
    decision = world.agent().decide("hang", {})
    async with world.async_client(world.credential("agent", "coder", "tester")) as client:
        running = asyncio.create_task(client.execute(decision, "hang", {}))
        await until(lambda: world.runs()[before:] == ["hang"])
        world.service.kill()
        assert (await running).outcome == Outcome.UNKNOWN
    world.start_service()
    wait_until(lambda: world.outcomes_of(decision.decision_id) == ["unknown"])


def test_told_to_end_it_answers_what_it_took(breakable_world: World, watch: Watch) -> None:
    """At SIGTERM the calls in flight get their decisions, then service and OPA end in good order (invariant 2)."""
    service = breakable_world.service
    [opa] = service.children("opa")
    os.kill(opa, signal.SIGSTOP)
    calls = [
        DecisionServiceStub(watch.channel).Decide.future(
            watch.request(), metadata=watch.metadata, timeout=PATIENCE_SECONDS
        )
        for _ in range(20)
    ]
    watch.serving()  # on the same connection, so that the service has the calls when it answers
    service.process.terminate()
    wait_until(lambda: '"event": "draining"' in service.said())
    os.kill(opa, signal.SIGCONT)
    decided = [call.result().decision for call in calls]
    assert all(decision.execution_token for decision in decided)
    assert service.exit_status() == 0
    assert subprocess.run(["kill", "-0", str(opa)], capture_output=True, check=False).returncode != 0
    recorded = {record["decision_id"] for record in breakable_world.records(RecordType.DECISION)}
    assert recorded >= {decision.decision_id for decision in decided}


async def test_a_gateway_told_to_end_ends_what_it_began(breakable_world: World) -> None:
    """At SIGTERM a call that runs gets its end and its outcome, then the gateway ends (invariant 8, case 25)."""
    world, before = breakable_world, len(breakable_world.runs())
    decision = world.agent().decide("hang", {})
    async with world.async_client(world.credential("agent", "coder", "tester")) as client:
        running = asyncio.create_task(client.execute(decision, "hang", {}))
        await until(lambda: world.runs()[before:] == ["hang"])
        world.gateway.process.terminate()
        assert (await running).outcome == Outcome.UNKNOWN
    assert world.gateway.exit_status() == 0
    world.start_gateway()
    wait_until(lambda: world.outcomes_of(decision.decision_id) == ["unknown"])
    assert world.runs()[before:] == ["hang"]


def test_both_run_together_and_end_together(breakable_world: World) -> None:
    """`interlock up` starts the service, then the gateway, and ends both in good order at SIGTERM."""
    world = breakable_world
    assert (world.gateway.end(), world.service.end()) == (0, 0)
    both = Server("up", world.folder, "up", {"INTERLOCK_OPA": str(world.opa)})
    try:
        wait_until(lambda: "gateway: gRPC on" in both.output.read_text())
        assert both.end() == 0
    finally:
        both.kill()
    assert both.said().count('"event": "ended"') == 2
