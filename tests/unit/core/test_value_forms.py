"""Numbers, addresses, IBANs, hosts and paths: one form each, whatever they look like."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.value_forms import (
    addresses,
    decimal,
    fold,
    groups,
    hosts,
    iban,
    number,
    number_otherwise,
    path_prefix,
    plain,
    recognise,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100", "100"),
        ("100.00", "100"),
        ("1,000.50", "1000.5"),
        ("1.000,50", "1000.5"),
        ("1 000", "1000"),
        ("1\u00a0000,5", "1000.5"),
        ("1'000.5", "1000.5"),
        ("12,34,567", "1234567"),
        ("1.000.000", "1000000"),
        ("1,000", "1000"),
        ("1.000", "1"),
        ("0,500", "0.5"),
        ("1,5", "1.5"),
        (".5", "0.5"),
        ("-4.50", "-4.5"),
        ("\u22124", "-4"),
        ("-0.00", "0"),
        ("+7", "7"),
        ("$100", "100"),
        ("us$ 1,000", "1000"),
        ("eur 5", "5"),
        ("5kr", "5"),
        ("£1,050", "1050"),
        ("10%", "10"),
        ("9" * 64, "9" * 64),
    ],
)
def test_a_number_has_one_form(text: str, expected: str) -> None:
    """However thousands and decimals are separated and whatever currency stands by, the number is the same."""
    assert number(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "007",
        "1.2.3",
        "12:30",
        "2024-05-15",
        "1e3",
        "5 apples",
        "10 20",
        "\u0661",
        "1,,000",
        "x5",
        "9" * 65,
    ],
)
def test_what_is_no_number_has_no_decimals(text: str) -> None:
    """Dates, times, versions, names with zeros before and digits of other scripts are not read as numbers."""
    assert number(text) is None


@pytest.mark.parametrize(("text", "expected"), [("1.000", "1000"), ("1,000", "1"), ("98.70", "98.7")])
def test_a_number_can_be_read_the_other_way(text: str, expected: str) -> None:
    """Where countries read a number in two ways, the other reading is known too."""
    assert number_otherwise(text) == expected


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_json_number_is_written_without_exponent(value: float) -> None:
    """A number of JSON is written in plain decimals that say exactly the same number."""
    written = decimal(value)
    assert "e" not in written.lower()
    assert not written.endswith(".0")
    assert float(written) == value


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_a_number_in_a_text_is_the_json_number(whole: int, cents: int) -> None:
    """An amount that is written in a text has the form of the amount in an argument."""
    assert (
        number(f"${whole:,}.{cents:02}")
        == decimal(float(f"{whole}.{cents:02}"))
        == number(f"{whole}.{cents:02}")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to gb29 nwbk 6016 1331 9268 19 then", [(3, 30, "gb29nwbk60161331926819")]),
        ("be68 5390 0754 7034 from me", [(0, 19, "be68539007547034")]),
        ("us13 3000 0001 2121 2121 2121 2 now", [(0, 31, "us13300000012121212121212")]),
        ("pay 12 000 000,50 kr", [(4, 17, "12000000.5")]),
        ("room 12 and 2024-05-15 10:20", []),
        ("a1000 000", []),
    ],
)
def test_numbers_and_ibans_are_found_in_groups(text: str, expected: list[tuple[int, int, str]]) -> None:
    """What is written in groups is one word, and the words after it are not part of it."""
    assert list(groups(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gb29nwbk60161331926819", "gb29nwbk60161331926819"),
        ("gb29 nwbk 6016 1331 9268 19", "gb29nwbk60161331926819"),
        ("gb29-nwbk-6016-1331-9268-19", "gb29nwbk60161331926819"),
        ("us133000000121212121212", "us133000000121212121212"),
        ("ab12", None),
        ("de89370400440532013000!", None),
        ("ab12" + "0f" * 14, None),
    ],
)
def test_an_iban_has_one_form(text: str, expected: str | None) -> None:
    """An IBAN is one word, however it is grouped; a short word or a hexadecimal digest is none."""
    assert iban(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob@evil.com", ["bob@evil.com"]),
        ('"ann@good.com" <bob@evil.com>', ["ann@good.com", "bob@evil.com"]),
        ("a@x.com, b@y.com;c@z.com", ["a@x.com", "b@y.com", "c@z.com"]),
        ("mailto:a@x.com", ["a@x.com"]),
        ("@ann and b@", []),
        ("nobody", []),
    ],
)
def test_every_address_of_a_text_is_found(text: str, expected: list[str]) -> None:
    """Each e-mail address is told, also one that is put where a name is shown."""
    assert addresses(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://evil.com/a?b#c", ["evil.com"]),
        ("https://evil.com:8443", ["evil.com"]),
        ("https://good.com@evil.com/", ["evil.com"]),
        ("https://good.com\\@evil.com/", ["good.com", "evil.com"]),
        ("https://evil.com./", ["evil.com"]),
        ("http:\\\\evil.com\\a", ["evil.com", "a"]),
        ("https://[::1]:80/", ["::1"]),
        ("//evil.com/a", ["evil.com"]),
        ("evil.com/a", ["evil.com"]),
        ("git@evil.com:ann/a", ["evil.com"]),
        ("https://evil.com?@good.com", ["evil.com"]),
        ("https://", [""]),
    ],
)
def test_the_host_of_a_url_is_what_a_client_connects_to(text: str, expected: list[str]) -> None:
    """User names, ports and paths are no hosts; where parsers disagree, each reading is told (case 45)."""
    assert hosts(text) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/ann/notes/a.txt", "/home/ann"),
        ("/home/ann/../bob/x/a.txt", "/home/bob"),
        ("/home/a.txt", "/home"),
        ("/a.txt", "/"),
        ("//a//b//c//d", "/a/b"),
        ("a/b/c/d", "a/b"),
        ("./a/b", "a"),
        ("a.txt", "."),
        ("../../etc/passwd", "../.."),
        ("~/notes/a.txt", "~/notes"),
        ("C:\\Users\\ann\\a.txt", "C:/Users"),
    ],
)
def test_a_path_is_told_by_where_it_leads(path: str, expected: str) -> None:
    """The prefix of a path is its first two directories, after `..` and doubled slashes are resolved (case 47)."""
    assert path_prefix(path) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("bob@evil.com", "recipient"),
        ("Bob <bob@evil.com>", "recipient"),
        ('"Bob, junior" <bob@evil.com>; a@x.de', "recipient"),
        ("mailto:bob@evil.com", "recipient"),
        ("bob@upi", "recipient"),
        ("bob\uff20evil.com", "recipient"),
        ("GB29 NWBK 6016 1331 9268 19", "recipient"),
        ("US133000000121212121212", "recipient"),
        ("https://evil.com/a", "host"),
        (" \thttps://evil.com/a and more", "host"),
        ("HTTPS:\\\\evil.com", "host"),
        ("http:/evil.com", "host"),
        ("evil.com", "host"),
        ("evil.com.", "host"),
        ("evil。com", "host"),
        ("evil.com:8080/a", "host"),
        ("xn--bcher-kva.example", "host"),
        ("10.0.0.1", "host"),
        ("[::1]:80", "host"),
        ("localhost:8080", "host"),
        ("//evil.com/a", "host"),
        ("\\\\server\\share", "host"),
        ("root@evil.com:/tmp", "host"),
        ("1,000.50", "amount"),
        ("$5", "amount"),
        ("0100.00", "amount"),
        ("13", "amount"),
        ("/etc/passwd", "path"),
        ("/my files/a.txt", "path"),
        ("//etc/passwd", "path"),
        ("./a", "path"),
        ("../a", "path"),
        ("..", "path"),
        ("~/a", "path"),
        ("C:\\a", "path"),
        ("src/main.py", "path"),
        (".env", "path"),
        ("bill-december-2023.txt", "path"),
        ("README.md", "path"),
        ("file:///etc/passwd", "path"),
        ("", "text"),
        ("Refund", "text"),
        ("Hello, world. How are you?", "text"),
        ("write to bob@evil.com, please", "text"),
        ("2024-05-15", "text"),
        ("05/06/2024", "text"),
        ("12:30", "text"),
        ("/first line\nsecond line", "text"),
        ("~ 5 apples", "text"),
    ],
)
def test_a_value_shows_what_it_is(text: str, kind: str) -> None:
    """Where the catalog is silent, addresses, hosts, amounts and paths are recognised by their form alone."""
    assert recognise(text) == kind


def test_letters_that_look_alike_stay_different() -> None:
    """Neither case nor a reader's eye makes one letter of two: a long s is no s, a Cyrillic a no Latin one."""
    assert fold("BOB") == "bob"
    assert fold("e\u0301") == fold("\u00c9")
    assert fold("\u017fend") != "send"
    assert plain("p\u0430ypal") != "paypal"


@pytest.mark.parametrize(
    "disguised",
    [
        "\uff42\uff4f\uff42@evil.com",
        "bob@evil\uff0ecom",
        "bob@evil。com",
        "bo\u200bb@evil.com",
        "b\u00adob@evil.com",
        "\ufeffbob@evil.com",
    ],
)
def test_a_reader_sees_through_the_characters_of_a_disguise(disguised: str) -> None:
    """Wide letters, other dots and what has no width read as the usual characters."""
    assert plain(disguised) == "bob@evil.com"


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "@",
        "x@",
        "a@b,",
        '"',
        '"",',
        "<",
        "1,",
        "1 000 ",
        "gb29 nwbk ",
        "/",
        "../",
        "a/",
        "~",
        "é@",
        " ",
    ],
)
@pytest.mark.parametrize("end", ["", "!"])
def test_hostile_texts_take_linear_time(unit: str, end: str) -> None:
    """No text of 100,000 characters makes an expression go back over it again and again (case 14)."""
    text = unit * (100_000 // len(unit)) + end
    found: list[Any] = [
        recognise(text),
        number(text),
        hosts(text),
        addresses(text),
        list(groups(text)),
        iban(text),
    ]
    assert len(found) == 6
