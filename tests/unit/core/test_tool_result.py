"""A tool's answer always becomes JSON: it ran, and that must come on record."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.canonical import canonicalize, digest
from interlock.core.outcome import MAX_RESULT_KEPT_BYTES
from interlock.core.strict_json import MAX_INTEGER
from interlock.core.tool_result import MAX_RESULT_BYTES, encode

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=20,
)


@given(anything)
def test_every_answer_has_an_encoding_and_its_digest(value: Any) -> None:
    """Whatever JSON a tool answers, what is returned is canonical JSON, and the digest is of just that."""
    encoded = encode(value)
    assert canonicalize(json.loads(encoded.data, parse_int=float)) == encoded.data
    assert encoded.digest == digest(encoded.data)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [1.0, None]}, b'{"a":[1,null],"b":1}'),
        (MAX_INTEGER, b"9007199254740991"),
        (MAX_INTEGER + 1, b'"9007199254740992"'),
        ([True, -(2**60)], b'[true,"-1152921504606846976"]'),
        (float("nan"), b'"nan"'),
        ({"\ud800": "x\udfff"}, '{"\ufffd":"x\ufffd"}'.encode()),
        (1 << 100_000, b'"an integer of 100001 bits"'),
    ],
    ids=["canonical", "largest", "beyond", "boolean", "nan", "surrogates", "very-long"],
)
def test_what_has_no_canonical_form_is_carried_in_strings(value: Any, expected: bytes) -> None:
    """Numbers outside I-JSON become strings, lone surrogates U+FFFD, and all else stays (RFC 7493 2.2)."""
    assert encode(value).data == expected


def test_an_answer_nested_without_end_is_left_out() -> None:
    """An answer too deep to write is told as such, and raises nothing."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json.loads(encode(deep).data) == {"omitted": "the answer has no canonical form"}


def test_an_answer_at_the_limit_is_returned_and_a_larger_one_kept_by_digest() -> None:
    """Of an answer above the limit the caller gets the size, and the digest that is on record."""
    fits = "x" * (MAX_RESULT_BYTES - 2)
    assert encode(fits).data == canonicalize(fits)
    whole = canonicalize(fits + "x")
    encoded = encode(fits + "x")
    assert encoded.digest == digest(whole)
    told = json.loads(encoded.data)
    assert (told["bytes"], told["digest"]) == (len(whole), digest(whole))


def test_a_short_answer_is_reported_whole() -> None:
    """What fits is the excerpt, and nothing is said to be missing."""
    encoded = encode("x" * (MAX_RESULT_KEPT_BYTES - 2))
    assert (encoded.excerpt, encoded.truncated) == (encoded.data, False)


@pytest.mark.parametrize("size", [MAX_RESULT_KEPT_BYTES - 1, MAX_RESULT_BYTES + 1], ids=["kept", "omitted"])
def test_of_a_long_answer_the_beginning_is_reported(size: int) -> None:
    """The excerpt is the first 65,536 bytes of the whole answer, also of one that is not returned."""
    encoded = encode("x" * size)
    assert (encoded.excerpt, encoded.truncated) == (b'"' + b"x" * (MAX_RESULT_KEPT_BYTES - 1), True)


def test_no_answer_is_in_a_repr() -> None:
    """What a tool answered is in no trace or log of the value that carries it (case 63)."""
    assert "confidential" not in repr(encode("confidential"))
