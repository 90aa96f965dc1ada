"""What a verb prints: a table for a person, or JSON for a program; never a control character of somebody's data."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock.core import shown_text

WIDE = 240
"""Columns of a table that goes into a file or a pipe, where nothing needs to be folded."""


def visible(value: object) -> str:
    """The text with every character that could act on a terminal written as its code point (case 43)."""
    return shown_text.visible(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    )


def print_json(value: Any) -> None:
    """One JSON document. ASCII only, so that no terminal acts on what somebody wrote."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, default=str) + "\n")


def print_json_line(value: Any) -> None:
    """One JSON document on one line, for a stream of them; otherwise as `print_json`."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table; cells are data, never markup."""
    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)
    console.print(table)


def print_drawing(lines: Iterable[Text]) -> None:
    """Lines, each cut to the width of a terminal and coloured there; anywhere else whole and plain."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{line.plain.rstrip()}\n" for line in lines)
        return
    console = Console(highlight=False)
    for line in lines:
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print_line(f"{name:<{width}}  {value if isinstance(value, str) else visible(value)}")


def print_line(text: str) -> None:
    """One line of text."""
    sys.stdout.write(visible(text) + "\n")


def fail(message: object) -> NoReturn:
    """Say on stderr why it does not work, and end with status 1."""
    say_why(message)
    raise typer.Exit(1)


def say_why(message: object) -> None:
    """Say on stderr why it does not work, or why it takes so long."""
    for line in str(message).splitlines() or [""]:
        sys.stderr.write(f"interlock: {visible(line)}\n")
