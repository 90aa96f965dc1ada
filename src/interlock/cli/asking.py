"""A question to the person at the terminal, and arguments for them to change."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from interlock.cli.output import fail, say_why, visible
from interlock.core.errors import InterlockError
from interlock.core.strict_json import parse_object

_DELETE = "\x7f"  # json.dumps leaves it as it is


def confirm(question: str, *, yes: bool) -> None:
    """Go on only where the person says yes, or has with `--yes`; nobody is asked who is not there."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nobody is here to be asked: run it in a terminal, or add --yes if you have seen what it is")
    if not typer.confirm(visible(question), err=True):
        fail("nothing was answered")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file, or of standard input for `-`. Raises OSError; ValueError with what is wrong where."""
    data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    try:
        return parse_object(data, field=str(path))
    except InterlockError as error:
        found = "; ".join(f"{each.description} at `{each.pointer}`" for each in error.violations)
        raise ValueError(f"`{path}`: {found or error.message}") from None


def edited(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a person changes them in the editor that VISUAL or EDITOR names.

    What is no JSON object is told, and can be mended. The file is this user's only, and goes when it is read.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        fail("no editor: set EDITOR, or give the arguments with --arguments FILE")
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        file = Path(folder) / "arguments.json"
        file.touch(mode=0o600)
        file.write_text(editable(arguments))
        while True:
            _run(editor, file)
            try:
                return read_object(file)
            except ValueError as error:
                say_why(error)
                confirm("edit it again?", yes=False)


def editable(arguments: Mapping[str, Any]) -> str:
    """Indented JSON in which what could act on a terminal, or hide there, is escaped."""
    text = json.dumps(arguments, indent=2, ensure_ascii=False).replace(_DELETE, "\\u007f")
    return (
        "".join(each if each.isascii() or visible(each) == each else json.dumps(each)[1:-1] for each in text)
        + "\n"
    )


def _run(editor: str, file: Path) -> None:
    ran = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the user's own choice
    if ran.returncode:
        fail(f"`{editor}` ended with status {ran.returncode}: nothing was answered")
