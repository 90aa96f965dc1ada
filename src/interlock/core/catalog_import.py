"""From a server's `tools/list` (Model Context Protocol) to a catalog file: what it claims, read with caution.

The claims are the server's own: a person reads the file before it is used.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from interlock.core import json_pointer
from interlock.core.catalog import CatalogError, CatalogFile, Effect, ToolEntry

_SAME_PLACE = ("allOf", "anyOf", "oneOf")
_SAME_PLACE_ONE = ("if", "then", "else")
_EVERY_MEMBER = ("items", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")

Path = tuple[str | int, ...]


def import_tools(listed: Sequence[Mapping[str, Any]], *, gateway: str, server: str) -> CatalogFile:
    """The catalog file of these tools, sorted by name.

    Raises CatalogError: a tool without a name or a schema, with a name that no catalog can hold, or twice.
    """
    entries = sorted((import_tool(tool) for tool in listed), key=lambda entry: entry.name)
    for first, second in zip(entries, entries[1:], strict=False):
        if first.name == second.name:
            raise CatalogError(f"the server lists tool `{first.name}` twice")
    try:
        return CatalogFile(gateway=gateway, server=server, tools=tuple(entries))
    except ValidationError as error:
        raise CatalogError(f"gateway `{gateway}` or server `{server}`: expected [a-z0-9-]{{1,64}}") from error


def import_tool(listed: Mapping[str, Any]) -> ToolEntry:
    """One tool. Raises CatalogError."""
    name = str(listed.get("name", ""))[:128]
    schema = listed.get("inputSchema")
    if not isinstance(schema, dict):
        raise CatalogError(f"tool `{name}` has no `inputSchema`")
    try:
        return ToolEntry(
            name=listed.get("name", ""),
            description=listed.get("description") or "",
            arguments=schema,
            effects=effects_of(listed.get("annotations") or {}),
            sensitive=tuple(sensitive_pointers(schema)),
        )
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        raise CatalogError(f"tool `{name}`: `{problem['loc'][0]}`: {problem['msg'].lower()}") from error


def effects_of(annotations: Mapping[str, Any]) -> tuple[Effect, ...]:
    """The effects that the hints leave possible: without a word of the server, a tool writes and deletes.

    `openWorldHint` and `idempotentHint` prove nothing about effects.
    """
    if annotations.get("readOnlyHint") is True:
        return (Effect.READ,)
    if annotations.get("destructiveHint") is False:
        return (Effect.WRITE,)
    return (Effect.WRITE, Effect.DELETE)


def sensitive_pointers(schema: Mapping[str, Any]) -> list[str]:
    """Pointers to what the schema calls `writeOnly` or `format: password`, wherever it can stand.

    A schema that refers to itself can hold a secret at any depth: all from the second turn on is sensitive.
    """
    found = {_pointer(path) for path in _sensitive(_Place(schema, (), schema, frozenset()))}
    return sorted(found)


class _Place(NamedTuple):
    """A subschema, the path of what it describes, the whole document, and the `$ref`s that led here."""

    schema: Any
    path: Path
    document: Mapping[str, Any]
    followed: frozenset[str]

    def to(self, schema: Any, *tokens: str | int) -> "_Place":
        return self._replace(schema=schema, path=(*self.path, *tokens))


def _sensitive(place: _Place) -> Iterator[Path]:
    if not isinstance(place.schema, dict):
        return
    if _is_secret(place.schema):
        yield place.path
        return
    for inner in [*_at_same_path(place), *_below(place)]:
        yield from _sensitive(inner)
    if isinstance(reference := place.schema.get("$ref"), str):
        yield from _behind(reference, place)


def _at_same_path(place: _Place) -> Iterator[_Place]:
    schema = place.schema
    for keyword in _SAME_PLACE:
        yield from (place.to(each) for each in _list(schema.get(keyword)))
    for keyword in _SAME_PLACE_ONE:
        yield place.to(schema.get(keyword))
    yield from (place.to(each) for each in _members(schema.get("dependentSchemas")).values())


def _below(place: _Place) -> Iterator[_Place]:
    schema = place.schema
    yield from (place.to(each, name) for name, each in _members(schema.get("properties")).items())
    yield from (place.to(each, "*") for each in _members(schema.get("patternProperties")).values())
    yield from (place.to(schema.get(keyword), "*") for keyword in _EVERY_MEMBER)
    # Draft 2019-09 and older have a list in `items`.
    for keyword in ("prefixItems", "items"):
        yield from (place.to(each, index) for index, each in enumerate(_list(schema.get(keyword))))


def _behind(reference: str, place: _Place) -> Iterator[Path]:
    if reference in place.followed:
        if _holds_secret(place.document):
            yield place.path
        return
    target = _resolve(reference, place.document)
    yield from _sensitive(place._replace(schema=target, followed=place.followed | {reference}))


def _resolve(reference: str, document: Mapping[str, Any]) -> Any:
    """What a reference within the document leads to, None for any other: the catalog refuses those."""
    if not reference.startswith("#"):
        return None
    target: Any = document
    try:
        for token in json_pointer.to_path(reference[1:]):
            target = target[int(token)] if isinstance(target, list) else target[token]
    except (ValueError, LookupError, TypeError):
        return None
    return target


def _is_secret(schema: Mapping[str, Any]) -> bool:
    return schema.get("writeOnly") is True or schema.get("format") == "password"


def _holds_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_secret(value) or any(map(_holds_secret, value.values()))
    return isinstance(value, list) and any(map(_holds_secret, value))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pointer(path: Path) -> str:
    """`/*`, every argument, where the whole is meant: a catalog has no pointer to that."""
    pointer = json_pointer.from_path(path)
    return "/*" if pointer in ("", "/") else pointer
