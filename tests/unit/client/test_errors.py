"""Errors: all that the service tells arrives, and the person reads what to do next."""

import copy
import pickle

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from interlock.client.errors import (
    NEXT_STEPS,
    InterlockCallError,
    Violation,
    from_rpc,
    from_status,
    method_of,
    not_understood,
)
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError
from interlock.rpc.status import to_status
from interlock.v1 import decision_service_pb2, error_reason_pb2, gateway_service_pb2

DETAILS = "grpc-status-details-bin"


def rpc_error(code: grpc.StatusCode, message: str, *trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=message)


def test_every_detail_arrives() -> None:
    """Reason, message, violations with their JSON Pointer, metadata and delay are as the service gave them."""
    told = InterlockError(
        reason=ErrorReason.MALFORMED_ARGUMENTS,
        message="arguments_json is not within the limits",
        violations=(FieldViolation(field="arguments_json", pointer="/a~1b", description="repeats a key"),),
        metadata={"limit": "64"},
        retry_after=1.5,
    )
    heard = from_status(to_status(told), method="Decide")
    assert vars(heard) == {
        "method": "Decide",
        "code": "INVALID_ARGUMENT",
        "reason": "MALFORMED_ARGUMENTS",
        "message": "arguments_json is not within the limits",
        "violations": (Violation(field="arguments_json#/a~1b", description="repeats a key"),),
        "metadata": {"limit": "64"},
        "retry_after": 1.5,
        "decision_id": "",
    }


@pytest.mark.parametrize("reason", ErrorReason)
def test_every_reason_arrives_with_a_next_step(reason: ErrorReason) -> None:
    """Each reason that the service has is told by name, with its message and what to do."""
    error = from_status(to_status(InterlockError(reason=reason, message="it went wrong")), method="Decide")
    assert error.reason == reason
    assert str(error).startswith(f"Decide ended with {reason}: it went wrong; ")
    assert "What to do: " in error.diagnostics()


def test_next_steps_name_real_reasons() -> None:
    """No next step is kept for a reason that there is not."""
    known = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert set(NEXT_STEPS) <= known


def test_violations_say_what_to_correct() -> None:
    """Where fields are wrong, the sentence names each, and the diagnostics say how."""
    error = InterlockCallError(
        method="Decide",
        code="INVALID_ARGUMENT",
        reason="INVALID_FIELD",
        message="two fields are wrong",
        violations=(Violation(field="a", description="too long"), Violation(field="b#/c", description="no")),
    )
    assert str(error).endswith("correct `a`, `b#/c`")
    assert error.diagnostics().splitlines() == [
        "Decide ended with INVALID_ARGUMENT INVALID_FIELD",
        "  two fields are wrong",
        "  at a: too long",
        "  at b#/c: no",
        "What to do: correct `a`, `b#/c`",
    ]


def test_the_delay_is_part_of_what_to_do() -> None:
    """Where the service names a time, the person reads it in seconds."""
    error = InterlockCallError(method="Decide", code="UNAVAILABLE", message="away", retry_after=1.5)
    assert str(error).endswith("try again in 1.5 s")


@pytest.mark.parametrize(
    ("code", "reason", "open_"),
    [
        ("UNAVAILABLE", "", True),
        ("DEADLINE_EXCEEDED", "", True),
        ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", True),
        ("INTERNAL", "INTERNAL", True),
        ("CANCELLED", "", True),
        ("RESOURCE_EXHAUSTED", "", True),
        ("UNAVAILABLE", "TOOL_UNAVAILABLE", False),
        ("UNAVAILABLE", "LEDGER_UNAVAILABLE", False),
        ("PERMISSION_DENIED", "TOKEN_EXPIRED", False),
        ("UNIMPLEMENTED", "", False),
    ],
)
def test_an_open_execution_is_never_called_undone(code: str, reason: str, open_: bool) -> None:
    """Only where the gateway says why it did not act is it certain that nothing ran (invariant 8)."""
    error = InterlockCallError(
        method="Execute", code=code, reason=reason, message="no answer", retry_after=1.0, decision_id="d-1"
    )
    assert error.may_have_run is open_
    assert ("may have run: look for the outcome of decision `d-1`" in str(error)) is open_
    assert ("try again in" in str(error)) is not open_


def test_only_executions_may_have_run() -> None:
    """A decision that was not answered ran nothing."""
    assert not InterlockCallError(method="Decide", code="UNAVAILABLE", message="away").may_have_run


def test_an_error_without_details_has_its_code() -> None:
    """What a proxy or the channel says is told by its status code and message alone."""
    error = from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused"), method="Decide")
    assert (error.code, error.reason, error.message) == ("UNAVAILABLE", "", "connection refused")


@given(st.binary(max_size=64))
def test_garbage_for_details_spoils_nothing(garbage: bytes) -> None:
    """Whatever bytes come as details, the error still has the code that the call ended with."""
    error = from_rpc(rpc_error(grpc.StatusCode.INTERNAL, "broken", (DETAILS, garbage)), method="Decide")
    assert error.code == "INTERNAL"


def test_details_of_another_status_are_not_believed() -> None:
    """Details that contradict the call's status are dropped."""
    other = to_status(InterlockError(reason=ErrorReason.TOOL_UNAVAILABLE, message="not now"))
    trailing = (DETAILS, other.SerializeToString())
    error = from_rpc(rpc_error(grpc.StatusCode.INTERNAL, "broken", trailing), method="Execute")
    assert (error.code, error.reason, error.may_have_run) == ("INTERNAL", "", True)


def test_reasons_of_another_domain_are_not_ours() -> None:
    """An ErrorInfo of somebody else's domain names no reason of Interlock."""
    status = status_pb2.Status(code=14, message="no")
    info = error_details_pb2.ErrorInfo(reason="TOOL_UNAVAILABLE", domain="example.com", metadata={"a": "b"})
    status.details.add().Pack(info)
    error = from_status(status, method="Execute")
    assert (error.reason, error.metadata, error.may_have_run) == ("", {}, True)


def test_a_broken_detail_spoils_no_other() -> None:
    """A detail that cannot be read leaves the others theirs."""
    status = to_status(InterlockError(reason=ErrorReason.OVERLOADED, message="too much"))
    broken = any_pb2.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff")
    status.details.append(broken)
    error = from_status(status, method="Decide")
    assert (error.reason, error.retry_after) == ("OVERLOADED", None)


@pytest.mark.parametrize("number", [0, 17, -1, 99])
def test_codes_that_are_none_are_unknown(number: int) -> None:
    """OK, and numbers that gRPC does not have, are no codes of an error."""
    assert from_status(status_pb2.Status(code=number), method="Decide").code == "UNKNOWN"


def test_a_negative_delay_is_none() -> None:
    """A delay in the past is no time to wait, and no error either."""
    status = status_pb2.Status(code=14)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=-3)))
    assert from_status(status, method="Decide").retry_after == 0.0


@given(st.text())
def test_texts_of_others_stay_on_their_line(text: str) -> None:
    """No message moves a cursor, ends a line or turns the direction of a terminal (case 43)."""
    error = InterlockCallError(method="Decide", code="UNKNOWN", message=text)
    assert str(error).isprintable()
    assert all(line.isprintable() for line in error.diagnostics().split("\n"))
    assert len(error.diagnostics().split("\n")) == 3


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_travel_between_processes(again: object) -> None:
    """An error that a worker raises is the same error in the process that waits for it."""
    assert callable(again)
    error = InterlockCallError(
        method="Decide",
        code="UNAVAILABLE",
        message="away",
        violations=(Violation(field="a", description="b"),),
        metadata={"c": "d"},
    )
    assert vars(again(error)) == vars(error)


def test_a_misunderstood_answer_is_an_error() -> None:
    """What is no well-formed answer is told as an error of its method, with what is wrong with it."""
    error = not_understood(ValueError("verdict `7` is not known"), method="Decide")
    assert error.code == "INTERNAL"
    assert "verdict `7` is not known" in str(error)


def test_a_method_is_known_by_its_request() -> None:
    """Errors name the RPC that was called."""
    assert method_of(decision_service_pb2.DecideBatchRequest()) == "DecideBatch"
    assert method_of(gateway_service_pb2.ExecuteRequest()) == "Execute"
