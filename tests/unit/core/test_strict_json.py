"""The ingress refuses whatever two readers could take for two things, and crashes on nothing."""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError
from interlock.core.json_pointer import MAX_LENGTH
from interlock.core.strict_json import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, MAX_NODES, parse, parse_object

DATA = Path(__file__).parents[2] / "data"
FIELD = "proposal.tool_call.arguments_json"


def read_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


SUITE = {case["name"]: case for case in read_lines("jsontestsuite/cases.jsonl")}
NAUGHTY_STRINGS = [case["s"] for case in read_lines("blns/blns.jsonl")]

# Texts that RFC 8259 must accept and our stated limits refuse.
ACCEPTED_BY_RFC_BUT_BEYOND_OUR_LIMITS = {
    "y_object_duplicated_key.json": "repeats a key",
    "y_object_duplicated_key_and_value.json": "repeats a key",
    "y_object_escaped_null_in_key.json": "has a key with U+0000",
    "y_string_null_escape.json": "holds U+0000",
}


def suite_names(*expected: str) -> list[str]:
    return [name for name, case in SUITE.items() if case["expect"] in expected]


def suite_text(name: str) -> bytes:
    return base64.b64decode(SUITE[name]["b64"])


def violation_of(data: bytes, read: Callable[..., object] = parse) -> FieldViolation:
    """The one violation for which `data` is refused."""
    with pytest.raises(InterlockError) as refusal:
        read(data, field=FIELD)
    assert refusal.value.reason == ErrorReason.MALFORMED_ARGUMENTS
    (violation,) = refusal.value.violations
    assert violation.field == FIELD
    assert refusal.value.message == f"`{FIELD}` {violation.description}"
    return violation


def refused_at(text: str) -> str:
    return violation_of(text.encode()).pointer


def typed(value: Any) -> object:
    """The value with its types, for `1 == 1.0 == True` and `0.0 == -0.0` in Python."""
    if isinstance(value, dict):
        return {key: typed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [typed(element) for element in value]
    return (type(value), repr(value))


# --- the suite -------------------------------------------------------------------------------------------


def test_suite_is_whole() -> None:
    """The suite that the next tests run over has all of its cases."""
    counts = {expect: len(suite_names(expect)) for expect in ("reject", "accept", "either", "transform")}
    assert counts == {"reject": 188, "accept": 95, "either": 35, "transform": 22}


@pytest.mark.parametrize("name", suite_names("reject"))
def test_must_reject_is_refused(name: str) -> None:
    """Every text that is no JSON is refused."""
    violation_of(suite_text(name))


@pytest.mark.parametrize("name", suite_names("accept"))
def test_must_accept_is_accepted_within_our_limits(name: str) -> None:
    """Every JSON text is accepted, but those that break a limit which we state."""
    text = suite_text(name)
    if limit := ACCEPTED_BY_RFC_BUT_BEYOND_OUR_LIMITS.get(name):
        assert violation_of(text).description.startswith(limit)
    else:
        assert parse(text, field=FIELD) == json.loads(text)


@pytest.mark.parametrize("name", suite_names("either", "transform"))
def test_doubtful_text_never_crashes(name: str) -> None:
    """A text on which parsers differ is refused, or taken for a value with one canonical form."""
    try:
        value = parse(suite_text(name), field=FIELD)
    except InterlockError:
        return
    assert typed(parse(canonicalize(value), field=FIELD)) == typed(value)


@pytest.mark.parametrize("text", NAUGHTY_STRINGS)
@pytest.mark.parametrize("escaped", [False, True])
def test_naughty_string_round_trips(text: str, *, escaped: bool) -> None:
    """All 515 strings that break programs come through unchanged, as key and as value, escaped or not."""
    data = json.dumps({text: text}, ensure_ascii=escaped).encode()
    value = parse(data, field=FIELD)
    assert value == {text: text}
    assert parse(canonicalize(value), field=FIELD) == value


# --- case 27: duplicate keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a":1,"a":2}', "/a"),
        ('{"a":1,"a":1}', "/a"),
        ('{"a":1,"\\u0061":2}', "/a"),
        ('{"b":[0,{"a":1,"c":3,"a":2}]}', "/b/1/a"),
        ('{"a":1,"A":2}', "/A"),
        ('{"Stra\u00dfe":1,"STRASSE":2}', "/STRASSE"),
        ('{"k":1,"\u212a":2}', "/\u212a"),
        ('{"x/y":{"~":1,"~":2}}', "/x~1y/~0"),
        ('{"":1,"":2}', "/"),
    ],
)
def test_repeated_key_is_refused(text: str, pointer: str) -> None:
    """Case 27: a key that stands twice, exactly or but for case, at any depth, is refused at its place."""
    violation = violation_of(text.encode())
    assert violation.pointer == pointer
    assert violation.description.startswith("repeats a key")


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "A", "b", "\u00df", "ss", "SS", "\u1e9e"]), st.integers(0, 9)),
        max_size=4,
    )
)
def test_keys_are_unique_whatever_their_case(pairs: list[tuple[str, int]]) -> None:
    """Case 27: an object is accepted exactly when no two of its keys fold to the same."""
    text = "{" + ",".join(f"{json.dumps(key)}:{number}" for key, number in pairs) + "}"
    if len({key.casefold() for key, _ in pairs}) == len(pairs):
        assert parse(text.encode(), field=FIELD) == dict(pairs)
    else:
        violation_of(text.encode())


# --- cases 28 to 30: numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e2", 100),
        ("100.0", 100),
        ("1.0", 1),
        ("-0", 0),
        ("-0.0", 0),
        ("0e99", 0),
        ("1e-999", 0),
        ("9007199254740991.0", MAX_INTEGER),
        ("-9007199254740991", -MAX_INTEGER),
        ("1.5", 1.5),
        ("1E30", 1e30),
        ("1e21", 1e21),
        ("-1e-7", -1e-7),
    ],
)
def test_number_has_one_form(text: str, number: float) -> None:
    """Case 28: however a number is spelled, its value is in the one form that is hashed and run."""
    value = parse(text.encode(), field=FIELD)
    assert typed(value) == typed(number)
    assert typed(parse(canonicalize(value), field=FIELD)) == typed(number)


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740992",
        "-9007199254740992",
        "9007199254740993.0",
        "1e16",
        "1e20",
        "999999999999999e5",
        "9223372036854775808",
        "123456789012345678901234567890",
        "1000000000000000000000",
        "-" + "9" * 200_000,
        "1" + "0" * 200_000,
        "1e400",
        "-1e400",
        "1.0e999999999999",
        "9" * 400 + ".5",
    ],
    ids=lambda text: f"{text[:24]}({len(text)})",
)
def test_number_that_would_change_is_refused(text: str) -> None:
    """Case 29: a number that a double cannot hold as it is written is refused, at any length of digits."""
    violation = violation_of(f'{{"a":[0,{text}]}}'.encode())
    assert violation.pointer == "/a/1"
    assert "is an integer outside" in violation.description or "overflows" in violation.description


@given(st.integers(-(2**64), 2**64) | st.integers(-3, 3).map(lambda near: 2**53 + near))
def test_integers_end_where_doubles_blur(number: int) -> None:
    """Case 29: an integer is accepted, exactly, if and only if it is within ±(2^53 - 1)."""
    text = str(number).encode()
    if abs(number) <= MAX_INTEGER:
        assert typed(parse(text, field=FIELD)) == typed(number)
    else:
        violation_of(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_double_is_kept_or_refused(number: float) -> None:
    """Cases 28 and 29: a double keeps its value, and only one that is a large plain integer is refused."""
    text = repr(number).encode()
    if number.is_integer() and MAX_INTEGER < abs(number) < 1e21:
        violation_of(text)
        return
    value = parse(text, field=FIELD)
    assert value == number
    assert isinstance(value, int) == (number.is_integer() and abs(number) <= MAX_INTEGER)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_not_finite_is_refused(text: str) -> None:
    """Case 30: `NaN` and `Infinity`, which Python's own parser takes, are refused at their place."""
    violation = violation_of(f'{{"a":{text}}}'.encode())
    assert violation.pointer == "/a"
    assert "expected a finite number" in violation.description


# --- case 31: characters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (r'{"a":["b","x\u0000y"]}', "/a/1"),
        (r'{"a":"\ud800"}', "/a"),
        (r'{"a":"\uDFAA"}', "/a"),
        (r'{"a":"\ud83d\ud83d\ude00"}', "/a"),
        (r'{"a":"\ude00\ud83d"}', "/a"),
        (r'{"a":"\\\ud800"}', "/a"),
        (r'{"a":"\ud800\\udc00"}', "/a"),
        (r'{"a":{"\ud800":1}}', "/a"),
        (r'{"a":{"\u0000":1}}', "/a"),
        (r'"\udbff"', ""),
    ],
)
def test_character_that_cannot_be_signed_is_refused(text: str, pointer: str) -> None:
    """Case 31: U+0000 and lone surrogates, however escaped, are refused; a bad key at its object."""
    assert refused_at(text) == pointer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\\ud800"', r"\ud800"),
        (r'"\\u0000"', r"\u0000"),
        (r'"\\\\u0000\\"', r"\\u0000" + "\\"),
        (r'"\ud7ff\ue000"', "\ud7ff\ue000"),
        (r'"\uD83D\uDE00\uD83D\uDE00"', "\U0001f600" * 2),
    ],
)
def test_character_that_looks_like_it_is_kept(text: str, value: str) -> None:
    """Case 31: surrogate pairs and escaped backslashes are no reason to refuse."""
    assert parse(text.encode(), field=FIELD) == value


@given(
    st.lists(
        st.sampled_from([r"\ud83d", r"\ude00", r"\\", r"\n", r"\u0000", r"\u00e9", "u0000", "ud83d", "x"]),
        max_size=6,
    )
)
def test_refuses_a_string_exactly_for_its_characters(pieces: list[str]) -> None:
    """Case 31: a string is refused if and only if it holds U+0000 or a lone surrogate once unescaped."""
    text = '["' + "".join(pieces) + '"]'
    expected = json.loads(text)
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in expected[0]):
        assert refused_at(text) == "/0"
    else:
        assert parse(text.encode(), field=FIELD) == expected


@pytest.mark.parametrize(
    "text",
    [
        "\u00e9",
        "e\u0301",
        "\u0430dmin",
        "pay\u200bpal",
        "\u202egnp.exe",
        "\ufeffx",
        "\x7f",
        "\u2028",
        "\ufffe",
    ],
)
def test_look_alike_is_kept_as_it_is(text: str) -> None:
    """Case 31: nothing is normalised in silence: what was sent is what is hashed and run."""
    assert parse(json.dumps(text, ensure_ascii=False).encode(), field=FIELD) == text
    assert parse(json.dumps(text).encode(), field=FIELD) == text


@pytest.mark.parametrize(
    ("data", "description"),
    [
        (b'\xef\xbb\xbf{"a":1}', "begins with a byte order mark, expected none"),
        (b'["\xff"]', "is not UTF-8 at byte 2"),
        (b'["\xed\xa0\x80"]', "is not UTF-8 at byte 2"),
        (b'["\xc0\x80"]', "is not UTF-8 at byte 2"),
        ('{"a":1}'.encode("utf-16"), "is not UTF-8 at byte 0"),
        (b'["\x00"]', "is not one JSON value, the grammar breaks at byte 2"),
        ('["\u00e9" x]'.encode(), "is not one JSON value, the grammar breaks at byte 6"),
        (b"", "is not one JSON value, the grammar breaks at byte 0"),
        (b'{"a":1} trailing', "is not one JSON value, the grammar breaks at byte 8"),
        (b'{"a":1}{"a":2}', "is not one JSON value, the grammar breaks at byte 7"),
    ],
)
def test_break_in_the_text_tells_the_byte(data: bytes, description: str) -> None:
    """Cases 7 and 31: a text that is not UTF-8, or not one value, is refused with the place of the break."""
    violation = violation_of(data)
    assert violation.description == description
    assert violation.pointer == ""


# --- case 32: limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_deep_nesting_is_refused(opening: str, *, closed: bool) -> None:
    """Case 32: twenty thousand levels are refused without a crash, closed or not."""
    closing = {"[": "]", '{"a":': "}"}[opening] if closed else ""
    violation = violation_of((opening * 20_000 + "1" + closing * 20_000).encode())
    assert violation.description == f"is nested more than {MAX_DEPTH} deep"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(alphabet='[]{},:"\\ \U0001f600', max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "[", '"}']), inner)
    ),
    max_leaves=20,
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")])


def depth(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(depth, members), default=0)


def nodes(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(nodes, members))


@given(VALUES, SEPARATORS)
def test_depth_ends_at_its_limit(value: Any, separators: tuple[str, str]) -> None:
    """Case 32: exactly 64 levels of arrays and objects are accepted; brackets in strings are none."""
    text = json.dumps(value, separators=separators).encode()
    around = MAX_DEPTH - depth(value)
    parse(b"[" * around + text + b"]" * around, field=FIELD)
    violation = violation_of(b"[" * (around + 1) + text + b"]" * (around + 1))
    assert violation.description == f"is nested more than {MAX_DEPTH} deep"


@given(VALUES, SEPARATORS)
@example([["]"], {"a": []}, [[]], [{}, ""]], (" ,\n", "\t:\r\n"))
def test_nodes_end_at_their_limit(value: Any, separators: tuple[str, str]) -> None:
    """Case 32: exactly 10,000 values are accepted, keys and what is in strings not counted."""
    beside = MAX_NODES - 1 - nodes(value)
    text = json.dumps(value, separators=separators).encode()
    parse(b"[" + text + b",1" * beside + b"]", field=FIELD)
    violation = violation_of(b"[" + text + b",1" * (beside + 1) + b"]")
    assert violation.description == f"has more than {MAX_NODES} values"


def test_bytes_end_at_their_limit() -> None:
    """Case 32: exactly 256 KiB are accepted."""
    text = b'"' + b"[" * (MAX_BYTES - 2) + b'"'
    assert parse(text, field=FIELD) == text[1:-1].decode()
    assert violation_of(text + b" ").description == f"has {MAX_BYTES + 1} bytes, expected at most {MAX_BYTES}"


@pytest.mark.parametrize(
    "data",
    [
        b'["' + b'\\"' * 130_000,
        b'["' * 87_000,
        b"[ " * 131_000,
        b"[]" * 131_000,
        b"[" + b"{}," * 80_000 + b"{}]",
        b'"' + b"\\" * 262_000,
        b'{"a":' * 50_000,
        b"]" * 262_000,
    ],
    ids=lambda data: f"{data[:6].decode()}...",
)
def test_hostile_text_is_refused(data: bytes) -> None:
    """Cases 14 and 32: texts made to be slow to read are refused as any other."""
    violation_of(data)


def test_long_fraction_is_read() -> None:
    """Case 29: a fraction of many digits is a number like any other."""
    assert parse(b"0." + b"3" * 200_000, field=FIELD) == pytest.approx(1 / 3, abs=0)


# --- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"password":"hunter2","password":"hunter2"}',
        '{"password":"hunter2\\ud800"}',
        '{"password":"hunter2\\u0000"}',
        '{"password":"hunter2", "pin": 271828182845904523536}',
        '{"password":"hunter2", "pin": 2718281828e400}',
        '{"password":"hunter2", "pin": NaN}',
        '{"password":"hunter2"',
        '{"password":"hunter2\n"}',
        '{"password":hunter2}',
    ],
)
def test_error_never_tells_a_value(text: str) -> None:
    """Case 63: no value of an argument is in the error or in what it is chained to."""
    with pytest.raises(InterlockError) as refusal:
        parse(text.encode(), field=FIELD)
    assert "hunter2" not in repr(refusal.value)
    assert "2718" not in repr(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


def test_pointer_of_a_long_path_is_cut_at_a_parent() -> None:
    """A place too deep to write is told by a parent of it, within the pointer's limit."""
    text = '{"' + "k" * 1_000 + '":{"' + "m" * 1_000 + '":NaN}}'
    assert refused_at(text) == "/" + "k" * 1_000
    assert len(refused_at(text)) <= MAX_LENGTH


def test_pointer_of_a_bad_key_can_be_sent() -> None:
    """Case 31: a pointer through a key with a lone surrogate is valid UTF-8 all the same."""
    assert refused_at(r'{"\ud800":{"a":1,"a":2}}') == "/\ufffd/a"


@pytest.mark.parametrize("text", ["[]", "1", '"{}"', "null", "true"])
def test_only_an_object_is_arguments(text: str) -> None:
    """Arguments are one JSON object; another value is refused, though it is JSON."""
    violation = violation_of(text.encode(), parse_object)
    assert violation.description == "is another JSON value, expected an object"
    assert parse_object(b' {"a":1}\n', field=FIELD) == {"a": 1}


# --- whatever comes --------------------------------------------------------------------------------------

TOKENS = ["[", "]", "{", "}", ",", ":", '"', '"a":', '"A":', "1", "-0", "1e999", ".5", "NaN", "true", "null"]
TOKENS += [r"\u0000", r"\ud800", "\\", " ", "\n", "\ufeff", "\x00", "\u00e9"]


def refused_or_normal(data: bytes) -> None:
    try:
        value = parse(data, field=FIELD)
    except InterlockError:
        return
    assert typed(parse(canonicalize(value), field=FIELD)) == typed(value)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_normal(data: bytes) -> None:
    """Whatever bytes come, the answer is an InterlockError or a value in normal form."""
    refused_or_normal(data)


@given(st.lists(st.sampled_from(TOKENS), max_size=20).map("".join))
def test_any_tokens_are_refused_or_normal(text: str) -> None:
    """Whatever order JSON's tokens come in, the answer is an InterlockError or a value in normal form."""
    refused_or_normal(text.encode())


@given(VALUES, st.data())
def test_mutated_json_is_refused_or_normal(value: Any, data: st.DataObject) -> None:
    """A JSON text with some bytes replaced, removed or added is refused, or is a value in normal form."""
    text = json.dumps(value, ensure_ascii=False).encode()
    start = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 3))
    added = data.draw(st.binary(max_size=3) | st.sampled_from(TOKENS).map(str.encode))
    refused_or_normal(text[:start] + added + text[start + removed :])


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-MAX_INTEGER, MAX_INTEGER)
        | st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: not f.is_integer())
        | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc\u00e9\U0001f600/~"), inner),
        max_leaves=30,
    ),
    separators=SEPARATORS,
    ascii_only=st.booleans(),
)
def test_good_json_is_read_as_it_is(*, value: Any, separators: tuple[str, str], ascii_only: bool) -> None:
    """Every JSON value within the limits is read exactly, however its text is laid out."""
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    assert typed(parse(text.encode(), field=FIELD)) == typed(value)


def test_limits_are_those_stated() -> None:
    """The limits are the ones that the design and the protocol's comments state."""
    assert (MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_INTEGER) == (256 * 1024, 64, 10_000, 2**53 - 1)
    assert math.nextafter(MAX_INTEGER, math.inf) == MAX_INTEGER + 1
