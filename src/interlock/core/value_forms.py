"""Numbers, e-mail addresses, IBANs, hosts and paths: how each is recognised, and its one form.

The regular expressions are linear: what repeats is bounded, possessive, or ends at a character that it cannot
hold (case 14). Those that take folded texts say `a-z` for letters.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import takewhile
from typing import Literal

Kind = Literal["recipient", "host", "amount", "path", "text"]

MAX_NUMBER_CHARACTERS = 64
PREFIX_DIRECTORIES = 2
"""A path is told by so many of its first directories."""

_SHORTEST_IBAN, _LONGEST_IBAN = 15, 34  # ISO 13616; the shortest is Norway's
_BLANKS = "".join(map(chr, range(33)))  # what a URL parser drops at both ends (WHATWG URL 4.4)
_SPACE = (
    " \u00a0\u2009\u202f"  # between the groups of a number: also no-break, thin and narrow no-break space
)

# Unicode's Default_Ignorable_Code_Point and category Cf: what has no width, and what only directs how others stand.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_IDEOGRAPHIC_STOP = "\u3002"  # IDNA takes it for a dot, NFKC leaves it (RFC 3490 3.1)

_CURRENCY = (
    r"(?:(?:us|ca|au|nz|hk|[acrs])?\$|[€£¥₹₩₽₺₪฿₫₴₦₱₿¢]|usd|eur|gbp|chf|jpy|cny|inr|sek|nok|dkk|pln|czk|huf"
    r"|ron|try|brl|mxn|cad|aud|nzd|sgd|hkd|krw|zar|ils|aed|btc|eth|kr)"
)
_THOUSANDS = rf"[,'\u2019{_SPACE}]"
_NUMBER = re.compile(
    rf"(?P<sign>[-+\u2212]?)(?:{_CURRENCY} ?)?(?:"
    r"(?P<plain>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)"
    rf"|(?P<grouped>[1-9][0-9]{{0,2}}(?:{_THOUSANDS}[0-9]{{2,3}})*{_THOUSANDS}[0-9]{{3}}(?:\.[0-9]+)?)"
    rf"|(?P<european>[1-9][0-9]{{0,2}}(?:(?:[.{_SPACE}][0-9]{{3}})+,[0-9]+|(?:\.[0-9]{{3}}){{2,}}))"
    r"|(?P<comma>(?:0|[1-9][0-9]*),[0-9]+)"
    rf")(?: ?(?:{_CURRENCY}|%))?"
)
# Sees quickly that most texts with digits, such as dates, are no numbers.
_MAYBE_NUMBER = re.compile(rf"[^0-9]{{0,6}}[0-9](?:[0-9.]|{_THOUSANDS})*+[^0-9]{{0,4}}")
_LEADING_ZEROS = re.compile(r"[-+]?0[0-9]+(?:[.,][0-9]+)?")
_SWAP_SEPARATORS = str.maketrans(".,", ",.")
_NOT_OF_A_NUMBER = re.compile(r"[^0-9.]")

_IBAN = re.compile(
    r"(?![0-9a-f]{32}\Z)"  # a hexadecimal digest of 128 bits
    r"[a-z]{2}[0-9]{2}(?:[a-z0-9]{11,30}|(?:[ -][a-z0-9]{4}){2,7}(?:[ -][a-z0-9]{1,3})?)"
)
_IBAN_IN_TEXT = re.compile(
    rf"(?<!\w)[a-z]{{2}}[0-9]{{2}}(?:[{_SPACE}-][a-z0-9]{{4}}){{2,7}}(?:[{_SPACE}-][a-z0-9]{{1,3}})?(?!\w)"
)
_THOUSANDS_IN_TEXT = re.compile(
    rf"(?<![\w.,'\u2019-])[1-9][0-9]{{0,2}}(?:[{_SPACE}][0-9]{{3}})+(?:[.,][0-9]+)?(?!\w)"
)
_MAYBE_GROUPS = re.compile(rf"[0-9][{_SPACE}-][a-z0-9]")
_MAYBE_IBAN = re.compile(rf"[0-9]{{2}}[{_SPACE}-][a-z0-9]{{4}}[{_SPACE}-]")
_GROUP_BREAK = re.compile(rf"[{_SPACE}-]")

_ADDRESS = r"[^\s@<>,;:\"]++@[^\s@<>,;:\"/?#\\]++"
_NAMED_ADDRESS = rf"(?:\"[^\"]*+\"\s*+|[^<>@,;\"]*+)<\s*+{_ADDRESS}\s*+>"
_RECIPIENT = rf"(?:{_ADDRESS}|{_NAMED_ADDRESS})"
_RECIPIENTS = re.compile(rf"(?:mailto:)?{_RECIPIENT}(?:\s*+[,;]\s*+{_RECIPIENT})*+\s*+[,;]?")
_BETWEEN_ADDRESSES = re.compile(r"[\s<>,;:\"]+")

_URL = re.compile(r"(?!file:)(?:[a-z][a-z0-9+.-]{0,31}://|(?:https?|wss?|ftp):[/\\]|\\\\)")
_REMOTE_COPY = re.compile(r"[\w.-]++@[\w.-]++:\S++")  # scp and git
_AUTHORITY_END = re.compile(r"[/?#]")
_AUTHORITY_BREAK = re.compile(r"[\\@]")
_NAME = r"(?:[\w-]{1,63}\.)+(?:xn--[a-z0-9-]{1,59}|[^\W\d_]{2,63})\.?|(?:[0-9]{1,3}\.){3}[0-9]{1,3}|localhost"
_HOST = re.compile(_NAME)
_HOST_AND_PATH = re.compile(rf"(?:{_NAME}|\[[0-9a-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?(?:[/?#]\S*+)?")

_PATH_STARTS = ("/", "./", "../")
_PATH = re.compile(r"~[^\s/]*(?:/[^\n]*)?|\.{1,2}|\.[a-z]\S*|[a-z]:[\\/][^\n]*|(?=\S*[^\W\d_])\S*[/\\]\S*")
# Endings after which a name is a file's: they are no top level domain, or seldom meant as one.
_FILE = re.compile(
    r"[^\s/\\:?#]*\.(?:bak|bat|bin|bmp|c|cfg|conf|cpp|css|csv|db|docx?|eml|env|exe|gif|go|gz|h|html?|ics|ini"
    r"|ipynb|jar|java|jpe?g|js|jsonl?|jsx|key|kt|lock|log|lua|md|mov|mp[34]|od[st]|parquet|pdf|pem|php|pl|png"
    r"|pptx?|ps1|py|rb|rs|rst|rtf|sh|sql|sqlite|svg|swift|tar|tex|tgz|toml|tsv?|tsx|txt|wav|webp|xlsx?|xml"
    r"|ya?ml|zip)"
)

_PUNCTUATION = re.compile(r"[@/\\.:~]")
_TELLING = re.compile(r"[0-9\x80-\U0010ffff]")


def fold(text: str) -> str:
    """The text in NFC and lower case.

    Not Unicode's full case folding, which makes other letters of some that look alike, such as an `s` of the
    long s (U+017F): another name would then count as the same.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def plain(text: str) -> str:
    """The text as a reader sees it, but for letters of other scripts that look alike.

    Compatible characters are the usual ones (NFKC), digits and dots of all scripts are ASCII's, and what has
    no width is left out.
    """
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).replace(_IDEOGRAPHIC_STOP, ".")
    text = _INVISIBLE.sub("", text)
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def decimal(number: float) -> str:
    """A JSON number in plain decimals: `100.0` is `100`, and `1e-07` is `0.0000001`."""
    written = repr(number)
    if "e" in written:
        written = format(Decimal(written), "f")
    return written.removesuffix(".0")


def number(text: str) -> str | None:
    """What a folded text says, in plain decimals, if it is a number: `$1,000.50` says `1000.5`.

    A currency mark or a percent sign may stand before or after it. A lone comma before exactly three digits
    separates thousands, any other lone comma and a lone point the decimals; where both occur, the last does.
    With needless leading zeros it is no number but a name.
    """
    if len(text) > MAX_NUMBER_CHARACTERS or not _MAYBE_NUMBER.fullmatch(text):
        return None
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    digits = found[found.lastgroup or ""]
    if found.lastgroup in ("european", "comma"):
        digits = digits.translate(_SWAP_SEPARATORS)
    whole, _, fraction = _NOT_OF_A_NUMBER.sub("", digits).partition(".")
    fraction = fraction.rstrip("0")
    magnitude = f"{whole or '0'}.{fraction}" if fraction else whole or "0"
    return f"-{magnitude}" if found["sign"] in ("-", "\u2212") and magnitude != "0" else magnitude


def number_otherwise(text: str) -> str | None:
    """What `number` would say to someone who takes points for commas and commas for points."""
    return number(text.translate(_SWAP_SEPARATORS))


def may_have_groups(text: str) -> bool:
    """Whether it is worth looking for `groups` in a folded text; most have none."""
    return _MAYBE_GROUPS.search(text) is not None


def groups(text: str) -> Iterator[tuple[int, int, str]]:
    """Where numbers and IBANs stand in a folded text that are written in groups: start, end, and one word."""
    for found in _IBAN_IN_TEXT.finditer(text) if _MAYBE_IBAN.search(text) else ():
        parts = _iban_groups(_GROUP_BREAK.split(found[0]))
        yield found.start(), found.start() + sum(map(len, parts)) + len(parts) - 1, "".join(parts)
    for found in _THOUSANDS_IN_TEXT.finditer(text):
        yield found.start(), found.end(), number(found[0]) or found[0]


def addresses(text: str) -> list[str]:
    """The e-mail addresses in a folded text."""
    if "@" not in text:
        return []
    return [part for part in _BETWEEN_ADDRESSES.split(text) if 0 < part.find("@") < len(part) - 1]


def iban(text: str) -> str | None:
    """A folded text without its spaces, if it has the form of an IBAN. The check digits may be wrong."""
    return _GROUP_BREAK.sub("", text) if _IBAN.fullmatch(text) else None


def is_host(text: str) -> bool:
    """Whether a folded text has the form of a host's name or IPv4 address, and not of a file's name."""
    return _HOST.fullmatch(text) is not None and _FILE.fullmatch(text) is None


def hosts(text: str) -> list[str]:
    """The host of a folded URL, or of what stands where a URL's authority would; without its port.

    There are several where URL parsers disagree on which it is: where a backslash comes before the path.
    """
    scheme = _URL.match(text)
    authority = _AUTHORITY_END.split(text[scheme.end() if scheme else 0 :].lstrip("/\\"), maxsplit=1)[0]
    names = [_without_port(name) for name in _AUTHORITY_BREAK.split(authority)]
    return list(filter(None, names)) if "\\" in authority else names[-1:]


def path_prefix(path: str) -> str:
    """The first two directories of a path, `..` resolved: `/home/ann/notes/a.txt` is in `/home/ann`."""
    path = posixpath.normpath(path.replace("\\", "/"))
    root = "/" if path.startswith("/") else ""
    directories = path.strip("/").split("/")[:-1]
    return root + "/".join(directories[:PREFIX_DIRECTORIES]) or "."


def recognise(text: str) -> Kind:
    """What a string alone shows to be: where the catalog does not say what an argument stands for.

    What could be two things is the one that deserves more care. A bare name with the ending of a usual file is
    a path.
    """
    punctuated = _PUNCTUATION.search(text)
    if not punctuated and not _TELLING.search(text):
        return "text"
    text = (text.lower() if text.isascii() else fold(plain(text))).strip(_BLANKS)
    if not punctuated and not _PUNCTUATION.search(text):
        return _recognise_word(text)
    for holds, kind in _RECOGNISERS:
        if holds(text):
            return kind
    return "text"


def _recognise_word(text: str) -> Kind:
    """Without the punctuation of addresses, hosts and paths, digits may still tell."""
    if _is_iban(text):
        return "recipient"
    return "amount" if _is_amount(text) else "text"


def _is_located(text: str) -> bool:
    return text.startswith(_PATH_STARTS) and "\n" not in text and not _is_network_path(text)


def _is_network_path(text: str) -> bool:
    """Whether it is a URL without its scheme (RFC 3986 4.2): `//evil.com/a`."""
    return text.startswith("//") and is_host(hosts(text)[0])


def _is_url(text: str) -> bool:
    return bool(_URL.match(text) or _REMOTE_COPY.fullmatch(text)) or _is_network_path(text)


def _is_recipient(text: str) -> bool:
    return ("@" in text and _RECIPIENTS.fullmatch(text) is not None) or _is_iban(text)


def _is_iban(text: str) -> bool:
    return _IBAN.fullmatch(text) is not None


def _is_amount(text: str) -> bool:
    if not _MAYBE_NUMBER.fullmatch(text):
        return False
    return number(text) is not None or _LEADING_ZEROS.fullmatch(text) is not None


def _is_file(text: str) -> bool:
    return _FILE.fullmatch(text) is not None


def _is_bare_host(text: str) -> bool:
    return _HOST_AND_PATH.fullmatch(text) is not None


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None


_RECOGNISERS: tuple[tuple[Callable[[str], bool], Kind], ...] = (
    (_is_located, "path"),
    (_is_recipient, "recipient"),
    (_is_url, "host"),
    (_is_amount, "amount"),
    (_is_file, "path"),
    (_is_bare_host, "host"),
    (_is_path, "path"),
)


def _without_port(authority: str) -> str:
    if authority.startswith("["):  # RFC 3986 3.2.2: an IPv6 address stands in brackets
        return authority.partition("]")[0].removeprefix("[")
    return authority.partition(":")[0].rstrip(".")


def _iban_groups(parts: list[str]) -> list[str]:
    """The groups that belong to an IBAN: all up to where its check digits are right (ISO 7064, MOD 97-10).

    Where they never are, all up to the next word without a digit.
    """
    for count in range(len(parts), 2, -1):
        if has_right_check_digits("".join(parts[:count])):
            return parts[:count]
    return parts[:2] + list(takewhile(_has_digit, parts[2:]))


def has_right_check_digits(account: str) -> bool:
    """Whether letters and digits of ASCII without spaces have the check digits of an IBAN (ISO 7064, MOD 97-10)."""
    if not _SHORTEST_IBAN <= len(account) <= _LONGEST_IBAN:
        return False
    return int("".join(str(int(character, 36)) for character in account[4:] + account[:4])) % 97 == 1


def _has_digit(text: str) -> bool:
    return not text.isalpha()
