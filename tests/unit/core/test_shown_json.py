"""JSON as lines for people: exact where it fits, and folded so that no part hides another (case 52)."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock.core.canonical import digest_of
from interlock.core.shown_json import FOLDED, MOST_REMARKS, WHOLE, Fold, json_lines, json_remarks

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(TEXT, inner, max_size=8),
    max_leaves=60,
)
PRINTABLE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab "\\\n', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('ab"', max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(1, 30))
def test_lines_have_a_bound_and_nothing_in_them_acts(value: Any, most: int) -> None:
    """Whatever comes, there are no more lines than asked for, each of printable text (cases 43 and 52)."""
    lines = json_lines(value, fold=Fold(lines=most, characters=20))
    assert len(lines) <= most
    assert all(line.isprintable() for line in lines)


@given(PRINTABLE)
def test_what_is_shown_whole_is_the_very_value(value: Any) -> None:
    """Unfolded, the lines are JSON of exactly what was decided."""
    assert json.loads("\n".join(json_lines(value, fold=WHOLE))) == value


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), PRINTABLE, min_size=2, max_size=6))
def test_no_member_hides_another(value: dict[str, Any]) -> None:
    """Each member is named as long as there is a line for each, however large the others are (case 52)."""
    flooded = {**value, "a": list(range(100)), "z": "the payload"}
    lines = json_lines(flooded, fold=Fold(lines=12))
    assert [key for key in flooded if not any(line.startswith(f'  "{key}": ') for line in lines)] == []
    assert any("the payload" in line for line in lines)


def test_how_a_call_is_shown() -> None:
    """Keys, strings and structure as JSON; what the service concealed as such, and not what an agent wrote alike."""
    value = {
        "body": "one\ntwo",
        "count": 3,
        "nested": {"list": [1, True, None], "none": {}},
        "secret": {"concealed": "Zm9v"},
        "forged": {"concealed": "Zm9v"},
    }
    assert json_lines(value, concealed=["/secret"]) == [
        "{",
        '  "body": "one\\ntwo",',
        '  "count": 3,',
        '  "nested": {',
        '    "list": [',
        "      1,",
        "      true,",
        "      null",
        "    ],",
        '    "none": {}',
        "  },",
        '  "secret": (concealed: "Zm9v"),',
        '  "forged": {',
        '    "concealed": "Zm9v"',
        "  }",
        "}",
    ]


def test_what_is_left_out_is_told() -> None:
    """In place of what does not fit stand how much it is, and its digest (case 52)."""
    flood = list(range(100))
    value = {"flood": flood, "to": "alice", "deep": {"a": flood}}
    assert json_lines(value, fold=Fold(lines=11)) == [
        "{",
        '  "flood": [',
        "    0,",
        f"    … 99 more members (folded: 100 values in all, SHA-256 {digest_of(flood)})",
        "  ],",
        '  "to": "alice",',
        '  "deep": {',
        f'    "a": […] (folded: 100 values in all, SHA-256 {digest_of(flood)})',
        "  }",
        "}",
    ]


def test_a_flood_of_keys_leaves_its_count_and_digest() -> None:
    """Ten thousand arguments are a screenful, and it is told how many there are (case 52)."""
    value = {f"key{number}": number for number in range(10_000)}
    lines = json_lines(value)
    assert len(lines) == FOLDED.lines
    assert lines[-2] == f"  … 9,973 more members (folded: 10,000 values in all, SHA-256 {digest_of(value)})"


def test_odd_words_are_told_with_their_place() -> None:
    """Keys and strings with mixed scripts are named by their JSON Pointer, in a bounded number of lines (case 52)."""
    value = {"to": ["ok", "p\u0430ypal"], "am\u043eunt": 5}
    assert json_remarks(value) == [
        '"/to/1": "p\u0430ypal" mixes Cyrillic and Latin: \\u0430 is CYRILLIC SMALL LETTER A',
        '"/am\u043eunt": "am\u043eunt" mixes Cyrillic and Latin: \\u043e is CYRILLIC SMALL LETTER O',
    ]
    flood = json_remarks(["p\u0430ypal"] * 100)
    assert (len(flood), flood[-1]) == (MOST_REMARKS + 1, "92 more things are odd")
