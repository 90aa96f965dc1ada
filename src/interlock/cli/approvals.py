"""interlock approvals: what waits for people is listed, shown and answered."""

import contextlib
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import approval_statistics, standing
from interlock.cli.approval_list import json_of, list_lines, one_line
from interlock.cli.approval_view import approval_lines, changed_lines, outcome_lines, problem_of
from interlock.cli.asking import confirm, edited, read_object
from interlock.cli.options import DEFAULT_ADDRESS, Address, AsJson, CaFile, CredentialFile
from interlock.cli.output import fail, print_json, print_json_line, print_line, say_why
from interlock.cli.service_client import service_client
from interlock.cli.spans import seconds_of, span
from interlock.client import (
    Approval,
    ApprovalState,
    Interlock,
    InterlockCallError,
    Resolution,
    Resolved,
    ShownApproval,
    StandingTerms,
)
from interlock.core.shown_json import json_remarks

application = typer.Typer(help="Answer what waits for people.", no_args_is_help=True)
application.add_typer(standing.application, name="standing")

MOST_IN_A_PAGE = 200
_AWAY = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}

Id = Annotated[str, typer.Argument(help="The approval, as `interlock approvals list` names it.")]
Comment = Annotated[str, typer.Option(help="Why; it goes on record.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: you have seen what it is.")]
Full = Annotated[bool, typer.Option("--full", help="Show long values whole.")]


@application.callback()
def group() -> None:
    """Answer what waits for people."""


@application.command("list")
def list_(
    state: Annotated[ApprovalState, typer.Option(help="Only those in this state.")] = ApprovalState.PENDING,
    everything: Annotated[bool, typer.Option("--all", help="Those in any state, newest first.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 200,
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """List approvals: those that wait, the most urgent first; similar ones stand together."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        listed = interlock.approvals.list(None if everything else state, page_size=min(limit, MOST_IN_A_PAGE))
        found = list(islice(listed, limit + 1))
    if as_json:
        print_json([json_of(each) for each in found[:limit]])
        return
    _print_lines(list_lines(found[:limit], datetime.now(UTC)))
    if len(found) > limit:
        print_line(f"there are more than {limit}: `--limit` lists more")


@application.command()
def show(
    approval_id: Id,
    full: Full = False,
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits for an answer: the exact call first, what the agent says of it last."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        shown = _genuine(interlock, approval_id)
    if as_json:
        print_json(json_of(shown))
    else:
        _print_lines(approval_lines(shown, datetime.now(UTC), whole=full))


@application.command()
def approve(
    approval_id: Id,
    comment: Comment = "",
    yes: Yes = False,
    full: Full = False,
    for_the_like: Annotated[
        Path | None,
        typer.Option(
            help="Approve the like of it too: what this JSON Schema of the arguments (a file) allows."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="So many calls of the like.", min=1, max=1000)] = 1,
    life: Annotated[
        str, typer.Option("--for", help="For so long, such as `15m` or `1h`; at most `24h`.")
    ] = "1h",
    this_session: Annotated[
        bool, typer.Option("--this-session", help="The like in the session of this call only.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the call, ask, and say yes to exactly what was shown.

    It is decided again then, and what the policy says of it now is told.
    """
    _refuse_unseen(yes=yes, as_json=as_json)
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        like = None if for_the_like is None else _terms(for_the_like, count, life, this_session=this_session)
        shown = _genuine(interlock, approval_id)
        if not as_json:
            _print_lines(approval_lines(shown, datetime.now(UTC), whole=full))
        confirm(_question(shown, like), yes=yes)
        resolved = interlock.approvals.resolve(shown, Resolution.APPROVE, comment=comment, standing=like)
    _print_resolved(resolved, as_json=as_json)


@application.command()
def deny(
    approval_id: Id,
    comment: Comment = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Say no. It holds against a yes of somebody else, until a decision was made with that."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        shown = interlock.approvals.get(approval_id)
        resolved = interlock.approvals.resolve(shown, Resolution.DENY, comment=comment)
    _print_resolved(resolved, as_json=as_json)


@application.command()
def edit(
    approval_id: Id,
    arguments: Annotated[
        Path | None,
        typer.Option(help="File with the arguments, a JSON object, or `-`; else EDITOR is opened on them."),
    ] = None,
    comment: Comment = "",
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Change the arguments of a call, see the difference, and approve the changed call.

    It is checked and decided as if it had been proposed so. A value that is concealed stays as it is where
    {"concealed": ...} is left alone.
    """
    _refuse_unseen(yes=yes, as_json=as_json)
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        shown = _genuine(interlock, approval_id)
        before = _arguments(shown)
        after = edited(before) if arguments is None else read_object(arguments)
        if after == before:
            fail("nothing was changed: approve it as it is with `interlock approvals approve`")
        if not as_json:
            print_line(f"tool  {shown.calls[0].tool}")
            _print_lines([*changed_lines(before, after), *json_remarks(after)])
        confirm(f"approve {shown.approval.tool} by {shown.approval.agent} with these arguments?", yes=yes)
        resolved = interlock.approvals.resolve(
            shown, Resolution.APPROVE, comment=comment, edited_arguments=after
        )
    _print_resolved(resolved, as_json=as_json)


@application.command()
def watch(
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 1.0,
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Print a line for each approval that waits, and for each new one as it comes, until it is interrupted.

    Where the service is away for a while, it is asked again.
    """
    known: set[str] = set()
    with (
        contextlib.suppress(KeyboardInterrupt),
        service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock,
    ):
        while True:
            waiting = _waiting(interlock)
            if waiting is not None:
                for each in waiting:
                    if each.approval_id not in known:
                        _print_waiting(each, as_json=as_json)
                known = {each.approval_id for each in waiting}
            time.sleep(every)


def _waiting(interlock: Interlock) -> list[Approval] | None:
    """What waits now; None where the service is away, which is told."""
    try:
        return list(interlock.approvals.list(ApprovalState.PENDING, page_size=MOST_IN_A_PAGE))
    except InterlockCallError as error:
        if error.code not in _AWAY:
            raise
        say_why(error)
        return None


def _refuse_unseen(*, yes: bool, as_json: bool) -> None:
    """Nobody is asked about what is not shown."""
    if as_json and not yes:
        fail("--json shows nothing before it asks: add --yes if you have seen what it is")


def _genuine(interlock: Interlock, approval_id: str) -> ShownApproval:
    """The approval, where what is shown of it is what was decided."""
    shown = interlock.approvals.get(approval_id)
    if problem := problem_of(shown):
        fail(problem)
    return shown


def _arguments(shown: ShownApproval) -> dict[str, Any]:
    """The arguments as they would be approved now."""
    if shown.calls[0].step_id:
        fail("a plan cannot be changed: deny it, so that its agent proposes another one")
    return shown.calls[0].arguments if shown.edited_arguments is None else shown.edited_arguments


def _terms(schema: Path, count: int, life: str, *, this_session: bool) -> StandingTerms:
    return StandingTerms(
        arguments_schema=read_object(schema),
        count=count,
        life_seconds=seconds_of(life),
        this_session=this_session,
    )


def _question(shown: ShownApproval, like: StandingTerms | None) -> str:
    """What is asked last, so that it is on the screen whatever stood above: the tool, and the digest of the call."""
    approval = shown.approval
    also = ""
    if like is not None:
        where = "in this session" if like.this_session else "in any session"
        also = f", and {like.count} like it {where} for {span(like.life_seconds)}"
    return f"approve {approval.tool} by {approval.agent}, digest {approval.arguments_digest}{also}?"


def _print_resolved(resolved: Resolved, *, as_json: bool) -> None:
    if as_json:
        print_json(json_of(resolved))
        return
    _print_lines(outcome_lines(resolved))
    if resolved.standing is not None:
        print_line(standing.told(resolved.standing))


def _print_waiting(approval: Approval, *, as_json: bool) -> None:
    if as_json:
        print_json_line(json_of(approval))
    else:
        print_line(one_line(approval, datetime.now(UTC)))
    sys.stdout.flush()


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print_line(line)


application.command()(approval_statistics.stats)
