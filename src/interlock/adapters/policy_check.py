"""Findings on a policy tree: what opa refuses, and the house rules that opa does not know."""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from interlock.adapters.opa_binary import run_opa
from interlock.adapters.policy_bundle import (
    DATA_FILES,
    MANIFEST_FILE,
    SCHEMAS_FOLDER,
    is_module,
    source_files,
)
from interlock.adapters.policy_capabilities import write_capabilities
from interlock.adapters.policy_rules import (
    KINDS,
    REASON_KINDS,
    RULES_FOLDER,
    RULES_PACKAGE,
    Module,
    Rule,
    read_modules,
)
from interlock.core.approval_answer import approval_schema
from interlock.core.policy_input import input_schema

INPUT_SCHEMA = PurePosixPath(SCHEMAS_FOLDER, "input.json")
APPROVAL_SCHEMA = PurePosixPath(SCHEMAS_FOLDER, "approval.json")

_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*\.rego")
_ROOT_PACKAGE = "data.interlock"
_ROOT_SCHEMA = ("subpackages", "input=schema.input")
_APPROVAL_PACKAGE = "data.interlock.approval"
_APPROVAL_FILE = "approval/approval.rego"
_APPROVAL_SCHEMA = ("package", "input=schema.approval")
_ANSWERING_PACKAGE = f"{RULES_PACKAGE}.approvals"
_CHANGES = ("always_approved", "always_denied")
_DATA_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong in a policy tree. `file` is relative to it; `line` counts from 1 where it is known."""

    file: str
    line: int | None = None
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.problem}; {self.remedy}"


def check_policies(opa: Path, source: Path) -> list[Finding]:
    """All that is wrong with the policies in `source`, sorted by place; empty when nothing is.

    A tree that does not compile is not looked at further. Raises OpaError; PolicyBundleError: `source` is
    no folder.
    """
    findings = [*_file_findings(source), *_schema_findings(source)]
    if broken := _compile_findings(opa, source):
        return _sorted(findings + broken)
    return _sorted(
        [*findings, *_format_findings(opa, source), *convention_findings(read_modules(opa, source))]
    )


def convention_findings(modules: Sequence[Module]) -> list[Finding]:
    """What breaks the house rules of modules: places, names, METADATA, reason codes, schemas."""
    topics = [module for module in modules if module.holds_rules]
    return [
        *_root_findings(modules),
        *_approval_findings(modules),
        *(finding for module in modules for finding in _print_findings(module)),
        *(finding for module in topics for finding in _topic_findings(module)),
        *(finding for module in topics for rule in module.rules for finding in _rule_findings(module, rule)),
        *_duplicate_codes(topics),
    ]


def render_input_schema() -> str:
    """The text of `schemas/input.json`: the JSON Schema of the input document."""
    return _rendered(input_schema())


def render_approval_schema() -> str:
    """The text of `schemas/approval.json`: the JSON Schema of what is asked of approvals."""
    return _rendered(approval_schema())


def _rendered(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _file_findings(source: Path) -> Iterator[Finding]:
    for path in source_files(source):
        file = str(path.relative_to(source))
        if path.is_symlink():
            yield Finding(file=file, problem="is a symbolic link", remedy="put the file itself there")
        elif path.suffix in _DATA_SUFFIXES and path.name not in DATA_FILES:
            remedy = "name it `data.yaml` in a folder of its own"
            yield Finding(file=file, problem="is left out of the bundle by `opa build`", remedy=remedy)
        elif path.suffix == ".rego" and not is_module(path):
            yield Finding(
                file=file, problem="is a test among the policies", remedy="move it to the policy tests"
            )
        elif path.suffix == ".rego" and not _MODULE_NAME.fullmatch(path.name):
            remedy = "use lower case letters, digits and `_`"
            yield Finding(file=file, problem="has a name that a bundle does not take", remedy=remedy)
    if not (source / MANIFEST_FILE).is_file():
        yield Finding(file=MANIFEST_FILE, problem="is missing", remedy='write {"roots": [...]} into it')


def _schema_findings(source: Path) -> Iterator[Finding]:
    for name, expected in (
        (INPUT_SCHEMA, render_input_schema()),
        (APPROVAL_SCHEMA, render_approval_schema()),
    ):
        path = source / name
        if not path.is_file() or path.read_text() != expected:
            problem = "is not the schema of the input that this version gives to policies"
            yield Finding(file=str(name), problem=problem, remedy="generate it anew")


def _compile_findings(opa: Path, source: Path) -> list[Finding]:
    has_schemas = (source / SCHEMAS_FOLDER).is_dir()
    with tempfile.TemporaryDirectory(prefix="interlock-check-") as scratch:
        run = run_opa(
            opa,
            "check",
            "--bundle",
            ".",
            "--strict",
            *([f"--schema={SCHEMAS_FOLDER}"] if has_schemas else []),
            f"--capabilities={write_capabilities(opa, Path(scratch))}",
            "--format=json",
            "--max-errors=100",
            folder=source,
        )
    return [] if run.succeeded else list(_reported(run.errors))


def _reported(errors: str) -> Iterator[Finding]:
    """Findings from what `opa check` reports; whatever it is, at least one."""
    try:
        reported = json.loads(errors)["errors"]
    except (ValueError, KeyError, TypeError):
        reported = [{"message": errors}]
    for error in reported or [{"message": "opa gives no reason"}]:
        location = error.get("location", {})
        yield Finding(
            file=location.get("file", "."),
            line=location.get("row"),
            problem=f"does not compile: {error['message']}",
            remedy="correct it, and check again",
        )


def _format_findings(opa: Path, source: Path) -> Iterator[Finding]:
    run = run_opa(opa, "fmt", "--list", ".", folder=source)
    for file in run.output.decode().splitlines():
        yield Finding(file=file, problem="is not formatted", remedy=f"run `opa fmt --write {file}`")


def _root_findings(modules: Iterable[Module]) -> Iterator[Finding]:
    """Without this annotation `opa check --schema` compares nothing, and says nothing of it."""
    if not any(module.package == _ROOT_PACKAGE and _ROOT_SCHEMA in module.schemas for module in modules):
        problem = "no module of package `interlock` puts all packages under `schema.input`"
        remedy = "annotate the package with `scope: subpackages` and `schemas: [input: schema.input]`"
        yield Finding(file="interlock.rego", problem=problem, remedy=remedy)


def _approval_findings(modules: Iterable[Module]) -> Iterator[Finding]:
    """The second entry point, which is asked with another document than all other packages."""
    files = [module for module in modules if module.package == _APPROVAL_PACKAGE]
    rules = {rule.name for module in files for rule in module.rules}
    for name in sorted({"batch", "result"} - rules):
        problem = (
            f"no module gives `interlock.approval.{name}`, so every proposal that is escalated is an error"
        )
        yield Finding(file=_APPROVAL_FILE, problem=problem, remedy="say in it who may approve what")
    if files and not any(_APPROVAL_SCHEMA in module.schemas for module in files):
        problem = "package `interlock.approval` is not checked against the schema of what it is asked"
        remedy = "annotate the package with `schemas: [input: schema.approval]`"
        yield Finding(file=str(files[0].file), line=files[0].line, problem=problem, remedy=remedy)


def _print_findings(module: Module) -> Iterator[Finding]:
    for line in module.prints:
        problem = "calls `print`, which puts arguments into OPA's log"
        yield Finding(file=str(module.file), line=line, problem=problem, remedy="remove the call")


def _topic_findings(module: Module) -> Iterator[Finding]:
    def found(problem: str, remedy: str) -> Finding:
        return Finding(file=str(module.file), line=module.line, problem=problem, remedy=remedy)

    topic = module.package.removeprefix(RULES_PACKAGE).removeprefix(".")
    expected = PurePosixPath(RULES_FOLDER, topic, f"{topic}.rego")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", topic):
        yield found(f"package `{module.package}` is no topic", "name it `interlock.rules.<topic>`")
    elif module.file != expected:
        yield found(f"holds the rules of topic `{topic}`", f"move it to `{expected}` or rename its package")
    if not (module.title and module.description):
        yield found("the package's METADATA lacks a title or a description", "write both")
    if module.schemas:
        yield found("the package chooses its own schema of the input", "remove the `schemas` annotation")


def _rule_findings(module: Module, rule: Rule) -> Iterator[Finding]:
    def found(problem: str, remedy: str) -> Finding:
        return Finding(file=str(module.file), line=rule.line, problem=problem, remedy=remedy)

    if rule.name.startswith("_"):
        return
    if rule.name not in KINDS:
        yield found(
            f"rule `{rule.name}` is gathered by nothing",
            f"expected one of {', '.join(KINDS)}, or a name with a leading `_` for a rule of the topic's own",
        )
        return
    if rule.name == "answer" and module.package != _ANSWERING_PACKAGE:
        yield found("`answer` is gathered from topic `approvals` alone", "weigh there what people said")
    for name, _ in rule.changes:
        if rule.name != "escalate" or name not in _CHANGES:
            problem = f"`custom.change` names `{name}`, expected {' or '.join(_CHANGES)} of an escalate"
            yield found(problem, "only what people are asked about has a change to try")
    if not rule.gathered:
        yield found(f"`{rule.name}` is no partial set", f"write `{rule.name} contains …`")
    if not (rule.title and rule.description):
        yield found("the rule's METADATA lacks a title or a description", "write both, right above this rule")
    if rule.name in REASON_KINDS and not _is_code_of(module, rule.code):
        topic = module.package.rpartition(".")[2]
        got = f"`{rule.code}`" if rule.code else "nothing"
        yield found(
            f"`custom.code` is {got}, expected `{topic}.` and a name in lower case",
            "without its code the rule gives no reason, and so never fires",
        )


def _is_code_of(module: Module, code: str) -> bool:
    topic, _, name = code.partition(".")
    return topic == module.package.rpartition(".")[2] and re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None


def _duplicate_codes(topics: Iterable[Module]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for module in topics:
        for rule in module.rules:
            place = f"{module.file}:{rule.line}"
            first = seen.setdefault(rule.code, place) if rule.code else place
            if first != place:
                problem, remedy = (
                    f"code `{rule.code}` is also that of {first}",
                    "give each rule a code of its own",
                )
                yield Finding(file=str(module.file), line=rule.line, problem=problem, remedy=remedy)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.file, finding.line or 0, finding.problem))
