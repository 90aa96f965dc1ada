"""What is to be redacted is nowhere in what is left, and the rest stays as it was."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.obligation_kinds import PatternSet
from interlock.core.redaction import MAX_NESTED, MAX_TEXT, REDACTED, drop_at, redact_at, redact_found

BOTH: tuple[PatternSet, ...] = ("secrets", "personal_data")
PLANTED = ["ghp_" + "aB3" * 12, "AKIAIOSFODNN7EXAMPLE", "ann@example.com", "+4930123456", "4111111111111111"]

words = st.text(st.characters(codec="utf-8", exclude_characters="\\"), max_size=20)
texts = words | st.sampled_from(
    ["password=x", "[redacted]", "a@b.cc+49", "Bearer ", "://", "@x.yz", "eyJ", "{", '"']
)
answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, Any]:
    """A secret, and an answer that holds it somewhere: in a key, a string, JSON text, or base64."""
    secret = draw(st.sampled_from(PLANTED))
    value: Any = draw(words) + " " + secret + " " + draw(words)
    for wrap in draw(st.lists(st.sampled_from(["list", "value", "key", "json", "base64"]), max_size=4)):
        beside = draw(answers)
        match wrap:
            case "list":
                value = [beside, value]
            case "value":
                value = {"a": beside, "b": value}
            case "key":
                value = {value if isinstance(value, str) else json.dumps(value): beside}
            case "json":
                value = json.dumps([value])
            case "base64":
                value = base64.b64encode(
                    json.dumps([value, "long enough to be told from a word"]).encode()
                ).decode()
    return secret, value


def everything_in(value: Any) -> str:
    """All keys and texts of a value, also in JSON text and base64."""
    match value:
        case dict():
            return " ".join(everything_in(part) for item in value.items() for part in item)
        case list():
            return " ".join(map(everything_in, value))
        case str():
            return f"{value} {inside(value)}"
        case _:
            return str(value)


def inside(text: str) -> str:
    try:
        return everything_in(json.loads(text)) if text[:1] in "{[" and text else decoded(text)
    except (ValueError, RecursionError):
        return ""


def decoded(text: str) -> str:
    return everything_in(base64.b64decode(text, validate=True).decode()) if len(text) >= 64 else ""


@given(planted())
def test_a_planted_secret_survives_nowhere(case: tuple[str, Any]) -> None:
    """Whatever an answer is made of, a secret in it is in nothing of what is left."""
    secret, value = case
    cleared = redact_found(value, BOTH)
    assert secret not in everything_in(cleared.value)
    assert cleared.places >= 1


@given(answers | planted().map(lambda case: case[1]))
def test_redacting_again_changes_nothing(value: Any) -> None:
    """What was redacted is as it is when it is redacted once more, and then nothing counts."""
    once = redact_found(value, BOTH)
    again = redact_found(once.value, BOTH)
    assert again.value == once.value
    assert again.places == 0


@given(answers)
def test_what_is_left_is_json_of_the_same_shape(value: Any) -> None:
    """Objects stay objects with as many members, and lists lists with as many elements."""
    cleared = redact_found(value, BOTH)
    assert json.loads(json.dumps(cleared.value)) == cleared.value
    assert shape(cleared.value) == shape(value)
    assert (cleared.places == 0) == (cleared.value == value)


def shape(value: Any) -> Any:
    match value:
        case dict():
            return sorted(str(shape(member)) for member in value.values())
        case list():
            return [shape(element) for element in value]
        case _:
            return None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"password": "x", "user": "ann"}, {"password": REDACTED, "user": "ann"}),
        ({"pwd": {"old": "x", "pin": 12, "set": True}}, {"pwd": {"old": REDACTED, "pin": REDACTED, "set": True}}),
        ({"secret": None, "token": ""}, {"secret": None, "token": ""}),
        ({"name": "DB_PASSWORD", "value": "x"}, {"name": "DB_PASSWORD", "value": REDACTED}),
        ([["authorization", "abc"], ["accept", "*"]], [["authorization", REDACTED], ["accept", "*"]]),
        ({"a@example.com": 1, "b@example.com": 2}, {REDACTED: 1, f"{REDACTED} 2": 2}),
        ({REDACTED: 0, "b@example.com": 2}, {REDACTED: 0, f"{REDACTED} 2": 2}),
        ({"n": 4111111111111111, "at": 1764000000000, "x": 41.5}, {"n": REDACTED, "at": 1764000000000, "x": 41.5}),
        ('{"mail":"a\\u0040example.com"}', f'{{"mail":"{REDACTED}"}}'),
        ('{ "fine": 1 }', '{ "fine": 1 }'),
        ('{"a":"x","a":"y"}', REDACTED),
        ('"ann\\u0040example.com"', f'"{REDACTED}"'),
        ("[" * 100_000, REDACTED),
        ("x" * (MAX_TEXT + 1), REDACTED),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("two: a@b.cc, c@d.ee", f"two: {REDACTED}, {REDACTED}"),
    ],
    ids=[
        "named", "all-in-named", "nothing-named", "name-and-value", "pair", "keys", "key-taken", "numbers", "escaped",
        "json-kept", "said-twice", "json-string", "too-deep", "too-long", "just-short-enough", "text",
    ],
)  # fmt: skip
def test_what_is_found(value: Any, expected: Any) -> None:
    """What a name, a form or a pattern tells is redacted, and what nobody can look into is redacted whole."""
    assert redact_found(value, BOTH).value == expected


def test_json_text_in_json_text_is_looked_into_up_to_a_bound() -> None:
    """What is nested deeper than anybody needs is redacted whole."""
    text = json.dumps(["fine"])
    for _ in range(MAX_NESTED - 1):
        text = json.dumps([text])
    assert redact_found(text, BOTH).value == text
    deeper = json.dumps([text])
    assert REDACTED in redact_found(deeper, BOTH).value


def test_an_answer_nested_without_end_is_redacted_whole() -> None:
    """An answer too deep to look into is not looked into, and not returned."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert redact_found(deep, BOTH).value == REDACTED
    assert redact_at({"a": deep}, ["/a"]).value == {"a": REDACTED}


def test_an_image_is_left() -> None:
    """Base64 that is no text is not taken for anything."""
    image = base64.b64encode(bytes(range(256)) * 64).decode()
    assert redact_found({"data": image}, BOTH) == redact_found({"data": image}, ())


def test_only_the_patterns_that_are_named_are_looked_for() -> None:
    """An author who asks for secrets keeps the addresses."""
    value = {"mail": "ann@example.com", "key": "AKIAIOSFODNN7EXAMPLE"}
    assert redact_found(value, ["secrets"]).value == {"mail": "ann@example.com", "key": REDACTED}
    assert redact_found(value, ["personal_data"]).value == {"mail": REDACTED, "key": "AKIAIOSFODNN7EXAMPLE"}


MCP: dict[str, Any] = {
    "content": [
        {"type": "text", "text": '{"name":"Ann","email":"a@b.cc","tags":["x","y"]}'},
        {"type": "image", "data": "AAAA"},
    ],
    "structuredContent": {"name": "Ann", "email": "a@b.cc", "tags": ["x", "y"]},
}


def test_a_pointer_into_structured_content_holds_for_the_text_too() -> None:
    """MCP servers tell structured content once more as JSON text, and there it goes as well."""
    cleared = drop_at(MCP, ["/structuredContent/email", "/structuredContent/tags/0"])
    assert cleared.value["structuredContent"] == {"name": "Ann", "tags": ["y"]}
    assert json.loads(cleared.value["content"][0]["text"]) == {"name": "Ann", "tags": ["y"]}
    assert cleared.value["content"][1] == MCP["content"][1]
    assert cleared.places == 4


@pytest.mark.parametrize(
    "told",
    [
        {"content": [{"type": "text", "text": "no mail to a@b.cc"}], "isError": True},
        {"content": [{"type": "resource", "resource": {"uri": "a:b", "text": "a@b.cc"}}]},
        {"error": {"code": -32603, "message": "a@b.cc is unknown"}},
    ],
    ids=["prose", "resource", "protocol-error"],
)
def test_prose_beside_structured_content_may_hold_what_was_pointed_at(told: dict[str, Any]) -> None:
    """A text in which nobody can follow the pointer is redacted whole, an error's message too."""
    for cleared in (
        drop_at(told, ["/structuredContent/email"]),
        redact_at(told, ["/structuredContent/email"]),
    ):
        assert "a@b.cc" not in json.dumps(cleared.value)
        assert cleared.places == 1


@pytest.mark.parametrize(
    ("value", "pointer", "redacted", "dropped"),
    [
        ({"a": 1, "b": 2}, "/a", {"a": REDACTED, "b": 2}, {"b": 2}),
        ({"a": {"b": [1, 2]}}, "/a/b/1", {"a": {"b": [1, REDACTED]}}, {"a": {"b": [1]}}),
        ({"a": [{"b": 1}, {"c": 2}]}, "/a/*/b", {"a": [{"b": REDACTED}, {"c": 2}]}, {"a": [{}, {"c": 2}]}),
        ({"a": [1, 2]}, "/a/*", {"a": [REDACTED, REDACTED]}, {"a": []}),
        ({"a": 1}, "/b", {"a": 1}, {"a": 1}),
        ({"a": [1]}, "/a/1", {"a": [1]}, {"a": [1]}),
        ({"a": [1]}, "/a/b", {"a": REDACTED}, {"a": REDACTED}),
        ({"a": "b is 1"}, "/a/b", {"a": REDACTED}, {"a": REDACTED}),
        ({"a": '{"b":1,"c":2}'}, "/a/b", {"a": f'{{"b":"{REDACTED}","c":2}}'}, {"a": '{"c":2}'}),
        ({"a": '{"b":1,"b":2}'}, "/a/b", {"a": REDACTED}, {"a": REDACTED}),
        ({"a": None}, "/a/b", {"a": None}, {"a": None}),
        ({"a": 1}, "/a/b", {"a": REDACTED}, {"a": REDACTED}),
        ({"a/b": 1, "~": 2}, "/a~1b", {"a/b": REDACTED, "~": 2}, {"~": 2}),
        ("text", "/a", REDACTED, REDACTED),
    ],
    ids=[
        "member", "element", "every", "all", "absent", "absent-element", "list", "text", "json", "said-twice", "null",
        "number", "escaped", "root",
    ],
)  # fmt: skip
def test_where_pointers_lead(value: Any, pointer: str, redacted: Any, dropped: Any) -> None:
    """What a pointer leads to goes; where it cannot go on, what stands in its way is redacted."""
    assert redact_at(value, [pointer]).value == redacted
    assert drop_at(value, [pointer]).value == dropped
    assert redact_at(redacted, [pointer]).value == redacted


def test_the_whole_answer_can_be_redacted() -> None:
    """The pointer to the whole value replaces all of it."""
    assert redact_at({"a": 1}, [""]).value == REDACTED
