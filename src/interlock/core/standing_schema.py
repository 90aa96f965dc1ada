"""The JSON Schemas in which a standing approval can be given: those that bind every argument they let in.

They are of a small part of draft 2020-12 in which that can be told for certain: no references, no combinations, nothing
unnamed. Whether a schema is narrow enough is a rule of ours; a policy may ask for more.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from interlock.core import json_pointer
from interlock.core.canonical import canonicalize
from interlock.core.json_pointer import EVERY

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MOST_DEEP = 8
"""Schemas within one another."""

MOST_ELEMENTS = 1_000
"""`maxItems` of an array, and `maxLength` of a string."""

WIDEST = 1_000_000_000
"""From the least to the greatest number that a range lets in."""

_WORDS = frozenset({"$comment", "$schema", "title", "description"})
_OF_TYPE: Mapping[str, frozenset[str]] = {
    "boolean": frozenset(),
    "null": frozenset(),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "string": frozenset({"pattern", "minLength", "maxLength"}),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
}
_CONST_ONLY = "is of a sensitive argument, which only a `const` of what is seen of it binds"

# What nobody means: a pattern that lets one of them in lets in nearly anything.
_ODD = ("\u2602 0/..\\;<%q'%>", "\u2602;<%q'%>", "\u2602Zq0")
# Names, numbers, places and people: a pattern that lets one of them in does not say which is meant.
_ANY = ("zq9x0", "90417", "ZQX", "Zq", "/zq/x", "zq.zq", "zq@zq.example", "https://zq.example/zq")

# What stands between `^` and `$` as far as anchors go: escapes and classes are jumped over.
_PART = re.compile(r"\\.|\[[^\]\\]*+(?:\\.[^\]\\]*+)*+\]|.", re.DOTALL)
_REPEATS = frozenset({"*", "?", "{"})
"""What would let `^` be left out."""


class LooseSchemaError(ValueError):
    """A schema that does not bind what it lets in. `pointer` leads to where in the schema; values are never told."""

    def __init__(self, pointer: str, why: str) -> None:
        super().__init__(why)
        self.pointer = pointer
        self.why = why


@functools.lru_cache(maxsize=1_024)
def compiled(schema_json: bytes) -> jsonschema_rs.Draft202012Validator:
    """A validator of a schema in canonical form, that stays in the schema (case 45b) without backtracking (case 14).

    Raises LooseSchemaError for what is no JSON Schema.
    """
    try:
        return jsonschema_rs.Draft202012Validator(
            schema_json.decode(),
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
    except jsonschema_rs.ValidationError as error:
        where = json_pointer.from_path(error.instance_path)
    except (jsonschema_rs.ReferencingError, ValueError):
        where = ""
    # Outside the handler, so that no cause is chained: its text may hold a value.
    raise LooseSchemaError(where, "is no JSON Schema of draft 2020-12")


@dataclass(frozen=True, slots=True)
class _Place:
    """A schema within the schema: where it is, and what is left of each path to a sensitive argument from here.

    Nothing is left of a path that leads here, or to what this is in.
    """

    pointer: str
    sensitive: tuple[tuple[str, ...], ...]
    deep: int = 0

    def into(self, pointer: str, token: str) -> "_Place":
        """The schema of a member, or with EVERY of each element."""
        left = [
            path[1:] for path in self.sensitive if not path or EVERY in (path[0], token) or path[0] == token
        ]
        return _Place(f"{self.pointer}{pointer}", tuple(left), self.deep + 1)

    @property
    def is_sensitive(self) -> bool:
        """Whether all that the argument is is sensitive."""
        return () in self.sensitive

    def refusal(self, why: str, keyword: str = "") -> LooseSchemaError:
        """Error for what is here, or under this keyword."""
        return LooseSchemaError(json_pointer.append(self.pointer, keyword) if keyword else self.pointer, why)


def check_schema(schema: Mapping[str, Any], sensitive: Iterable[str]) -> None:
    """That the schema of a call's arguments binds all that it lets in, and at least one of it by its value.

    It is one that `compiled` takes. `sensitive` are JSON Pointers to arguments that are seen concealed only. Raises
    LooseSchemaError.
    """
    place = _Place("", tuple(tuple(json_pointer.to_path(pointer)) for pointer in sensitive))
    if schema.get("type") != "object" or not schema.get("required"):
        raise place.refusal("must be of type `object` and require at least one argument")
    if not _binds_by_value(schema, place):
        raise place.refusal(
            "must name an argument that is bound by its value: by `const`, `enum`, a range or a narrow `pattern`",
            "required",
        )


def _binds_by_value(schema: Any, place: _Place) -> bool:
    """Whether it says of what value something is that it always asks for. Raises LooseSchemaError as `check_schema`."""
    if not isinstance(schema, Mapping):
        raise place.refusal("must be a schema that binds the argument")
    if place.deep > MOST_DEEP:
        raise place.refusal(f"is nested more than {MOST_DEEP} deep")
    if schema.get("$schema", DRAFT) != DRAFT:
        raise place.refusal(f"must be `{DRAFT}`", "$schema")
    if "const" in schema or "enum" in schema:
        _check_values(schema, place)
        return True
    if place.is_sensitive:
        raise place.refusal(_CONST_ONLY)
    return _binds_by_type(schema, place)


def _binds_by_type(schema: Mapping[str, Any], place: _Place) -> bool:
    kind = schema.get("type")
    if not isinstance(kind, str):
        raise place.refusal("must have `const`, `enum` or one `type`")
    _check_words(schema, place, {"type", *_OF_TYPE[kind]})
    match kind:
        case "object":
            return _binds_members(schema, place)
        case "array":
            _check_most(schema, place, "maxItems")
            narrow = _binds_by_value(schema.get("items"), place.into("/items", EVERY))
            return narrow and schema.get("minItems", 0) > 0
        case "string":
            return _binds_text(schema, place)
        case "integer" | "number":
            return _binds_number(schema, place)
        case _:
            return False


def _binds_members(schema: Mapping[str, Any], place: _Place) -> bool:
    if schema.get("additionalProperties") is not False:
        raise place.refusal("must be `false`", "additionalProperties")
    required = schema.get("required", [])
    narrow = {
        name: _binds_by_value(member, place.into(json_pointer.append("/properties", name), name))
        for name, member in schema.get("properties", {}).items()
    }
    if not narrow.keys() >= set(required):
        raise place.refusal("must name arguments of `properties` only", "required")
    return any(narrow[name] for name in required)


def _binds_text(schema: Mapping[str, Any], place: _Place) -> bool:
    pattern = schema.get("pattern")
    if pattern is None:
        _check_most(schema, place, "maxLength")
        return False
    if not _is_anchored(pattern):
        raise place.refusal(
            "must be anchored: one `^…$` without `|` outside of a group, and without `(?`", "pattern"
        )
    if "." in _PART.findall(pattern):
        raise place.refusal("must say which characters: `.` is any", "pattern")
    lets_in = compiled(canonicalize({"pattern": pattern})).is_valid
    if any(map(lets_in, _ODD)):
        raise place.refusal("lets in nearly anything", "pattern")
    return not any(map(lets_in, _ANY))


def _is_anchored(pattern: str) -> bool:
    parts = _PART.findall(pattern)
    if parts[:1] != ["^"] or parts[-1:] != ["$"] or parts[1] in _REPEATS:
        return False
    # An empty class ends elsewhere in other engines, and a flag gives `^` another meaning.
    if "(?" in pattern.replace("(?:", "") or "[]" in pattern or "[^]" in pattern:
        return False
    deep = 0
    for part in parts:
        deep += {"(": 1, ")": -1}.get(part, 0)
        if part == "|" and deep <= 0:
            return False
    return True


def _binds_number(schema: Mapping[str, Any], place: _Place) -> bool:
    least = [schema[name] for name in ("minimum", "exclusiveMinimum") if name in schema]
    most = [schema[name] for name in ("maximum", "exclusiveMaximum") if name in schema]
    if not least or not most or min(most) - max(least) > WIDEST:
        raise place.refusal(f"must have a least and a greatest number, at most {WIDEST} from one another")
    return True


def _check_words(schema: Mapping[str, Any], place: _Place, known: set[str]) -> None:
    if unknown := sorted(schema.keys() - known - _WORDS):
        raise place.refusal("is a keyword that a standing approval cannot have here", unknown[0])


def _check_most(schema: Mapping[str, Any], place: _Place, keyword: str) -> None:
    if schema.get(keyword, MOST_ELEMENTS + 1) > MOST_ELEMENTS:
        raise place.refusal(f"must be there, and at most {MOST_ELEMENTS}", keyword)


def _check_values(schema: Mapping[str, Any], place: _Place) -> None:
    """That nothing sensitive stands in the values in clear: they go on record (case 63)."""
    _check_words(schema, place, {"const", "enum", "type"})
    if place.sensitive and "enum" in schema:
        raise place.refusal(_CONST_ONLY, "enum")
    for path in place.sensitive:
        if not all(map(_is_concealed, _found_at(schema["const"], path))):
            raise place.refusal(
                'holds a sensitive argument, which must stand as `{"concealed": …}`, as it is seen', "const"
            )


def _found_at(value: Any, path: Iterable[str]) -> list[Any]:
    found: list[Any] = []
    pointer = "".join(json_pointer.append("", token) for token in path)
    json_pointer.replace_at(value, pointer, found.append)
    return found


def _is_concealed(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["concealed"] and isinstance(value["concealed"], str)
