"""Requests carry exactly what was given; answers are taken only where they are well-formed."""

import json
import math
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from interlock.client import messages, values
from interlock.client.errors import InterlockCallError
from interlock.core import outcome as core_outcome
from interlock.core import proposal as core_proposal
from interlock.core import record as core_record
from interlock.core.decision import Verdict as CoreVerdict
from interlock.v1 import (
    audit_service_pb2,
    decision_pb2,
    decision_service_pb2,
    gateway_service_pb2,
    outcome_pb2,
    proposal_pb2,
    record_pb2,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
SECRET = "a-secret-value"


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


def request(request_id: str = "r-1") -> decision_service_pb2.DecideRequest:
    return decision_service_pb2.DecideRequest(request_id=request_id)


def answer(**changes: Any) -> decision_service_pb2.DecideResponse:
    fields = {
        "decision_id": "d-1",
        "request_id": "r-1",
        "verdict": decision_pb2.VERDICT_ALLOW,
        "execution_token": "header.payload.signature",
        "policy_revision": "rev",
        "arguments_digest": "digest",
        "log_index": 7,
    }
    return decision_service_pb2.DecideResponse(decision=decision_pb2.Decision(**{**fields, **changes}))


def allowed() -> values.Decision:
    return messages.read_decision(answer(), request())


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_arguments_arrive_as_they_were_given(arguments: dict[str, Any]) -> None:
    """Whatever JSON object is given is what the bytes say, in UTF-8 and without spaces."""
    data = messages.encode_arguments(arguments)
    assert json.loads(data) == arguments
    assert data == json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (MappingProxyType({"a": MappingProxyType({"b": (1, 2)})}), b'{"a":{"b":[1,2]}}'),
        ({"colour": Colour.RED, "size": Size.LARGE}, b'{"colour":"red","size":3}'),
        ({"n": 2**53 + 1}, b'{"n":9007199254740993}'),
        ({}, b"{}"),
    ],
)
def test_what_is_json_by_another_name_is_sent(arguments: Any, expected: bytes) -> None:
    """Mappings, tuples and enumerations of strings and integers are the JSON that they stand for."""
    assert messages.encode_arguments(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "place"),
    [
        ({"a": {"b/c": [0, datetime(2020, 1, 1, tzinfo=UTC)]}}, TypeError, "`arguments#/a/b~1c/1`"),
        ({"a": SECRET.encode()}, TypeError, "`arguments#/a`"),
        ({"a": {SECRET}}, TypeError, "`arguments#/a`"),
        ({"a": {1: SECRET}}, TypeError, "key of type `int`"),
        ({None: SECRET}, TypeError, "key of type `NoneType`"),
        ({"a": math.nan}, ValueError, "`arguments#/a`"),
        ({"a": [math.inf]}, ValueError, "`arguments#/a/0`"),
        ({"a": -math.inf}, ValueError, "`arguments#/a`"),
        ({"a": f"{SECRET}\ud800"}, ValueError, "lone surrogate"),
        ({f"{SECRET}\udfff": 1}, ValueError, "lone surrogate"),
        ({"a": 10**5_000}, ValueError, "4300"),
        ([SECRET], TypeError, "mapping"),
        (SECRET, TypeError, "mapping"),
        (None, TypeError, "mapping"),
    ],
)
def test_what_is_no_json_is_refused_unseen(arguments: Any, error: type[Exception], place: str) -> None:
    """What JSON does not have is refused where it stands, and the error holds no value (cases 29, 30, 31, 63)."""
    with pytest.raises(error) as caught:
        messages.encode_arguments(arguments)
    assert place in str(caught.value)
    assert SECRET not in f"{caught.value!r} {vars(caught.value)}"
    assert not isinstance(caught.value, UnicodeError)


def test_arguments_that_hold_themselves_are_refused() -> None:
    """Arguments without an end are a ValueError, not a crash (case 32)."""
    arguments: dict[str, Any] = {}
    arguments["itself"] = [arguments]
    with pytest.raises(ValueError, match="hold themselves"):
        messages.encode_arguments(arguments)


def test_a_request_holds_all_that_was_said() -> None:
    """Call, session, goal, parent and context stand in the request as they were given."""
    made = messages.decide_request(
        values.ToolCall(tool="send_money", arguments={"amount": 5}, request_id="r-1"),
        session_id="s-1",
        goal="pay the bill",
        parent_decision_id="d-0",
        operation="pay:bill-7",
        sources=[values.Source(kind="email", reference="inbox/1", trust=values.SourceTrust.UNTRUSTED)],
        memory_reads=[values.MemoryRead(key="k", version=3, digest="d")],
        state_digest="state",
    )
    assert made == decision_service_pb2.DecideRequest(
        request_id="r-1",
        proposal=proposal_pb2.Proposal(
            session_id="s-1",
            parent_decision_id="d-0",
            operation="pay:bill-7",
            goal="pay the bill",
            tool_call=proposal_pb2.ToolCall(tool="send_money", arguments_json=b'{"amount":5}'),
            context=proposal_pb2.Context(
                sources=[
                    proposal_pb2.Source(
                        kind="email", reference="inbox/1", trust=proposal_pb2.SOURCE_TRUST_UNTRUSTED
                    )
                ],
                memory_reads=[proposal_pb2.MemoryRead(key="k", version=3, digest="d")],
                state_digest="state",
            ),
        ),
    )


@pytest.mark.parametrize("verdict", ["deny", "escalate"])
def test_only_an_allow_can_be_executed(verdict: str) -> None:
    """A decision that is no allow is refused before anything is sent (invariant 1)."""
    number = decision_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}")
    decision = messages.read_decision(answer(verdict=number, execution_token=""), request())
    with pytest.raises(ValueError, match=f"is `{verdict}`, expected `allow`"):
        messages.execute_request(decision, "t", {})


@pytest.mark.parametrize("token", ["", f"{SECRET}\ud800", f"{SECRET}\u00e9"])
def test_what_cannot_be_a_token_is_refused_unseen(token: str) -> None:
    """A text that is no token is refused before anything is sent, and is not in the error (case 63)."""
    with pytest.raises(ValueError, match="execution token") as caught:
        messages.execute_request(token, "t", {})
    assert SECRET not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("decision", [allowed(), "header.payload.signature"])
def test_a_token_is_sent_as_it_was_given(decision: values.Decision | str) -> None:
    """A decision and its token alone ask for the same execution."""
    assert messages.execute_request(decision, "t", {"a": 1}) == gateway_service_pb2.ExecuteRequest(
        execution_token="header.payload.signature", tool="t", arguments_json=b'{"a":1}'
    )


def test_a_decision_is_read_whole() -> None:
    """All that a decision says is in the value: reasons, obligations, ids, times."""
    response = answer(
        reasons=[
            decision_pb2.Reason(code="a.b", message="m", metadata_json=b'{"limit":5}', path="/amount"),
            decision_pb2.Reason(code="c.d", message="n"),
        ],
        obligations=[decision_pb2.Obligation(type="timeout", parameters_json=b'{"seconds":30}')],
        token_expire_time=Timestamp(seconds=1_700_000_000, nanos=500_000_000),
        retry_after=Duration(seconds=2, nanos=500_000_000),
        state_digest="state",
    )
    assert messages.read_decision(response, request()) == values.Decision(
        decision_id="d-1",
        request_id="r-1",
        verdict=values.Verdict.ALLOW,
        reasons=(
            values.Reason(code="a.b", message="m", metadata={"limit": 5}, path="/amount"),
            values.Reason(code="c.d", message="n", metadata={}, path=""),
        ),
        obligations=(values.Obligation(type="timeout", parameters={"seconds": 30}),),
        execution_token="header.payload.signature",
        token_expire_time=datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC),
        policy_revision="rev",
        arguments_digest="digest",
        log_index=7,
        retry_after=2.5,
        state_digest="state",
    )


@pytest.mark.parametrize(("sent", "expected"), [({}, None), ({"retry_after": Duration(seconds=-3)}, 0.0)])
def test_waiting_is_never_negative(sent: dict[str, Any], expected: float | None) -> None:
    """Nothing said is nothing known; a time that has passed is now."""
    assert messages.read_decision(answer(**sent), request()).retry_after == expected


MALFORMED_DECISIONS: dict[str, dict[str, Any]] = {
    "unspecified verdict": {"verdict": 0},
    "unknown verdict": {"verdict": 99},
    "allow without a token": {"execution_token": ""},
    "deny with a token": {"verdict": decision_pb2.VERDICT_DENY},
    "escalate with a token": {"verdict": decision_pb2.VERDICT_ESCALATE},
    "another request": {"request_id": "r-2"},
    "metadata that is no JSON": {"reasons": [decision_pb2.Reason(metadata_json=b"{")]},
    "metadata that is no object": {"reasons": [decision_pb2.Reason(metadata_json=b"[]")]},
    "metadata that is no UTF-8": {"reasons": [decision_pb2.Reason(metadata_json=b'{"a":"\xff"}')]},
    "metadata without an end": {"reasons": [decision_pb2.Reason(metadata_json=b"[" * 100_000)]},
    "parameters that are no object": {"obligations": [decision_pb2.Obligation(parameters_json=b"1")]},
    "a time that is none": {"token_expire_time": Timestamp(seconds=2**60)},
}


@pytest.mark.parametrize("changes", MALFORMED_DECISIONS.values(), ids=MALFORMED_DECISIONS)
def test_a_malformed_decision_is_never_a_yes(changes: dict[str, Any]) -> None:
    """Whatever is not an explicit, well-formed answer to this request raises (invariant 1)."""
    with pytest.raises(InterlockCallError, match="not one that this client understands") as caught:
        messages.read_decision(answer(**changes), request())
    assert "header.payload.signature" not in f"{caught.value!r} {caught.value} {caught.value.diagnostics()}"


@pytest.mark.parametrize("changes", MALFORMED_DECISIONS.values(), ids=MALFORMED_DECISIONS)
def test_a_malformed_item_spoils_no_other(changes: dict[str, Any]) -> None:
    """In a batch, what is wrong with one item is that item's error, and its neighbours are decided."""
    results = [
        decision_service_pb2.DecideResult(decision=answer(**made).decision)
        for made in ({}, changes, {"request_id": "r-3"})
    ]
    response = decision_service_pb2.DecideBatchResponse(results=results)
    first, second, third = messages.read_batch(response, [request(), request(), request("r-3")])
    assert isinstance(first, values.Decision)
    assert isinstance(second, InterlockCallError)
    assert isinstance(third, values.Decision)


def test_an_empty_result_is_an_error() -> None:
    """A result that is neither a decision nor a status is no yes."""
    response = decision_service_pb2.DecideBatchResponse(results=[decision_service_pb2.DecideResult()])
    [item] = messages.read_batch(response, [request()])
    assert isinstance(item, InterlockCallError)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_must_match_their_requests(count: int) -> None:
    """With more or fewer results than requests, none is taken."""
    results = [decision_service_pb2.DecideResult(decision=answer().decision)] * count
    response = decision_service_pb2.DecideBatchResponse(results=results)
    with pytest.raises(InterlockCallError, match=f"{count} results came for 2 requests"):
        messages.read_batch(response, [request(), request()])


@pytest.mark.parametrize(
    ("result_json", "expected"),
    [(b"", None), (b"null", None), (b'{"a":[1,2.5]}', {"a": [1, 2.5]}), (b'"text"', "text"), (b"0", 0)],
)
def test_a_result_is_any_json_value(result_json: bytes, expected: Any) -> None:
    """The tool's answer is read as the JSON value that it is, None where there is none."""
    response = gateway_service_pb2.ExecuteResponse(
        execution_id="e-1",
        outcome=outcome_pb2.OUTCOME_SUCCEEDED,
        result_json=result_json,
        obligation_results=[gateway_service_pb2.ObligationResult(type="timeout", detail="30 s")],
    )
    assert messages.read_execution(response) == values.Execution(
        execution_id="e-1",
        outcome=values.Outcome.SUCCEEDED,
        result=expected,
        obligation_results=(values.ObligationResult(type="timeout", detail="30 s"),),
    )


@pytest.mark.parametrize(
    "response",
    [
        gateway_service_pb2.ExecuteResponse(),
        gateway_service_pb2.ExecuteResponse(outcome=outcome_pb2.Outcome.ValueType(99)),
        gateway_service_pb2.ExecuteResponse(outcome=outcome_pb2.OUTCOME_SUCCEEDED, result_json=b"{"),
    ],
)
def test_an_execution_that_is_not_understood_may_have_run(
    response: gateway_service_pb2.ExecuteResponse,
) -> None:
    """An outcome that this client does not know is no success, and no sign that nothing ran (invariant 8)."""
    with pytest.raises(InterlockCallError) as caught:
        messages.read_execution(response)
    assert caught.value.may_have_run


def test_a_record_is_read_whole() -> None:
    """A record has its content as a value, and the exact bytes that its hashes cover."""
    message = record_pb2.Record(
        log_index=3,
        type=record_pb2.RECORD_TYPE_OUTCOME,
        tenant="acme",
        decision_id="d-1",
        create_time=Timestamp(seconds=1_700_000_000),
        record_json=b'{"type":"outcome"}',
        leaf_hash=b"l" * 32,
        chain_hash=b"c" * 32,
    )
    assert messages.read_record(audit_service_pb2.GetRecordResponse(record=message)) == values.Record(
        log_index=3,
        type=values.RecordType.OUTCOME,
        tenant="acme",
        decision_id="d-1",
        create_time=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        content={"type": "outcome"},
        record_json=b'{"type":"outcome"}',
        leaf_hash=b"l" * 32,
        chain_hash=b"c" * 32,
    )


def test_records_of_a_newer_service_can_be_read() -> None:
    """A type that this client is too old to know hides no record from an auditor."""
    message = record_pb2.Record(type=record_pb2.RecordType.ValueType(99), record_json=b'{"type":"token"}')
    page, following = messages.read_page(audit_service_pb2.ListRecordsResponse(records=[message]))
    assert [each.type for each in page] == [values.RecordType.UNRECOGNIZED]
    assert not following


def test_a_record_that_is_no_json_is_an_error() -> None:
    """A record whose content cannot be read is told, not left out."""
    message = record_pb2.Record(type=record_pb2.RECORD_TYPE_DECISION, record_json=b"{")
    with pytest.raises(InterlockCallError, match="record_json"):
        messages.read_page(audit_service_pb2.ListRecordsResponse(records=[message]))


def test_pages_keep_their_filter() -> None:
    """The request for the next page asks for the same records."""
    first = messages.list_records_request(values.RecordType.DECISION, "d-1", 5)
    assert messages.following(first, "next") == audit_service_pb2.ListRecordsRequest(
        page_size=5, page_token="next", type=record_pb2.RECORD_TYPE_DECISION, decision_id="d-1"
    )


def test_unrecognized_records_cannot_be_asked_for() -> None:
    """A type that the service does not have is refused, never taken for all types."""
    with pytest.raises(ValueError, match="unrecognized"):
        messages.list_records_request(values.RecordType.UNRECOGNIZED, "", 5)


@pytest.mark.parametrize("status", ["UNKNOWN", "NOT_SERVING", "SERVICE_UNKNOWN"])
def test_only_serving_is_ready(status: str) -> None:
    """Whatever is not SERVING is not ready, and may be asked again."""
    number = health_pb2.HealthCheckResponse.ServingStatus.Value(status)
    with pytest.raises(InterlockCallError, match="not ready") as caught:
        messages.read_health(health_pb2.HealthCheckResponse(status=number), "127.0.0.1:7410")
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (values.Verdict, CoreVerdict),
        (values.Outcome, core_outcome.OutcomeKind),
        (values.SourceTrust, core_proposal.SourceTrust),
    ],
)
def test_words_are_those_of_the_service(ours: type[StrEnum], theirs: type[StrEnum]) -> None:
    """The client has the words of the service, no more and no fewer."""
    assert {each.value for each in ours} == {each.value for each in theirs}


def test_record_types_are_those_of_the_service() -> None:
    """The client knows every type of record that the service makes."""
    known = {each.value for each in values.RecordType} - {values.RecordType.UNRECOGNIZED}
    assert known == {each.value for each in core_record.RecordType}
