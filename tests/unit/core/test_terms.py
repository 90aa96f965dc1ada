"""The terms of texts: whole tokens, in one form; read strictly or loosely."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.terms import (
    said_in,
    terms_of,
    terms_of_value,
    terms_of_value_loosely,
    without_last_token,
)

DATA = Path(__file__).parents[2] / "data"
NAUGHTY_STRINGS = [
    json.loads(line)["s"] for line in (DATA / "blns" / "blns.jsonl").read_text("utf-8").splitlines()
]

WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=10)
ADDRESS = st.builds("{}@{}.com".format, WORD, WORD)
IN_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789._+-", min_size=1, max_size=8).filter(
    lambda text: text.strip(".-_+") != ""
)


def seen(value: str | float, said: Any, *, loosely: bool = False) -> bool:
    """Whether all terms of the value, of which there are some, are in what was said."""
    terms = terms_of_value(value)
    return bool(terms) and set(terms) <= set(terms_of(said, loosely=loosely))


# Whole tokens, in one form


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Pay BOB@Evil.com, please", "bob@evil.com"),
        ("to: <bob@evil.com>.", "Bob@evil.com"),
        ("'bob@evil.com'", "bob@evil.com"),
        ("ann@x.de,bob@evil.com;c@z.fr", "bob@evil.com"),
        ("mailto:bob@evil.com", "bob@evil.com"),
        ("to=bob@evil.com", "bob@evil.com"),
        ("We spent $1,000.50 in total", 1000.5),
        ("1.000,50 EUR", 1000.5),
        ("it cost 1 000 kr", 1000),
        ("it cost 1000", "1,000"),
        ("100.00", 100),
        ("(12.00)", 12),
        ("a 10% rise", 10),
        ("-5 degrees", -5),
        ("my account GB29NWBK60161331926819)", "GB29 NWBK 6016 1331 9268 19"),
        ("my account GB29 NWBK 6016 1331 9268 19, thanks", "gb29nwbk60161331926819"),
        ("my account US13-3000-0001-2121-2121-2121-2", "US13300000012121212121212"),
        ("see https://Evil.com/a/b.", "https://evil.com/a/b"),
        ("see https://evil.com/a/b", "evil.com/a/b"),
        ("see https://evil.com/a/b", "evil.com"),
        ("see evil.com", "https://evil.com/"),
        ("see evil.com/a", "evil.com"),
        ("read /home/ann/Bill.txt", "/home/ann/bill.txt"),
        ("read /home/ann/bill.txt", "bill.txt"),
        ("read C:\\Users\\bill.txt", "bill.txt"),
        ("read bill.txt", "./bill.txt"),
        ("list /", "/"),
        ("go to ..", ".."),
        ("at 12:30 on 2024-05-15", "2024-05-15 12:30"),
        ("Dinner with Emma", "dinner WITH emma"),
        ("don't stop \u2013 \u201cplease\u201d", "Please don't"),
        ("cafe\u0301", "CAF\u00c9"),
        ("issue #17!", 17),
    ],
)
def test_a_value_is_seen_where_it_was_said(said: str, value: str | float) -> None:
    """Case, spaces, punctuation, separators of numbers, groups of IBANs and schemes of URLs do not matter."""
    assert seen(value, said)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("notbob@evil.com", "bob@evil.com"),
        ("bob@evil.com.br", "bob@evil.com"),
        ("x.bob@evil.com", "bob@evil.com"),
        ("bob@evil.com", "evil.com"),
        ("bob@evil.com", "bob"),
        ("see https://evil.com/a", "https://evil.com/b"),
        ("see https://evil.com", "https://evil.com/a"),
        ("see https://evil.com.attacker.net", "evil.com"),
        ("see https://good.com", "https://good.com@evil.com/"),
        ("see https://good.com/a", "https://good.com/a?next=https://evil.com"),
        ("bill.txt", "/etc/bill.txt"),
        ("bill.txt", "../bill.txt"),
        ("/home/ann", "ann/bill.txt"),
        ("on 2024-05-15 at 12:30", 2024),
        ("on 2024-05-15 at 12:30", 30),
        ("version 1.2.3", 1.2),
        ("1000", 100),
        ("1000", 10000),
        ("1.000", 1000),
        ("file 0013", 13),
        ("GB29 NWBK 6016 1331 9268 19", "GB29 NWBK 6016 1331 9268"),
        ("GB29NWBK60161331926819", "GB29NWBK601613319268190"),
        ("p\u0430ypal.com", "paypal.com"),
        ("\u017fend", "send"),
        ("stra\u00dfe.de", "strasse.de"),
        ("\uff42ob@evil.com", "bob@evil.com"),
        ("bo\u200bb@evil.com", "bob@evil.com"),
        ("bob%40evil.com", "bob@evil.com"),
        ("bob [at] evil.com", "bob@evil.com"),
        ("bob @ evil.com", "bob@evil.com"),
        ("\u0661\u0660\u0660", 100),
        ("dinner with emma", "dinner with john"),
        ("anything", ""),
        ("anything ()", "()"),
    ],
)
def test_a_value_is_not_seen_in_part_of_a_token_or_in_what_looks_like_it(
    said: str, value: str | float
) -> None:
    """What may lend trust has a value only as a whole token; look-alikes and disguises are other tokens."""
    assert not seen(value, said)


@given(ADDRESS, IN_TOKEN, st.booleans())
def test_a_longer_token_is_another(address: str, more: str, before: bool) -> None:
    """Whatever is put to an address without a space, before or after it, the address was not seen."""
    said = f"{more}x{address}" if before else f"{address}x{more}"
    assert not seen(address, f"mail {said} now")


@given(st.lists(WORD | ADDRESS | st.integers(0, 999).map(str), min_size=1), st.data())
def test_any_run_of_what_was_said_is_seen(words: list[str], data: st.DataObject) -> None:
    """Each word of a text, and any of them together, are seen in it, strictly and loosely."""
    some = data.draw(st.lists(st.sampled_from(words), min_size=1))
    value = ", ".join(some)
    assert seen(value, " and ".join(words))
    assert seen(value, " and ".join(words), loosely=True)


@given(st.text())
def test_loose_reading_sees_all_that_strict_reading_sees(text: str) -> None:
    """Whatever the text, reading it loosely only adds terms."""
    assert set(terms_of(text)) <= set(terms_of(text, loosely=True))


# What a value needs


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (98.7, ("98.7",)),
        (100.0, ("100",)),
        (1e-7, ("0.0000001",)),
        ("Refund", ("refund",)),
        ("Car Rental\t98.70", ("car", "rental", "98.7")),
        ("GB29 NWBK 6016 1331 9268 19", ("gb29nwbk60161331926819",)),
        ("a@x.com,b@y.com", ("a@x.com", "b@y.com")),
        ("https://good.com/r?u=https://evil.com/x", ("good.com", "good.com/r?u", "evil.com", "evil.com/x")),
        ("https://good.com\\@evil.com/x", ("good.com", "evil.com", "good.com\\@evil.com/x")),
        ("..", ("..",)),
        ("()", ("()",)),
        ("x x x", ("x",)),
        (" \n", ()),
        ("", ()),
    ],
)
def test_a_value_needs_all_of_its_terms(value: str | float, expected: tuple[str, ...]) -> None:
    """A value is as many terms as it has tokens; a URL is each of its hosts and the whole; a blank has none."""
    assert terms_of_value(value) == expected


# Loose reading


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("\uff42ob\uff20evil.com", "bob@evil.com"),
        ("bo\u200bb@ev\u00adil.com", "bob@evil.com"),
        ("bob@evil\u3002com", "bob@evil.com"),
        ("bob%40evil.com", "bob@evil.com"),
        ("bob&#64;evil&#x2e;com", "bob@evil.com"),
        ("bob&commat;evil.com", "bob@evil.com"),
        ("bob\\u0040evil.com", "bob@evil.com"),
        ("Hi\\nbob@evil.com\\n", "bob@evil.com"),
        ("bob [at] evil [dot] com", "bob@evil.com"),
        ("bob(at)evil dot com", "bob@evil.com"),
        ("bob @ evil.com", "bob@evil.com"),
        ("**bob@evil.com**", "bob@evil.com"),
        ("_bob@evil.com_", "bob@evil.com"),
        ("https://x.com/pay?to=bob@evil.com", "bob@evil.com"),
        ("bob@evil.com", "evil.com"),
        ("https://x.com/?u=https%3A%2F%2Fevil.com%2Fa", "https://evil.com/a"),
        ("1.000", 1000),
        ("1,000", 1),
        ("0100.00", 100),
        ("\u0661\u0660\u0660", 100),
        ("\uff11\uff10\uff10", 100),
        ("-100", 100),
        ("US1330 00000121 2121\n212121 2 tomorrow", "US13300000012121212121212"),
        ("a/b/secret.pem", "b"),
    ],
)
def test_a_disguise_in_an_untrusted_text_is_seen_through(said: str, value: str | float) -> None:
    """What a model might make of an attacker's text counts as said in it, and never lends trust."""
    assert seen(value, said, loosely=True)
    assert not seen(value, said)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bob%40evil.com", ("bob@evil.com",)),
        ("https://%65vil.com/a", ("evil.com", "evil.com/a")),
        ("https://ev\til.com/\na", ("evil.com", "evil.com/a")),
        ("0100.00", ("100",)),
        ("\uff42ob@evil.com", ("bob@evil.com",)),
    ],
)
def test_a_disguised_value_is_seen_through(value: str, expected: tuple[str, ...]) -> None:
    """A value is also read as a tool might understand it."""
    assert terms_of_value_loosely(value) == expected


# Results


def test_a_json_result_is_read_whole() -> None:
    """Keys, strings and numbers of a result are read, at any depth, also where a string holds JSON."""
    text = json.dumps({"to": "bob@evil.com", "note": 'a "b"\nc', "sum": 12.50})
    result = {"content": [{"type": "text", "text": text}], "isError": False, "total": 1e3, "none": None}
    assert set(terms_of(result)) == {
        *("content", "type", "text", "iserror", "total", "none"),
        *("to", "bob@evil.com", "note", "a", "b", "c", "sum", "12.5", "1000"),
    }


@pytest.mark.parametrize(
    ("result", "complete", "expected"),
    [
        (b'{"a":["x",1]}', True, {"a": ["x", 1]}),
        (b"plain text", True, "plain text"),
        (b"", True, ""),
        (b'{"a":"x\\ny","b":"bob@evil.co', False, '{"a":"x y","b":"'),
        (b"12345", False, ""),
        (b"caf\xc3\xa9 caf\xc3", False, "caf\u00e9 "),
        (b'"a \\ud800 b', False, '"a \ufffd '),
        (b"", False, ""),
    ],
)
def test_a_result_says_its_value_or_the_beginning_of_its_text(
    result: bytes, complete: bool, expected: Any
) -> None:
    """Of a result that was cut off, the token at the end is not read: its rest is missing."""
    assert said_in(result, complete=complete) == expected


def test_a_token_that_may_be_cut_off_is_left_out() -> None:
    """A text that is only a beginning ends at its last space or quotation mark."""
    assert without_last_token("send to bob@evil.co") == "send to "
    assert without_last_token("bob@evil.co") == ""


# Hostile texts


@pytest.mark.parametrize("text", NAUGHTY_STRINGS)
def test_naughty_strings_have_terms(text: str) -> None:
    """Strings that break programs are read like any other, and each is seen in itself."""
    assert set(terms_of(text)) <= set(terms_of(text, loosely=True))
    assert terms_of_value(text) or not text.strip()


@pytest.mark.parametrize(
    "said",
    [
        "&#" + "9" * 10_000 + ";",
        "%",
        "%zz",
        "\\u12",
        "&;",
        "[" * 10_000,
        '{"a":' * 5_000,
        "://",
        "\ufdfa" * 100,
    ],
)
def test_broken_escapes_and_nesting_are_read(said: str) -> None:
    """What is no escape, no JSON and no URL in the end is text; nothing raises."""
    assert seen("end", f"{said} end", loosely=True)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "@",
        "a://",
        "%25",
        "&#64;",
        "&",
        " ",
        "aa11 ",
        " dot ",
        "\\u0041",
        "[ ",
        '"',
        "1 000 ",
        "=",
        "./",
    ],
)
@pytest.mark.parametrize("end", ["", "!"])
def test_hostile_texts_take_linear_time(unit: str, end: str) -> None:
    """No text of 100,000 characters makes reading go back over it again and again (case 14)."""
    text = unit * (100_000 // len(unit)) + end
    assert isinstance(terms_of(text, loosely=True), list)
    assert isinstance(terms_of_value(text), tuple)
    assert isinstance(terms_of_value_loosely(text), tuple)
