"""What a verb prints: cut and coloured on a terminal, whole and plain anywhere else."""

import io
import sys
from collections.abc import Sequence

import pytest
from rich.text import Text

from interlock.cli.output import print_drawing

LINES = [
    Text.assemble("a ", ("DENY", "red"), " and much more than a narrow terminal can show"),
    Text("[b]x[/b] "),
]


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, lines: Sequence[Text] = LINES) -> list[str]:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    print_drawing(lines)
    return stream.getvalue().splitlines()


def test_a_file_gets_whole_lines_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe or a file goes the text alone, one line for each, and markup is text."""
    assert printed(monkeypatch, io.StringIO()) == [
        "a DENY and much more than a narrow terminal can show",
        "[b]x[/b]",
    ]


def test_a_narrow_terminal_gets_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is cut, so that a line stays a line and the margin stays whole."""
    first, second = printed(monkeypatch, Terminal())
    assert first == "a \x1b[31mDENY\x1b[0m and much more th…"
    assert second.rstrip() == "[b]x[/b]"


def test_wide_characters_are_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that take two columns do not push a line beyond the terminal's edge."""
    [line] = printed(monkeypatch, Terminal(), [Text("漢" * 40)])
    assert line.replace(" ", "") == "漢" * 11 + "…"
