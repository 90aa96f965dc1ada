"""Personal data is found in text where its form or its check digits tell it."""

from collections.abc import Iterator

import pytest

from interlock.core.personal_data import find_personal_data, names_personal_data

PERSONAL = {
    "e-mail": "ann.o-neil+x@mail.example.com",
    "e-mail in unicode": "änne@exämple.de",
    "e-mail in quotes": '"ann.lee"@example.com',
    "e-mail at an address": "root@[192.0.2.1]",
    "phone": "+49 (30) 123 456-78",
    "phone without spaces": "+14155552671",
    "phone with dots": "+33.1.23.45.67.89",
    "iban": "DE89370400440532013000",
    "iban in groups": "GB29 NWBK 6016 1331 9268 19",
    "iban in lower case": "fr1420041010050500013m02606",
    "longest iban": "RU0204452560040702810412345678901",
    "card": "4111111111111111",
    "card in groups": "5500 0000 0000 0004",
    "card with hyphens": "4111-1111-1111-1111",
    "amex": "3782 822463 10005",
    "social security": "123-45-6789",
    "social security with spaces": "123 45 6789",
}

LEFT = [
    "at 2026-03-01T12:00:00+0100 in 10.0.0.1, version 1.2.3",
    "4111111111111112 and DE89370400440532013001 have wrong check digits",
    "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "1764000000000 ms, 1764000000000000 us",
    "a + 12, x@y, @ann, ann@, 123-456-7890-12",
    "ZZ89370400440532013000 is of no country",
    "",
]


def found(text: str) -> Iterator[str]:
    return (text[start:end] for start, end in find_personal_data(text))


@pytest.mark.parametrize("name", PERSONAL)
@pytest.mark.parametrize("around", ["{}", "it is {}, she said", "({})\n", "IBAN {} 12/27"], ids=range(4))
def test_personal_data_is_found_whole(name: str, around: str) -> None:
    """What is personal is found from its beginning to its end, whatever stands beside it."""
    assert any(PERSONAL[name] in each for each in found(around.format(PERSONAL[name])))


def test_a_card_is_found_within_more_digits_than_it_has() -> None:
    """Other groups of digits before a card's and after it do not hide it."""
    assert "4111 1111 1111 1111" in set(found("4242 4111 1111 1111 1111 123"))


@pytest.mark.parametrize("text", LEFT, ids=range(len(LEFT)))
def test_usual_text_is_left(text: str) -> None:
    """Times, versions, digests and numbers with wrong check digits are not personal."""
    assert list(found(text)) == []


@pytest.mark.parametrize(
    ("name", "is_personal"),
    [
        ("email", True),
        ("Phone_Number", True),
        ("SSN", True),
        ("emails_sent", False),
        ("name", False),
        ("", False),
    ],
)
def test_names_tell_personal_data(name: str, is_personal: bool) -> None:
    """A member is known by its name, in any spelling."""
    assert names_personal_data(name) is is_personal
