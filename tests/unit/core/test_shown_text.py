"""Text that others wrote, as people see it: nothing acts, nothing hides, nothing goes without a word (cases 43, 52)."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.canonical import digest
from interlock.core.shown_text import MOST_CHARACTERS, MOST_REMARKS, quoted, remarks, visible

DATA = Path(__file__).parents[2] / "data"
NAUGHTY_STRINGS = [
    json.loads(line)["s"] for line in (DATA / "blns" / "blns.jsonl").read_text("utf-8").splitlines()
]
UNSEEN = {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Me"}
LONGEST_ESCAPE = len("\\u{10ffff}")
HOSTILE = st.text(
    st.characters()
    | st.sampled_from('\n\r\t\x1b\x9b\u202e\u2066\u200b\u200d\ufeff\u00a0\u3164\u0301\\"\u0430\u05d0'),
    max_size=2 * MOST_CHARACTERS,
)


def acts(character: str) -> bool:
    category = unicodedata.category(character)
    return category in UNSEEN or (category == "Zs" and character != " ")


def stacked(text: str) -> int:
    """The most marks that stand on one character."""
    most = now = 0
    for character in text:
        now = now + 1 if unicodedata.category(character) == "Mn" else 0
        most = max(most, now)
    return most


@given(HOSTILE)
def test_nothing_that_is_shown_acts_or_hides(text: str) -> None:
    """No control, format, bidirectional or invisible character gets out, nor a pile of marks (case 43)."""
    for shown in (visible(text), quoted(text), *remarks(text)):
        assert not [hex(ord(each)) for each in shown if acts(each)]
        assert stacked(shown) <= 2


@pytest.mark.parametrize("text", NAUGHTY_STRINGS)
def test_naughty_strings_stand_on_one_line(text: str) -> None:
    """What breaks other programs is one line of printable text here (case 43)."""
    for shown in (visible(text), quoted(text), *remarks(text)):
        assert shown.isprintable()


@given(HOSTILE, st.integers(1, MOST_CHARACTERS))
def test_size_has_a_bound_and_what_is_left_out_is_told(text: str, most: int) -> None:
    """A long text is folded, and its length and digest stand in its place; a short one is whole (case 52)."""
    shown = quoted(text, most=most)
    assert len(shown) <= LONGEST_ESCAPE * most + 120
    told = f"(folded: {len(text):,} characters, SHA-256 {digest(text.encode('utf-8', 'surrogatepass'))})"
    assert shown.endswith(told) == (len(text) > most)


@given(HOSTILE, HOSTILE)
def test_two_texts_are_never_shown_alike(one: str, other: str) -> None:
    """What is shown in quotes stands for one text only, also where it is folded (case 52)."""
    assert (quoted(one) == quoted(other)) == (one == other)


@given(
    st.text(max_size=20).map(lambda text: text + "\\u202e"),
    st.text(max_size=20).map(lambda text: text + "\u202e"),
)
def test_an_escape_that_was_written_is_told_from_one_that_is_ours(written: str, ours: str) -> None:
    """A text that looks like an escape does not pass for the character, nor the other way round."""
    assert quoted(written) != quoted(ours)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Greet the world", '"Greet the world"'),
        ("é and 漢字 and 😀", '"é and 漢字 and 😀"'),
        ('a "b" \\ c', '"a \\"b\\" \\\\ c"'),
        ("a\r\n\tb", '"a\\r\\n\\tb"'),
        ("\x1b[2J\x07", '"\\u001b[2J\\u0007"'),
        ("photo\u202egpj.exe", '"photo\\u202egpj.exe"'),
        ("pay\u200bpal", '"pay\\u200bpal"'),
        ("a\u00a0b\u3000c", '"a\\u00a0b\\u3000c"'),
        ("\U000e0061hidden", '"\\u{e0061}hidden"'),
        ("\u0301on the quote", '"\\u0301on the quote"'),
        ("a" + 4 * "\u0301", '"a\u0301\u0301\\u0301\\u0301"'),
        ("\u3164\u2800", '"\\u3164\\u2800"'),
        ("", '""'),
    ],
    ids=[
        *("plain", "letters", "quotes", "lines", "terminal", "direction", "zero-width", "spaces", "tags"),
        *("mark-first", "marks", "fillers", "empty"),
    ],
)
def test_how_texts_are_shown(text: str, shown: str) -> None:
    """Letters of all scripts stay; what acts or hides is its code point; quotes and backslashes are escaped."""
    assert quoted(text) == shown


def test_a_flood_of_newlines_stays_on_its_line() -> None:
    """A thousand line ends push nothing off the screen, and the end of the text is there to be seen (case 52)."""
    shown = quoted("ok" + 1000 * "\n" + "rm -rf /", most=40)
    assert shown.startswith('"ok' + 30 * "\\n" + '" … "rm -rf /" ')
    assert "(folded: 1,010 characters, SHA-256 " in shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "send to p\u0430ypal.com",
            ['"p\u0430ypal.com" mixes Cyrillic and Latin: \\u0430 is CYRILLIC SMALL LETTER A'],
        ),
        (
            "\u0430\u0440\u0440\u04cf\u0435.c",
            ['"\u0430\u0440\u0440\u04cf\u0435.c" mixes Cyrillic and Latin: \\u0063 is LATIN SMALL LETTER C'],
        ),
        ("Документы/report.pdf", []),
        ("iPhone手机 and ソニーtv", []),
        ("plain text", []),
        ("naïve café", []),
        ("Привет мир", []),
        (
            "pay \u05d0\u05d1 42",
            ["letters that run from right to left: the order on the screen may be another one"],
        ),
    ],
    ids=["one-letter", "whole-label", "path", "ideographs", "ascii", "accents", "cyrillic", "right-to-left"],
)
def test_what_is_odd_about_a_text_is_told(text: str, told: list[str]) -> None:
    """A word of mixed scripts is named with its odd letters; one script, or a path of two, is not odd (case 52)."""
    assert remarks(text) == told


def test_remarks_have_a_bound() -> None:
    """A flood of odd words is a few lines, and that there are more is told (case 52)."""
    found = remarks(" ".join(f"p\u0430y{number}" for number in range(1000)))
    assert len(found) == MOST_REMARKS + 1
    assert found[-1] == "996 more words mix scripts"
