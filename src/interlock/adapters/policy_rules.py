"""What the modules of a policy tree say of themselves: packages, rules and METADATA, as opa parses them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from interlock.adapters.opa_binary import OpaError, run_opa
from interlock.adapters.policy_bundle import is_module, source_files

RULES_FOLDER = "rules"
RULES_PACKAGE = "data.interlock.rules"
REASON_KINDS = ("deny", "escalate", "allow", "answer")
KINDS = (*REASON_KINDS, "obligation", "reserve", "withhold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule body. What its METADATA lacks is empty; `gathered` is whether it is `name contains …`.

    `changes` are snippets of policy data (YAML) to try where people always answer the rule alike, by how they do:
    `always_approved`, `always_denied`.
    """

    name: str
    line: int
    gathered: bool
    title: str
    description: str
    code: str
    changes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module. `file` is relative to the policy tree; `prints` are the lines that call `print`."""

    file: PurePosixPath
    package: str
    line: int
    title: str
    description: str
    schemas: tuple[tuple[str, str], ...]
    """Scope and target of each `schemas` annotation, such as `("subpackages", "input=schema.input")`."""
    rules: tuple[Rule, ...]
    prints: tuple[int, ...]

    @property
    def holds_rules(self) -> bool:
        """Whether the module lies where the topic rules live."""
        return self.file.parts[0] == RULES_FOLDER or f"{self.package}.".startswith(f"{RULES_PACKAGE}.")


def read_modules(opa: Path, source: Path) -> list[Module]:
    """The modules of a policy tree, by file. Raises OpaError: one does not parse; PolicyBundleError."""
    return [_read(opa, source, path) for path in source_files(source) if is_module(path)]


def _read(opa: Path, source: Path, path: Path) -> Module:
    """One module, by `opa parse`: `opa inspect -a` does not list the rules that have no METADATA."""
    file = PurePosixPath(path.relative_to(source).as_posix())
    run = run_opa(
        opa, "parse", "--format=json", "--json-include=locations,-comments", str(file), folder=source
    )
    if not run.succeeded:
        raise OpaError(f"`{file}` does not parse: {run.errors}")
    parsed = json.loads(run.output)
    annotations = parsed.get("annotations", [])
    package = _annotation(annotations, {"package", "subpackages"})
    return Module(
        file=file,
        package=".".join(part["value"] for part in parsed["package"]["path"]),
        line=parsed["package"]["location"]["row"],
        title=package.get("title", ""),
        description=_one_line(package.get("description", "")),
        schemas=tuple(_schemas(annotations)),
        rules=tuple(_rule(rule) for rule in parsed.get("rules", [])),
        prints=tuple(sorted(set(_prints(parsed.get("rules", []))))),
    )


def _rule(rule: dict[str, Any]) -> Rule:
    head = rule["head"]
    annotation = _annotation(rule.get("annotations", []), {"rule"})
    code = annotation.get("custom", {}).get("code", "")
    return Rule(
        name=head["ref"][0]["value"],
        line=rule["location"]["row"],
        gathered="key" in head and "value" not in head and len(head["ref"]) == 1,
        title=annotation.get("title", ""),
        description=_one_line(annotation.get("description", "")),
        code=code if isinstance(code, str) else "",
        changes=tuple(_changes(annotation.get("custom", {}).get("change"))),
    )


def _changes(stated: Any) -> Iterator[tuple[str, str]]:
    if isinstance(stated, dict):
        yield from ((name, text) for name, text in stated.items() if isinstance(text, str))


def _annotation(annotations: list[dict[str, Any]], scopes: set[str]) -> dict[str, Any]:
    return next((annotation for annotation in annotations if annotation["scope"] in scopes), {})


def _schemas(annotations: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for annotation in annotations:
        for schema in annotation.get("schemas", []):
            target = _reference(schema["schema"]) if "schema" in schema else "its own"
            yield annotation["scope"], f"{_reference(schema['path'])}={target}"


def _reference(terms: list[dict[str, Any]]) -> str:
    return ".".join(str(term["value"]) for term in terms)


def _prints(node: Any) -> Iterator[int]:
    match node:
        case {"type": "var", "value": "print", "location": {"row": int(row)}}:
            yield row
        case dict():
            for value in node.values():
                yield from _prints(value)
        case list():
            for value in node:
                yield from _prints(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
