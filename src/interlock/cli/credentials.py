"""interlock credentials: give, list and revoke the credentials of all who call, and of people who approve."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    refuse_existing,
    settings_of,
    write_secret,
)
from interlock.cli.output import print_json, print_line, print_table
from interlock.compose import credentials
from interlock.core.identity import CallerKind, Credential

application = typer.Typer(help="Give, list and revoke credentials.", no_args_is_help=True)


@application.command()
def create(
    kind: Annotated[CallerKind, typer.Option(help="What the credential is for.")],
    name: Annotated[
        str,
        typer.Option(
            help="Whom it names; for a gateway, the `name` of its settings; for a user or an approver, the person."
        ),
    ],
    tenant: Annotated[str, typer.Option(help="Whose it is.")],
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="A role of an agent or an approver, may be given again: `delegate-of-NAME` of an approver who acts "
            "for somebody; or `every-tenant` of an operator."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the credential to this new file (mode 0600) instead of showing it."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Give a new credential. It is shown this once and kept nowhere; the store has a hash only."""
    refuse_existing(output)
    credential, text = credentials.create_credential(
        settings_of(config), kind=kind, name=name, tenant=tenant, roles=role or []
    )
    if output:
        write_secret(output, text)
    shown = _fields(credential) | ({"file": str(output)} if output else {"credential": text})
    if as_json:
        print_json(shown)
    elif output:
        print_line(f"the credential of {kind} `{name}` is in {output}")
    else:
        print_line(text)


@application.command("list")
def list_(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the credentials, also revoked ones; their secrets are not known here."""
    rows = [_fields(credential) for credential in credentials.list_credentials(settings_of(config))]
    if as_json:
        print_json(rows)
    else:
        columns = ("credential_id", "kind", "tenant", "name", "roles", "create_time", "revoke_time")
        print_table(columns, ([row[column] or "" for column in columns] for row in rows))


@application.command()
def revoke(credential_id: str, config: Config = DEFAULT_CONFIG) -> None:
    """End a credential; a running service refuses it within a second."""
    credentials.revoke_credential(settings_of(config), credential_id)
    print_line(f"credential {credential_id} is revoked")


def _fields(credential: Credential) -> dict[str, object]:
    caller = credential.caller
    return {
        "credential_id": caller.credential_id,
        "kind": caller.kind.value,
        "tenant": caller.tenant,
        "name": caller.name,
        "roles": list(caller.roles),
        "create_time": credential.create_time.isoformat(),
        "revoke_time": credential.revoke_time.isoformat() if credential.revoke_time else None,
    }
