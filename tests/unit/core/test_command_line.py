"""A command's words: from its template and the arguments, never from a shell's reading of them (case 48)."""

from typing import Any

import pytest

from interlock.core.catalog import CatalogError
from interlock.core.command_line import MAX_WORDS_BYTES, BadWord, stdin_of, words_of
from interlock.core.connector_entries import CommandEntry
from tests.tool_calls import a_tool

SCHEMA = {
    "type": "object",
    "properties": {name: {} for name in ("text", "words", "count", "secret", "more")},
}

SHELL_TEXT = [
    "echo x | node",
    "a; rm -rf /",
    "$(id)",
    "`id`",
    "<<EOF\nid\nEOF",
    "a && b",
    "> /etc/passwd",
    "*",
    "~",
    "'\"",
    "a\nb",
    "{more}",
]


def an_entry(*argv: str, **changes: Any) -> CommandEntry:
    return CommandEntry(argv=argv, **changes)


@pytest.mark.parametrize("text", SHELL_TEXT)
def test_a_text_is_one_word_whatever_it_says(text: str) -> None:
    """What a shell would read as a command is one word, unchanged (case 48)."""
    assert words_of(an_entry("echo", "{text}"), {"text": text}) == ("echo", text)


WORDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "absent": ({}, ()),
    "null": ({"text": None}, ()),
    "empty": ({"text": ""}, ("",)),
    "integer": ({"text": 7}, ("7",)),
    "whole fraction": ({"text": 7.0}, ("7",)),
    "fraction": ({"text": 0.5}, ("0.5",)),
    "true": ({"text": True}, ("true",)),
    "false": ({"text": False}, ("false",)),
    "list": ({"text": ["a", "b c", 1]}, ("a", "b c", "1")),
    "empty list": ({"text": []}, ()),
}


@pytest.mark.parametrize("name", WORDS)
def test_each_kind_of_value_has_its_words(name: str) -> None:
    """Absent leaves the element out, a list becomes as many words, and numbers have their canonical form."""
    arguments, words = WORDS[name]
    assert words_of(an_entry("program", "{text}", "end"), arguments) == ("program", *words, "end")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "object": ({"text": {"a": 1}}, "/text"),
    "list in a list": ({"text": [["a"]]}, "/text/0"),
    "null in a list": ({"text": ["a", None]}, "/text/1"),
    "nul": ({"text": "a\x00b"}, "/text"),
    "option": ({"text": "--upload-pack=id"}, "/text"),
    "option in a list": ({"text": ["a", "-x"]}, "/text/1"),
    "negative number": ({"text": -1}, "/text"),
    "too long": ({"text": "a" * MAX_WORDS_BYTES}, ""),
    "too many": ({"text": ["a"] * 1_024}, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_can_be_no_word_is_told_with_its_place(name: str) -> None:
    """A value that cannot be a word, or could be taken for an option, is refused without being told (cases 48, 63)."""
    arguments, place = BAD[name]
    with pytest.raises(BadWord) as caught:
        words_of(an_entry("program", "{text}"), arguments)
    assert caught.value.path == place
    assert "upload" not in str(caught.value)


def test_a_leading_dash_may_follow_the_end_of_options() -> None:
    """After `--` nothing is an option, and the catalog may permit it elsewhere (case 48)."""
    assert words_of(an_entry("cat", "--", "{text}"), {"text": "-n"}) == ("cat", "--", "-n")
    permitted = an_entry("head", "{text}", leading_dash=("text",))
    assert words_of(permitted, {"text": "-5"}) == ("head", "-5")


def test_a_canonical_path_stands_for_what_was_written() -> None:
    """An argument that names a file is given to the command as the path that was decided (case 47)."""
    entry = an_entry("cat", "{text}", "{words}")
    paths = {"/text": "/srv/a", "/words/1": "/srv/b"}
    assert words_of(entry, {"text": "x/../a", "words": ["c", "./b"]}, paths) == (
        "cat",
        "/srv/a",
        "c",
        "/srv/b",
    )


def test_stdin_is_the_text_or_its_json() -> None:
    """A text is read as it is, anything else as canonical JSON, and nothing where it is absent."""
    entry = an_entry("cat", stdin="text")
    assert stdin_of(entry, {"text": "secret\n"}) == b"secret\n"
    assert stdin_of(entry, {"text": {"b": 1.0, "a": [True]}}) == b'{"a":[true],"b":1}'
    assert stdin_of(entry, {}) == b""
    assert stdin_of(an_entry("cat"), {"text": "secret"}) == b""


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "program from an argument": ({"argv": ("{text}",)}, "expected a program"),
    "unknown argument": ({"argv": ("echo", "{texts}")}, "none of the arguments"),
    "part of an element": ({"argv": ("echo", "--text={text}")}, "part of an element"),
    "nul": ({"argv": ("echo", "a\x00")}, "NUL"),
    "shell": ({"argv": ("sh", "-c", "{text}")}, "shell's program"),
    "shell by its path": ({"argv": ("/bin/bash", "-lc", "{text}")}, "shell's program"),
    "shell by another": ({"argv": ("env", "sh", "-ec", "{text}")}, "shell's program"),
    "sensitive in argv": ({"argv": ("echo", "{secret}")}, "sensitive"),
    "files from stdin": ({"argv": ("cat",), "stdin": "more"}, "names files"),
    "unknown stdin": ({"argv": ("cat",), "stdin": "texts"}, "none of the arguments"),
    "unknown leading dash": ({"argv": ("cat",), "leading_dash": ("text",)}, "leading_dash"),
    "unknown root": ({"argv": ("cat",), "roots": ("other",)}, "roots"),
    "everything": ({"argv": ("cat",), "roots": ("all",)}, "whole file system"),
    "writable without root": ({"argv": ("cat",), "writable": ("data",)}, "writable"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_entry_that_cannot_be_run_safely_is_refused(name: str) -> None:
    """A template that would run a shell's string, or show a secret, does not load (cases 48, 63)."""
    command, message = UNUSABLE[name]
    with pytest.raises(CatalogError, match=message):
        a_tool(
            arguments=SCHEMA,
            sensitive=("/secret",),
            roles={"/more/*": "path"},
            command=CommandEntry.model_validate(command),
            roots={"data": "/srv", "all": "/"},
        )


def test_a_root_in_another_form_is_refused() -> None:
    """A root that is no whole path in one form does not load (case 47)."""
    with pytest.raises(CatalogError, match="root `data`"):
        a_tool(roots={"data": "/srv/../etc"})


def test_a_secret_may_be_read_from_stdin() -> None:
    """A sensitive argument that is only in `stdin` is in no command line (case 63)."""
    a_tool(arguments=SCHEMA, sensitive=("/secret",), command=an_entry("cat", stdin="secret"))


def test_a_call_that_can_be_no_command_is_a_violation() -> None:
    """It is denied when it is decided, with its place, so that a model can mend it (case 48)."""
    tool = a_tool(arguments=SCHEMA, command=an_entry("grep", "{text}"))
    [violation] = tool.violations({"text": "--include=secret"})
    assert (violation.path, violation.rule) == ("/text", "command")
    assert "secret" not in violation.message
    assert tool.violations({"text": "include"}) == []
