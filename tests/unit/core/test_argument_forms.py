"""What arguments tell by themselves: leaves, roles, kinds, targets, and which calls are alike."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.argument_forms import (
    MAX_TARGETS,
    Target,
    classified,
    kind_of,
    leaves,
    role_at,
    shape,
    similar_form,
    targets,
)
from interlock.core.catalog import ArgumentRole
from interlock.core.json_pointer import MAX_LENGTH

CONCEALED = {"concealed": "hmac-sha256:WUDZwpOrh8jzIhr3R0hFw_u9KMCxfHWIHV7TQi68UYU"}

SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=5)


def alike(one: dict[str, Any], other: dict[str, Any], roles: dict[str, ArgumentRole] | None = None) -> bool:
    return similar_form(one, roles or {}) == similar_form(other, roles or {})


def retyped(value: Any) -> Any:
    """Another value of the same shape."""
    match value:
        case None:
            return None
        case bool():
            return not value
        case int() | float():
            return value / 2
        case str():
            return f"{value}!"
        case list():
            return [retyped(element) for element in value] * 2
    return {key: retyped(member) for key, member in reversed(value.items())}


# Leaves


def test_leaves_are_strings_and_numbers_in_order() -> None:
    """Each string and number comes with its JSON Pointer, in the order of the arguments, and nothing else."""
    arguments: dict[str, Any] = {
        "a": "x",
        "b": [1, {"c/d~": 2.5}, [None, True, "y"]],
        "": "",
        "e": None,
        "f": {},
    }
    assert leaves(arguments) == [("/a", "x"), ("/b/0", 1), ("/b/1/c~1d~0", 2.5), ("/b/2/2", "y"), ("/", "")]


def test_what_is_concealed_has_no_leaves() -> None:
    """Of a concealed value, or of concealed arguments, nothing is told, not even a place in it (case 63)."""
    assert leaves({"to": "x", "card": CONCEALED, "deep": [CONCEALED]}) == [("/to", "x")]
    assert leaves(CONCEALED) == []


@pytest.mark.parametrize(
    "forged",
    [
        {"concealed": "bob@evil.com"},
        {"concealed": CONCEALED["concealed"] + "A"},
        {**CONCEALED, "to": "bob@evil.com"},
        {"concealed": [CONCEALED["concealed"]]},
    ],
    ids=json.dumps,
)
def test_nobody_hides_an_argument_by_calling_it_concealed(forged: dict[str, Any]) -> None:
    """What only looks like a concealed value is listed like any other."""
    assert leaves({"recipient": forged})


def test_a_pointer_of_a_leaf_is_short() -> None:
    """Long keys make no long pointers: they end at the nearest parent that is short enough (case 32)."""
    long = "k" * MAX_LENGTH
    arguments = {"a": {long: {"b": ["x", {"c": 1}]}, "d": "y"}, long: 2}
    assert leaves(arguments) == [("/a", "x"), ("/a", 1), ("/a/d", "y"), ("", 2)]


# Roles and kinds


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/to", ArgumentRole.RECIPIENT),
        ("/to/0/address", ArgumentRole.RECIPIENT),
        ("/to/0/share", ArgumentRole.AMOUNT),
        ("/steps/3/url", ArgumentRole.HOST),
        ("/steps", ArgumentRole.HOST),
        ("/a~1b", ArgumentRole.PATH),
        ("/toto", None),
        ("/steps/3/name", None),
        ("", None),
    ],
)
def test_a_role_holds_where_the_catalog_says(pointer: str, expected: ArgumentRole | None) -> None:
    """A role holds inside its pointer, and where a value has another shape; the longest pointer wins."""
    roles = {
        "/to": ArgumentRole.RECIPIENT,
        "/to/*/share": ArgumentRole.AMOUNT,
        "/steps/*/url": ArgumentRole.HOST,
        "/a~1b": ArgumentRole.PATH,
    }
    assert role_at(pointer, roles) == expected


def test_a_role_comes_before_what_a_value_looks_like() -> None:
    """What the catalog says of an argument holds whatever the value is; a cursor is a text."""
    assert kind_of("Spotify", ArgumentRole.RECIPIENT) == "recipient"
    assert kind_of(12, ArgumentRole.RECIPIENT) == "recipient"
    assert kind_of("bob@evil.com", ArgumentRole.PATH) == "path"
    assert kind_of("1,000", ArgumentRole.CURSOR) == "text"


def test_without_a_role_the_value_tells() -> None:
    """Numbers are amounts; strings are what they look like."""
    assert [kind_of(value) for value in (1, 2.5, "2.5", "bob@evil.com", "Refund", "")] == [
        "amount",
        "amount",
        "amount",
        "recipient",
        "text",
        "text",
    ]


# Targets


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bob@Evil.COM", [("recipient", "bob@evil.com")]),
        ("GB29 NWBK 6016 1331 9268 19", [("recipient", "gb29nwbk60161331926819")]),
        ('"ann@good.com" <bob@evil.com>', [("recipient", "ann@good.com"), ("recipient", "bob@evil.com")]),
        ("https://User@Evil.com:8080/a?b", [("host", "evil.com")]),
        ("/home/ann/notes/a.txt", [("path", "/home/ann")]),
        ("100", []),
        ("Refund", []),
        ("", []),
    ],
)
def test_a_target_has_one_name(value: str, expected: list[tuple[str, str]]) -> None:
    """Recipients, hosts and path prefixes are named in one form, whatever their case or spaces; texts are not."""
    found = targets(classified({"a": value}, {}))
    assert [(target.path, target.kind, target.name) for target in found] == [
        ("/a", kind, name) for kind, name in expected
    ]


def test_a_role_makes_a_target_of_any_value() -> None:
    """What the catalog calls a recipient is one by its text, spaces and case aside, or by its number."""
    roles = {"/to": ArgumentRole.RECIPIENT, "/at": ArgumentRole.HOST, "/in": ArgumentRole.PATH}
    assert targets(
        classified({"to": ["  The  Landlord ", 17, " "], "at": "Intranet", "in": "notes"}, roles)
    ) == [
        Target(path="/to/0", kind="recipient", name="the landlord"),
        Target(path="/to/1", kind="recipient", name="17"),
        Target(path="/at", kind="host", name="intranet"),
        Target(path="/in", kind="path", name="."),
    ]


def test_the_last_target_stands_for_all_that_are_not_listed() -> None:
    """Nobody hides a new recipient behind many known ones: the last target changes with any of the rest."""
    known = [f"{name}@good.com" for name in "abcdefghijklmnopqrst"]
    listed = targets(classified({"to": known}, {}))
    assert len(listed) == MAX_TARGETS
    assert listed == targets(classified({"to": known}, {}))
    for place in range(MAX_TARGETS - 1, len(known)):
        changed = [*known[:place], "bob@evil.com", *known[place + 1 :]]
        assert targets(classified({"to": changed}, {}))[:-1] == listed[:-1]
        assert targets(classified({"to": changed}, {}))[-1].name != listed[-1].name


# Similar calls


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": -2.5}),
        ({"a": 1}, {"a": 1e-7}),
        ({"a": [1, 2]}, {"a": [30, 4.5]}),
        ({"q": "page 1 of 20"}, {"q": "page 12 of 9"}),
        ({"q": "1,000.50 EUR"}, {"q": "7 EUR"}),
        ({"d": "2024-05-15"}, {"d": "2025-12-31"}),
        ({"ip": "10.0.0.1"}, {"ip": "192.168.17.4"}),
        ({"id": str(uuid.UUID(int=7))}, {"id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}),
        ({"id": "r-deadbee1"}, {"id": "r-9f8e7d6c5b"}),
        ({"id": "C024BE91L"}, {"id": "D7KQ22ZZ0P"}),
        ({"id": "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms"}, {"id": "01HZXJ5Q8MZ3T9V0C6R2WD4KPE"}),
        ({"id": "txn_12345"}, {"id": "txn_9"}),
        ({"q": "x", "cursor": "abc"}, {"q": "x", "cursor": "xyzzy"}),
        ({"q": "x", "cursor": None}, {"q": "x", "cursor": "xyzzy"}),
        ({"q": {"pageToken": "abc"}}, {"q": {"pageToken": "xyz"}}),
        ({"next_page_token": "abc"}, {"next_page_token": "xyz"}),
        ({"page": "eyJvIjoxfQ2"}, {"page": 2}),
        ({"b": 1, "a": "x"}, {"a": "x", "b": 2}),
    ],
    ids=str,
)
def test_calls_that_differ_in_numbers_ids_and_cursors_are_alike(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """A model that counts up, or tries one id after another, makes similar calls (case 58)."""
    assert alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "x"}, {"a": "y"}),
        ({"a": "x"}, {"b": "x"}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": None}),
        ({"a": True}, {"a": False}),
        ({"a": True}, {"a": 1}),
        ({"a": "x1"}, {"a": "y1"}),
        ({"a": "report2024"}, {"a": "annual2024"}),
        ({"a": "covid19vaccine"}, {"a": "covid19treatment"}),
        ({"a": "quarterly-report-2024-final"}, {"a": "quarterly-invoice-2024-final"}),
        ({"a": "internationalisation"}, {"a": "internationalization"}),
        ({"a": "effaced"}, {"a": "defaced"}),
        ({"a": "feedface"}, {"a": "deadbeef"}),
        ({"page": "Home"}, {"page": "About"}),
        ({"page": {"title": "a"}}, {"page": {"title": "b"}}),
        ({"before": "lunch"}, {"before": "dinner"}),
        ({"a": ["x", 1]}, {"a": [1, "x"]}),
    ],
    ids=str,
)
def test_calls_that_differ_in_a_word_are_not_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Who works through a list of names makes progress, and is not taken for a loop."""
    assert not alike(one, other)


def test_a_cursor_is_what_the_catalog_calls_so() -> None:
    """A place in a long answer may have any name, and the catalog can say which."""
    roles = {"/from/*": ArgumentRole.CURSOR, "/to": ArgumentRole.RECIPIENT}
    assert alike({"from": ["abc"], "to": "x"}, {"from": ["xyz"], "to": "x"}, roles)
    assert not alike({"from": ["abc"]}, {"from": ["xyz"]})
    assert not alike({"from": ["abc"], "to": "x"}, {"from": ["abc"], "to": "y"}, roles)


WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12), min_size=1, max_size=6)


@given(WORDS, st.lists(st.integers(0, 10**12), min_size=2, max_size=2), st.uuids(), st.uuids())
def test_the_form_is_stable_under_numbers_and_ids(
    words: list[str], numbers: list[int], one: uuid.UUID, other: uuid.UUID
) -> None:
    """Whatever the words, another number or another UUID among them makes no other form."""
    texts = [f"{' '.join(words)} {number} x" for number in numbers]
    assert alike({"q": texts[0], "n": numbers[0]}, {"q": texts[1], "n": numbers[1]})
    assert alike({"q": f"{words[0]}/{one}"}, {"q": f"{words[0]}/{other}"})


@given(WORDS, WORDS)
def test_the_form_changes_with_the_words(words: list[str], others: list[str]) -> None:
    """Texts without digits are alike only if they are the same."""
    assert alike({"q": " ".join(words)}, {"q": " ".join(others)}) == (words == others)


@given(ARGUMENTS)
def test_any_arguments_have_a_form(arguments: dict[str, Any]) -> None:
    """Each call has a form, and the order of its keys does not matter."""
    turned = dict(reversed(arguments.items()))
    assert similar_form(arguments, {}) == similar_form(turned, {})


# Shape


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2.5}),
        ({"a": "x", "b": None}, {"b": None, "a": ""}),
        ({"a": [1, 2, 3]}, {"a": [4]}),
        ({"a": [{"b": 1}, {"b": 2}, "x"]}, {"a": ["y", {"b": 3}]}),
    ],
    ids=str,
)
def test_a_shape_is_keys_and_types(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Values, the order of keys and the number of like elements make no other shape."""
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": None}),
        ({"a": 1}, {}),
        ({"a": []}, {"a": {}}),
        ({"a": []}, {"a": [1]}),
        ({"a": [1]}, {"a": [1, "x"]}),
        ({"a": {"b": 1}}, {"a": {"c": 1}}),
        ({"a/b": 1}, {"a": {"b": 1}}),
        ({"a": ["number"]}, {"a": [1]}),
        ({"a": "object"}, {"a": {}}),
    ],
    ids=str,
)
def test_another_key_or_type_is_another_shape(one: dict[str, Any], other: dict[str, Any]) -> None:
    """An argument that was never there, or of another type, shows."""
    assert shape(one) != shape(other)


@given(ARGUMENTS)
def test_the_shape_does_not_depend_on_values(arguments: dict[str, Any]) -> None:
    """However values change, as long as keys and types stay, the shape stays."""
    assert shape(retyped(arguments)) == shape(arguments)


@pytest.mark.parametrize("unit", ["a", "1", "a1", "ab1", "-", "1,", "1.", "/", "0 ", "a-", "f", "f-", "1e"])
@pytest.mark.parametrize("end", ["", "!"])
def test_hostile_arguments_take_linear_time(unit: str, end: str) -> None:
    """No string of 200,000 characters makes an expression go back over it again and again (case 14)."""
    arguments = {"a": unit * (200_000 // len(unit)) + end}
    assert similar_form(arguments, {})
    assert leaves(arguments)
    assert targets(classified(arguments, {"/a": ArgumentRole.RECIPIENT}))
