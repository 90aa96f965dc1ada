"""What webhooks are sent, in each form: whole, and harmless whatever stands in it."""

import json
import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.announcing import Announcement
from interlock.core.webhook_bodies import MOST_ARGUMENTS_BYTES, AnnouncedCall, Form, body_of
from tests.fakes import NOON

TOLD: dict[str, Any] = {
    "event": "opened",
    "time": "2026-03-01T12:00:00.000000Z",
    "approval_id": "id-2",
    "version": 1,
    "state": "pending",
    "tenant": "acme",
    "agent": "agent-1",
    "user": "ada",
    "tool": "git_commit",
    "priority": 60,
    "codes": ["effects.not_seen_before"],
    "binding_digest": "pZ0WbHXYd1o0f8kLPHl0mW5rVb0B2iE1c0iYtZk1p3Q",
    "edited": False,
    "decision_id": "id-1",
    "open_time": "2026-03-01T12:00:00.000000Z",
    "expire_time": "2026-03-01T13:00:00.000000Z",
    "roles": ["approver"],
    "quorum": 1,
    "answers": 0,
}
OPENED = Announcement(
    key=bytes(16),
    webhook="on-call",
    told=TOLD,
    begun=NOON,
    due=NOON + timedelta(minutes=1),
    attempts=1,
)
COMMIT = AnnouncedCall(
    step_id="", tool="git_commit", arguments={"message": {"concealed": "7f"}, "repo_path": "/srv"}
)
DECEITS = (
    "<!channel>",
    "<!here|all is well>",
    "<@U012345>",
    "<https://evil.example/approve|Approve>",
    "https://evil.example/approve",
    "@channel",
    "`*bold*` _and_ ~not~",
    "``` \n> quoted\n",
    "&lt;!channel&gt;",
    "\u202edone\u2066",
    "\x1b[2K\r\n\x00",
    "\u200b\ufeff\u2028",
)


def body(form: Form, told: dict[str, Any] | None = None, *calls: AnnouncedCall) -> dict[str, Any]:
    """A body, read as JSON."""
    read: dict[str, Any] = json.loads(body_of(replace(OPENED, told=TOLD | (told or {})), form, calls))
    return read


def texts(message: dict[str, Any]) -> list[str]:
    """All text of a message for Slack."""
    return [message["text"], *(block["text"]["text"] for block in message["blocks"])]


def test_the_generic_form() -> None:
    """The form for programs says what happened to which approval, and how to look at it."""
    approval = {name: value for name, value in TOLD.items() if name not in {"event", "time"}}
    assert body("generic") == {
        "delivery_id": "0" * 30,
        "event": "opened",
        "time": "2026-03-01T12:00:00.000000Z",
        "approval": approval,
        "look_with": "interlock approvals show id-2",
    }


def test_the_slack_form() -> None:
    """The form for Slack says the same in blocks, with no button, no link and no action (case 52)."""

    def section(*lines: str) -> dict[str, Any]:
        return {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "\n".join(lines), "verbatim": True},
        }

    assert body("slack", {"edited": True}, COMMIT) == {
        "text": "Approval opened: `git_commit` for agent `agent-1`. Look with `interlock approvals show id-2`",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            section(
                "*Approval opened: `git_commit` for agent `agent-1`*",
                "State `pending`, version 1, priority 60",
                "Tenant `acme`, user `ada`",
                "Reasons `effects.not_seen_before`",
                "Answers 0 of 1, by `approver`",
                "The arguments were changed by an approver",
                "Binding `pZ0WbHXYd1o0f8kLPHl0mW5rVb0B2iE1c0iYtZk1p3Q`",
                "Time is over at `2026-03-01T13:00:00.000000Z`",
            ),
            section(
                "Proposed to `git_commit`:",
                '`"message"`: `{"concealed":"7f"}`',
                '`"repo_path"`: `"/srv"`',
            ),
            section("Look at it, and answer, with `interlock approvals show id-2`"),
        ],
    }


def test_arguments_are_told_as_proposed_and_folded() -> None:
    """Long texts are folded to their ends, with length and digest; what the record conceals is concealed (case 63)."""
    call = replace(COMMIT, arguments={**COMMIT.arguments, "long": ["x" * 10_000]})
    [told] = body("generic", {}, call)["calls"]
    folded = told["proposed_arguments"].pop("long")
    assert told == {
        "step_id": "",
        "tool": "git_commit",
        "proposed_arguments": {"message": {"concealed": "7f"}, "repo_path": "/srv"},
    }
    assert "(folded: 10,000 characters, SHA-256 " in folded[0]["folded"]


def test_arguments_beyond_all_bounds_are_left_out() -> None:
    """However much is proposed, a body stays small, and says that something is left out."""
    call = replace(COMMIT, arguments={f"name-{number}": number for number in range(20_000)})
    [told] = body("generic", {}, call)["calls"]
    assert told["proposed_arguments"]["left_out"]["bytes"] > MOST_ARGUMENTS_BYTES
    assert "which is not shown here" in texts(body("slack", {}, call))[2]


def test_what_a_message_holds_has_bounds() -> None:
    """A plan of many steps, and many reasons, still make a message that Slack takes."""
    steps = [replace(COMMIT, step_id=f"step-{number}") for number in range(100)]
    message = body("slack", {"codes": [f"topic.code_{number}" for number in range(30)]}, *steps)
    assert len(message["blocks"]) <= 50
    assert "60 more calls" in texts(message)
    assert "and 20 more" in texts(message)[1]
    assert body("slack", {"codes": [], "user": ""})


def is_harmless(text: str) -> bool:
    """Nothing in the text acts: all but our own words is in code spans, and escaped."""
    outside = re.sub(r"`[^`\n]+`", "", text)
    hidden = [each for each in text if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"} - {"\n"}]
    return (
        not re.search(r"[<>]|&(?!(?:amp|lt|gt);)", text)
        and not [each for each in hidden if each != "\n"]
        and not re.search(r"[`@_~#/]|https?:", outside)
        and len(text) <= 3_000
    )


def assert_harmless(text: str) -> None:
    call = AnnouncedCall(step_id=text, tool=text, arguments={text: text, "nested": {text: [text]}})
    told = {"tool": text, "agent": text, "user": text, "tenant": text, "codes": [text], "roles": [text]}
    for shown in texts(body("slack", told, call)):
        assert is_harmless(shown), shown


@pytest.mark.parametrize("text", DECEITS, ids=range(len(DECEITS)))
def test_what_others_wrote_is_only_shown(text: str) -> None:
    """No mention, link, format, hidden character or forged line comes of what others wrote (cases 43, 52)."""
    assert_harmless(text)


@given(st.text() | st.lists(st.sampled_from([*DECEITS, "\\", '"', "`", "\n", "&"])).map("".join))
def test_whatever_others_write_is_only_shown(text: str) -> None:
    """The same holds of any text whatever (cases 43, 52)."""
    assert_harmless(text)


@pytest.mark.parametrize("form", ["generic", "slack"])
def test_nothing_in_a_message_answers(form: Form) -> None:
    """A body holds no address, button or action: what fetches all that it finds changes nothing (case 52)."""
    sent = body_of(OPENED, form, [COMMIT]).decode()
    assert "://" not in sent
    assert not {"actions", "button", "url", "accessory"} & set(re.findall(r'"(\w+)"', sent))
