"""Catalog files: what is written is read back, and nothing is read in two ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.adapters.catalog_files import (
    MAX_FILE_BYTES,
    load_catalog,
    read_catalog_file,
    write_catalog_file,
)
from interlock.core.catalog import CatalogError, CatalogFile, Effect, ToolEntry
from interlock.core.catalog_import import import_tools
from interlock.core.strict_json import MAX_INTEGER

DATA = Path(__file__).parents[1] / "data" / "mcp"

GOOD = """\
gateway: gateway-1
server: files
tools:
  - name: files/read
    description: reads
    arguments: {type: object, properties: {path: {type: string, default: no}}}
    effects: [read]
    sensitive: [/path]
    cost: 5
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.yaml"


def test_a_file_is_read_as_it_says(path: Path) -> None:
    """A catalog file's YAML means what the same JSON means; a word of old YAML such as `no` is a string."""
    path.write_text(GOOD)
    assert read_catalog_file(path) == CatalogFile(
        gateway="gateway-1",
        server="files",
        tools=(
            ToolEntry(
                name="files/read",
                description="reads",
                arguments={"type": "object", "properties": {"path": {"type": "string", "default": "no"}}},
                effects=(Effect.READ,),
                sensitive=("/path",),
                cost=5,
            ),
        ),
    )
    assert load_catalog([path]).tools.keys() == {"files/read"}


@pytest.mark.parametrize("server", sorted(file.stem for file in DATA.glob("*.json")))
def test_real_catalogs_come_back_as_they_were(server: str, path: Path) -> None:
    """An imported catalog is read back from its file with the same digests, and written again with the same bytes."""
    listed = json.loads((DATA / f"{server}.json").read_text())["tools"]
    file = import_tools(listed, gateway="gateway-1", server=server)
    write_catalog_file(file, path)
    written = path.read_bytes()
    assert read_catalog_file(path) == file
    write_catalog_file(read_catalog_file(path), path)
    assert path.read_bytes() == written
    assert list(path.parent.iterdir()) == [path]


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(
        ["no", "null", "~", "1e5", "1:30", "0x1F", "2026-03-01", "<<", "=", "a\nb ", " a\n", "\ufeff"]
    )
)
schemas = st.dictionaries(
    st.text(st.characters(codec="utf-8")),
    st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
        max_leaves=8,
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(description=st.text(st.characters(codec="utf-8"), max_size=200), arguments=schemas)
def test_whatever_is_written_comes_back(path: Path, description: str, arguments: dict[str, Any]) -> None:
    """Every text, number and key survives the file, whatever YAML would like to make of it."""
    entry = ToolEntry(name="tool", description=description, arguments=arguments, effects=(Effect.WRITE,))
    file = CatalogFile(gateway="gateway-1", server="server-1", tools=(entry,))
    write_catalog_file(file, path)
    assert read_catalog_file(path) == file


@given(description=st.text(st.characters(codec="utf-8"), max_size=50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_other_yaml_readers_understand_the_same(path: Path, description: str) -> None:
    """What we write, an ordinary YAML reader takes for the same."""
    entry = ToolEntry(name="tool", description=description, arguments={}, effects=(Effect.WRITE,))
    write_catalog_file(CatalogFile(gateway="gateway-1", server="server-1", tools=(entry,)), path)
    read = yaml.safe_load(path.read_bytes())
    assert read["tools"][0].get("description", "") == description


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("gateway: gateway-1", "gateway: gateway-1\ngateway: other"), "the key `gateway` twice in line 2"),
        (("default: no", "default: no, default: yes"), "the key `default` twice in line 6"),
        (("cost: 5", "cost: 5\n    costs: 5"), "tool `files/read`: `costs`: extra inputs"),
        (("cost: 5", "cost: '5'"), "tool `files/read`: `cost`: input should be a valid integer"),
        (("cost: 5", "cost: -1"), "tool `files/read`: `cost`"),
        (("effects: [read]", "effects: [look]"), "tool `files/read`: `effects.0`: input should be 'read'"),
        (("effects: [read]", "effects: []"), "tool `files/read`: `effects`"),
        (("    effects: [read]\n", ""), "tool `files/read`: `effects`: field required"),
        (("name: files/read", "name: files read"), "tool `files read`: `name`"),
        (("server: files", "server: My Files"), "`server`: string should match"),
        (("server: files", "server: &anchor files\nother: *anchor"), "an alias"),
        (("description: reads", "description: 2026-03-01"), None),
        (("cost: 5", "cost: !!timestamp 2026-03-01"), "is not the YAML of a catalog: could not determine"),
        (("cost: 5", "cost: !!python/object/apply:os.getpid []"), "is not the YAML of a catalog"),
        (("cost: 5", "5: cost"), "a key that is no string in line 9"),
        (("cost: 5", "cost: 9007199254740993"), "an integer is outside"),
        (("cost: 5", "cost: [5"), "is not the YAML of a catalog"),
        (("type: string,", "type: 7,"), "tool `files/read`: schema cannot be used"),
        (("type: string,", "$ref: 'http://127.0.0.1/x',"), "tool `files/read`: schema cannot be used"),
    ],
    ids=lambda change: str(change[1])[:40] if isinstance(change, tuple) else "",
)
def test_a_file_that_says_something_else_is_refused(
    path: Path, change: tuple[str, str], problem: str | None
) -> None:
    """What is not exactly a catalog is refused with the file, the tool and the place named (cases 27, 45b)."""
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    if problem is None:
        assert load_catalog([path])
        return
    with pytest.raises(CatalogError) as caught:
        load_catalog([path])
    assert f"`{path}`" in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"--- {}\n--- {}", b"\xff\xfe\x00", b"[" * 100_000, b"a: b: c", b"\x00"],
    ids=["empty", "list", "two", "not-utf-8", "deep", "bad", "nul"],
)
def test_what_is_no_catalog_at_all_is_refused(path: Path, content: bytes) -> None:
    """Any other bytes are a catalog error with the file's name, and nothing else."""
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"catalog\.yaml`"):
        read_catalog_file(path)


def test_a_file_that_is_too_large_or_not_there_is_refused(path: Path) -> None:
    """The size is bounded before anything is parsed, and a missing file is named."""
    with pytest.raises(CatalogError, match="cannot be read: No such file"):
        load_catalog([path])
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(CatalogError, match=f"expected at most {MAX_FILE_BYTES}"):
        load_catalog([path])


def test_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    """Tools of two files share one space of names, also where they differ in case (case 55)."""
    paths = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    paths[0].write_text(GOOD)
    paths[1].write_text(GOOD.replace("files/read", "Files/Read"))
    with pytest.raises(CatalogError, match="tools `files/read` and `Files/Read` have the same name"):
        load_catalog(paths)
