"""Text that others wrote, as people see it: nothing in it acts, hides, or pushes anything away (cases 43, 52).

What comes out holds no control, format, bidirectional, zero-width or other invisible character, and no other space
than U+0020; its size has a bound whatever comes in, and where something is left out, how long it is and its digest
stand in its place.
"""

import re
import unicodedata
from collections.abc import Iterator

from interlock.core.canonical import digest

MOST_CHARACTERS = 240
"""A longer text is folded unless told otherwise."""
MOST_REMARKS = 4
"""Of so many words in one text it is told what is odd about them."""

# Control, format, private, unassigned, surrogates, separators of lines and paragraphs, marks that enclose.
_ACTING = {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Me"}
# They are letters, marks and symbols by their category, and yet nothing is to be seen of them: fillers, joiners,
# selectors of variants, the empty braille cell.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_MOST_MARKS = 2
"""More of them on one letter would reach into the lines above and below."""

_SHORT_ESCAPE = 4  # hexadecimal digits; more of them stand in braces
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}

# First words of the names of what takes no part in mixing: it is no letter of a script, or is like none of another's.
_NO_SCRIPT = {"", "MICRO", "FEMININE", "MASCULINE", "MODIFIER"} | {
    *("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO")
}
# An address or a name is one word: its parts are read together. Those of a path are not.
_WORD = re.compile(r"[\w@.:-]+")
_RIGHT_TO_LEFT = {"R", "AL", "AN"}


def visible(text: str) -> str:
    """The text with each character that could act or hide written as its code point; all else is as it was."""
    return text if text.isascii() and text.isprintable() else "".join(_visible(text))


def quoted(text: str, *, most: int = MOST_CHARACTERS) -> str:
    """The text in quotes, on one line; it cannot be mistaken for another text, nor for what stands beside it.

    Line ends, quotes and backslashes are escaped as in JSON, whatever could act or hide as its code point. Of more than
    `most` characters the beginning and the end stay, with the length and the SHA-256 (base64url, of UTF-8) of all.
    """
    if len(text) <= most:
        return f'"{_escaped(text)}"'
    tail = most // 5
    begin, end = text[: most - tail], text[len(text) - tail :]
    told = f"{len(text):,} characters, SHA-256 {digest(text.encode('utf-8', 'surrogatepass'))}"
    return f'"{_escaped(begin)}" … "{_escaped(end)}" (folded: {told})'


def remarks(text: str) -> list[str]:
    """What somebody should know who reads the text: words of mixed scripts, and letters that run to the left.

    Each is one line that is safe to show. At most MOST_REMARKS words are named, then it is said how many more are odd.
    """
    if text.isascii():
        return []
    mixed = list(_mixed_words(text))
    found = [_mix(word, scripts) for word, scripts in mixed[:MOST_REMARKS]]
    if len(mixed) > MOST_REMARKS:
        found.append(f"{len(mixed) - MOST_REMARKS:,} more words mix scripts")
    if any(unicodedata.bidirectional(each) in _RIGHT_TO_LEFT for each in text):
        found.append("letters that run from right to left: the order on the screen may be another one")
    return found


def _escaped(text: str) -> str:
    return "".join(_visible(text, short=_SHORT))


def _visible(text: str, short: dict[str, str] | None = None) -> Iterator[str]:
    marks = _MOST_MARKS  # a mark at the beginning would stand on what is before the text
    for character in text:
        if short and character in short:
            marks = _MOST_MARKS
            yield short[character]
        elif _is_seen(character, marks):
            marks = marks + 1 if unicodedata.category(character) == "Mn" else _marks_after(character)
            yield character
        else:
            marks = _MOST_MARKS
            yield _code_point(character)


def _is_seen(character: str, marks: int) -> bool:
    category = unicodedata.category(character)
    if category in _ACTING or (category == "Zs" and character != " ") or _INVISIBLE.match(character):
        return False
    return category != "Mn" or marks < _MOST_MARKS


def _marks_after(character: str) -> int:
    """How many marks count as used up behind it: a space carries none."""
    return _MOST_MARKS if character == " " else 0


def _code_point(character: str) -> str:
    number = f"{ord(character):04x}"
    return f"\\u{number}" if len(number) == _SHORT_ESCAPE else f"\\u{{{number}}}"


def _mixed_words(text: str) -> Iterator[tuple[str, list[str]]]:
    for found in _WORD.finditer(text):
        word = found.group()
        if not word.isascii() and len(scripts := sorted({*map(_script, word)} - {""})) > 1:
            yield word, scripts


def _script(character: str) -> str:
    """The script of a letter, by its name in Unicode: the standard library has no other property that says it."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    name = unicodedata.name(character, "").partition(" ")[0]
    return "" if name in _NO_SCRIPT else name.capitalize()


def _mix(word: str, scripts: list[str]) -> str:
    """Which scripts a word mixes, and which of its letters are not of the one that most of them are in."""
    letters = [(each, _script(each)) for each in word if _script(each)]
    main = max(scripts, key=lambda script: (sum(script == each for _, each in letters), script == "Latin"))
    odd = list(dict.fromkeys(each for each, script in letters if script != main))[:MOST_REMARKS]
    told = ", ".join(f"{_code_point(each)} is {unicodedata.name(each)}" for each in odd)
    return f"{quoted(word, most=64)} mixes {' and '.join(scripts[:MOST_REMARKS])}: {told}"
