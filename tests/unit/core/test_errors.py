"""Errors: one list of reasons, in the code and on the wire."""

import re
from pathlib import Path

import pytest

from interlock.core.errors import ErrorReason, FieldViolation, InterlockError, invalid_field
from interlock.v1 import error_reason_pb2

PREFIX = "ERROR_REASON_"
PROTO = Path(__file__).parents[3] / "proto" / "interlock" / "v1" / "error_reason.proto"


def test_the_reasons_are_those_of_the_wire() -> None:
    """The code can give exactly the reasons that clients can know, less the one that is never sent."""
    on_the_wire = set(error_reason_pb2.ErrorReason.keys()) - {f"{PREFIX}UNSPECIFIED"}
    assert {f"{PREFIX}{reason}" for reason in ErrorReason} == on_the_wire


@pytest.mark.parametrize("reason", ErrorReason)
def test_a_reason_is_its_name(reason: ErrorReason) -> None:
    """What travels in ErrorInfo is the name itself, in its form (AIP-193)."""
    assert reason.value == reason.name
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]", reason.value)


@pytest.mark.parametrize("reason", ErrorReason)
def test_a_reason_is_documented_with_status_and_example(reason: ErrorReason) -> None:
    """Each reason says what it means, with which status it comes, and when, for docs/errors.md."""
    comment = PROTO.read_text().partition(f"  {PREFIX}{reason} =")[0].rpartition(";\n")[2]
    assert re.search(r"// Status: [A-Z_]+\. Example: .+\.\n$", comment)


def test_an_error_says_its_reason() -> None:
    """The text of an error is its reason and its message."""
    assert (
        str(InterlockError(reason=ErrorReason.OVERLOADED, message="too many wait"))
        == "OVERLOADED: too many wait"
    )


def test_an_invalid_field_names_the_field() -> None:
    """The error for one field carries it as a violation, for BadRequest."""
    error = invalid_field("proposal.goal", "must be short")
    assert (error.reason, error.message) == (ErrorReason.INVALID_FIELD, "`proposal.goal` must be short")
    assert error.violations == (FieldViolation(field="proposal.goal", description="must be short"),)
