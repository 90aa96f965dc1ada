"""Where personal data stands in a text, and the names of what holds some.

The regular expressions are linear, as those of core/secret_patterns.py are (case 14). A number counts only with right
check digits where it has any.
"""

import re
from collections.abc import Iterator, Mapping

from interlock.core.value_forms import has_right_check_digits

Span = tuple[int, int]

_SPACE = " \u00a0\u2009\u202f"

_LOCAL = r"[^\s@<>(),;:\"'\[\]{}\\|/=]"
_EMAIL = re.compile(
    rf"(?:(?<!{_LOCAL}){_LOCAL}++|\"[^\"@\s]{{1,64}}\")@"
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[\w-]++(?:\.[\w-]++)++)"
)
_PHONE = re.compile(
    rf"(?<![\w+])\+[{_SPACE}(]{{0,2}}[1-9](?:[{_SPACE}()./-]{{0,3}}[0-9]){{6}}(?:[{_SPACE}()./-]{{0,3}}[0-9])*+"
)
_SOCIAL_SECURITY = re.compile(
    rf"(?<![0-9-])[0-9]{{3}}(?P<between>[{_SPACE}-])[0-9]{{2}}(?P=between)[0-9]{{4}}(?![0-9-])"
)

# Tells quickly of most texts that no account, card or the like is there.
_MAYBE_NUMBER = re.compile(r"[0-9]{2}")

# Each place where one may begin is looked at, also inside of another: hence the lookahead.
_MAYBE_IBAN = re.compile(
    rf"(?<![A-Za-z0-9])(?:IBAN)?(?=(?P<account>[A-Z]{{2}}[0-9]{{2}}(?:[{_SPACE}-]?[A-Z0-9]){{11,30}}"
    rf"|[a-z]{{2}}[0-9]{{2}}(?:[{_SPACE}-]?[a-z0-9]){{11,30}}))"
)
_MAYBE_CARD = re.compile(
    rf"(?<![0-9])(?=(?P<number>[2-6][0-9]{{12,18}}(?![0-9])|[2-6][0-9]{{3}}(?:[{_SPACE}-][0-9]{{3,7}}){{2,4}}(?![0-9])))"
)
_DOUBLED = str.maketrans("0123456789", "0246813579")  # and the digits of that added up
_CARD_LENGTHS = range(13, 20)  # ISO/IEC 7812-1
_GROUP_BREAK = re.compile(rf"[{_SPACE}-]")

# The IBAN registry (SWIFT, ISO 13616): the length of a country's.
_IBAN_LENGTHS: Mapping[str, int] = {
    country: length
    for length, countries in {
        15: "no", 16: "be", 18: "dk fi fk fo gl nl sd", 19: "mk si", 20: "at ba ee kz lt lu mn xk",
        21: "ch cr hr li lv", 22: "bg bh de gb ge ie me rs va", 23: "ae gi il iq om so tl",
        24: "ad cz dz es md pk ro sa se sk sv tn vg", 25: "ao cv gw lc ly mz pt st", 26: "is tr",
        27: "bi bf bj ci cm dj fr gr it km mc mg ml mr sm sn td tf",
        28: "al az by cg cy do eg ga gt hn hu lb ma ne ni pl tg", 29: "br cf cn ps qa ua", 30: "jo kw mu ye",
        31: "mt sc", 33: "ru",
    }.items()
    for country in countries.split()
}  # fmt: skip

_BETWEEN_WORDS = re.compile(r"[\s._-]")
_NAMES = frozenset(
    {
        "birthdate", "cardnumber", "creditcard", "creditcardnumber", "cvc", "cvv", "dateofbirth", "email",
        "emailaddress", "mobile", "mobilenumber", "nationalid", "passportnumber", "phone", "phonenumber",
        "socialsecuritynumber", "ssn", "taxid", "telephone",
    }
)  # fmt: skip


def find_personal_data(text: str) -> Iterator[Span]:
    """Where an e-mail address, a phone number, an IBAN, a payment card or the like stands; they may overlap."""
    if "@" in text:
        yield from (found.span() for found in _EMAIL.finditer(text))
    if "+" in text:
        yield from (found.span() for found in _PHONE.finditer(text))
    if not _MAYBE_NUMBER.search(text):
        return
    yield from (found.span() for found in _SOCIAL_SECURITY.finditer(text))
    yield from filter(None, map(_iban, _MAYBE_IBAN.finditer(text)))
    yield from filter(None, map(_card, _MAYBE_CARD.finditer(text)))


def names_personal_data(name: str) -> bool:
    """Whether what has this name is personal data, whatever its form: `phoneNumber`, `SSN`."""
    return _BETWEEN_WORDS.sub("", name).lower() in _NAMES


def _iban(found: re.Match[str]) -> Span | None:
    """As many characters as the country's IBANs have, if their check digits are right."""
    account, start = found["account"], found.start("account")
    plain, length = _GROUP_BREAK.sub("", account), _IBAN_LENGTHS.get(account[:2].lower(), 0)
    if not 0 < length <= len(plain) or not has_right_check_digits(plain[:length]):
        return None
    ends = [place for place, character in enumerate(account, 1) if not _GROUP_BREAK.match(character)]
    return start, start + ends[length - 1]


def _card(found: re.Match[str]) -> Span | None:
    """The most groups of digits that are a card's number together: a date or a security code may follow it."""
    number, start = found["number"], found.start("number")
    ends = [*(each.start() for each in _GROUP_BREAK.finditer(number)), len(number)]
    for end in reversed(ends):
        digits = _GROUP_BREAK.sub("", number[:end])
        if len(digits) in _CARD_LENGTHS and _passes_luhn(digits):
            return start, start + end
    return None


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    return sum(map(int, digits[::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0
