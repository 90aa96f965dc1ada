"""The catalog: the tools that exist. A tool is pinned by the digest of its entry."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from interlock.core import command_line, file_path, json_pointer
from interlock.core.canonical import UnencodableError, canonicalize, digest_of
from interlock.core.connector_entries import CommandEntry, HttpEntry

MAX_VIOLATIONS = 16
"""How many schema violations of one call are told; a model repairs the first few and asks again."""

MAX_ENTRY_BYTES = 65_536
"""Of a tool's entry in canonical form, its schema included."""

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,128}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
Pointer = Annotated[str, StringConstraints(pattern=r"^/.+$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Folder = Annotated[str, StringConstraints(pattern=r"^/[^\x00]{0,1023}$")]


class CatalogError(ValueError):
    """A catalog that cannot be used; the message names the tool and what to change."""


class Effect(StrEnum):
    """What a call may do to the world."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    SEND = "send"
    PAY = "pay"
    EXECUTE = "execute"


class ArgumentRole(StrEnum):
    """What an argument stands for in the world, where its value alone would not show it."""

    RECIPIENT = "recipient"
    HOST = "host"
    AMOUNT = "amount"
    PATH = "path"
    CURSOR = "cursor"
    URL = "url"


class Reversibility(StrEnum):
    """Whether what a tool does can be undone."""

    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"
    UNKNOWN = "unknown"


class ResultTrust(StrEnum):
    """Whether what the tool answers can be trusted not to be written by an attacker."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class ToolEntry(BaseModel):
    """A tool as the catalog file states it. `arguments` is a JSON Schema (draft 2020-12 unless it says).

    `sensitive` holds JSON Pointers (`*` for every element) of arguments that must never reach a policy, a
    record or a log in clear. `cost` is in millionths of the catalog's currency, per call. `roles` says by
    such pointers what arguments stand for; a role holds for all that is inside, and the longest pointer wins.
    Unsaid, `results` are untrusted (rule 0).

    `listed_name` is what the tool's MCP server calls it, empty where that is `name`; `listed_digest` pins what the
    server listed when a person imported it (core.tool_listing). A tool that is no MCP server's has `http` or
    `command`. `idempotent_by_key` says that the tool does nothing again for a key that it has seen, `reversibility`
    whether what it does can be undone.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: ToolName
    description: Annotated[str, Field(max_length=16_384)] = ""
    arguments: dict[str, JsonValue]
    effects: Annotated[tuple[Annotated[Effect, Field(strict=False)], ...], Field(min_length=1, strict=False)]
    labels: dict[str, str] = Field(default_factory=dict)
    sensitive: Annotated[tuple[Pointer, ...], Field(strict=False)] = ()
    cost: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    roles: dict[Pointer, Annotated[ArgumentRole, Field(strict=False)]] = Field(default_factory=dict)
    results: Annotated[ResultTrust, Field(strict=False)] = ResultTrust.UNTRUSTED
    listed_name: Annotated[str, Field(max_length=128)] = ""
    listed_digest: Digest | None = None
    http: HttpEntry | None = None
    command: CommandEntry | None = None
    idempotent_by_key: bool = False
    reversibility: Annotated[Reversibility, Field(strict=False)] = Reversibility.UNKNOWN

    @property
    def name_at_server(self) -> str:
        """What the tool's server calls it."""
        return self.listed_name or self.name

    def stated(self) -> dict[str, Any]:
        """The entry as JSON, for its digest.

        What older gateways do not know is left out where it says nothing, so that they compute the same
        digest (case 64).
        """
        stated = self.model_dump(mode="json")
        for name in _LATER_FIELDS:
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True):
                del stated[name]
        return stated


_LATER_FIELDS = (
    "roles",
    "results",
    "listed_name",
    "listed_digest",
    "http",
    "command",
    "idempotent_by_key",
    "reversibility",
)


class CatalogFile(BaseModel):
    """One catalog file: tools of one server behind one gateway.

    `roots` are folders by name, on the gateway's machine: what the tools' `path` arguments must stay under.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    gateway: Identifier
    server: Identifier
    roots: dict[Identifier, Folder] = Field(default_factory=dict)
    tools: Annotated[tuple[ToolEntry, ...], Field(strict=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which arguments fail a tool's schema. `path` is a JSON Pointer, `rule` a schema keyword."""

    path: str
    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool of the catalog, with its schema compiled. `digest` covers everything that its entry states."""

    entry: ToolEntry
    gateway: str
    server: str
    digest: str
    validator: jsonschema_rs.Validator
    roots: Mapping[str, str]

    @property
    def name(self) -> str:
        """The tool's name, unique in the catalog."""
        return self.entry.name

    def violations(self, arguments: Mapping[str, Any]) -> list[Violation]:
        """The ways in which `arguments` fail the schema, at most MAX_VIOLATIONS; empty when they do not.

        They tell the rule and what was expected, never the value that was got: they go on record. Of what is
        inside a sensitive argument they do not even tell the place. Arguments of the schema that cannot be words of
        the tool's command break the rule `command`.
        """
        if self.validator.is_valid(arguments):
            return _command_violations(self.entry.command, arguments)
        errors = sorted(self.validator.iter_errors(arguments), key=_place)
        return [_violation(error, self.entry.sensitive) for error in errors[:MAX_VIOLATIONS]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The tools that exist, by name."""

    tools: Mapping[str, Tool]

    def find(self, name: str) -> Tool | None:
        """The tool of this exact name."""
        return self.tools.get(name)


def build_catalog(files: Iterable[CatalogFile]) -> Catalog:
    """Compile catalog files into one catalog.

    Raises CatalogError: a schema that is no JSON Schema, refers outside itself or is too large, a pointer of
    bad syntax, a root that is no whole path, a command that cannot be run as it is stated, or two names that differ
    at most in case (case 55).
    """
    tools: dict[str, Tool] = {}
    seen: dict[str, str] = {}
    for file in files:
        _check_roots(file)
        for entry in file.tools:
            if other := seen.get(entry.name.casefold()):
                raise CatalogError(
                    f"tools `{other}` and `{entry.name}` have the same name; rename one of them"
                )
            seen[entry.name.casefold()] = entry.name
            tools[entry.name] = _compile(file, entry)
    return Catalog(tools=MappingProxyType(tools))


def _compile(file: CatalogFile, entry: ToolEntry) -> Tool:
    stated = entry.stated() | {"gateway": file.gateway, "server": file.server}
    if file.roots:
        stated["roots"] = file.roots
    _check_pointers(entry, "sensitive", entry.sensitive)
    _check_pointers(entry, "role", entry.roles)
    _check_size(entry)
    _check_command(file, entry)
    return Tool(
        entry=entry,
        gateway=file.gateway,
        server=file.server,
        digest=digest_of(stated),
        validator=_validator(entry),
        roots=MappingProxyType(file.roots),
    )


def _check_pointers(entry: ToolEntry, name: str, pointers: Iterable[str]) -> None:
    for pointer in pointers:
        try:
            json_pointer.to_path(pointer)
        except ValueError as error:
            raise CatalogError(f"tool `{entry.name}`: {name} `{pointer}` is {error}") from error


def _check_roots(file: CatalogFile) -> None:
    for name, folder in file.roots.items():
        if not file_path.is_root(folder):
            raise CatalogError(
                f"root `{name}` is `{folder}`, expected a whole path without `.`, `..`, `//` or a `/` at its end"
            )


def _check_command(file: CatalogFile, entry: ToolEntry) -> None:
    if entry.command is None:
        return
    found = command_line.problems(
        entry.command,
        entry.arguments,
        sensitive=entry.sensitive,
        paths=[pointer for pointer, role in entry.roles.items() if role is ArgumentRole.PATH],
        roots=file.roots,
    )
    if problem := next(found, ""):
        raise CatalogError(f"tool `{entry.name}`: {problem}")


def _check_size(entry: ToolEntry) -> None:
    try:
        size = len(canonicalize(entry.stated()))
    except UnencodableError as error:
        raise CatalogError(f"tool `{entry.name}`: entry cannot be used: {error}") from error
    if size > MAX_ENTRY_BYTES:
        raise CatalogError(f"tool `{entry.name}`: entry has {size} bytes, expected at most {MAX_ENTRY_BYTES}")


def _validator(entry: ToolEntry) -> jsonschema_rs.Validator:
    """A validator that stays in the schema: no remote or file `$ref` (case 45b), no backtracking (case 14)."""
    try:
        return jsonschema_rs.validator_for(
            entry.arguments,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
    except jsonschema_rs.ValidationError as error:
        where = json_pointer.from_path(error.instance_path)
        raise CatalogError(
            f"tool `{entry.name}`: schema cannot be used at `{where}`: {error.message}"
        ) from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise CatalogError(f"tool `{entry.name}`: schema cannot be used: {error}") from error


def _command_violations(command: CommandEntry | None, arguments: Mapping[str, Any]) -> list[Violation]:
    if command is None:
        return []
    try:
        command_line.words_of(command, arguments)
    except command_line.BadWord as error:
        return [Violation(path=error.path, rule="command", message=str(error))]
    return []


def _place(error: jsonschema_rs.ValidationError) -> list[str]:
    return [str(token) for token in error.instance_path]


def _violation(error: jsonschema_rs.ValidationError, sensitive: Iterable[str]) -> Violation:
    path, rule = _place(error), _rule(error)
    for pattern in map(json_pointer.to_path, sensitive):
        if _is_within(path, pattern):
            place = json_pointer.from_path(path[: len(pattern)])
            return Violation(path=place, rule=rule, message=f"a sensitive value breaks `{rule}`")
    return Violation(path=json_pointer.from_path(path), rule=rule, message=error.message[:512])


def _rule(error: jsonschema_rs.ValidationError) -> str:
    """The keyword that is broken. The schema `false` has none, and stands under a property's name."""
    if error.kind.name == "falseSchema":
        return "false"
    return str(error.schema_path[-1])


def _is_within(path: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(path) >= len(pattern) and all(
        wanted in ("*", token) for wanted, token in zip(pattern, path, strict=False)
    )
