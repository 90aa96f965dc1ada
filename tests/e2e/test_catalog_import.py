"""`interlock catalog import` with real servers: what is written, kept and told."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import run_interlock

RAW_SERVER = Path(__file__).parents[1] / "mcp_servers" / "raw_server.py"
SETTINGS = """\
environment = "dev"

[gateway]
name = "gateway-1"
tenant = "acme"
credential_file = "gateway.credential"
jwks_url = "http://127.0.0.1:1/.well-known/jwks.json"
catalog = ["catalog/notes.yaml"]
mcp_servers = "mcp.json"

[gateway.servers.notes]
command = {python}
args = [{server}, "journal", "notes.json"]
"""
READ = {"name": "read", "description": "Read a note.", "inputSchema": {"type": "object"}}
SEND = {"name": "send", "inputSchema": {"type": "object"}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a server of the settings and one of a client's file."""
    (tmp_path / "interlock.toml").write_text(
        SETTINGS.format(python=json.dumps(sys.executable), server=json.dumps(str(RAW_SERVER)))
    )
    moved = {"command": sys.executable, "args": [str(RAW_SERVER), "journal", "mail.json"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"My Mail": moved}}))
    lists(tmp_path, "notes", READ)
    lists(tmp_path, "mail", SEND)
    return tmp_path


def lists(place: Path, server: str, *tools: dict[str, Any]) -> None:
    (place / f"{server}.json").write_text(json.dumps({"tools": tools}))


def imported(place: Path, *arguments: str) -> list[str]:
    """The lines that an import printed."""
    done = run_interlock("catalog", "import", *arguments, folder=place)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def tools(place: Path, file: str) -> list[dict[str, Any]]:
    stated: list[dict[str, Any]] = yaml.safe_load((place / file).read_text())["tools"]
    return stated


def test_all_servers_are_imported_into_a_folder(place: Path) -> None:
    """Each server of the settings and of a client's file gets a catalog file of its name."""
    assert imported(place, "--all", "--output", "catalog") == [
        "1 tools of `notes` are in catalog/notes.yaml; check the effects of each",
        "1 tools of `my-mail` are in catalog/my-mail.yaml; check the effects of each",
    ]
    assert [tool["name"] for tool in tools(place, "catalog/notes.yaml")] == ["read"]
    assert [tool["name"] for tool in tools(place, "catalog/my-mail.yaml")] == ["send"]


def test_names_that_clash_are_prefixed_and_told(place: Path) -> None:
    """Two servers with a tool of one name both get theirs prefixed; nobody's call can land at the other (case 55)."""
    lists(place, "mail", READ, SEND)
    printed = imported(place, "--all", "--output", "catalog")
    assert "  named: read is notes__read" in printed
    assert "  named: read is my-mail__read" in printed
    names = {tool["name"]: tool.get("listed_name") for tool in tools(place, "catalog/my-mail.yaml")}
    assert names == {"my-mail__read": "read", "send": None}


def test_one_server_is_named_beside_the_catalog_that_is_there(place: Path) -> None:
    """A tool whose name another file of the settings has gets its server's as prefix; the other keeps its own."""
    lists(place, "mail", READ)
    imported(place, "notes", "--output", "catalog/notes.yaml")
    imported(place, "my-mail", "--output", "catalog/my-mail.yaml")
    assert [tool["name"] for tool in tools(place, "catalog/notes.yaml")] == ["read"]
    assert [tool["name"] for tool in tools(place, "catalog/my-mail.yaml")] == ["my-mail__read"]


def test_an_import_anew_keeps_edits_and_tells_changes(place: Path) -> None:
    """`--replace` keeps what a person wrote, and says which tools came, went and changed (case 60)."""
    lists(place, "notes", READ, SEND)
    imported(place, "notes", "--output", "catalog/notes.yaml")
    path = place / "catalog" / "notes.yaml"
    edited = yaml.safe_load(path.read_text())
    edited["tools"][0]["effects"] = ["read"]
    path.write_text(json.dumps(edited))
    lists(place, "notes", READ | {"description": "Read a note, and all keys."}, READ | {"name": "list"})
    printed = imported(place, "notes", "--output", "catalog/notes.yaml", "--replace")
    assert printed[1:] == ["  added: list", "  removed: send", "  changed: read (description)"]
    assert [(tool["name"], tool["effects"]) for tool in tools(place, "catalog/notes.yaml")] == [
        ("list", ["write", "delete"]),
        ("read", ["read"]),
    ]
    assert imported(place, "notes", "--output", "catalog/notes.yaml", "--replace")[1:] == [
        "  nothing changed at the server"
    ]


def test_a_file_that_is_there_is_not_replaced_unasked(place: Path) -> None:
    """Without `--replace`, what is there stays as it is."""
    imported(place, "--all", "--output", "catalog")
    done = run_interlock("catalog", "import", "--all", "--output", "catalog", folder=place)
    assert done.returncode != 0
    assert "`catalog/notes.yaml` is there already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "x"], "expected the name of one server, or --all"),
        (["notes", "--all", "--output", "x"], "expected the name of one server, or --all"),
        (["elsewhere", "--output", "x"], "there is no server `elsewhere`"),
    ],
    ids=["none", "both", "unknown"],
)
def test_what_is_to_be_imported_must_be_said(place: Path, arguments: list[str], said: str) -> None:
    """An import without one server or all of them says what it expects."""
    done = run_interlock("catalog", "import", *arguments, folder=place)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())


def test_a_server_in_both_places_is_refused(place: Path) -> None:
    """A name that the settings and the client's file both have is nobody's until a person has chosen."""
    moved = {"command": sys.executable}
    (place / "mcp.json").write_text(json.dumps({"mcpServers": {"Notes": moved}}))
    done = run_interlock("catalog", "import", "--all", "--output", "catalog", folder=place)
    assert done.returncode != 0
    assert f"server `notes` is in `[gateway.servers]` and in `{place}/mcp.json`" in done.stderr
