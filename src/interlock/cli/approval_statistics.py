"""interlock approvals stats: which rules are worth people's attention, and what could be changed where they are not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli.approval_view import yeses
from interlock.cli.options import DEFAULT_ADDRESS, Address, AsJson, CaFile, CredentialFile
from interlock.cli.output import print_json, print_line, print_table
from interlock.cli.service_client import service_client
from interlock.cli.spans import seconds_of, span
from interlock.client import Approval, ApprovalState, Resolution
from interlock.compose import policy_tools
from interlock.core.approval_statistics import (
    CodeStatistics,
    Fate,
    Question,
    Tendency,
    statistics_by_code,
)

_COLUMNS = (
    *("reason code", "opened", "approved", "denied", "edited", "expired", "withdrawn", "pending"),
    "median wait",
)
_PAGE = 200
_ENDS = {
    ApprovalState.PENDING: Fate.PENDING,
    ApprovalState.EXPIRED: Fate.EXPIRED,
    ApprovalState.APPROVED: Fate.APPROVED,
    ApprovalState.DENIED: Fate.DENIED,
}
_SAYS = {
    Tendency.ALWAYS_APPROVED: "always approved, as it was asked: it may ask too early, or of what could be allowed",
    Tendency.ALWAYS_DENIED: "always denied: it may as well be a deny, which asks nobody",
}
_NO_CHANGE = (
    "# what the rule compares with, in the policies' data; its METADATA names no change (`custom.change`)"
)
_HOW_TO_TRY = (
    "Before a change decides anything, try it on a copy of the policies: `interlock policy test COPY` runs all of its"
    " tests and golden cases, and `interlock log export --type decision` has the inputs of recorded decisions, to make"
    " further cases of."
)


def stats(
    since: Annotated[
        str, typer.Option(help="Only what was opened in the last `7d`, `12h`, ...; all unless given.")
    ] = "",
    least: Annotated[int, typer.Option(help="So many answers, all the same, make an always.", min=1)] = 10,
    policies: Annotated[
        Path, typer.Option(help="Folder of the policies, whose rules name the changes to try.")
    ] = Path("policies"),
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Count what people answered for each reason code, and suggest what to change where it is always the same."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        start = datetime.now(UTC) - timedelta(seconds=seconds_of(since)) if since else None
        newest_first = interlock.approvals.list(page_size=_PAGE)
        counted = statistics_by_code(questions(newest_first, start))
    always = {each.code: tendency for each in counted if (tendency := each.tendency(least))}
    changes = policy_tools.changes(policies) if always and policies.is_dir() else {}
    suggested = {code: changes.get(code, {}).get(tendency.value, "") for code, tendency in always.items()}
    if as_json:
        print_json([_as_json(each, always.get(each.code), suggested.get(each.code)) for each in counted])
        return
    print_table(_COLUMNS, map(_row, counted))
    for line in suggestion_lines(counted, always, suggested):
        print_line(line)


def questions(newest_first: Iterable[Approval], start: datetime | None) -> Iterator[Question]:
    """The approvals that were opened from `start` on, as they count."""
    return map(question_of, takewhile(lambda each: start is None or each.open_time >= start, newest_first))


def question_of(approval: Approval) -> Question:
    """An approval as it counts: by what people answered, and only where they did not by how it ended."""
    denials = [each.time for each in approval.answers if each.resolution is Resolution.DENY]
    approvals = [each.time for each in approval.answers if each.resolution is Resolution.APPROVE]
    fate, settled = _ENDS.get(approval.state, Fate.WITHDRAWN), None
    if denials:
        fate, settled = Fate.DENIED, denials[-1]
    elif approvals and (fate is Fate.APPROVED or yeses(approval) >= approval.quorum):
        fate, settled = Fate.APPROVED, approvals[-1]
    return Question(
        codes=tuple(reason.code for reason in approval.reasons),
        fate=fate,
        edited=approval.edited,
        wait_seconds=None if settled is None else (settled - approval.open_time).total_seconds(),
    )


def suggestion_lines(
    counted: Sequence[CodeStatistics], always: Mapping[str, Tendency], suggested: Mapping[str, str]
) -> Iterator[str]:
    """For each code that is always answered alike: what that says, and the change to try."""
    for each in counted:
        if (tendency := always.get(each.code)) is None:
            continue
        yield ""
        yield f"{each.code}: {each.answered} of {each.answered} {_SAYS[tendency]}. To try:"
        yield from (f"    {line}" for line in (suggested[each.code] or _NO_CHANGE).splitlines())
    if always:
        yield ""
        yield _HOW_TO_TRY


def _row(each: CodeStatistics) -> tuple[object, ...]:
    wait = each.median_wait_seconds
    return (
        *(each.code, each.opened, each.approved, each.denied, each.edited),
        *(each.expired, each.withdrawn, each.pending, "" if wait is None else span(wait)),
    )


def _as_json(each: CodeStatistics, tendency: Tendency | None, change: str | None) -> dict[str, Any]:
    return asdict(each) | {
        "tendency": tendency.value if tendency else None,
        "suggested_change": change or None,
    }
