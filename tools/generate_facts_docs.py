"""Writes `docs/facts.md` from the types of `input.facts` and what each field's `Fact` says."""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from typing_extensions import get_type_hints, is_typeddict  # that make typing_extensions.TypedDict

from interlock.core.facts import Fact, FactsInput

PAGE = Path("docs/facts.md")

HEAD = """\
<!-- Generated from src/interlock/core/facts.py by tools/generate_facts_docs.py. Do not edit. -->

# Facts

What the service measured of a proposal, for who writes policies. It is in `input.facts`, whole, in every proposal:
no field is ever absent. The service measures, and the policy decides: what is too much stands in
`policies/limits/data.yaml`, and what then happens in a rule ([reason codes](reason-codes.md) lists those that ship).

`{session,agent}` stands for one or the other, and `[_]` for each element of a list.

A proposal is counted once, however often its request is sent, and this proposal is counted too. Everything is counted
for one tenant; a session belongs to one agent, and other agents' sessions of the same name are other sessions. Windows
move with the service's clock, and never back.

The examples are rules, less the METADATA that every rule needs, in a package such as `interlock.rules.mine` with
`import data.interlock.reasons`. In `not`, compare with `==` only, or put the condition into a rule of its own: a
comparison with a field that is absent makes the whole rule undefined, and its deny would vanish.
"""

EXAMPLES: Mapping[str, str] = {
    "violations": """\
# A model that invents arguments should be told so.
escalate contains reason if {
	some violation in input.facts.violations
	violation.rule == "additionalProperties"
	reason := reasons.from_rule_at(rego.metadata.chain(), {}, violation.path)
}
""",
    "loops": """\
# Writing the same again, while the last time did not change the answer.
deny contains reason if {
	"write" in input.tool.effects
	input.facts.loops.session.same_call_same_result >= 2
	reason := reasons.from_rule(rego.metadata.chain(), {})
}
""",
    "retries": """\
# Of what the tenant's agents try with this tool, a third fails: nobody may pay now.
deny contains reason if {
	"pay" in input.tool.effects
	input.facts.retries.tool.first_attempts >= 30
	input.facts.retries.tool.failed_ratio > 0.33
	reason := reasons.from_rule(rego.metadata.chain(), {"retry_after_seconds": 300})
}
""",
    "breaker": """\
# A tool that broke down again and again is tried by a person.
escalate contains reason if {
	input.facts.breaker.state == "half_open"
	input.facts.breaker.opened > 3
	reason := reasons.from_rule(rego.metadata.chain(), {"opened": input.facts.breaker.opened})
}
""",
    "spend": """\
# A session whose models used a million tokens.
escalate contains reason if {
	input.facts.spend.model_tokens > 1000000
	reason := reasons.from_rule(rego.metadata.chain(), {})
}
""",
    "context": """\
# Who has read something untrusted runs nothing.
deny contains reason if {
	"execute" in input.tool.effects
	input.facts.context.untrusted_since_step > 0
	reason := reasons.from_rule(rego.metadata.chain(), {"sources": input.facts.context.untrusted_sources})
}
""",
    "provenance": """\
# Money goes where the goal says, and nowhere else.
deny contains reason if {
	"pay" in input.tool.effects
	some argument in input.facts.provenance
	argument.kind == "recipient"
	argument.source != "goal"
	reason := reasons.from_rule_at(rego.metadata.chain(), {"source": argument.source}, argument.path)
}
""",
    "provenance_unlisted": """\
# So many arguments that nobody can say where they came from.
deny contains reason if {
	"send" in input.tool.effects
	input.facts.provenance_unlisted > 0
	reason := reasons.from_rule(rego.metadata.chain(), {})
}
""",
    "novelty": """\
# The first mail to somebody is looked at by a person.
escalate contains reason if {
	"send" in input.tool.effects
	some target in input.facts.novelty.targets
	target.kind == "recipient"
	target.first
	reason := reasons.from_rule_at(rego.metadata.chain(), {}, target.path)
}
""",
    "freezes": """\
# While anything is frozen, nothing is deleted without a person.
escalate contains reason if {
	"delete" in input.tool.effects
	count(input.facts.freezes) > 0
	reason := reasons.from_rule(rego.metadata.chain(), {})
}
""",
    "standing": """\
# What people said yes to for an hour does not reach into a session that has read untrusted text since.
deny contains reason if {
	some standing in input.facts.standing
	input.facts.context.untrusted_since_step > 0
	reason := reasons.from_rule(rego.metadata.chain(), {"standing_id": standing.standing_id})
}
""",
}
"""A rule for each topic of the facts. A test has opa check them against the schema of the input."""

_TYPES: Mapping[object, str] = {
    int: "whole number",
    float: "number",
    bool: "boolean",
    str: "text",
    list[str]: "list of texts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fact as the page tells it; `path` is below `input.facts`."""

    path: str
    type: str
    fact: Fact


def render() -> str:
    """The page in Markdown. Raises TypeError: a field has no `Fact`, or a topic no example."""
    topics = get_type_hints(FactsInput, include_extras=True)
    return "\n".join([HEAD, *(_section(topic, hint) for topic, hint in topics.items())])


def rows(path: str, hint: Any) -> Iterator[Row]:
    """What there is to tell of a field and of what is inside it. Raises TypeError."""
    if is_typeddict(hint):
        yield from _members(path, hint)
    elif get_origin(hint) is list:
        yield from rows(f"{path}[_]", *get_args(hint))
    elif get_origin(hint) is Annotated:
        yield _row(path, *get_args(hint))
    else:
        raise TypeError(f"`{path}` says nothing of what it means")


def main() -> None:
    """Write the page, in place of what was there."""
    root = Path(__file__).resolve().parent.parent
    (root / PAGE).write_text(render(), encoding="utf-8")


def _members(path: str, hint: Any) -> Iterator[Row]:
    """Members of one type are told once: `{session,agent}`."""
    alike: dict[Any, list[str]] = {}
    for name, member in get_type_hints(hint, include_extras=True).items():
        alike.setdefault(member if is_typeddict(member) else name, []).append(name)
    for names in alike.values():
        together = names[0] if len(names) == 1 else "{" + ",".join(names) + "}"
        yield from rows(f"{path}.{together}", get_type_hints(hint, include_extras=True)[names[0]])


def _row(path: str, hint: Any, *metadata: Any) -> Row:
    fact = next((said for said in metadata if isinstance(said, Fact)), None)
    if fact is None:
        raise TypeError(f"`{path}` says nothing of what it means")
    words = get_args(hint) if get_origin(hint) is Literal else ()
    return Row(path=path, type=", ".join(f"`{word}`" for word in words) or _TYPES[hint], fact=fact)


def _section(topic: str, hint: Any) -> str:
    if topic not in EXAMPLES:
        raise TypeError(f"`{topic}` has no example of a rule")
    told = next((inner for inner in (hint, *get_args(hint)) if is_typeddict(inner)), None)
    lines = [f"## {topic}", "", *([inspect.cleandoc(told.__doc__ or ""), ""] if told else [])]
    lines += ["| fact | type | meaning | unit | window | example |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [_line(row) for row in rows(topic, hint)]
    return "\n".join([*lines, "", "```rego", EXAMPLES[topic] + "```", ""])


def _line(row: Row) -> str:
    fact = row.fact
    cells = (f"`{row.path}`", row.type, fact.meaning, fact.unit, fact.window, f"`{json.dumps(fact.example)}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
