"""What comes over the wire and is no proposal: refused in one form, with the place, and nothing granted."""

import uuid
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from interlock.client import Interlock, InterlockCallError, ToolCall, Verdict
from interlock.core.canonical import digest_of
from interlock.core.record import RecordType
from interlock.v1 import decision_pb2, gateway_service_pb2
from interlock.v1 import decision_service_pb2 as pb
from tests.e2e.wire import Metadata, a_request, bearer, field, refused, send
from tests.e2e.world import World

DECIDE = "DecisionService/Decide"
EXECUTE = "GatewayService/Execute"
ARGUMENTS = "proposal.tool_call.arguments_json"
UNKNOWN_FIELD = field(15, b"from the future")


@pytest.fixture(scope="module")
def channel(world: World) -> grpc.Channel:
    """A bare channel to the decision service."""
    return world.channel()


@pytest.fixture(scope="module")
def as_agent(world: World) -> Metadata:
    """Metadata with the credential of an agent."""
    return bearer(world.credential("agent", "raw", "tester"))


def new_id() -> str:
    return str(uuid.uuid4())


def nested(*numbers: int, content: bytes) -> bytes:
    """`content` in a field in a field ..., outermost first."""
    for number in reversed(numbers):
        content = field(number, content)
    return content


MALFORMED = {
    "garbage": b"\xff\xff\xff\xff garbage",
    "cut off": a_request(request_id="cut-off").SerializeToString()[:-3],
    "bad UTF-8 in request_id": field(1, b"\xff\xfe"),
    "bad UTF-8 in the goal": nested(2, 3, content=b"\xc0\xaf"),
    "an unknown field": a_request(request_id="unknown-1").SerializeToString() + UNKNOWN_FIELD,
    "an unknown field in the proposal": a_request(request_id="unknown-2").SerializeToString()
    + nested(2, content=UNKNOWN_FIELD),
    "an unknown field in a source": a_request(request_id="unknown-3").SerializeToString()
    + nested(2, 5, 1, content=UNKNOWN_FIELD),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_bytes_that_are_no_request_are_an_invalid_argument(
    channel: grpc.Channel, as_agent: Metadata, data: bytes
) -> None:
    """Garbage, bad UTF-8 and unknown fields at any depth are INVALID_ARGUMENT, never UNKNOWN (case 33)."""
    error = refused(channel, DECIDE, data, as_agent)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


@pytest.mark.parametrize("data", [MALFORMED["garbage"], UNKNOWN_FIELD], ids=["garbage", "unknown field"])
def test_the_gateway_reads_as_strictly(world: World, data: bytes) -> None:
    """What is no request is INVALID_ARGUMENT at the gateway too (case 33)."""
    error = refused(world.channel(world.gateway), EXECUTE, data)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


BAD_ARGUMENTS = {
    "no JSON": (b"{", ""),
    "no object": (b"[]", ""),
    "a key twice": (b'{"a":{"b":1,"b":2}}', "/a/b"),
    "keys that differ in case": (b'{"path":1,"PATH":2}', "/PATH"),
    "NaN": (b'{"a":[1,NaN]}', "/a/1"),
    "Infinity": (b'{"a":-Infinity}', "/a"),
    "a large integer": (b'{"a":9007199254740993}', "/a"),
    "thirty digits": (b'{"a":' + b"9" * 30 + b"}", "/a"),
    "a large float": (b'{"a":1e400}', "/a"),
    "a lone surrogate": (b'{"a":"\\ud800"}', "/a"),
    "NUL": (b'{"a":"\\u0000"}', "/a"),
    "a byte order mark": (b'\xef\xbb\xbf{"a":1}', ""),
    "bad UTF-8": (b'{"a":"\xff"}', ""),
    "too deep": (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", None),
    "too many nodes": (b'{"a":[' + b"1," * 10_000 + b"1]}", None),
    "too long": (b'{"a":"' + b"x" * 262_144 + b'"}', ""),
    "more after it": (b'{"a":1} {}', ""),
}


@pytest.mark.parametrize(("data", "pointer"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys())
def test_arguments_that_are_no_strict_json_name_the_place(
    channel: grpc.Channel, as_agent: Metadata, data: bytes, pointer: str | None
) -> None:
    """Arguments outside the ingress rules are INVALID_ARGUMENT with field and pointer (cases 7, 27, 29, 30, 31, 32)."""
    error = refused(channel, DECIDE, a_request(data, request_id=new_id()).SerializeToString(), as_agent)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_ARGUMENTS")
    [violation] = error.violations
    name, _, found = violation.field.partition("#")
    assert name == ARGUMENTS
    assert pointer is None or found == pointer


def test_a_bad_field_is_named(channel: grpc.Channel, as_agent: Metadata) -> None:
    """A field outside its rule is INVALID_ARGUMENT with BadRequest, ErrorInfo and the domain as they should be."""
    request = a_request(request_id=new_id(), session_id="My Session")
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, DECIDE, request.SerializeToString(), as_agent)
    status = rpc_status.from_call(caught.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("INVALID_FIELD", "interlock")
    assert [violation.field for violation in bad.field_violations] == ["proposal.session_id"]


@pytest.mark.parametrize("tool", ["\x1b[31mred", "a\r\nb", "<script>", "x" * 129, ""], ids=repr)
def test_a_name_that_no_tool_has_is_refused(channel: grpc.Channel, as_agent: Metadata, tool: str) -> None:
    """Control characters and markup never pass as a tool's name (case 43)."""
    data = a_request(request_id=new_id(), tool=tool).SerializeToString()
    error = refused(channel, DECIDE, data, as_agent)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert [violation.field for violation in error.violations] == ["proposal.tool_call.tool"]


def test_of_a_field_sent_twice_the_last_is_decided_signed_and_run(
    world: World, channel: grpc.Channel, as_agent: Metadata
) -> None:
    """Policy, record, digest and execution agree on the last value of a duplicate field (case 33)."""
    first = a_request(b'{"which":"first"}', request_id=new_id(), tool="fail")
    last = a_request(b'{"which":"last"}', request_id=new_id(), tool="echo")
    data = first.SerializeToString() + last.SerializeToString()
    decided = pb.DecideResponse.FromString(send(channel, DECIDE, data, as_agent)).decision
    assert (decided.verdict, decided.request_id) == (decision_pb2.VERDICT_ALLOW, last.request_id)
    assert decided.arguments_digest == digest_of({"which": "last"})
    [record] = [
        record
        for record in world.records(RecordType.DECISION)
        if record["decision_id"] == decided.decision_id
    ]
    assert record["input"]["tool"]["name"] == "echo"
    assert record["input"]["arguments"] == {"which": "last"}

    gateway = world.channel(world.gateway)
    execute = gateway_service_pb2.ExecuteRequest(
        execution_token=decided.execution_token, tool="echo", arguments_json=b'{"which":"first"}'
    ).SerializeToString()
    assert refused(gateway, EXECUTE, execute).reason == "CALL_MISMATCH"
    execute += gateway_service_pb2.ExecuteRequest(arguments_json=b'{"which":"last"}').SerializeToString()
    ran = gateway_service_pb2.ExecuteResponse.FromString(send(gateway, EXECUTE, execute))
    assert b'"structuredContent":{"which":"last"}' in ran.result_json


def test_an_oversized_message_is_refused(channel: grpc.Channel, as_agent: Metadata) -> None:
    """A message above the limit costs no parsing: RESOURCE_EXHAUSTED (case 32)."""
    data = a_request(b'{"a":"' + b"x" * 9_000_000 + b'"}', request_id=new_id()).SerializeToString()
    assert refused(channel, DECIDE, data, as_agent).code == "RESOURCE_EXHAUSTED"


def test_a_gzip_bomb_is_not_unpacked(channel: grpc.Channel, as_agent: Metadata) -> None:
    """The limit holds for the unpacked message (case 32)."""
    bomb = field(15, bytes(64_000_000))
    error = refused(channel, DECIDE, bomb, as_agent, grpc.Compression.Gzip)
    assert error.code == "RESOURCE_EXHAUSTED"


def test_gzip_in_itself_is_fine(channel: grpc.Channel, as_agent: Metadata) -> None:
    """A client may compress what is within the limits (case 32)."""
    data = a_request(request_id=new_id()).SerializeToString()
    answer = pb.DecideResponse.FromString(send(channel, DECIDE, data, as_agent, grpc.Compression.Gzip))
    assert answer.decision.verdict == decision_pb2.VERDICT_ALLOW


def test_a_flood_of_metadata_is_refused(world: World, channel: grpc.Channel, as_agent: Metadata) -> None:
    """20 KB of metadata end the call, and the service goes on (case 42)."""
    flood = (*as_agent, ("x-flood", "x" * 20_000))
    data = a_request(request_id=new_id()).SerializeToString()
    assert refused(channel, DECIDE, data, flood).code == "RESOURCE_EXHAUSTED"
    assert send(channel, DECIDE, data, as_agent)
    assert "x-flood" not in world.service.said()


def test_a_request_id_with_another_payload_is_an_error(tester: Interlock) -> None:
    """A request_id gives one decision and token; with another payload it is ALREADY_EXISTS (invariant 9)."""
    name = new_id()
    first = tester.decide("echo", {"a": 1, "b": 2}, request_id=name)
    assert tester.decide("echo", {"b": 2, "a": 1.0}, request_id=name) == first
    assert first.execution_token
    [again, other] = tester.decide_batch([_call(name, b=2, a=1), _call(name, a=2)])
    assert again == first
    assert isinstance(other, InterlockCallError)
    assert (other.code, other.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def _call(request_id: str, **arguments: Any) -> ToolCall:
    return ToolCall(tool="echo", arguments=arguments, request_id=request_id)


def test_each_item_of_a_batch_has_its_own_answer(channel: grpc.Channel, as_agent: Metadata) -> None:
    """One bad item gets its own status, and its neighbours their decisions (invariant 10, case 33)."""
    used = new_id()
    send(channel, DECIDE, a_request(b'{"first":1}', request_id=used).SerializeToString(), as_agent)
    good, unknown_field = a_request(request_id=new_id()), a_request(request_id=new_id())
    items = [
        good.SerializeToString(),
        a_request(b'{"a":1,"a":2}', request_id=new_id()).SerializeToString(),
        unknown_field.SerializeToString() + nested(2, 5, 1, content=UNKNOWN_FIELD),
        a_request(request_id=new_id(), tool="no_such_tool").SerializeToString(),
        a_request(b'{"other":1}', request_id=used).SerializeToString(),
        pb.DecideRequest(request_id=new_id()).SerializeToString(),
        good.SerializeToString(),
    ]
    batch = b"".join(field(1, item) for item in items)
    answer = pb.DecideBatchResponse.FromString(send(channel, "DecisionService/DecideBatch", batch, as_agent))
    told = [_told(result) for result in answer.results]
    assert told == [
        "VERDICT_ALLOW",
        "MALFORMED_ARGUMENTS",
        "MALFORMED_REQUEST",
        "VERDICT_DENY",
        "REQUEST_ID_REUSED",
        "INVALID_FIELD",
        "VERDICT_ALLOW",
    ]
    assert answer.results[0].decision == answer.results[6].decision


def _told(result: pb.DecideResult) -> str:
    if result.WhichOneof("result") == "decision":
        return decision_pb2.Verdict.Name(result.decision.verdict)
    info = error_details_pb2.ErrorInfo()
    assert result.status.details[0].Unpack(info)
    return str(info.reason)


@pytest.mark.parametrize(
    "data",
    [b"", b"".join(field(1, b"") for _ in range(257)), UNKNOWN_FIELD],
    ids=["empty", "257 items", "an unknown field beside the items"],
)
def test_a_batch_that_is_none_is_refused_whole(
    channel: grpc.Channel, as_agent: Metadata, data: bytes
) -> None:
    """A batch without items, with too many, or with what nobody knows is INVALID_ARGUMENT (cases 32 and 33)."""
    assert refused(channel, "DecisionService/DecideBatch", data, as_agent).code == "INVALID_ARGUMENT"


def test_bad_input_grants_nothing_and_loses_no_record(world: World, tester: Interlock) -> None:
    """After all of that the log has a record of each decision, in one chain, and decides on (invariant 2)."""
    decision = tester.decide("echo", {})
    assert decision.verdict == Verdict.ALLOW
    records = world.records()
    assert [record["log_index"] for record in records] == list(range(len(records)))
    assert records[decision.log_index]["decision_id"] == decision.decision_id
