"""Approvals in a list: similar ones together, each with its own name and digest, on lines that fit."""

from dataclasses import replace
from datetime import timedelta

from interlock.cli.approval_list import grouped, json_of, list_lines, one_line
from interlock.client import ApprovalState
from interlock.core.canonical import digest_of
from tests.unit.cli.shown_approvals import ARGUMENTS, NEEDS_PERSON, NOW, a_shown, an_answer, an_approval

DIGEST = digest_of(ARGUMENTS)[:12]


def test_what_waits_is_listed() -> None:
    """Those of one group stand under their number at the place of the most urgent, each with its name (case 53)."""
    first = an_approval(approval_id="a-1", priority=90, user="ann", answers=(an_answer(),), quorum=2)
    other = an_approval(approval_id="b-1", priority=70, group="h" * 32, tool="send_money")
    second = an_approval(approval_id="a-2", arguments_digest="d" * 43, reasons=(NEEDS_PERSON, NEEDS_PERSON))
    assert list(list_lines([first, other, second], NOW)) == [
        "priority  age  expires in  approved  version  state       approval",
        "2 alike:",
        "      90  12m         48m       1/2        1  pending     a-1",
        f"          git_commit by release-agent for ann: effects.needs_person; digest {DIGEST}",
        "      40  12m         48m       0/1        1  pending     a-2",
        "          git_commit by release-agent: effects.needs_person; digest dddddddddddd",
        "      70  12m         48m       0/1        1  pending     b-1",
        f"          send_money by release-agent: effects.needs_person; digest {DIGEST}",
    ]


def test_what_is_over_has_no_time_left() -> None:
    """What was answered and used, or ended, waits for nothing."""
    used = an_approval(state=ApprovalState.APPROVED, used_by="decision-2")
    lines = list(list_lines([used, replace(used, state=ApprovalState.EXPIRED, used_by="", group="")], NOW))
    assert lines[1] == "      40  12m                   0/1        1  used        approval-1"
    assert lines[3] == "      40  12m                   0/1        1  expired     approval-1"


def test_states_are_not_mixed_in_a_group() -> None:
    """Similar approvals of which one is over are no group: one look cannot answer both."""
    over = an_approval(state=ApprovalState.DENIED)
    assert grouped([an_approval(), over, an_approval()]) == [[an_approval(), an_approval()], [over]]


def test_who_watches_sees_one_line() -> None:
    """A line says when it came, what it is about, and how long there is."""
    assert one_line(an_approval(expire_time=NOW + timedelta(hours=3)), NOW) == (
        "12:00:00  approval-1  priority 40, 3h left"
        f"  git_commit by release-agent: effects.needs_person; digest {DIGEST}"
    )


def test_json_has_times_and_values_but_no_bytes() -> None:
    """A program gets ISO 8601 and the arguments as values; their bytes are those, in canonical form."""
    told = json_of(a_shown())
    assert told["approval"]["open_time"] == "2026-03-01T11:48:00+00:00"
    assert told["calls"][0]["arguments"] == ARGUMENTS
    assert "arguments_json" not in told["calls"][0]
