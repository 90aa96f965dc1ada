"""Catalog files: YAML, read strictly, written in one way."""

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from interlock.core.canonical import UnencodableError, canonicalize, parse_canonical
from interlock.core.catalog import Catalog, CatalogError, CatalogFile, build_catalog

MAX_FILE_BYTES = 4 * 2**20

_HEADER = """\
# Tools of one MCP server, as the server itself describes them. Read the effects and the sensitive arguments
# before you use them: they are guesses from what the server claims.
"""

# The plain scalars that are not strings, as in JSON (YAML 1.2 10.2): `no`, `1:30` and `2026-03-01` are strings.
_PLAIN = (
    ("tag:yaml.org,2002:null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), ["t", "f"]),
    ("tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]*)\Z"), list("-0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z"),
        list("-0123456789"),
    ),
)
# Line breaks of YAML 1.1 only, which a reader folds into others.
_ANOTHER_BREAK = re.compile("[\r\x85\u2028\u2029]")
_TYPES = ("null", "bool", "int", "float", "str", "seq", "map")


def load_catalog(paths: Sequence[Path]) -> Catalog:
    """The catalog of these files. Raises CatalogError, which names the file and the tool."""
    files = [read_catalog_file(path) for path in paths]
    try:
        return build_catalog(files)
    except CatalogError:
        for path, file in zip(paths, files, strict=True):
            _check_alone(path, file)
        raise


def read_catalog_file(path: Path) -> CatalogFile:
    """One catalog file. Raises CatalogError, which names the file and the tool."""
    data = _parse(path)
    try:
        return CatalogFile.model_validate_json(canonicalize(data))
    except UnencodableError as error:
        raise CatalogError(f"`{path}`: {error}") from error
    except ValidationError as error:
        raise CatalogError(f"`{path}`: {_problem(error, data)}") from error


def write_catalog_file(file: CatalogFile, path: Path) -> None:
    """Write the file, in place of the one that is there. Equal catalog files give equal bytes.

    Raises CatalogError for a schema with numbers that have no canonical form.
    """
    stated = file.model_dump(mode="json", exclude_defaults=True)
    for tool in stated["tools"]:
        tool["arguments"] = _ordered(tool["name"], tool["arguments"])
    text = _HEADER + yaml.dump(stated, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _ordered(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    try:
        return parse_canonical(canonicalize(schema))
    except UnencodableError as error:
        raise CatalogError(f"tool `{name}`: {error}") from error


def _check_alone(path: Path, file: CatalogFile) -> None:
    try:
        build_catalog([file])
    except CatalogError as error:
        raise CatalogError(f"`{path}`: {error}") from error


def _parse(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CatalogError(f"`{path}` cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise CatalogError(f"`{path}` has {len(data)} bytes, expected at most {MAX_FILE_BYTES}")
    try:
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - a safe loader, made stricter
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CatalogError(f"`{path}` is not the YAML of a catalog: {_yaml_problem(error)}") from error


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or type(error).__name__}{where}"


def _problem(error: ValidationError, data: Any) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    place = list(found["loc"])
    tool = ""
    match place:
        case ["tools", int(index), *rest]:
            name = data["tools"][index].get("name") if isinstance(data["tools"][index], dict) else None
            tool, place = f"tool `{name or index}`: ", rest
    field = f"`{'.'.join(map(str, place))}`: " if place else ""
    return f"{tool}{field}{found['msg'].lower()}"


class _Loader(yaml.SafeLoader):
    """YAML of JSON's types: no duplicate key, no alias, no date, no tag of another type."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in the base
    yaml_constructors = {  # noqa: RUF012 - as in the base
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in [*(f"tag:yaml.org,2002:{name}" for name in _TYPES), None]
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "an alias, expected the value itself", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "a key that is no string", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key.value[:64]}` twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what either reading of YAML would take for something else than a string."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if _ANOTHER_BREAK.search(text):
        style = '"'
    elif "\n" in text:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _tag, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
