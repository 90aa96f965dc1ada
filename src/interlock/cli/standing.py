"""interlock approvals standing: what people have said yes to in advance, and taking it back."""

from typing import Annotated

import typer

from interlock.cli.approval_list import json_of
from interlock.cli.options import DEFAULT_ADDRESS, Address, AsJson, CaFile, CredentialFile
from interlock.cli.output import print_json, print_line, print_table
from interlock.cli.service_client import service_client
from interlock.client import StandingApproval
from interlock.core.shown_json import Fold, json_lines

application = typer.Typer(help="What people have said yes to in advance.", no_args_is_help=True)

_SCHEMA = Fold(lines=1, characters=80)
_COLUMNS = (
    *("standing", "agent", "user", "tool", "session", "arguments", "codes", "left", "until"),
    *("given by", "with approval"),
)


@application.callback()
def group() -> None:
    """What people have said yes to in advance."""


@application.command("list")
def list_(
    agent: Annotated[str, typer.Option(help="Only those for calls of this agent.")] = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """List the standing approvals that still hold, newest first; `--json` has their schemas in full."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        found = list(interlock.approvals.standing(agent))
    if as_json:
        print_json([json_of(each) for each in found])
    else:
        print_table(_COLUMNS, map(_row, found))


@application.command()
def revoke(
    standing_id: Annotated[str, typer.Argument(help="The standing approval, as `list` names it.")],
    comment: Annotated[str, typer.Option(help="Why; it goes on record.")] = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a standing approval back: no further call is allowed by it. What it led to stays."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        revoked = interlock.approvals.revoke_standing(standing_id, comment=comment)
    if as_json:
        print_json(json_of(revoked))
    else:
        print_line(f"revoked {revoked.standing_id}: {revoked.tool} by {revoked.agent}")


def told(standing: StandingApproval) -> str:
    """A standing approval that was given, on one line, with how to take it back."""
    return (
        f"standing approval {standing.standing_id}: {standing.remaining} calls like it until"
        f" {standing.expire_time:%Y-%m-%d %H:%M:%S} UTC; `interlock approvals standing revoke` takes it back"
    )


def _row(standing: StandingApproval) -> tuple[object, ...]:
    [schema] = json_lines(standing.arguments_schema, fold=_SCHEMA)
    return (
        standing.standing_id,
        standing.agent,
        standing.user,
        standing.tool,
        standing.session_id or "any",
        schema,
        ", ".join(standing.codes),
        f"{standing.remaining}/{standing.count}",
        standing.expire_time.isoformat(timespec="seconds"),
        ", ".join(standing.approvers),
        standing.approval_id,
    )
