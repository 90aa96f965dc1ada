"""The documents against the program: what they name is there, and what is generated is current."""

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from google.rpc import code_pb2
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from interlock.cli.main import application
from interlock.compose import gateway_settings, settings, settings_parts, webhook_settings
from interlock.compose.settings import load_settings
from interlock.core.errors import ErrorReason
from interlock.rpc.status import CODES

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SECTIONS: dict[str, type[BaseModel]] = {
    "The top of the file": settings.Settings,
    "`[service]`": settings.ServiceSettings,
    "`[service.tls]`": settings_parts.Tls,
    "`[service.policy]`": settings.PolicySettings,
    "`[[service.webhooks]]`": webhook_settings.WebhookSettings,
    "`[gateway]`": gateway_settings.GatewaySettings,
    "`[gateway.tls]`": settings_parts.Tls,
    "`[gateway.servers.NAME]`": gateway_settings.McpServerSettings,
    "`[gateway.http.NAME]`": gateway_settings.HttpServerSettings,
    "`[gateway.commands.NAME]`": gateway_settings.CommandServerSettings,
    "`[gateway.mcp]`": gateway_settings.McpFrontSettings,
    "`[gateway.forward]`": gateway_settings.HttpForwardSettings,
}
TABLES = {"service", "gateway"}
"""Fields of the top that have a section instead of a row."""

_ROW = re.compile(r"^\| `(?P<name>[A-Za-z_]+)` \| (?P<second>[^|]+) \| (?P<third>[^|]+) \|", re.MULTILINE)
_TOML = re.compile(r"```toml\n(?P<text>.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#(?P<anchor>[^)\s]+))?\)|\]\(#(?P<own>[^)\s]+)\)")
_FENCE = re.compile(r"```.*?```", re.DOTALL)
_COMMAND = re.compile(
    r"(?:`|^(?:\$ )?(?:\.venv/bin/)?|&& (?:\.venv/bin/)?)interlock ([^`\n&|>#]+)", re.MULTILINE
)
_PATH = re.compile(r"`(\w(?:[\w.-]*/)+[\w.-]*)`")
_TARGET = re.compile(r"`make ([a-z]+)`|^make ([a-z]+)$", re.MULTILINE)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Text of each section, by its heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def default(field: FieldInfo) -> str:
    """A field's default as the tables write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case None | "":
            return "none"
        case tuple():
            return f"`{list(value)}`"
    return f"`{value}`"


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_setting_is_told_with_its_default(heading: str) -> None:
    """docs/settings.md names exactly the settings that there are, each with its default."""
    rows = _ROW.finditer(sections(page("docs/settings.md"))[heading])
    told = {row["name"]: row["third"].strip() for row in rows}
    fields = SECTIONS[heading].model_fields.items()
    assert told == {name: default(field) for name, field in fields if name not in TABLES}


def test_no_model_of_settings_is_left_out() -> None:
    """Each part of the settings has a section of its own."""
    parts = {
        value
        for module in (settings, gateway_settings, settings_parts, webhook_settings)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    }
    assert {part for part in parts if part.model_fields} == set(SECTIONS.values())


def test_the_variables_that_are_no_settings_are_told() -> None:
    """Every INTERLOCK_ variable that is taken and is no setting is listed, and no other."""
    rows = _ROW.finditer(sections(page("docs/settings.md"))["Environment variables that are no settings"])
    assert {row["name"].removeprefix(settings.PREFIX) for row in rows} == settings._NOT_SETTINGS


def test_the_complete_file_is_one(tmp_path: Path) -> None:
    """The complete file of docs/settings.md is taken as it stands."""
    file = tmp_path / "interlock.toml"
    file.write_text(complete_file())
    loaded = load_settings(file)
    assert loaded.service
    assert loaded.gateway


def test_the_complete_file_holds_every_setting() -> None:
    """The complete file sets every setting, or shows it as the alternative to another."""
    stated = set(leaves(tomllib.loads(complete_file()))) | set(
        re.findall(r"^#(?: or:)? +(\w+) = ", complete_file(), re.MULTILINE)
    )
    assert stated >= {name for model in SECTIONS.values() for name in model.model_fields}


def complete_file() -> str:
    [found] = _TOML.findall(sections(page("docs/settings.md"))["A complete file"])
    return str(found)


def leaves(table: dict[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield name
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from leaves(each)


# --- errors ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    """The script that writes docs/errors.md."""
    return runpy.run_path(str(ROOT / "tools" / "generate_error_docs.py"))


def test_the_page_of_errors_is_current(generator: dict[str, Any]) -> None:
    """docs/errors.md is what `tools/generate_error_docs.py` writes."""
    assert page("docs/errors.md") == generator["render"](page(str(generator["PROTO"])))


def test_each_error_is_told_with_the_status_that_it_has(generator: dict[str, Any]) -> None:
    """Every reason is told, with the very status code that callers get."""
    reasons = generator["read_reasons"](page(str(generator["PROTO"])))
    told = {reason.name: reason.status for reason in reasons}
    assert told == {reason.value: code_pb2.Code.Name(CODES[reason]) for reason in ErrorReason}


def test_a_reason_without_a_status_is_refused(generator: dict[str, Any]) -> None:
    """A comment that lacks status or example stops the generator, rather than leaving a gap in the page."""
    with pytest.raises(ValueError, match="the comment of `NEW` lacks"):
        list(generator["read_reasons"]("  // Something.\n  ERROR_REASON_NEW = 33;\n"))


# --- what pages name -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every link to a file, or to a heading of one, finds it."""
    for link in _LINK.finditer(_FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in (link["target"] or ""):
            continue
        target = (path.parent / link["target"]).resolve() if link["target"] else path
        assert target.exists(), f"{link[0]} in {path.name}"
        if anchor := link["anchor"] or link["own"]:
            assert anchor in anchors(target), f"{link[0]} in {path.name}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_are_there(path: Path) -> None:
    """Every path of the project in a page is one, from the root or below src/interlock; TOPIC is any name."""
    roots = (ROOT, ROOT / "src" / "interlock")
    for name in _PATH.findall(_FENCE.sub("", path.read_text(encoding="utf-8"))):
        begins = [root for root in roots if (root / name.split("/")[0]).is_dir()]
        assert not begins or any(
            found for root in begins for found in root.glob(name.replace("TOPIC", "*"))
        ), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_are_named_are_there(path: Path) -> None:
    """Every `interlock` command in a page is a verb, with options that it has."""
    for text in _COMMAND.findall(path.read_text(encoding="utf-8").replace("\\\n", " ")):
        words = shlex.split(text)
        options = {word for word in words if word.startswith("-")}
        assert options <= options_of(words), f"interlock {text}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_are_there(path: Path) -> None:
    """Every `make` target in a page is one of the Makefile."""
    named = {name for found in _TARGET.findall(path.read_text(encoding="utf-8")) for name in found if name}
    assert named <= set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options_of(words: list[str]) -> set[str]:
    """The options of the verb that the words begin with."""
    command = typer.main.get_command(application)
    for word in words:
        if not (verbs := getattr(command, "commands", {})):
            break  # what follows is an argument of the verb
        assert word in verbs, f"interlock {' '.join(words)}"
        command = verbs[word]
    return {"--help", "-", *(name for option in command.params for name in option.opts)}
