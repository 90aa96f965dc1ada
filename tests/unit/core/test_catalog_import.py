"""What real MCP servers claim of their tools, read with caution."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.catalog import CatalogError, Effect, build_catalog
from interlock.core.catalog_import import (
    MAX_PLACES,
    effects_of,
    import_tool,
    import_tools,
    names_of,
    sensitive_pointers,
)

DATA = Path(__file__).parents[2] / "data" / "mcp"
LISTED: dict[str, list[dict[str, Any]]] = {
    file.stem: json.loads(file.read_text())["tools"] for file in sorted(DATA.glob("*.json"))
}
SECRET = {"type": "string", "format": "password"}


def properties(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas}


@pytest.mark.parametrize("server", LISTED)
def test_real_servers_are_imported_whole(server: str) -> None:
    """Every tool of a real server becomes an entry that a catalog takes, in order of name."""
    file = import_tools(LISTED[server], gateway="gateway-1", server=server)
    assert [entry.name for entry in file.tools] == sorted(tool["name"] for tool in LISTED[server])
    catalog = build_catalog([file])
    for tool in LISTED[server]:
        entry = catalog.tools[tool["name"]].entry
        assert (entry.arguments, entry.description) == (tool["inputSchema"], tool.get("description", ""))


@pytest.mark.parametrize(
    ("server", "tool", "effects"),
    [
        ("git", "git_log", [Effect.READ]),
        ("git", "git_commit", [Effect.WRITE]),
        ("git", "git_reset", [Effect.WRITE, Effect.DELETE]),
        ("filesystem", "read_file", [Effect.READ]),
        ("filesystem", "create_directory", [Effect.WRITE]),
        ("filesystem", "move_file", [Effect.WRITE, Effect.DELETE]),
        ("github", "list_issues", [Effect.WRITE, Effect.DELETE]),
        ("shell", "shell_execute", [Effect.WRITE, Effect.DELETE]),
    ],
)
def test_effects_of_real_tools_are_what_their_hints_leave_possible(
    server: str, tool: str, effects: list[Effect]
) -> None:
    """A hint narrows the effects down; a tool that says nothing may write and delete."""
    file = import_tools(LISTED[server], gateway="gateway-1", server=server)
    assert [list(entry.effects) for entry in file.tools if entry.name == tool] == [effects]


@pytest.mark.parametrize(
    ("annotations", "effects"),
    [
        ({}, (Effect.WRITE, Effect.DELETE)),
        ({"readOnlyHint": True}, (Effect.READ,)),
        ({"readOnlyHint": True, "destructiveHint": True}, (Effect.READ,)),
        ({"readOnlyHint": "true"}, (Effect.WRITE, Effect.DELETE)),
        ({"readOnlyHint": 1}, (Effect.WRITE, Effect.DELETE)),
        ({"readOnlyHint": False}, (Effect.WRITE, Effect.DELETE)),
        ({"destructiveHint": False}, (Effect.WRITE,)),
        ({"destructiveHint": None}, (Effect.WRITE, Effect.DELETE)),
        ({"destructiveHint": 0}, (Effect.WRITE, Effect.DELETE)),
        ({"openWorldHint": False}, (Effect.WRITE, Effect.DELETE)),
        ({"idempotentHint": True}, (Effect.WRITE, Effect.DELETE)),
    ],
    ids=str,
)
def test_only_an_exact_hint_narrows_the_effects(
    annotations: dict[str, Any], effects: tuple[Effect, ...]
) -> None:
    """Whatever is not exactly `true` or `false` in its place proves nothing."""
    assert effects_of(annotations) == effects


@pytest.mark.parametrize(
    ("schema", "pointers"),
    [
        (properties(user={"type": "string"}), []),
        (properties(token={"type": "string", "writeOnly": True}), ["/token"]),
        (properties(token={"type": "string", "writeOnly": "yes"}), []),
        (properties(password=SECRET), ["/password"]),
        (properties(**{"a/b~c": SECRET}), ["/a~1b~0c"]),
        (properties(login=properties(user={}, password=SECRET)), ["/login/password"]),
        (properties(keys={"type": "array", "items": SECRET}), ["/keys/*"]),
        (properties(pair={"prefixItems": [{}, SECRET]}), ["/pair/1"]),
        (properties(pair={"items": [SECRET, {}]}), ["/pair/0"]),
        (properties(headers={"additionalProperties": SECRET}), ["/headers/*"]),
        (properties(headers={"patternProperties": {"^x-": SECRET}}), ["/headers/*"]),
        (properties(either={"anyOf": [{"type": "null"}, SECRET]}), ["/either"]),
        (properties(both={"allOf": [properties(x=SECRET)]}), ["/both/x"]),
        (
            properties(b={"if": {}, "then": properties(x=SECRET), "else": properties(y=SECRET)}),
            ["/b/x", "/b/y"],
        ),
        ({"dependentSchemas": {"a": properties(b=SECRET)}}, ["/b"]),
        (properties(a={"$ref": "#/$defs/secret"}) | {"$defs": {"secret": SECRET}}, ["/a"]),
        (properties(a={"$ref": "#/$defs/a%20b"}) | {"$defs": {"a b": SECRET}}, ["/a"]),
        (properties(a={"$ref": "#/$defs/0/1"}) | {"$defs": [[{}, SECRET]]}, ["/a"]),
        (properties(a={"$ref": "#/$defs/plain"}, b=SECRET) | {"$defs": {"plain": {}}}, ["/b"]),
        (properties(a={"$ref": "#anchor"}) | {"$defs": {"x": {"$anchor": "anchor"} | SECRET}}, ["/a"]),
        (properties(a={"$dynamicRef": "#x"}) | {"$defs": {"x": {"$dynamicAnchor": "x"} | SECRET}}, ["/a"]),
        (SECRET, ["/*"]),
        (properties(**{"": SECRET}), ["/*"]),
    ],
    ids=str,
)
def test_secrets_are_found_wherever_the_schema_puts_them(schema: dict[str, Any], pointers: list[str]) -> None:
    """`writeOnly: true` and `format: password` become pointers that a catalog redacts by (case 63)."""
    assert sensitive_pointers(schema) == pointers


def test_a_schema_that_refers_to_itself_is_sensitive_from_the_second_turn_on() -> None:
    """A secret at any depth of a tree is covered, and the search ends."""
    node = properties(password=SECRET, children={"type": "array", "items": {"$ref": "#/$defs/node"}})
    assert sensitive_pointers({"$ref": "#/$defs/node", "$defs": {"node": node}}) == [
        "/children/*",
        "/password",
    ]


def test_a_schema_made_to_keep_us_busy_is_refused() -> None:
    """A schema whose places double at each level is refused, with the tool's name (case 32)."""
    definitions: dict[str, Any] = {
        f"d{level}": properties(a={"$ref": f"#/$defs/d{level + 1}"}, b={"$ref": f"#/$defs/d{level + 1}"})
        for level in range(64)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": definitions | {"d64": SECRET}}
    with pytest.raises(
        CatalogError, match=f"tool `busy`: its schema describes more than {MAX_PLACES} places"
    ):
        import_tool({"name": "busy", "inputSchema": schema})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "description", "inputSchema", "annotations", "title"]), json_values
    )
)
def test_whatever_a_server_lists_is_an_entry_or_a_catalog_error(listed: dict[str, Any]) -> None:
    """No answer of a server makes the import fail in another way."""
    try:
        entry = import_tool(listed)
    except CatalogError:
        return
    assert entry.name == listed["name"]


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        ([{"name": "x"}], "tool `x` has no `inputSchema`"),
        ([{"inputSchema": {}}], "tool ``: `name`"),
        ([{"name": "two words", "inputSchema": {}}], "tool `two words`: `name`"),
        ([{"name": "x", "inputSchema": {}, "description": "d" * 16_385}], "tool `x`: `description`"),
        ([{"name": "x", "inputSchema": {}}] * 2, "the server lists tool `x` twice"),
    ],
    ids=["no-schema", "no-name", "bad-name", "long-description", "twice"],
)
def test_what_no_catalog_can_hold_is_refused_by_name(listed: list[dict[str, Any]], problem: str) -> None:
    """A tool that cannot be imported is named, with what is wrong."""
    with pytest.raises(CatalogError, match=problem):
        import_tools(listed, gateway="gateway-1", server="server-1")


def test_a_gateway_or_server_that_is_no_identifier_is_refused() -> None:
    """The names of a catalog file are checked as in a file."""
    with pytest.raises(CatalogError, match="`My Server`"):
        import_tools([], gateway="gateway-1", server="My Server")


@pytest.mark.parametrize(
    ("listed", "taken", "kept", "names"),
    [
        ({"a": ["read"], "b": ["write"]}, [], {}, {"a": {"read": "read"}, "b": {"write": "write"}}),
        (
            {"a": ["read", "list"], "b": ["read"]},
            [],
            {},
            {"a": {"read": "a__read", "list": "list"}, "b": {"read": "b__read"}},
        ),
        ({"a": ["read"], "b": ["READ"]}, [], {}, {"a": {"read": "a__read"}, "b": {"READ": "b__READ"}}),
        ({"a": ["read"]}, ["Read"], {}, {"a": {"read": "a__read"}}),
        (
            {"a": ["read"], "b": ["read"]},
            [],
            {"a": {"read": "read"}},
            {"a": {"read": "read"}, "b": {"read": "b__read"}},
        ),
        ({"a": ["read"]}, ["read"], {"a": {"read": "read-notes"}}, {"a": {"read": "read-notes"}}),
        ({"a": ["read", "list"]}, [], {"a": {"read": "list"}}, {"a": {"read": "list", "list": "a__list"}}),
    ],
    ids=["no-clash", "both", "another-case", "taken", "kept-first", "renamed", "renamed-to-a-listed-one"],
)
def test_tools_keep_their_names_unless_they_clash(
    listed: dict[str, list[str]],
    taken: list[str],
    kept: dict[str, dict[str, str]],
    names: dict[str, dict[str, str]],
) -> None:
    """A name that two servers list is prefixed with the server's for both; one that a catalog has stays (case 55)."""
    assert names_of(listed, taken=taken, kept=kept) == names


def test_a_tool_that_is_named_otherwise_says_what_its_server_calls_it() -> None:
    """The catalog's name is given, and the server's is what is called."""
    [entry] = import_tools(
        [{"name": "read", "inputSchema": {}}], gateway="g", server="a", names={"read": "a__read"}
    ).tools
    assert (entry.name, entry.name_at_server) == ("a__read", "read")
