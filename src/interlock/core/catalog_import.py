"""From a server's `tools/list` (Model Context Protocol) to a catalog file: what it claims, read with caution.

The claims are the server's own: a person reads the file before it is used.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote

from pydantic import ValidationError

from interlock.core import json_pointer
from interlock.core.canonical import UnencodableError
from interlock.core.catalog import CatalogError, CatalogFile, Effect, ToolEntry
from interlock.core.tool_listing import listed_digest

MAX_PLACES = 10_000
MAX_NAME = 128

_SAME_PLACE = ("allOf", "anyOf", "oneOf")
_SAME_PLACE_ONE = ("if", "then", "else")
_EVERY_MEMBER = ("items", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")

Path = tuple[str | int, ...]


def import_tools(
    listed: Sequence[Mapping[str, Any]],
    *,
    gateway: str,
    server: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> CatalogFile:
    """The catalog file of these tools, sorted by name; `names` has those that it gets where they are not its own.

    Raises CatalogError: a tool without a name or a schema, with a name that no catalog can hold, or twice.
    """
    for first, second in pairwise(sorted(str(tool.get("name")) for tool in listed)):
        if first == second:
            raise CatalogError(f"the server lists tool `{first[:MAX_NAME]}` twice")
    entries = (import_tool(tool, name=names.get(str(tool.get("name")), "")) for tool in listed)
    tools = tuple(sorted(entries, key=lambda entry: entry.name))
    try:
        return CatalogFile(gateway=gateway, server=server, tools=tools)
    except ValidationError as error:
        raise CatalogError(f"gateway `{gateway}` or server `{server}`: expected [a-z0-9-]{{1,64}}") from error


def import_tool(listed: Mapping[str, Any], *, name: str = "") -> ToolEntry:
    """One tool, pinned to what is listed of it; `name` is what the catalog calls it, if that is not its own.

    Raises CatalogError.
    """
    own = str(listed.get("name", ""))[:MAX_NAME]
    schema = listed.get("inputSchema")
    if not isinstance(schema, dict):
        raise CatalogError(f"tool `{own}` has no `inputSchema`")
    try:
        return ToolEntry(
            name=name or listed.get("name", ""),
            description=listed.get("description") or "",
            arguments=schema,
            effects=effects_of(_members(listed.get("annotations"))),
            sensitive=tuple(sensitive_pointers(schema)),
            listed_name=own if name not in ("", own) else "",
            listed_digest=listed_digest(listed),
        )
    except (CatalogError, UnencodableError) as error:
        raise CatalogError(f"tool `{own}`: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        raise CatalogError(f"tool `{own}`: `{problem['loc'][0]}`: {problem['msg'].lower()}") from error


def names_of(
    listed: Mapping[str, Collection[str]],
    *,
    taken: Collection[str] = (),
    kept: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> dict[str, dict[str, str]]:
    """For each server the catalog's names of the tools that it lists, by the names that it lists them with.

    A name stays as it is, unless it is `taken` or two servers list it, in any case of letters: then it becomes
    `SERVER__NAME`, for each of them. `kept` are names that a catalog has already; they stay.
    """
    kept_by_all = {name.casefold() for names in kept.values() for name in names.values()}
    new = {
        server: [name for name in names if name not in kept.get(server, {})]
        for server, names in listed.items()
    }
    counted = Counter(name for names in new.values() for name in {each.casefold() for each in names})
    clashing = {name for name, count in counted.items() if count > 1} | kept_by_all
    clashing |= {name.casefold() for name in taken}

    def named(server: str, name: str) -> str:
        own = kept.get(server, {}).get(name)
        return own or (f"{server}__{name}" if name.casefold() in clashing else name)

    return {server: {name: named(server, name) for name in names} for server, names in listed.items()}


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

    Where a schema refers to itself, or to where we cannot follow, all that is there is sensitive if the schema
    speaks of secrets anywhere. Raises CatalogError: more than MAX_PLACES places to look at.
    """
    secretive = _holds_secret(schema)
    found: set[str] = set()
    seen: set[tuple[int, Path]] = set()
    waiting = [_Place(schema, (), frozenset())]
    while waiting and secretive:
        place = waiting.pop()
        if not isinstance(place.schema, dict) or (id(place.schema), place.path) in seen:
            continue
        seen.add((id(place.schema), place.path))
        if len(seen) > MAX_PLACES:
            raise CatalogError(f"its schema describes more than {MAX_PLACES} places")
        target, lost = _follow(place, schema)
        if lost or _is_secret(place.schema):
            found.add(_pointer(place.path))
        else:
            waiting.extend([*target, *_at_same_path(place), *_below(place)])
    return sorted(found)


class _Place(NamedTuple):
    """A subschema, the path of what it describes, and the `$ref`s that led here."""

    schema: Any
    path: Path
    followed: frozenset[str]

    def to(self, schema: Any, *tokens: str | int) -> "_Place":
        return self._replace(schema=schema, path=(*self.path, *tokens))


def _follow(place: _Place, document: Mapping[str, Any]) -> tuple[list[_Place], bool]:
    """Where the place refers to, and whether that cannot be followed or was before."""
    reference = place.schema.get("$ref")
    if reference is None:
        return [], "$dynamicRef" in place.schema
    target = _resolve(reference, document)
    if target is None or reference in place.followed:
        return [], True
    return [place._replace(schema=target, followed=place.followed | {reference})], False


def _resolve(reference: Any, document: Mapping[str, Any]) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target: Any = document
    try:
        for token in json_pointer.to_path(unquote(reference[1:])):
            target = target[int(token)] if isinstance(target, list) else target[token]
    except (ValueError, LookupError, TypeError):
        return None
    return target


def _at_same_path(place: _Place) -> Iterator[_Place]:
    for keyword in _SAME_PLACE:
        yield from (place.to(each) for each in _list(place.schema.get(keyword)))
    for keyword in _SAME_PLACE_ONE:
        yield place.to(place.schema.get(keyword))
    yield from (place.to(each) for each in _members(place.schema.get("dependentSchemas")).values())


def _below(place: _Place) -> Iterator[_Place]:
    schema = place.schema
    yield from (place.to(each, name) for name, each in _members(schema.get("properties")).items())
    yield from (place.to(each, "*") for each in _members(schema.get("patternProperties")).values())
    yield from (place.to(schema.get(keyword), "*") for keyword in _EVERY_MEMBER)
    # Draft 2019-09 and older have a list in `items`.
    for keyword in ("prefixItems", "items"):
        yield from (place.to(each, index) for index, each in enumerate(_list(schema.get(keyword))))


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
