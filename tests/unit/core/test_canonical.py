"""One value has one canonical form, whichever way it was written, and no two values share one."""

import base64
import hashlib
import json
import math
import struct
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.canonical import UnencodableError, canonicalize, digest, digest_of, parse_canonical
from interlock.core.errors import InterlockError
from interlock.core.strict_json import MAX_INTEGER, parse

DATA = Path(__file__).parents[2] / "data"
FIELD = "arguments_json"


def read_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


PAIRS = read_lines("jcs/pairs.jsonl")
NUMBERS = read_lines("jcs/es6_numbers_10k.jsonl")


class Colour(StrEnum):
    """A string of our own, as records hold them."""

    RED = "red"
    ASTRAL = "\U0001f600"


class Level(IntEnum):
    """An integer of our own."""

    HIGH = 3


# Keys on both sides of the place where UTF-16 and code points sort differently (RFC 8785 3.2.3).
KEYS = st.text(alphabet="aB/\u00e9\u20ac\ud7ff\ue000\ufb33\uffff\U00010000\U0001f600", max_size=3)
NUMBERS_OF_ALL_SIZES = st.integers() | st.floats() | st.floats(1e-9, 1e-2) | st.floats(1e13, 1e23)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS_OF_ALL_SIZES | st.text() | st.sampled_from([*Colour, *Level]),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS | st.sampled_from(Colour), inner)
    ),
    max_leaves=12,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4).filter(
            lambda d: len({key.casefold() for key in d}) == len(d)
        )
    ),
    max_leaves=12,
)


def reference(value: Any) -> bytes | None:
    """What the RFC 8785 library says; None where it refuses."""
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError):
        return None


def ours(value: Any) -> bytes | None:
    try:
        return canonicalize(value)
    except UnencodableError:
        return None


def typed(value: Any) -> object:
    """The value with its types, for `1 == 1.0 == True` in Python."""
    if isinstance(value, dict):
        return {key: typed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [typed(element) for element in value]
    return (type(value), value)


# --- vectors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair["name"]))
def test_vector_pairs(pair: dict[str, str]) -> None:
    """All 6 RFC 8785 pairs have their form byte for byte."""
    value = json.loads(base64.b64decode(pair["input_b64"]))
    assert canonicalize(value) == bytes.fromhex(pair["output_hex"])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair["name"]))
def test_vector_pairs_through_ingress(pair: dict[str, str]) -> None:
    """Case 27: the pairs come through the ingress too, but the one whose keys differ only in case."""
    text = base64.b64decode(pair["input_b64"])
    if pair["name"] == "structures":
        with pytest.raises(InterlockError, match="repeats a key, exactly or in another case"):
            parse(text, field=FIELD)
    else:
        assert canonicalize(parse(text, field=FIELD)) == bytes.fromhex(pair["output_hex"])


def test_vector_numbers() -> None:
    """Case 28: all 10,000 numbers of the RFC 8785 vectors have their form byte for byte."""
    numbers = [struct.unpack(">d", bytes.fromhex(vector["ieee754_hex"]))[0] for vector in NUMBERS]
    assert [canonicalize(number).decode() for number in numbers] == [vector["expected"] for vector in NUMBERS]
    assert (len(PAIRS), len(NUMBERS)) == (6, 10_000)


def test_vector_numbers_through_ingress() -> None:
    """Cases 28 and 29: the same 10,000, read from text, keep their form, or are refused as large integers."""
    for vector in NUMBERS:
        expected = vector["expected"]
        number = struct.unpack(">d", bytes.fromhex(vector["ieee754_hex"]))[0]
        is_beyond = expected.lstrip("-").isdigit() and abs(int(expected)) > MAX_INTEGER
        for text in (repr(number), expected, f"{number:.17E}"):
            if is_beyond:
                with pytest.raises(InterlockError):
                    parse(text.encode(), field=FIELD)
            else:
                assert canonicalize(parse(text.encode(), field=FIELD)).decode() == expected


# --- the fast way is the same way ------------------------------------------------------------------------


@given(ANYTHING)
@example({"\ue000": 1, "\U0001f600": 2})
@example({"\ud7ff": 1, "\U0001f600": 2, "a": "\ufe0f"})
@example([math.nan])
@example([-0.0, 1e-7, 1e15, 1e16, 1e21, 5e-324, 123456789012345.67, 1e-4, 0.1])
@example(["\ud800"])
@example({"\ud800": 1})
@example([2**53])
@example({1: 2})
@example({None: 1, "a": 2})
@example({True: 1})
@example([UUID(int=0)])
@example([b"bytes"])
@example({"a": {1, 2}})
@example({Colour.RED: Colour.ASTRAL, "red ": [Level.HIGH]})
def test_same_as_the_reference(value: Any) -> None:
    """Whatever the value, the bytes are those of the RFC 8785 library, and what it refuses is refused."""
    assert ours(value) == reference(value)


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**6), 10**6).map(lambda cents: cents / 100)
)
def test_every_double_as_the_reference(number: float) -> None:
    """Case 28: any double has the form that the RFC 8785 library gives it."""
    assert canonicalize([number]) == rfc8785.dumps([number])


def test_every_character_as_the_reference() -> None:
    """Every character but surrogates is written, as key and as value, as the RFC 8785 library writes it."""
    characters = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code <= 0xDFFF]
    assert canonicalize("".join(characters)) == rfc8785.dumps("".join(characters))
    bmp = {character: "" for character in characters if character <= "\uffff"}
    assert canonicalize(bmp) == rfc8785.dumps(bmp)


def test_keys_sort_by_utf16() -> None:
    """RFC 8785 3.2.3: keys sort by UTF-16 code units, so an astral character comes before U+E000."""
    assert canonicalize({"\ue000": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ue000":1}'.encode()


# --- one form, and only one ------------------------------------------------------------------------------


@given(PLAIN)
def test_canonical_form_is_a_fixed_point(value: Any) -> None:
    """Reading the canonical form and writing it again changes nothing, types included."""
    form = canonicalize(value)
    again = parse(form, field=FIELD)
    assert typed(again) == typed(value)
    assert canonicalize(again) == form


def spellings(number: float) -> list[str]:
    """Ways to write one number in JSON."""
    exact = Decimal(repr(number))
    texts = [repr(number), f"{exact:E}", f"{exact * 10:f}e-1", f"{exact:f}", f"{number:.25e}"]
    return [*texts, f"{exact:f}.000", f"{exact:f}e+0"] if isinstance(number, int) else texts


def spelled(value: Any, draw: Any) -> str:
    """The value as JSON text, in another order of keys, with other white space and other numbers."""
    space = draw(st.sampled_from(["", " ", "\n\t", "\r\n"]))
    if isinstance(value, dict):
        members = draw(st.permutations(list(value.items())))
        texts = [f"{spelled(key, draw)}:{space}{spelled(member, draw)}" for key, member in members]
        return f"{{{space}{f'{space},'.join(texts)}{space}}}"
    if isinstance(value, list):
        return f"[{space}{f',{space}'.join(spelled(element, draw) for element in value)}{space}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=draw(st.booleans())).replace(
            "/", draw(st.sampled_from(["/", "\\/"]))
        )
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return draw(st.sampled_from(spellings(value))) or ""


@given(PLAIN, st.data())
def test_spelling_never_changes_the_digest(value: Any, data: st.DataObject) -> None:
    """Cases 26 and 28: order of keys, white space, escapes and spelling of numbers never change a digest."""
    text = spelled(value, data.draw)
    assert digest_of(parse(text.encode(), field=FIELD)) == digest_of(value)


SMALL = st.recursive(
    st.sampled_from(
        [None, True, False, 0, 1, 0.5, "", "0", "1", "a", "A", "\u00e9", "e\u0301", "null", "[]"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2)
    ),
    max_leaves=3,
)


@given(SMALL, SMALL)
@example([1], [True])
@example({"a": None}, {})
@example("\u00e9", "e\u0301")
def test_digest_is_equal_exactly_for_equal_values(one: Any, other: Any) -> None:
    """Cases 26 and 31: two values share a digest if and only if they are the same, look-alikes included."""
    assert (digest_of(one) == digest_of(other)) == (typed(one) == typed(other))


@given(st.dictionaries(st.sampled_from("abcd"), SMALL, min_size=1), st.data())
def test_any_change_changes_the_digest(arguments: dict[str, Any], data: st.DataObject) -> None:
    """Case 26: an argument that is changed, added or taken away gives another digest."""
    key = data.draw(st.sampled_from(sorted(arguments)))
    changed = data.draw(SMALL.filter(lambda value: typed(value) != typed(arguments[key])))
    without = {name: value for name, value in arguments.items() if name != key}
    digests = [
        digest_of(each) for each in (arguments, arguments | {key: changed}, arguments | {"e": 1}, without)
    ]
    assert len(set(digests)) == len(digests)


# --- what has no form ------------------------------------------------------------------------------------


def endless_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def endless_object() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ({"pin": 271828182845904523536}, "an integer is outside -(2^53-1) to 2^53-1"),
        ([-(2**53)], "an integer is outside -(2^53-1) to 2^53-1"),
        (math.nan, "a number is not finite"),
        ([-math.inf], "a number is not finite"),
        (["hunter2\ud800"], "a key or a value in it is not of JSON"),
        ({"hunter2\ud800": 1}, "a key or a value in it is not of JSON"),
        ({1: "hunter2"}, "a key or a value in it is not of JSON"),
        ([b"hunter2"], "a key or a value in it is not of JSON"),
        ({"a": {"hunter2"}}, "a key or a value in it is not of JSON"),
        (UUID(int=0), "a key or a value in it is not of JSON"),
        (endless_list(), "it is nested too deep or holds itself"),
        (endless_object(), "it is nested too deep or holds itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_form_is_refused(value: Any, cause: str) -> None:
    """Cases 29 to 31 and 63: what RFC 8785 cannot write is refused, and the value is not in the error."""
    with pytest.raises(UnencodableError) as refusal:
        canonicalize(value)
    assert str(refusal.value) == f"value has no canonical form (RFC 8785): {cause}"
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


# --- digest and reading back -----------------------------------------------------------------------------


def test_digest_is_sha256_in_base64url() -> None:
    """The digest is SHA-256 in base64url without padding (FIPS 180-4 vector of "abc")."""
    assert digest(b"abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
    assert digest_of({"b": 1.0, "a": []}) == digest(b'{"a":[],"b":1}')


@given(st.binary())
def test_digest_names_all_of_the_hash(data: bytes) -> None:
    """A digest decodes to the whole SHA-256 of its bytes."""
    text = digest(data)
    assert len(text) == 43
    assert base64.urlsafe_b64decode(text + "=") == hashlib.sha256(data).digest()


@given(st.dictionaries(KEYS, PLAIN, max_size=4))
def test_own_canonical_bytes_read_back(value: dict[str, Any]) -> None:
    """An object that was written in canonical form is read back the same, types included."""
    assert typed(parse_canonical(canonicalize(value))) == typed(value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b'"{}"', b"null", b"{} {}", b'{"a":NaN}', b'{"a":"\xff"}']
)
def test_only_an_object_is_read_back(data: bytes) -> None:
    """Stored bytes that are no JSON object are refused."""
    with pytest.raises(ValueError, match=r"object|document|data|character|UTF-8"):
        parse_canonical(data)
