"""A catalog file made anew: the owner's words stay, the server's changes are told (case 60)."""

from typing import Any

import pytest

from interlock.core.catalog import ArgumentRole, CatalogFile, Effect, ResultTrust, Reversibility
from interlock.core.catalog_changes import changes, keep_edits
from interlock.core.catalog_import import import_tools

READ: dict[str, Any] = {
    "name": "read",
    "description": "Read a file.",
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
}
WRITE: dict[str, Any] = {"name": "write", "inputSchema": {"type": "object"}}
SECRET: dict[str, Any] = {"type": "object", "properties": {"key": {"type": "string", "format": "password"}}}
EDITS: dict[str, Any] = {
    "effects": (Effect.SEND,),
    "labels": {"team": "notes"},
    "cost": 7,
    "results": ResultTrust.TRUSTED,
    "roles": {"/path": ArgumentRole.PATH},
    "sensitive": ("/path",),
    "idempotent_by_key": True,
    "reversibility": Reversibility.IRREVERSIBLE,
}


def imported(*listed: dict[str, Any]) -> CatalogFile:
    return import_tools(listed, gateway="gateway-1", server="files")


def edited(file: CatalogFile, **edits: Any) -> CatalogFile:
    """The file with these edits of its first tool."""
    first, *others = file.tools
    return file.model_copy(update={"tools": (first.model_copy(update=edits), *others)})


def test_what_a_person_wrote_of_an_unchanged_tool_stays() -> None:
    """Where a tool is listed as it was, its entry stays as its owner left it, to the narrower schema."""
    narrower = {"type": "object", "properties": {"path": {"const": "notes.txt"}}}
    previous = edited(imported(READ), **EDITS, arguments=narrower, description="Only notes.")
    kept = keep_edits(previous, imported(READ))
    assert kept == previous
    assert changes(previous, kept).nothing


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"description": "Read all."}, ("description",)),
        ({"inputSchema": SECRET}, ("arguments",)),
        ({"description": "Read all.", "inputSchema": SECRET}, ("description", "arguments")),
    ],
    ids=["description", "schema", "both"],
)
def test_a_changed_tool_is_told_and_keeps_what_its_owner_decided(
    change: dict[str, Any], told: tuple[str, ...]
) -> None:
    """Effects, roles, labels, cost and trust are the owner's; description, arguments and pin are the new ones."""
    previous = edited(imported(READ), **EDITS)
    new = imported(READ | change)
    kept = keep_edits(previous, new)
    assert changes(previous, kept).changed == {"read": told}
    [entry], [fresh] = kept.tools, new.tools
    assert {name: getattr(entry, name) for name in EDITS if name != "sensitive"} == {
        name: value for name, value in EDITS.items() if name != "sensitive"
    }
    assert (entry.description, entry.arguments, entry.listed_digest) == (
        fresh.description,
        fresh.arguments,
        fresh.listed_digest,
    )


def test_a_new_secret_of_a_changed_tool_is_sensitive_beside_the_old_ones() -> None:
    """A secret that the server's new schema names is concealed, and so is what its owner concealed (case 63)."""
    previous = edited(imported(READ), **EDITS)
    [entry] = keep_edits(previous, imported(READ | {"inputSchema": SECRET})).tools
    assert entry.sensitive == ("/path", "/key")


def test_tools_that_came_and_went_are_told() -> None:
    """A tool that is new and one that is gone are named."""
    previous = imported(READ)
    told = changes(previous, keep_edits(previous, imported(WRITE)))
    assert (told.added, told.removed, dict(told.changed)) == (("write",), ("read",), {})
    assert not told.nothing


def test_a_tool_is_known_again_by_its_server_s_name() -> None:
    """A tool that its owner named otherwise keeps that name, and is no other tool."""
    previous = edited(imported(READ), name="read-notes", listed_name="read")
    kept = keep_edits(previous, imported(READ | {"description": "Read all."}))
    assert [(entry.name, entry.name_at_server) for entry in kept.tools] == [("read-notes", "read")]
    assert changes(previous, kept).changed == {"read-notes": ("description",)}


def test_an_entry_without_a_pin_gets_one() -> None:
    """A file that is older than pins is as its server lists it, or told to be otherwise."""
    previous = edited(imported(READ), listed_digest=None)
    kept = keep_edits(previous, imported(READ))
    assert kept == imported(READ)
    assert changes(previous, kept).nothing
    reworded = edited(previous, description="Only notes.")
    assert changes(reworded, keep_edits(reworded, imported(READ))).changed == {"read": ("description",)}


def test_roots_stay() -> None:
    """The folders that a person named for path arguments are not the server's matter."""
    previous = imported(READ).model_copy(update={"roots": {"notes": "/notes"}})
    assert keep_edits(previous, imported(WRITE)).roots == {"notes": "/notes"}
