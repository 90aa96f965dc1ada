"""The page of all reason codes, generated from the METADATA of the rules and from what the service adds."""

from collections.abc import Sequence

from interlock.adapters.policy_rules import REASON_KINDS, Module, Rule
from interlock.core.approving import APPROVAL_CODES
from interlock.core.plan_granting import PLAN_CODES
from interlock.core.reservation import RETRY_AFTER, SHORTFALL_CODES

_HEAD = """\
<!-- Generated from the METADATA of policies/rules by tools/generate_policy_docs.py. Do not edit. -->

# Reason codes

Each decision says why: a stable code for programs, a text for people, metadata, and where it applies the
JSON Pointer of the argument. The codes below are those of the policies that ship. Any deny beats any
escalate, and any escalate beats any allow. A deny without a reason means that no rule spoke for the call.
"""

_SHORTFALLS = f"""\
## What the service denies

A policy's allow asks for reservations, and the service takes all of them or none; and for obligations, which the tool's
gateway must have said that it can meet. Where one cannot be taken or met, the allow becomes a deny with these codes.
`{RETRY_AFTER}` in the metadata says when it may be there; where waiting does not help, it is absent.

| code | verdict | description |
| --- | --- | --- |
"""

_PLANS = f"""\
## What the service says of plans

A plan is allowed as a whole or not at all, and a step that is proposed again must be due, and what was planned.
Where it is not, the policy's allow becomes a deny with these codes. `{RETRY_AFTER}` is as above.

| code | verdict | description |
| --- | --- | --- |
"""

_APPROVALS = """\
## What the service denies of approvals

An escalated decision opens an approval, unless too many wait; and what people approved is granted only while nothing of
it has changed. Else the decision becomes a deny with these codes.

| code | verdict | description |
| --- | --- | --- |
"""

_REFUSALS = """\
## What an approver is told

Whether an approver may give an answer is policy too, in the package `interlock.approval`. These codes are none of a
decision's: they stand in the metadata (`codes`) of the error `APPROVER_NOT_PERMITTED`.

| code | title | description |
| --- | --- | --- |
"""

_APPROVAL_PACKAGE = "data.interlock.approval"

_KIND_NAMES = {"obligation": "obligation", "reserve": "reservation", "withhold": "withheld from lists"}


def render_reason_codes(modules: Sequence[Module]) -> str:
    """The page in Markdown: a section for each topic, with its codes and what else its rules give."""
    topics = sorted((module for module in modules if module.holds_rules), key=lambda module: module.package)
    shortfalls = [_row(f"`{code}`", "deny", meaning) for code, meaning in sorted(SHORTFALL_CODES.items())]
    plans = [
        _row(f"`{code}`", "allow" if code == "plans.allowed" else "deny", meaning)
        for code, meaning in sorted(PLAN_CODES.items())
    ]
    approvals = [_row(f"`{code}`", "deny", meaning) for code, meaning in sorted(APPROVAL_CODES.items())]
    return "\n".join(
        [
            _HEAD,
            *map(_section, topics),
            _SHORTFALLS + "\n".join([*shortfalls, ""]),
            _PLANS + "\n".join([*plans, ""]),
            _APPROVALS + "\n".join([*approvals, ""]),
            _REFUSALS + "\n".join([*_refusals(modules), ""]),
        ]
    )


def _refusals(modules: Sequence[Module]) -> list[str]:
    given = [
        rule
        for module in modules
        if module.package == _APPROVAL_PACKAGE
        for rule in module.rules
        if rule.code
    ]
    return [
        _row(f"`{rule.code}`", rule.title, rule.description)
        for rule in sorted(given, key=lambda rule: rule.code)
    ]


def _section(module: Module) -> str:
    lines = [f"## {module.title}", "", module.description, ""]
    if reasons := [rule for rule in module.rules if rule.name in REASON_KINDS]:
        lines += ["| code | verdict | title | description |", "| --- | --- | --- | --- |"]
        lines += [_reason_row(rule) for rule in sorted(reasons, key=lambda rule: rule.code)]
        lines.append("")
    if others := [rule for rule in module.rules if rule.name in _KIND_NAMES]:
        lines += ["| kind | title | description |", "| --- | --- | --- |"]
        lines += [_row(_KIND_NAMES[rule.name], rule.title, rule.description) for rule in others]
        lines.append("")
    return "\n".join(lines)


def _reason_row(rule: Rule) -> str:
    return _row(f"`{rule.code}`", rule.name, rule.title, rule.description)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
