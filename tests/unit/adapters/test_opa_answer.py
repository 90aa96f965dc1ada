"""Reading what OPA answered: whatever the bytes are, one clear result or an InterlockError (invariant 1)."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.opa_answer import conclude, read_result
from interlock.core.canonical import canonicalize
from interlock.core.decision import Evaluated
from interlock.core.errors import ErrorReason, InterlockError

REVISION = "revision"
RESULT: dict[str, Any] = {
    "verdict": "allow",
    "reasons": [
        {"code": "test.fine", "message": 'it is "fine": so', "metadata": {"a": [1, None]}, "path": "/a"}
    ],
    "obligations": [{"type": "timeout", "seconds": 30}],
    "reservations": [],
}
ANSWER = orjson.dumps({"provenance": {"bundles": {"b": {"revision": REVISION}}}, "result": RESULT})
DENIAL = ANSWER.replace(b'"allow"', b'"deny"')

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def evaluated(status: int, body: bytes) -> Evaluated | InterlockError:
    try:
        return conclude(read_result(status, body, REVISION), REVISION)
    except InterlockError as error:
        return error


def test_a_good_answer_is_read_as_it_is() -> None:
    """What the policy gave is what is concluded, key for key."""
    found = evaluated(200, ANSWER)
    assert isinstance(found, Evaluated)
    assert found.answer.model_dump(mode="json") == RESULT


@pytest.mark.parametrize("option", [0, orjson.OPT_INDENT_2])
def test_spacing_is_no_matter(option: int) -> None:
    """An answer that something in between has set in lines is the same answer."""
    assert isinstance(evaluated(200, orjson.dumps(orjson.loads(ANSWER), option=option)), Evaluated)


@given(
    st.integers(100, 599),
    st.binary(max_size=64) | st.text(max_size=64).map(str.encode) | values.map(orjson.dumps),
)
def test_what_is_no_answer_is_an_error(status: int, body: bytes) -> None:
    """No status and no bytes but those of an answer are one, and none breaks the reader."""
    assert isinstance(evaluated(status, body), InterlockError)


@given(st.integers(0, len(DENIAL) - 1), st.integers(1, 255))
def test_no_changed_byte_makes_an_allow_of_a_deny(place: int, change: int) -> None:
    """A damaged deny is an error or still a deny."""
    damaged = bytearray(DENIAL)
    damaged[place] ^= change
    found = evaluated(200, bytes(damaged))
    assert isinstance(found, InterlockError) or found.answer.verdict == "deny"


@given(st.sampled_from([*RESULT, "other"]), values)
def test_a_member_of_another_kind_is_an_error_or_can_go_on_record(name: str, value: object) -> None:
    """What a policy gives in place of a member keeps to the contract and has a canonical form, or is refused."""
    found = conclude(RESULT | {name: value}, REVISION)
    if isinstance(found, Evaluated):
        canonicalize(found.answer.model_dump(mode="json"))
    else:
        assert found.reason == ErrorReason.POLICY_MALFORMED


@given(values)
def test_metadata_of_any_kind_is_an_error_or_can_go_on_record(value: object) -> None:
    """What a rule adds to its reason is kept exactly, or refused where the record could not hold it."""
    reason = RESULT["reasons"][0] | {"metadata": {"value": value}}
    found = conclude(RESULT | {"reasons": [reason]}, REVISION)
    if isinstance(found, Evaluated):
        canonicalize(found.answer.model_dump(mode="json"))
        assert found.answer.reasons[0].metadata == {"value": value}
    else:
        assert found.reason == ErrorReason.POLICY_MALFORMED


@given(st.sampled_from(["verdict", "reasons", "obligations", "reservations"]), values)
def test_a_member_that_is_there_twice_is_an_error(name: str, value: object) -> None:
    """Of two members of one name, parsers differ in which they keep, so neither counts (case 27)."""
    first = orjson.dumps({name: value})[1:-1] + b","
    body = ANSWER.replace(b'"result":{', b'"result":{' + first)
    found = evaluated(200, body)
    assert isinstance(found, InterlockError)
    assert found.reason == ErrorReason.POLICY_MALFORMED


@given(values)
def test_any_other_provenance_is_not_ready(provenance: object) -> None:
    """Only the one bundle of the active revision answers (case 10)."""
    found = evaluated(200, orjson.dumps({"provenance": provenance, "result": RESULT}))
    assert isinstance(found, InterlockError)
    assert found.reason == ErrorReason.POLICY_NOT_READY


@given(values, values, st.sampled_from([400, 401, 403, 404, 413, 429, 500, 502, 503]))
def test_a_failure_of_any_shape_is_an_error(errors: object, code: object, status: int) -> None:
    """Whatever stands where OPA tells of errors, it is read without breaking on it."""
    assert isinstance(evaluated(status, orjson.dumps({"errors": errors, "code": code})), InterlockError)
