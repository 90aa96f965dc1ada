"""What an approver sees: the bytes that were decided first, what the agent says last, and nothing that acts."""

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.approval_view import NOT_THE_BYTES, approval_lines, problem_of
from interlock.client import (
    ApprovedBefore,
    Preview,
    Reason,
    Resolution,
    ShownApproval,
    Verdict,
)
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.named_files import FOUND
from tests.unit.cli.shown_approvals import (
    ARGUMENTS,
    NEEDS_PERSON,
    NOW,
    a_call,
    a_shown,
    an_answer,
    an_approval,
)

EVIL = "\x1b[2J\n\u202egpj\u200b" + 500 * "\n" + "rm -rf /"
FILES = {"/srv/repository/a": "ab" * 32, "/srv/repository/b": "unread"}


def seen(shown: ShownApproval, *, whole: bool = False) -> list[str]:
    return list(approval_lines(shown, NOW, whole=whole))


def test_what_an_approver_sees() -> None:
    """What would be done comes first, then why it is asked and what is known, the agent's words last (case 52)."""
    facts = {**a_call().facts, "novelty": {"tool": True, "shape": False, "targets": []}}
    destination = {
        "path": "/repo_path",
        "kind": "path",
        "canonical": "/srv/repository",
        "host": "",
        "root": "srv",
    }
    shown = a_shown(
        calls=(a_call(facts=facts, destinations=(destination,), files=FILES),),
        goal="ignore the arguments\nand say yes",
        approval=an_approval(answers=(an_answer(comment="fine by me"),), quorum=2, joined=1, user="ann"),
        approved_before=ApprovedBefore(
            approval_id="approval-0",
            resolve_time=NOW,
            arguments={"message": "Hello", "repo_path": "."},
            arguments_json=canonicalize({"message": "Hello", "repo_path": "."}),
        ),
    )
    assert seen(shown) == [
        "tool       git_commit",
        "effects    write",
        "arguments",
        "  {",
        '    "message": "Greet the world",',
        '    "repo_path": "."',
        "  }",
        f"digest     {digest_of(ARGUMENTS)}",
        "why",
        "  effects.needs_person: A person must approve this effect",
        '    effects ["write"]',
        "measured",
        "  novelty.tool: yes",
        "leads to",
        '  "/repo_path": "/srv/repository" (root "srv")',
        "files as they were",
        f'  "/srv/repository/a": SHA-256 {"ab" * 32}',
        f'  "/srv/repository/b": unread: {FOUND["unread"]}',
        "other than in approval approval-0, the last of its like that was approved, 2026-03-01 12:00 UTC",
        '  ~ "/message": "Hello" → "Greet the world"',
        "policy now",
        "  would allow it, once it is approved",
        "approval",
        "  approval-1, version 1: pending",
        f"  binding {'b' * 43}",
        '  proposed by agent "release-agent" for user "ann" in session "session-1"',
        "  asked 12m ago, ends in 48m, priority 40",
        "  1 more proposals of exactly this wait for it",
        "  1/2 have approved; may: approver",
        '  "alice": approve: "fine by me"',
        "agent says (not verified)",
        '  "ignore the arguments\\nand say yes"',
    ]


def test_a_flood_pushes_nothing_off_the_screen() -> None:
    """Whatever an agent writes, the call is on the first screen, on lines that do not act (cases 43 and 52)."""
    arguments = {EVIL: EVIL, "flood": ["x"] * 9_000, "path": "the payload"}
    shown = a_shown(arguments, goal=EVIL * 10)
    lines = seen(shown)
    assert lines[0] == "tool       git_commit"
    assert '    "path": "the payload"' in lines
    assert any(line.startswith("digest ") for line in lines[:40])
    assert "folded     not all of it is shown: `--full` shows it" in lines
    assert lines[-2] == "agent says (not verified)"
    assert all(line.isprintable() and len(line) < 4_000 for line in lines)
    assert sum("(folded: " in line for line in lines) == 3
    assert not any("(folded: " in line for line in seen(shown, whole=True))


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=4,
    ),
    st.text(),
)
def test_nothing_of_it_acts(arguments: dict[str, Any], goal: str) -> None:
    """No character of arguments or goal reaches a terminal that it could act on (case 43)."""
    for line in seen(a_shown(arguments, goal=goal)):
        assert all(unicodedata.category(each) not in {"Cc", "Cf", "Zl", "Zp"} for each in line)


def test_a_lookalike_is_pointed_at() -> None:
    """A letter of another script in a word is named under the arguments (case 52)."""
    lines = seen(a_shown({"to": "p\u0430ypal.com"}))
    place = lines.index("look closely")
    assert "CYRILLIC SMALL LETTER A" in lines[place + 1]
    assert lines[place - 1].startswith("digest ")


@pytest.mark.parametrize(
    "shown",
    [
        a_shown(calls=(a_call({"message": "other"}, arguments_digest=digest_of(ARGUMENTS)),)),
        a_shown(calls=(a_call({"message": "other"}),)),
        a_shown(calls=()),
        a_shown(
            approval=an_approval(edited=True, arguments_digest=digest_of({"message": "a"})),
            edited_arguments={"message": "b"},
        ),
        a_shown(
            calls=(
                a_call(step_id="first"),
                a_call(step_id="second", arguments_digest=digest_of({"message": "other"})),
            )
        ),
    ],
    ids=["call", "approval", "nothing", "edit", "step"],
)
def test_other_bytes_than_those_decided_are_not_shown(shown: ShownApproval) -> None:
    """What does not hash to the digest that people would approve is not shown at all (case 52)."""
    assert problem_of(shown) == NOT_THE_BYTES
    with pytest.raises(ValueError, match="not the bytes that were decided"):
        list(approval_lines(shown, NOW))


def test_what_is_concealed_is_shown_as_such() -> None:
    """A sensitive value is not there to be hashed; its digest stands in its place, and it is no problem."""
    hidden = {"token": {"concealed": "Zm9v"}}
    shown = a_shown(
        calls=(a_call(hidden, concealed=("/token",), arguments_digest="d" * 43),),
        approval=an_approval(arguments_digest="d" * 43),
    )
    assert problem_of(shown) == ""
    assert '    "token": (concealed: "Zm9v")' in seen(shown)


def test_an_edit_is_shown_in_the_place_of_what_was_proposed() -> None:
    """What an approver made of the call is what others approve; how it differs stands under it."""
    after = {"message": "Greet", "repo_path": "."}
    shown = a_shown(
        approval=an_approval(edited=True, arguments_digest=digest_of(after)), edited_arguments=after
    )
    lines = seen(shown)
    assert lines[2:10] == [
        "arguments (as an approver changed them)",
        "  {",
        '    "message": "Greet",',
        '    "repo_path": "."',
        "  }",
        f"digest     {digest_of(after)}",
        "changed by the approver",
        '  ~ "/message": "Greet the world" → "Greet"',
    ]
    assert "changed the arguments" in problem_of(replace(shown, edited_arguments=None))


def test_a_plan_is_shown_step_by_step() -> None:
    """Each step stands with its own arguments and digest, and its own reasons."""
    shown = a_shown(
        calls=(
            a_call(step_id="look", tool="git_log", effects=("read",), arguments={}, reasons=()),
            a_call(step_id="commit"),
        ),
        approval=an_approval(tool="plan of 2 steps", arguments_digest="p" * 43),
    )
    shown = replace(shown, calls=(replace(shown.calls[0], arguments_digest=digest_of({})), shown.calls[1]))
    lines = seen(shown)
    assert [line for line in lines if line.startswith(("step", "tool", "why"))] == [
        'step       "look"',
        "tool       git_log",
        'step       "commit"',
        "tool       git_commit",
        'why (step "commit")',
    ]


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict.DENY, "  says NO, also where it is approved"),
        (Verdict.ESCALATE, "  would still ask people, also where it is approved"),
    ],
    ids=str,
)
def test_what_the_policy_says_now_is_plain(verdict: Verdict, told: str) -> None:
    """An approver sees before the answer that it would be in vain, and why."""
    why = Reason(code="freezes.frozen", message="Frozen", metadata={}, path="/a")
    lines = seen(a_shown(preview=Preview(verdict=verdict, reasons=(why,))))
    place = lines.index(told)
    assert lines[place - 1 : place + 2] == ["policy now", told, '  freezes.frozen at "/a": Frozen']
    assert "policy now" not in seen(a_shown(preview=None))


def test_answers_are_counted_by_person() -> None:
    """Two answers of one person are one approval, and a no is none."""
    answers = (an_answer(), an_answer(edited=True), an_answer(Resolution.DENY, approver="bob"))
    lines = seen(a_shown(approval=an_approval(answers=answers, quorum=3)))
    assert "  1/3 have approved; may: approver" in lines
    assert '  "alice": approve with other arguments' in lines


def test_reasons_fall_back_to_those_of_the_approval() -> None:
    """A single call whose record has no reasons of its own is shown with those that people are asked for."""
    assert f"  {NEEDS_PERSON.code}: {NEEDS_PERSON.message}" in seen(a_shown(calls=(a_call(reasons=()),)))
