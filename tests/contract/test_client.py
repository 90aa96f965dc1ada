"""Both clients against one real gRPC server on loopback, whose answers each test scripts."""

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.protobuf.message import Message

from interlock.client import (
    AsyncInterlock,
    Decision,
    Execution,
    InterlockCallError,
    Outcome,
    RecordType,
    Run,
    ToolCall,
    Verdict,
    Violation,
)
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError
from interlock.rpc.status import to_status
from interlock.v1 import (
    audit_service_pb2,
    decision_pb2,
    decision_service_pb2,
    gateway_service_pb2,
    record_pb2,
)
from tests.contract.certificates import a_certificate_of
from tests.contract.scripted_services import (
    ARGUMENTS,
    CREDENTIAL,
    OUT_OF_TIME,
    TOKEN,
    Answer,
    Asker,
    Client,
    Server,
    decides,
    decision,
    gives,
    hangs,
    raises,
)


async def test_decides(ask: Asker, server: Server) -> None:
    """A proposal reaches the service as it was made, with the credential, and its decision comes back."""
    made = await ask("decide", "send_money", ARGUMENTS, goal="pay", request_id="r-1")
    [asked] = server.decisions.decide.asked
    assert isinstance(made, Decision)
    assert made.allowed
    assert made.execution_token == TOKEN
    assert (asked.request_id, asked.proposal.session_id, asked.proposal.goal) == ("r-1", "s-1", "pay")
    assert asked.proposal.tool_call.arguments_json == b'{"amount":5,"to":"a-secret-account"}'
    assert server.authorizations == {"DecisionService": [f"Bearer {CREDENTIAL}"]}


async def test_lists_the_tools_that_the_agent_could_be_allowed(ask: Asker, server: Server) -> None:
    """The gateway that is asked for reaches the service, and the names come back in its order."""
    assert await ask("list_tools", "gateway-1") == ["echo", "fail"]
    assert [asked.gateway for asked in server.decisions.list_tools.asked] == ["gateway-1"]


async def test_an_escalate_names_its_approval(ask: Asker, server: Server) -> None:
    """Whom to ask stands in the decision."""
    server.decisions.decide.steps.append(
        decides(verdict=decision_pb2.VERDICT_ESCALATE, execution_token="", approval_id="approval-1")
    )
    assert (await ask("decide", "t", {})).approval_id == "approval-1"


@pytest.mark.parametrize("verdict", ["deny", "escalate"])
async def test_other_verdicts_are_values(ask: Asker, server: Server, verdict: str) -> None:
    """A deny and an escalate are answers: nothing is raised (invariant 10)."""
    number = decision_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}")
    server.decisions.decide.steps.append(decides(verdict=number, execution_token=""))
    assert (await ask("decide", "t", {})).verdict is Verdict(verdict)


@pytest.mark.parametrize(
    "changes",
    [{"verdict": 0}, {"verdict": 99}, {"execution_token": ""}, {"request_id": "another"}],
    ids=["unspecified", "unknown", "no-token", "another-request"],
)
async def test_no_yes_without_a_clear_allow(ask: Asker, server: Server, changes: dict[str, Any]) -> None:
    """An answer that is no clear allow raises, is not asked for again, and runs nothing (invariant 1)."""
    server.decisions.decide.steps.append(decides(**changes))
    error = await ask.error("run", "t", ARGUMENTS)
    assert (error.code, error.method) == ("INTERNAL", "Decide")
    assert len(server.decisions.decide.asked) == 1
    assert not server.gateway.execute.asked


async def test_tries_again_with_the_same_request(ask: Asker, server: Server) -> None:
    """While the service is away, the very same request is made again (invariant 9)."""
    server.decisions.decide.steps.extend([raises(ErrorReason.POLICY_NOT_READY)] * 2)
    assert (await ask("decide", "t", ARGUMENTS)).allowed
    first, second, third = server.decisions.decide.asked
    assert first == second == third


async def test_tries_a_batch_again_with_the_same_requests(ask: Asker, server: Server) -> None:
    """A batch that failed as a whole is made again with the same request_ids (invariant 9)."""
    server.decisions.decide_batch.steps.append(raises(ErrorReason.DECISION_LOG_UNAVAILABLE))
    calls = [ToolCall(tool="t", arguments={"n": n}) for n in range(3)]
    assert all(item.allowed for item in await ask("decide_batch", calls, goal="count"))
    first, second = server.decisions.decide_batch.asked
    assert first == second
    assert [each.request_id for each in first.requests] == [each.request_id for each in calls]
    assert {each.proposal.goal for each in first.requests} == {"count"}


@pytest.mark.parametrize(
    "reason",
    [
        ErrorReason.POLICY_ENGINE_TIMEOUT,
        ErrorReason.OVERLOADED,
        ErrorReason.POLICY_CONFLICT,
        ErrorReason.INTERNAL,
        ErrorReason.REQUEST_ID_REUSED,
        ErrorReason.CREDENTIAL_INVALID,
        ErrorReason.CALLER_NOT_PERMITTED,
        ErrorReason.INVALID_FIELD,
    ],
)
async def test_no_other_error_is_tried_again(ask: Asker, server: Server, reason: ErrorReason) -> None:
    """Whatever is not UNAVAILABLE is told at once, also where the service names a time."""
    server.decisions.decide.steps.append(raises(reason, retry_after=0.01))
    error = await ask.error("decide", "t", ARGUMENTS)
    assert (error.reason, error.retry_after) == (reason, 0.01)
    assert len(server.decisions.decide.asked) == 1


async def test_details_of_an_error_arrive(ask: Asker, server: Server) -> None:
    """Code, reason, violations and metadata are what the service said."""
    violation = FieldViolation(field="proposal.tool_call.arguments_json", pointer="/a", description="no")
    server.decisions.decide.steps.append(
        raises(ErrorReason.MALFORMED_ARGUMENTS, violations=(violation,), metadata={"limit": "64"})
    )
    error = await ask.error("decide", "t", {})
    assert (error.method, error.code, error.metadata) == ("Decide", "INVALID_ARGUMENT", {"limit": "64"})
    assert error.violations == (Violation(field="proposal.tool_call.arguments_json#/a", description="no"),)
    assert str(error).endswith("correct `proposal.tool_call.arguments_json#/a`")


async def test_retries_end_with_the_deadline(ask: Asker, server: Server) -> None:
    """A service that stays away is told as such within the caller's time, not waited for without end."""
    server.decisions.decide.otherwise = raises(ErrorReason.POLICY_NOT_READY)
    error = await ask.error("decide", "t", ARGUMENTS, timeout=0.5)
    assert error.code in OUT_OF_TIME
    assert len({each.request_id for each in server.decisions.decide.asked}) == 1


async def test_a_time_beyond_the_deadline_is_not_waited_for(ask: Asker, server: Server) -> None:
    """Where RetryInfo asks for more time than there is, nothing is asked again."""
    server.decisions.decide.steps.append(raises(ErrorReason.POLICY_NOT_READY, retry_after=60.0))
    assert (await ask.error("decide", "t", ARGUMENTS)).retry_after == 60.0
    assert len(server.decisions.decide.asked) == 1


@pytest.mark.parametrize("method", ["decide", "execute"])
async def test_a_hanging_service_is_left_at_the_deadline(ask: Asker, server: Server, method: str) -> None:
    """A call that gets no answer ends by its deadline, and is not made again."""
    server.decisions.decide.otherwise = server.gateway.execute.otherwise = hangs
    arguments = ("t", ARGUMENTS) if method == "decide" else (TOKEN, "t", ARGUMENTS)
    error = await ask.error(method, *arguments, timeout=0.2)
    assert error.code == "DEADLINE_EXCEEDED"
    assert len(server.decisions.decide.asked) + len(server.gateway.execute.asked) <= 1


async def test_batch_items_have_their_own_ends(ask: Asker, server: Server) -> None:
    """Decisions, refusals and errors of items come in order; what is wrong with one spoils no other."""
    status = to_status(InterlockError(reason=ErrorReason.INVALID_FIELD, message="`tool` is empty"))

    async def mixed(batch: decision_service_pb2.DecideBatchRequest) -> Message:
        allow, deny, _, unknown, _ = batch.requests
        denied = decision(deny, verdict=decision_pb2.VERDICT_DENY, execution_token="")
        return decision_service_pb2.DecideBatchResponse(
            results=[
                decision_service_pb2.DecideResult(decision=decision(allow)),
                decision_service_pb2.DecideResult(decision=denied),
                decision_service_pb2.DecideResult(status=status),
                decision_service_pb2.DecideResult(decision=decision(unknown, verdict=99)),
                decision_service_pb2.DecideResult(),
            ]
        )

    server.decisions.decide_batch.steps.append(mixed)
    allow, deny, *errors = await ask("decide_batch", [ToolCall(tool="t", arguments={}) for _ in range(5)])
    assert (allow.verdict, deny.verdict) == (Verdict.ALLOW, Verdict.DENY)
    assert [each.reason for each in errors if isinstance(each, InterlockCallError)] == [
        "INVALID_FIELD",
        "",
        "",
    ]


async def test_an_item_that_is_away_is_not_asked_for_again(ask: Asker, server: Server) -> None:
    """Within an answered batch an UNAVAILABLE is a value, as any other error of an item."""
    status = to_status(InterlockError(reason=ErrorReason.POLICY_NOT_READY, message="not yet"))
    result = decision_service_pb2.DecideResult(status=status)
    server.decisions.decide_batch.steps.append(
        gives(decision_service_pb2.DecideBatchResponse(results=[result]))
    )
    [item] = await ask("decide_batch", [ToolCall(tool="t", arguments={})])
    assert item.code == "UNAVAILABLE"
    assert len(server.decisions.decide_batch.asked) == 1


async def test_runs_what_is_allowed(ask: Asker, server: Server) -> None:
    """An allow is executed at once: the decision's token with the very same arguments (invariant 3)."""
    run = await ask("run", "send_money", ARGUMENTS)
    [proposed], [executed] = server.decisions.decide.asked, server.gateway.execute.asked
    assert isinstance(run, Run)
    assert run.execution == Execution(
        execution_id="e-1", outcome=Outcome.SUCCEEDED, result={"done": True}, obligation_results=()
    )
    assert (executed.execution_token, executed.tool) == (TOKEN, "send_money")
    assert executed.arguments_json == proposed.proposal.tool_call.arguments_json


@pytest.mark.parametrize("verdict", ["deny", "escalate"])
async def test_runs_nothing_else(ask: Asker, server: Server, verdict: str) -> None:
    """Where the verdict is no allow there is no execution, and the gateway is not asked (invariant 1)."""
    number = decision_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}")
    server.decisions.decide.steps.append(decides(verdict=number, execution_token=""))
    run = await ask("run", "t", ARGUMENTS)
    assert (run.decision.verdict, run.execution) == (verdict, None)
    assert not server.gateway.execute.asked


async def test_a_gateway_gets_no_credential(ask: Asker, server: Server) -> None:
    """The token is the permission: with the agent's credential a gateway could decide (invariant 5)."""
    await ask("execute", TOKEN, "t", ARGUMENTS)
    assert server.authorizations == {"GatewayService": [None]}


async def test_nothing_is_decided_without_a_gateway_to_run_it(kind: type[Client], server: Server) -> None:
    """A client without a gateway refuses to run before it asks for a token that nobody could use."""
    ask = Asker(kind(server.address, credential=CREDENTIAL))
    with pytest.raises(ValueError, match="gateway"):
        await ask("run", "t", ARGUMENTS)
    assert not server.decisions.decide.asked
    await ask("close")


@pytest.mark.parametrize("reason", [ErrorReason.TOOL_UNAVAILABLE, ErrorReason.LEDGER_UNAVAILABLE])
async def test_an_execution_is_asked_for_once(ask: Asker, server: Server, reason: ErrorReason) -> None:
    """An execution is never asked for again by itself, not even where nothing ran (invariant 8)."""
    server.gateway.execute.steps.append(raises(reason, retry_after=0.01))
    error = await ask.error("execute", TOKEN, "t", ARGUMENTS)
    assert (error.reason, error.may_have_run) == (reason, False)
    assert len(server.gateway.execute.asked) == 1


async def test_a_lost_reply_is_no_sign_that_nothing_ran(ask: Asker, server: Server) -> None:
    """When the gateway dies in the midst of it, the execution stays open and is not repeated (invariant 8)."""
    begun = asyncio.Event()

    async def begins(request: Message) -> Message:
        begun.set()
        return await hangs(request)

    server.gateway.execute.otherwise = begins
    running = asyncio.create_task(ask.error("run", "t", ARGUMENTS))
    await begun.wait()
    await server.listener.stop(None)
    error = await running
    assert error.may_have_run
    assert "decision `d-1`" in str(error)
    assert len(server.gateway.execute.asked) == 1


@pytest.mark.parametrize(
    "step",
    [
        raises(ErrorReason.TOKEN_EXPIRED),
        gives(gateway_service_pb2.ExecuteResponse()),
        raises(ErrorReason.INTERNAL),
    ],
)
async def test_errors_hold_no_secret(ask: Asker, server: Server, step: Answer) -> None:
    """Neither credential nor token nor argument is in anything that an error says of itself (case 63)."""
    server.gateway.execute.steps.append(step)
    error = await ask.error("run", "send_money", ARGUMENTS)
    texts = f"{error} {error!r} {error.diagnostics()} {vars(error)} {error.__cause__!r} {error.__context__!r}"
    for secret in (CREDENTIAL, TOKEN, ARGUMENTS["to"]):
        assert str(secret) not in texts


async def test_nothing_is_sent_that_is_no_json(ask: Asker, server: Server) -> None:
    """Arguments that are no JSON are refused before the service hears of them."""
    with pytest.raises(TypeError):
        await ask("decide", "t", {"when": datetime.now(UTC)})
    assert not server.authorizations


async def test_tells_what_it_attempts_and_what_it_knows(ask: Asker, server: Server) -> None:
    """Operation and state digest reach the service as given; when to try again, and the next digest, come back."""
    denies = decides(
        verdict=decision_pb2.VERDICT_DENY,
        execution_token="",
        retry_after=duration_pb2.Duration(seconds=2, nanos=500_000_000),
        state_digest="s-2",
    )
    server.decisions.decide.steps.append(denies)
    denied = await ask("decide", "t", {}, operation="pay:invoice-7", state_digest="s-1")
    [asked] = server.decisions.decide.asked
    assert (asked.proposal.operation, asked.proposal.context.state_digest) == ("pay:invoice-7", "s-1")
    assert (denied.retry_after, denied.state_digest) == (2.5, "s-2")
    allowed = await ask("decide", "t", {})
    assert (allowed.retry_after, allowed.state_digest) == (None, "")


async def test_records_come_from_all_pages(ask: Asker, server: Server) -> None:
    """All pages are read, each with the same filter and the token of the one before."""
    pages = [([0, 1], "a"), ([2], "b"), ([], "c"), ([5], "")]
    for indices, token in pages:
        records = [record_pb2.Record(log_index=index, record_json=b"{}") for index in indices]
        page = audit_service_pb2.ListRecordsResponse(records=records, next_page_token=token)
        server.audit.list_records.steps.append(gives(page))
    found = await ask.records(RecordType.DECISION, decision_id="d-1", page_size=2)
    asked = server.audit.list_records.asked
    assert [each.log_index for each in found] == [0, 1, 2, 5]
    assert [each.page_token for each in asked] == ["", "a", "b", "c"]
    filters = {(each.page_size, each.type, each.decision_id) for each in asked}
    assert filters == {(2, record_pb2.RECORD_TYPE_DECISION, "d-1")}


async def test_gets_one_record(ask: Asker, server: Server) -> None:
    """A record is asked for by its place, also after the service was away for a moment."""
    record = record_pb2.Record(log_index=7, record_json=b'{"a":1}')
    answer = gives(audit_service_pb2.GetRecordResponse(record=record))
    server.audit.get_record.steps.extend([raises(ErrorReason.DECISION_LOG_UNAVAILABLE), answer])
    assert (await ask("record", 7)).content == {"a": 1}
    assert [each.log_index for each in server.audit.get_record.asked] == [7, 7]


async def test_waits_until_ready(ask: Asker, server: Server) -> None:
    """A service that is not serving yet is asked again until it is; no credential is needed for that."""
    server.health.statuses = ["NOT_SERVING", "NOT_SERVING", "SERVING"]
    await ask("wait_ready")
    assert server.health.statuses == ["SERVING"]
    assert not server.authorizations


async def test_waiting_ends(ask: Asker, server: Server) -> None:
    """A service that does not get ready in time is an error, not an endless wait."""
    server.health.statuses = ["NOT_SERVING"]
    error = await ask.error("wait_ready", timeout=0.2)
    assert error.code in OUT_OF_TIME
    assert error.method == "HealthCheck"


async def test_waits_for_a_service_that_starts(kind: type[Client]) -> None:
    """Where nobody listens yet, the client comes back until somebody does."""
    server = Server()
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        ask = Asker(kind(address, credential=CREDENTIAL, gateway=address))
        assert (await ask.error("execute", TOKEN, "t", {})).code == "UNAVAILABLE"
        waiting = asyncio.create_task(ask("wait_ready", timeout=30.0))
        await server.start(address=address)
        await waiting
    await ask("close")
    await server.listener.stop(None)


async def test_no_proxy_sees_what_is_in_clear(
    kind: type[Client], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names is not asked to forward a credential in clear."""
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    ask = Asker(kind(server.address, credential=CREDENTIAL))
    assert (await ask("decide", "t", {})).allowed
    await ask("close")


async def test_a_client_without_a_credential_sends_none(kind: type[Client], server: Server) -> None:
    """A client that only executes needs no credential; what it asks of the decision service carries none."""
    ask = Asker(kind(server.address, credential=None, gateway=server.address))
    await ask("execute", "a token", "t", {})
    await ask("decide", "t", {})
    assert server.authorizations == {"GatewayService": [None], "DecisionService": [None]}
    await ask("close")


async def test_tls_with_a_trusted_certificate(kind: type[Client], tmp_path: Path) -> None:
    """With a `ca_file`, decisions and executions travel over TLS."""
    server = Server()
    await server.start(tls_credentials(tmp_path / "ca.pem"))
    client = kind(server.address, credential=CREDENTIAL, gateway=server.address, ca_file=tmp_path / "ca.pem")
    ask = Asker(client)
    assert (await ask("run", "t", {})).execution.outcome is Outcome.SUCCEEDED
    await ask("close")
    await server.listener.stop(None)


async def test_tls_with_another_certificate(kind: type[Client], tmp_path: Path) -> None:
    """A service that shows a certificate which the `ca_file` does not vouch for gets no credential."""
    server = Server()
    await server.start(tls_credentials(tmp_path / "ca.pem"))
    tls_credentials(tmp_path / "other.pem")
    ask = Asker(kind(server.address, credential=CREDENTIAL, ca_file=tmp_path / "other.pem"))
    assert (await ask.error("decide", "t", {}, timeout=0.5)).code in OUT_OF_TIME
    assert not server.authorizations
    await ask("close")
    await server.listener.stop(None)


async def test_a_block_closes_the_client(kind: type[Client], server: Server) -> None:
    """After its `with` block a client makes no more calls."""
    client = kind(server.address, credential=CREDENTIAL)
    ask = Asker(client)
    if isinstance(client, AsyncInterlock):
        async with client:
            await ask("decide", "t", {})
    else:
        with client:
            await ask("decide", "t", {})
    with pytest.raises((ValueError, grpc.aio.UsageError), match="closed"):
        await ask("decide", "t", {})


def tls_credentials(ca_file: Path) -> grpc.ServerCredentials:
    """A server's key and its self-signed certificate, which is written to `ca_file`."""
    certificate, key = a_certificate_of("127.0.0.1", ca_file.parent)
    pem = certificate.read_bytes()
    ca_file.write_bytes(pem)
    return grpc.ssl_server_credentials([(key.read_bytes(), pem)])
