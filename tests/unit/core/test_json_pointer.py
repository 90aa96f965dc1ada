"""JSON Pointers: written as RFC 6901 says, and nothing that one should reach is missed."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.json_pointer import MAX_LENGTH, append, from_path, replace_at, to_path, value_at

# RFC 6901 5, but for the empty pointer.
RFC_DOCUMENT: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
RFC_POINTERS = {
    "/foo": ["bar", "baz"],
    "/foo/0": "bar",
    "/": 0,
    "/a~1b": 1,
    "/c%d": 2,
    "/e^f": 3,
    "/g|h": 4,
    "/i\\j": 5,
    '/k"l': 6,
    "/ ": 7,
    "/m~0n": 8,
}

PATHS = st.lists(st.text(alphabet="ab/~01", max_size=4), max_size=6)


def conceal(_: object) -> str:
    return "concealed"


@pytest.mark.parametrize("pointer", RFC_POINTERS)
def test_reaches_what_the_rfc_says(pointer: str) -> None:
    """Each pointer of RFC 6901 5 reaches the value that the RFC gives for it, and only that."""
    found: list[object] = []
    replace_at(RFC_DOCUMENT, pointer, found.append)
    assert found == [RFC_POINTERS[pointer]]


@given(PATHS)
def test_path_survives_the_pointer(path: list[str]) -> None:
    """A path written as a pointer reads back as the same path."""
    pointer = ""
    for token in path:
        pointer = append(pointer, token)
    assert to_path(pointer) == path
    assert from_path(path) == pointer


@pytest.mark.parametrize("pointer", ["a", "a/b", "#/a", "/~", "/a~2b", "/a~", "/~01~"])
def test_bad_syntax_is_refused(pointer: str) -> None:
    """What is no JSON Pointer is refused rather than taken for a place that is not there."""
    with pytest.raises(ValueError, match="not a JSON Pointer"):
        replace_at({}, pointer, conceal)


def test_long_path_stops_at_a_parent() -> None:
    """A pointer for an error is never longer than its limit, and always leads to a parent of the place."""
    path = ["a" * 400, "b" * 400, "c" * 400, "d"]
    assert from_path(path) == from_path(path[:2])
    assert from_path(["k" * MAX_LENGTH, "d"]) == ""
    assert len(from_path(["/" * 511])) == 1 + 2 * 511


def test_pointer_can_be_stored_and_sent() -> None:
    """U+0000 and lone surrogates in a key never get into a pointer, which must be valid UTF-8 (case 31)."""
    assert from_path(["a\x00b", "\ud800", "\U0001f600", 3]) == "/a\ufffdb/\ufffd/\U0001f600/3"


@pytest.mark.parametrize(
    ("value", "pointer", "expected"),
    [
        ({"a": 1, "b": 2}, "/a", {"a": "concealed", "b": 2}),
        ({"a": 1}, "", "concealed"),
        ({"a": [1, 2]}, "/a/1", {"a": [1, "concealed"]}),
        ({"a": [1, {"b": 2}]}, "/a/*/b", {"a": ["concealed", {"b": "concealed"}]}),
        (
            {"a": [{"b": 1, "c": 2}, {"b": 3}]},
            "/a/*/b",
            {"a": [{"b": "concealed", "c": 2}, {"b": "concealed"}]},
        ),
        ({"a": {"x": 1, "y": 2}}, "/a/*", {"a": {"x": "concealed", "y": "concealed"}}),
        ({"0": 1, "1": 2}, "/0", {"0": "concealed", "1": 2}),
        ([[1, 2], [3]], "/*/0", [["concealed", 2], ["concealed"]]),
    ],
)
def test_replaces_where_the_pointer_leads(value: Any, pointer: str, expected: Any) -> None:
    """Every place that a pointer names is replaced, and no other."""
    assert replace_at(value, pointer, conceal) == expected


@pytest.mark.parametrize("pointer", ["/b", "/a/2", "/c/x", "/c/*"])
def test_place_that_is_not_there_replaces_nothing(pointer: str) -> None:
    """A key or an element that is absent leaves the value as it is."""
    value = {"a": [1, 2], "c": {}}
    assert replace_at(value, pointer, conceal) == value


@pytest.mark.parametrize("pointer", ["/a/01", "/a/-", "/a/x", "/a/-1", "/a/\u0661"])
def test_token_that_is_no_index_conceals_the_array(pointer: str) -> None:
    """An array that is asked for what is no index (RFC 6901 4) is concealed whole (case 63)."""
    assert replace_at({"a": [1, 2]}, pointer, conceal) == {"a": "concealed"}


@pytest.mark.parametrize(
    "value", [{"card": "4111"}, {"card": 4111}, {"card": None}, {"card": ["4111"]}, {"card": True}]
)
def test_other_shape_is_replaced_whole(value: dict[str, Any]) -> None:
    """A sensitive place whose value has an unforeseen shape is concealed, not missed (case 63)."""
    assert replace_at(value, "/card/number", conceal) == {"card": "concealed"}


@given(
    st.recursive(
        st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0"), inner, max_size=3)
        ),
        max_leaves=10,
    ),
    st.lists(st.sampled_from(["a", "b", "0", "1", "*"]), max_size=4),
)
def test_original_stays_as_it_is(value: Any, path: list[str]) -> None:
    """Whatever is replaced, the value that was given is not changed: it is the one that runs."""
    before = copy.deepcopy(value)
    replace_at(value, from_path(path), conceal)
    assert value == before


@pytest.mark.parametrize(("pointer", "value"), RFC_POINTERS.items(), ids=repr)
def test_a_pointer_leads_where_the_rfc_says(pointer: str, value: Any) -> None:
    """RFC 6901 5, each of its examples."""
    assert value_at(RFC_DOCUMENT, pointer) == value
    assert value_at(RFC_DOCUMENT, "") is RFC_DOCUMENT


@pytest.mark.parametrize(
    "pointer", ["/none", "/foo/2", "/foo/01", "/foo/-", "/foo/bar", "/foo/*", "/a~1b/c", "/*"]
)
def test_a_pointer_that_leads_nowhere_leads_to_nothing_else(pointer: str) -> None:
    """No wildcard, no index of another form, nothing inside of a number."""
    with pytest.raises(LookupError):
        value_at(RFC_DOCUMENT, pointer)
