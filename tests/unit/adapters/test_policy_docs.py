"""The page of reason codes."""

from pathlib import PurePosixPath

from interlock.adapters.policy_docs import render_reason_codes
from interlock.adapters.policy_rules import Module, Rule
from interlock.core.reservation import SHORTFALL_CODES


def _rule(name: str, code: str, title: str, description: str) -> Rule:
    return Rule(name=name, line=1, gathered=True, title=title, description=description, code=code)


def _module(topic: str, *rules: Rule) -> Module:
    return Module(
        file=PurePosixPath("rules", topic, f"{topic}.rego"),
        package=f"data.interlock.rules.{topic}",
        line=1,
        title=topic.title(),
        description=f"About {topic}",
        schemas=(),
        rules=rules,
        prints=(),
    )


def test_page_has_a_section_a_topic_and_a_row_a_rule() -> None:
    """Topics and codes are sorted, obligations stand apart, and helper rules are not told."""
    mail = _module(
        "mail",
        _rule("deny", "mail.b", "B", "Second | of two"),
        _rule("escalate", "mail.a", "A", "First"),
        _rule("obligation", "", "Bounded", "In time"),
        _rule("_helper", "", "", ""),
    )
    page = render_reason_codes([mail, _module("calls", _rule("allow", "calls.x", "X", "Only"))])
    assert page[page.index("## ") : page.index("\n## What the service denies")] == (
        "## Calls\n\nAbout calls\n\n"
        "| code | verdict | title | description |\n| --- | --- | --- | --- |\n"
        "| `calls.x` | allow | X | Only |\n"
        "\n## Mail\n\nAbout mail\n\n"
        "| code | verdict | title | description |\n| --- | --- | --- | --- |\n"
        "| `mail.a` | escalate | A | First |\n"
        "| `mail.b` | deny | B | Second \\| of two |\n\n"
        "| kind | title | description |\n| --- | --- | --- |\n"
        "| obligation | Bounded | In time |\n"
    )


def test_page_leaves_out_modules_that_hold_no_rules() -> None:
    """Packages such as the entry point have no reason codes, and so no section."""
    entry = Module(
        file=PurePosixPath("decision/decision.rego"),
        package="data.interlock.decision",
        line=1,
        title="Decision",
        description="d",
        schemas=(),
        rules=(),
        prints=(),
    )
    assert "## Decision" not in render_reason_codes([entry])


def test_page_tells_the_codes_of_the_service() -> None:
    """The reasons that the service gives where a reservation cannot be taken stand in a table of their own."""
    page = render_reason_codes([])
    told = page[page.index("## What the service denies") :]
    assert len(SHORTFALL_CODES) >= 5
    for code, meaning in SHORTFALL_CODES.items():
        assert f"| `{code}` | deny | {meaning} |\n" in told
    assert told.endswith(" |\n")
