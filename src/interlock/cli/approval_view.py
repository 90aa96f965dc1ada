"""One approval as its approver sees it: from the bytes that were decided, the agent's own words last (case 52)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from interlock.cli.spans import span
from interlock.client import (
    Approval,
    ApprovalCall,
    ApprovalState,
    ApprovedBefore,
    Preview,
    Reason,
    Resolved,
    ShownApproval,
    Verdict,
)
from interlock.core.argument_edits import edits_between
from interlock.core.canonical import UnencodableError, digest_of
from interlock.core.json_pointer import value_at
from interlock.core.named_files import FOUND
from interlock.core.shown_facts import telling_facts
from interlock.core.shown_json import FOLDED, WHOLE, Fold, json_lines, json_remarks
from interlock.core.shown_text import quoted, visible

NOT_THE_BYTES = (
    "the arguments are not the bytes that were decided: nothing of it is shown, and none may approve it"
)

_MOST_DIFFERENCES = 24
_GOAL_CHARACTERS = 320
_CHANGED_CHARACTERS = 100
_MOST_LISTED = 8
_IN = "  "


def problem_of(shown: ShownApproval) -> str:
    """Why it must be neither shown nor approved: the arguments are not what its digest stands for; empty for none.

    The very values that are shown are hashed. Where something is concealed, only the service can tell.
    """
    matching = all(_matches(call.arguments, call.arguments_digest, call.concealed) for call in shown.calls)
    if not shown.calls or not matching:
        return NOT_THE_BYTES
    if shown.calls[0].step_id:
        return ""
    [call] = shown.calls
    digest = shown.approval.arguments_digest
    if not shown.approval.edited:
        return "" if call.arguments_digest == digest else NOT_THE_BYTES
    if shown.edited_arguments is None:
        return (
            "an approver changed the arguments, and the service cannot tell to what: nothing of it is shown"
        )
    return "" if _matches(shown.edited_arguments, digest, call.concealed) else NOT_THE_BYTES


def approval_lines(shown: ShownApproval, now: datetime, *, whole: bool = False) -> Iterator[str]:
    """All that an approver should see, most important first; `whole` unfolds what is long.

    First what would be done: tool, effects, arguments and their digest. Then why a person is asked, and what is known
    of it; last what the agent says. Raises ValueError where `problem_of` tells of one.
    """
    if problem := problem_of(shown):
        raise ValueError(problem)
    fold = WHOLE if whole else FOLDED
    for call in shown.calls:
        yield from _call_lines(call, shown, fold)
    for call in shown.calls:
        yield from _grounds(call, shown)
    yield from _before_lines(shown.approved_before, shown)
    yield from _section("policy now", preview_lines(shown.preview))
    yield from _section("approval", _status_lines(shown.approval, now))
    if shown.goal:
        yield "agent says (not verified)"
        yield _IN + quoted(shown.goal, most=fold.characters if whole else _GOAL_CHARACTERS)


def preview_lines(preview: Preview | None) -> Iterator[str]:
    """What the policy would say if the approval were approved as things are now."""
    if preview is None:
        return
    match preview.verdict:
        case Verdict.ALLOW:
            yield "would allow it, once it is approved"
        case Verdict.DENY:
            yield "says NO, also where it is approved"
        case Verdict.ESCALATE:
            yield "would still ask people, also where it is approved"
    if preview.verdict is not Verdict.ALLOW:
        yield from map(reason_line, preview.reasons)


def outcome_lines(resolved: Resolved) -> Iterator[str]:
    """What came of an answer, and what the policy says of the call now."""
    approval = resolved.approval
    match approval.state, resolved.preview:
        case ApprovalState.APPROVED, Preview(verdict=Verdict.DENY, reasons=reasons):
            yield "approved, but the policy now says no:"
            yield from (f"  {reason_line(reason)}" for reason in reasons)
        case ApprovalState.APPROVED, Preview(verdict=Verdict.ESCALATE, reasons=reasons):
            yield "approved, but the policy still wants people to look:"
            yield from (f"  {reason_line(reason)}" for reason in reasons)
        case ApprovalState.APPROVED, Preview():
            yield "approved: as things are now it is allowed, when its agent asks again"
        case ApprovalState.PENDING, _:
            yield f"{approved_by(approval)} have approved: it still waits for others"
        case state, _:
            yield state.value


def reason_line(reason: Reason) -> str:
    """A reason's code, where it applies, and its rule's text."""
    where = f" at {quoted(reason.path, most=80)}" if reason.path else ""
    return f"{visible(reason.code)}{where}: {visible(reason.message)}"


def changed_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Where two objects differ, and what stands there before and after, one line for each place."""
    edits = edits_between(before, after)
    for edit in edits[:_MOST_DIFFERENCES]:
        path = edit["path"]
        place = quoted(path, most=80) if path else "all of it"
        match edit["change"]:
            case "added":
                yield f"+ {place}: {_short(after, path)}"
            case "removed":
                yield f"- {place}: {_short(before, path)}"
            case _:
                yield f"~ {place}: {_short(before, path)} → {_short(after, path)}"
    if len(edits) > _MOST_DIFFERENCES:
        yield f"… {len(edits) - _MOST_DIFFERENCES:,} more places"


def approved_by(approval: Approval) -> str:
    """How many of those who must have approved, `1/2`."""
    return f"{yeses(approval)}/{approval.quorum}"


def yeses(approval: Approval) -> int:
    """How many people have approved, each counted once."""
    return len({each.approver for each in approval.answers if each.resolution == "approve"})


def _matches(value: Mapping[str, Any], digest: str, concealed: Sequence[str]) -> bool:
    if concealed:
        return True
    try:
        return digest_of(value) == digest
    except UnencodableError:
        return False


def _call_lines(call: ApprovalCall, shown: ShownApproval, fold: Fold) -> Iterator[str]:
    edited = shown.edited_arguments if shown.approval.edited else None
    arguments = call.arguments if edited is None else edited
    digest = call.arguments_digest if edited is None else shown.approval.arguments_digest
    if call.step_id:
        yield f"step       {quoted(call.step_id, most=64)}"
    yield f"tool       {visible(call.tool)}"
    yield f"effects    {visible(', '.join(call.effects)) or 'none that are declared'}"
    lines = json_lines(arguments, fold=fold, concealed=call.concealed)
    yield "arguments" + ("" if edited is None else " (as an approver changed them)")
    yield from (_IN + line for line in lines)
    yield f"digest     {visible(digest)}"
    if fold is not WHOLE and lines != json_lines(arguments, fold=WHOLE, concealed=call.concealed):
        yield "folded     not all of it is shown: `--full` shows it"
    yield from _section("look closely", json_remarks(arguments))
    if edited is not None:
        yield from _section("changed by the approver", changed_lines(call.arguments, edited))


def _grounds(call: ApprovalCall, shown: ShownApproval) -> Iterator[str]:
    reasons = call.reasons or (() if call.step_id else shown.approval.reasons)
    of = f" (step {quoted(call.step_id, most=64)})" if call.step_id else ""
    yield from _section(f"why{of}", _reason_lines(reasons))
    facts = telling_facts(call.facts, [reason.code for reason in reasons])
    yield from _section(f"measured{of}", (f"{visible(name)}: {text}" for name, text in facts))
    yield from _section(f"leads to{of}", map(_destination, call.destinations))
    yield from _section(f"files as they were{of}", map(_file, call.files.items()))


def _file(found: tuple[str, str]) -> str:
    path, what = found
    return f"{quoted(path)}: " + (f"{what}: {FOUND[what]}" if what in FOUND else f"SHA-256 {visible(what)}")


def _reason_lines(reasons: Iterable[Reason]) -> Iterator[str]:
    for reason in reasons:
        yield reason_line(reason)
        if reason.metadata:
            yield _IN + ", ".join(
                f"{visible(name)} {_value(value)}" for name, value in reason.metadata.items()
            )


def _destination(destination: Mapping[str, Any]) -> str:
    named = str(destination.get("path", ""))
    told = [f"{name} {_value(destination[name])}" for name in ("root", "problem") if destination.get(name)]
    where = quoted(str(destination.get("canonical", "")))
    extra = f" ({', '.join(told)})" if told else ""
    return f"{quoted(named, most=80) if named else 'the call'}: {where}{extra}"


def _before_lines(before: ApprovedBefore | None, shown: ShownApproval) -> Iterator[str]:
    if before is None or len(shown.calls) != 1:
        return
    now = shown.edited_arguments if shown.edited_arguments is not None else shown.calls[0].arguments
    changed = list(changed_lines(before.arguments, now)) or ["nothing: the arguments are the same"]
    yield from _section(
        f"other than in approval {visible(before.approval_id)}, the last of its like that was approved,"
        f" {before.resolve_time:%Y-%m-%d %H:%M} UTC",
        changed,
    )


def _status_lines(approval: Approval, now: datetime) -> Iterator[str]:
    yield f"{visible(approval.approval_id)}, version {approval.version}: {approval.state.value}"
    yield f"binding {visible(approval.binding_digest)}"
    user = f" for user {quoted(approval.user)}" if approval.user else ""
    yield f"proposed by agent {quoted(approval.agent)}{user} in session {quoted(approval.session_id)}"
    left = (approval.expire_time - now).total_seconds()
    ends = f"ends in {span(left)}" if left > 0 else "its time is over"
    yield f"asked {span((now - approval.open_time).total_seconds())} ago, {ends}, priority {approval.priority}"
    if approval.joined:
        yield f"{approval.joined:,} more proposals of exactly this wait for it"
    yield f"{approved_by(approval)} have approved; may: {visible(', '.join(approval.roles)) or 'nobody'}"
    for answer in approval.answers:
        edited = " with other arguments" if answer.edited else ""
        comment = f": {quoted(answer.comment)}" if answer.comment else ""
        yield f"{quoted(answer.approver)}: {answer.resolution.value}{edited}{comment}"


def _section(name: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield name
        yield from (_IN + line for line in found)


def _short(value: Any, pointer: str) -> str:
    return _value(value_at(value, pointer))


def _value(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return quoted(value, most=_CHANGED_CHARACTERS)
    if isinstance(value, list) and len(value) <= _MOST_LISTED and not any(map(_holds_others, value)):
        return "[" + ", ".join(map(_value, value)) + "]"
    [line] = json_lines(value, fold=Fold(lines=1, characters=_CHANGED_CHARACTERS))
    return line


def _holds_others(value: Any) -> bool:
    return isinstance(value, dict | list)
