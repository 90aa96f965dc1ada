"""What a webhook is sent: an announcement as JSON, in a form for programs and in one for Slack (cases 43, 52).

Neither form has a link or a button that answers: who fetches or presses whatever is in a message changes nothing. Both
are made of what the service knows of an approval, and, where that is set, of the arguments as the record has them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from interlock.core.announcing import Announcement
from interlock.core.shown_text import MOST_CHARACTERS, quoted, visible

Form = Literal["generic", "slack"]

MOST_ARGUMENTS_BYTES = 65_536
"""The arguments of one call are left out where they are larger, as JSON and folded."""

_MOST_SECTION = 2_800
"""Slack takes 3,000 characters in a section (docs.slack.dev, section block), with room for a last line."""
_MOST_CALLS = 40
"""Slack takes 50 blocks in a message."""
_MOST_CODES = 10
_SLACK_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedCall:
    """A call that was proposed: `step_id` is empty for a single one, `arguments` are without what is sensitive."""

    step_id: str
    tool: str
    arguments: Mapping[str, Any] = field(repr=False)


def call_of(fields: Mapping[str, Any], step_id: str) -> AnnouncedCall:
    """The call that a decision's record states, its sensitive arguments concealed as they are there."""
    document = fields["input"]
    return AnnouncedCall(step_id=step_id, tool=document["tool"]["name"], arguments=document["arguments"])


def body_of(announcement: Announcement, form: Form, calls: Sequence[AnnouncedCall] = ()) -> bytes:
    """The body, UTF-8: the same in each attempt. `calls` are told where there are any."""
    match form:
        case "generic":
            return orjson.dumps(_generic(announcement, calls))
        case "slack":
            return orjson.dumps(_slack(announcement.told, calls))


def look_with(approval_id: str) -> str:
    """The command that shows an approval."""
    return f"interlock approvals show {approval_id}"


def _generic(announcement: Announcement, calls: Sequence[AnnouncedCall]) -> dict[str, Any]:
    told = dict(announcement.told)
    body = {
        "delivery_id": announcement.delivery_id,
        "event": told.pop("event"),
        "time": told.pop("time"),
        "approval": told,
        "look_with": look_with(told["approval_id"]),
    }
    if calls:
        body["calls"] = [
            {"step_id": call.step_id, "tool": call.tool, "proposed_arguments": _bounded(call.arguments)}
            for call in calls
        ]
    return body


def _bounded(arguments: Mapping[str, Any]) -> Any:
    folded = _folded(arguments)
    size = len(orjson.dumps(folded))
    return folded if size <= MOST_ARGUMENTS_BYTES else {"left_out": {"bytes": size}}


def _folded(value: Any) -> Any:
    """The value with each long text in it folded; a name that is one too."""
    match value:
        case str():
            return value if len(value) <= MOST_CHARACTERS else {"folded": quoted(value)}
        case Mapping():
            return {
                name if len(name) <= MOST_CHARACTERS else quoted(name): _folded(each)
                for name, each in value.items()
            }
        case list() | tuple():
            return [_folded(each) for each in value]
        case _:
            return value


def _slack(told: Mapping[str, Any], calls: Sequence[AnnouncedCall]) -> dict[str, Any]:
    """See docs.slack.dev, "Formatting message text": what others wrote stands in code spans, escaped."""
    title = f"Approval {told['event']}: {_code(told['tool'])} for agent {_code(told['agent'])}"
    return {
        "text": f"{title}. Look with {_code(look_with(told['approval_id']))}",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            _section([f"*{title}*", *_facts(told)]),
            *[_section(_call(call)) for call in calls[:_MOST_CALLS]],
            *([_section([f"{len(calls) - _MOST_CALLS} more calls"])] if len(calls) > _MOST_CALLS else []),
            _section([f"Look at it, and answer, with {_code(look_with(told['approval_id']))}"]),
        ],
    }


def _facts(told: Mapping[str, Any]) -> Iterable[str]:
    yield f"State {_code(told['state'])}, version {told['version']}, priority {told['priority']}"
    yield f"Tenant {_code(told['tenant'])}" + (f", user {_code(told['user'])}" if told["user"] else "")
    yield f"Reasons {_listed(told['codes'])}"
    yield f"Answers {told['answers']} of {told['quorum']}, by {_listed(told['roles'])}"
    if told["edited"]:
        yield "The arguments were changed by an approver"
    yield f"Binding {_code(told['binding_digest'])}"
    yield f"Time is over at {_code(told['expire_time'])}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_code, names[:_MOST_CODES])) or "none"
    return shown if len(names) <= _MOST_CODES else f"{shown} and {len(names) - _MOST_CODES} more"


def _call(call: AnnouncedCall) -> Iterable[str]:
    step = f"step {_code(call.step_id)}, " if call.step_id else ""
    yield f"Proposed to {step}{_code(call.tool)}:"
    for name, value in call.arguments.items():
        yield f"{_code(quoted(name, most=64))}: {_code(_value(value))}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    text = orjson.dumps(value).decode()
    return visible(text) if len(text) <= MOST_CHARACTERS else quoted(text)


def _section(lines: Iterable[str]) -> dict[str, Any]:
    """A section of as many whole lines as Slack takes. `verbatim`: no links are made of what looks like one."""
    kept: list[str] = []
    left = _MOST_SECTION
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            kept.append("and more, which is not shown here")
            break
        kept.append(line)
    return {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(kept), "verbatim": True}}


def _code(text: str) -> str:
    """The text in a code span, that nothing in it can end: no format, no mention, no link comes of it."""
    safe = visible(text or '""').replace("`", "\\u0060")  # a span of nothing is none
    return f"`{''.join(_SLACK_ESCAPES.get(each, each) for each in safe)}`"
