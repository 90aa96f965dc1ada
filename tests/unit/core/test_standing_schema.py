"""Tests for the JSON Schemas in which standing approvals can be given."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.canonical import canonicalize
from interlock.core.json_pointer import value_at
from interlock.core.standing_schema import DRAFT, LooseSchemaError, check_schema, compiled

CONST = {"const": "main"}


def schema_of(members: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A closed schema that requires all of its members."""
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
        **more,
    }


def check(schema: Mapping[str, Any], *sensitive: str) -> None:
    """What is checked of a schema that came in."""
    compiled(canonicalize(schema))
    check_schema(schema, sensitive)


BOUND: dict[str, Any] = {
    "const": CONST,
    "enum": {"enum": ["main", "next", 3]},
    "const of an object": {"const": {"a": [1, {"b": None}]}},
    "pattern": {"type": "string", "pattern": "^release/[0-9]{1,3}$"},
    "pattern of a group": {"type": "string", "pattern": "^(?:main|release-[0-9]+)$"},
    "pattern with an escaped bar": {"type": "string", "pattern": r"^a\|b$"},
    "pattern with dots": {"type": "string", "pattern": r"^v[0-9.]{1,5}\.md$"},
    "pattern with a bar in a class": {"type": "string", "pattern": "^v[|1]$"},
    "range": {"type": "integer", "minimum": 1, "maximum": 100},
    "exclusive range": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 9.5, "multipleOf": 0.5},
    "array": {"type": "array", "items": CONST, "minItems": 1, "maxItems": 3, "uniqueItems": True},
    "object": schema_of({"branch": CONST}, title="A place", description="Where it goes"),
}

LOOSE_ALONE: dict[str, Any] = {
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "short text": {"type": "string", "maxLength": 200},
    "any identifier": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    "any number in digits": {"type": "string", "pattern": "^[0-9]+$"},
    "any path": {"type": "string", "pattern": "^/[a-z/]+$"},
    "empty array": {"type": "array", "items": CONST, "maxItems": 3},
    "object that requires nothing": {
        "type": "object",
        "properties": {"branch": CONST},
        "additionalProperties": False,
    },
}

UNBOUND: dict[str, Any] = {
    "true": True,
    "false": False,
    "nothing": {},
    "only words": {"description": "anything"},
    "any string": {"type": "string"},
    "long text": {"type": "string", "maxLength": 100_000},
    "pattern without anchors": {"type": "string", "pattern": "main"},
    "pattern without an end": {"type": "string", "pattern": "^main"},
    "pattern without a beginning": {"type": "string", "pattern": "main$"},
    "pattern with an escaped end": {"type": "string", "pattern": r"^main\$"},
    "two patterns": {"type": "string", "pattern": "^main|next$"},
    "a bar after a class": {"type": "string", "pattern": "^[a]|[b]$"},
    "a beginning that repeats": {"type": "string", "pattern": "^*main$"},
    "a beginning that may be left out": {"type": "string", "pattern": "^{0}main$"},
    "a flag": {"type": "string", "pattern": "(?m)^main$"},
    "a flag inside": {"type": "string", "pattern": "^(?m)main$"},
    "an empty class": {"type": "string", "pattern": "^[]|.*$]$"},
    "pattern of anything": {"type": "string", "pattern": "^.*$"},
    "pattern with any character": {"type": "string", "pattern": "^/srv/.*$"},
    "pattern of nearly anything": {"type": "string", "pattern": "^[^/]+$"},
    "pattern of what is no space": {"type": "string", "pattern": r"^\S+$"},
    "pattern of another empty branch": {"type": "string", "pattern": "^(?:main|.*)$"},
    "pattern of another type": {"pattern": "^main$"},
    "any integer": {"type": "integer"},
    "integers without a least": {"type": "integer", "maximum": 100},
    "integers without a greatest": {"type": "integer", "minimum": 0},
    "a wide range": {"type": "number", "minimum": -1e300, "maximum": 1e300},
    "many types": {"type": ["string", "null"], "maxLength": 10},
    "any object": {"type": "object"},
    "open object": {"type": "object", "properties": {"branch": CONST}, "required": ["branch"]},
    "object of patterns": schema_of({"branch": CONST}, patternProperties={"": {}}),
    "object of unknown names": schema_of({"branch": CONST}) | {"required": ["branch", "more"]},
    "object with a loose member": schema_of({"branch": CONST, "more": {}}),
    "any array": {"type": "array", "maxItems": 3},
    "endless array": {"type": "array", "items": CONST},
    "array with a prefix": {"type": "array", "prefixItems": [{}], "items": CONST, "maxItems": 3},
    "array of anything": {"type": "array", "items": True, "maxItems": 3},
    "either": {"anyOf": [CONST, {}]},
    "not": {"not": CONST},
    "reference": {"$ref": "#"},
    "const with more": CONST | {"anyOf": [True]},
    "an older draft": {"$schema": "http://json-schema.org/draft-07/schema#", "const": "main"},
}


@pytest.mark.parametrize("name", BOUND)
def test_an_argument_that_is_bound_by_its_value_is_enough(name: str) -> None:
    """A schema that says of what value a required argument is can stand alone."""
    check(schema_of({"it": BOUND[name]}))


@pytest.mark.parametrize("name", LOOSE_ALONE)
def test_an_argument_bound_by_its_form_stands_beside_another_only(name: str) -> None:
    """What tells the form of an argument and not its value is let in beside one that is bound by its value."""
    check(schema_of({"branch": CONST, "it": LOOSE_ALONE[name]}))
    with pytest.raises(LooseSchemaError, match="bound by its value"):
        check(schema_of({"it": LOOSE_ALONE[name]}))


@pytest.mark.parametrize("name", UNBOUND)
def test_an_argument_that_is_not_bound_is_refused_beside_any_other(name: str) -> None:
    """Case 51: one argument that may be nearly anything makes a standing approval too wide."""
    with pytest.raises(LooseSchemaError) as refused:
        check(schema_of({"branch": CONST, "it": UNBOUND[name]}))
    assert "main" not in refused.value.why.replace("`main`", "")


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"type": "string"}, ""),
        ({"required": []}, ""),
        ({"additionalProperties": True}, "/additionalProperties"),
        ({"additionalProperties": CONST}, "/additionalProperties"),
        ({"required": ["more"]}, "/required"),
        ({"properties": {}}, "/required"),
        ({"if": True}, "/if"),
        ({"$defs": {}}, "/$defs"),
        ({"$id": "https://elsewhere.example/schema"}, "/$id"),
        ({"unevaluatedProperties": True}, "/unevaluatedProperties"),
    ],
)
def test_the_whole_is_a_closed_object_that_requires_something(changed: dict[str, Any], pointer: str) -> None:
    """Case 51: never for a tool's name alone, nor for arguments that nobody named."""
    schema = schema_of({"branch": CONST}) | changed
    with pytest.raises(LooseSchemaError) as refused:
        check(schema)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema", "file:///etc/passwd", "#/nowhere"])
def test_what_refers_elsewhere_is_never_looked_up(reference: str) -> None:
    """Case 45b: a schema that refers to another is refused, and nothing is fetched for it."""
    with pytest.raises(LooseSchemaError):
        check(schema_of({"branch": {"$ref": reference}}))


@pytest.mark.parametrize("broken", [{"minLength": "x"}, {"pattern": "("}, {"type": "text"}, {"enum": 3}])
def test_what_is_no_schema_is_refused_without_its_values(broken: dict[str, Any]) -> None:
    """What is no JSON Schema is refused with the place, and no value of it in the error."""
    with pytest.raises(LooseSchemaError) as refused:
        check(schema_of({"branch": {"const": "hunter2"}, "it": broken}))
    assert refused.value.pointer.startswith("/properties/it")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_schema_that_is_too_deep_is_refused() -> None:
    """Case 45b: schemas within one another end somewhere."""
    schema: dict[str, Any] = {"const": 1}
    for _ in range(9):
        schema = schema_of({"deeper": schema})
    with pytest.raises(LooseSchemaError, match="nested"):
        check(schema)


CONCEALED = {"concealed": "hmac-sha256:0"}


def test_a_sensitive_argument_is_bound_by_what_is_seen_of_it() -> None:
    """Case 63: a concealed value stands in a `const`, at its place or in what it is in."""
    check(schema_of({"branch": CONST, "password": {"const": CONCEALED}}), "/password")
    check(schema_of({"login": {"const": {"user": "ann", "password": CONCEALED}}}), "/login/password")
    check(schema_of({"login": {"const": {"user": "ann"}}}), "/login/password")
    every = {"type": "array", "items": schema_of({"key": {"const": CONCEALED}}), "minItems": 1, "maxItems": 2}
    check(schema_of({"keys": every}), "/keys/*/key")


@pytest.mark.parametrize(
    "member",
    [
        {"const": "hunter2"},
        {"const": {"concealed": "x", "clear": "hunter2"}},
        {"enum": [CONCEALED, "hunter2"]},
        {"type": "string", "pattern": "^hunter[0-9]$"},
        {"type": "string", "maxLength": 10},
        schema_of({"concealed": {"const": "hunter2"}}),
    ],
)
def test_a_sensitive_argument_is_never_told_in_clear(member: dict[str, Any]) -> None:
    """Case 63: the schema goes on record, so that nothing sensitive stands in it but concealed."""
    with pytest.raises(LooseSchemaError, match="sensitive") as refused:
        check(schema_of({"branch": CONST, "password": member}), "/password")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("member", "pointer"),
    [
        ({"const": {"user": "ann", "password": "hunter2"}}, "/login/password"),
        ({"const": ["hunter2"]}, "/login/*"),
        ({"const": "hunter2"}, "/login/password"),
        ({"enum": [{"user": "ann"}]}, "/login/password"),
    ],
)
def test_a_sensitive_argument_is_found_in_what_it_is_in(member: dict[str, Any], pointer: str) -> None:
    """Case 63: a value that holds a sensitive one, or has another shape than it should, is refused."""
    with pytest.raises(LooseSchemaError, match="sensitive"):
        check(schema_of({"branch": CONST, "login": member}), pointer)


_NAMES = st.text(st.characters(categories=["Ll"], max_codepoint=127), min_size=1, max_size=4)
_SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5)
_LEAVES = (
    st.builds(lambda value: {"const": value}, _SCALARS)
    | st.builds(lambda values: {"enum": values}, st.lists(_SCALARS, min_size=1, max_size=3, unique_by=repr))
    | st.builds(
        lambda least, width: {"type": "integer", "minimum": least, "maximum": least + width},
        st.integers(-99, 99),
        st.integers(0, 9),
    )
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: (
        st.dictionaries(_NAMES, inner, min_size=1, max_size=3).map(schema_of)
        | inner.map(lambda items: {"type": "array", "items": items, "minItems": 1, "maxItems": 2})
    ),
    max_leaves=4,
)
_WHOLE = st.dictionaries(_NAMES, _SCHEMAS, min_size=1, max_size=3).map(schema_of)


def _places(schema: Any, pointer: str = "") -> list[str]:
    """Where the schemas of arguments are."""
    found: list[str] = []
    if schema.get("type") == "object":
        for name, member in schema["properties"].items():
            place = f"{pointer}/properties/{name}"
            found += [place, *_places(member, place)]
    if schema.get("type") == "array":
        found += [f"{pointer}/items", *_places(schema["items"], f"{pointer}/items")]
    return found


@given(_WHOLE, st.data(), st.sampled_from(sorted(UNBOUND)))
def test_one_loose_place_anywhere_is_found(schema: dict[str, Any], data: st.DataObject, name: str) -> None:
    """Case 51: however deep an argument is, letting in nearly anything there is refused, and nothing else is."""
    check(schema)
    place = data.draw(st.sampled_from(_places(schema)))
    parent, _, last = place.rpartition("/")
    loosened = copied(schema)
    value_at(loosened, parent)[last] = UNBOUND[name]
    with pytest.raises(LooseSchemaError):
        check(loosened)


@given(_WHOLE, _NAMES, _SCALARS)
def test_what_is_not_named_is_never_let_in(schema: dict[str, Any], name: str, value: Any) -> None:
    """Case 51: no argument that the schema does not name satisfies it, whatever its value."""
    check(schema)
    if name not in schema["properties"]:
        assert not compiled(canonicalize(schema)).is_valid({name: value})


def copied(value: Any) -> Any:
    """The same in objects of its own."""
    match value:
        case dict():
            return {key: copied(member) for key, member in value.items()}
        case list():
            return [copied(element) for element in value]
        case _:
            return value


def test_schemas_say_their_draft() -> None:
    """A schema may say that it is of the one draft that it can be of."""
    check(schema_of({"branch": CONST}) | {"$schema": DRAFT})
