"""A catalog file made anew: what its owner wrote in it stays, and what the server changed is told (case 60)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.core.catalog import CatalogFile, ToolEntry
from interlock.core.tool_listing import pin_of

_OWNER_S = (
    "name",
    "listed_name",
    "effects",
    "roles",
    "labels",
    "cost",
    "results",
    "idempotent_by_key",
    "reversibility",
)
"""What a person decides of a tool, however its server describes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChanges:
    """What a server lists otherwise than the file that is replaced has it, by the tools' names in the catalog.

    `changed` says for each tool what of it: `description`, `arguments`.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]

    @property
    def nothing(self) -> bool:
        """Whether the server lists all as it did."""
        return not (self.added or self.removed or self.changed)


def keep_edits(previous: CatalogFile, imported: CatalogFile) -> CatalogFile:
    """The imported file with what its owner wrote in the previous one.

    Of a tool that is listed as it was, the entry stays whole. Of one that changed, description, arguments and pin
    are the new ones, what was sensitive stays so, and the rest is the owner's.
    """
    before = _by_listed_name(previous)
    tools = [_kept(before.get(entry.name_at_server), entry) for entry in imported.tools]
    return imported.model_copy(
        update={"roots": previous.roots, "tools": tuple(sorted(tools, key=lambda entry: entry.name))}
    )


def changes(previous: CatalogFile, file: CatalogFile) -> CatalogChanges:
    """What is otherwise in `file`, which `keep_edits` made of the previous one."""
    before, now = _by_listed_name(previous), _by_listed_name(file)
    return CatalogChanges(
        added=tuple(now[name].name for name in sorted(now.keys() - before.keys())),
        removed=tuple(before[name].name for name in sorted(before.keys() - now.keys())),
        changed={
            now[name].name: _differing(before[name], now[name])
            for name in sorted(now.keys() & before.keys())
            if pin_of(before[name]) != pin_of(now[name])
        },
    )


def _by_listed_name(file: CatalogFile) -> dict[str, ToolEntry]:
    return {entry.name_at_server: entry for entry in file.tools}


def _kept(before: ToolEntry | None, entry: ToolEntry) -> ToolEntry:
    if before is None:
        return entry
    if pin_of(before) == pin_of(entry):
        return before.model_copy(update={"listed_digest": entry.listed_digest})
    edits: dict[str, Any] = {name: getattr(before, name) for name in _OWNER_S}
    edits["sensitive"] = tuple(dict.fromkeys((*before.sensitive, *entry.sensitive)))
    return entry.model_copy(update=edits)


def _differing(before: ToolEntry, now: ToolEntry) -> tuple[str, ...]:
    names = ("description", "arguments")
    differing = tuple(name for name in names if getattr(before, name) != getattr(now, name))
    return differing or names  # one that its owner had written anew as the server has it now
