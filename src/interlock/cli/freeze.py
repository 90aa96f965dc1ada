"""interlock freeze, unfreeze and freezes: stop agents at once, let them go on, and see what is stopped."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from interlock.cli.options import DEFAULT_ADDRESS, Address, AsJson, CaFile, CredentialFile
from interlock.cli.output import fail, print_fields, print_json, print_table
from interlock.cli.service_client import service_client
from interlock.client import Freeze, FreezeScope

Agent = Annotated[str, typer.Option(help="All that this agent proposes.")]
Tool = Annotated[str, typer.Option(help="Every call of this tool.")]
Tenant = Annotated[
    str,
    typer.Option(
        help="All of this tenant; or with --agent or --tool, whose they are, the operator's own unless named."
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Everything of every tenant.")]
Comment = Annotated[str, typer.Option(help="Why; it goes on record.")]


def freeze(
    agent: Agent = "",
    tool: Tool = "",
    tenant: Tenant = "",
    everything: Everything = False,
    comment: Comment = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Stop an agent, a tool, a tenant or everything, with an operator's credential.

    Nothing of it is allowed from now on, and within two seconds no gateway does what was allowed before. Freezing
    what is frozen changes nothing.
    """
    scope, name = _target(agent=agent, tool=tool, tenant=tenant, everything=everything)
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        standing = interlock.freeze(scope, name, tenant=tenant, comment=comment)
    _show(standing, as_json=as_json)


def unfreeze(
    agent: Agent = "",
    tool: Tool = "",
    tenant: Tenant = "",
    everything: Everything = False,
    comment: Comment = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """End a freeze, named as it was for `freeze`. What was allowed before it stays refused."""
    scope, name = _target(agent=agent, tool=tool, tenant=tenant, everything=everything)
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        ended = interlock.unfreeze(scope, name, tenant=tenant, comment=comment)
    _show(ended, as_json=as_json)


def freezes(
    tenant: Annotated[str, typer.Option(help="Whose; the own tenant unless named.")] = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """List what is frozen, oldest first."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        found = interlock.list_freezes(tenant)
    if as_json:
        print_json([_as_json(each) for each in found])
        return
    columns = ("record", "since", "scope", "tenant", "name", "comment")
    print_table(columns, (_row(each) for each in found))


def _target(*, agent: str, tool: str, tenant: str, everything: bool) -> tuple[FreezeScope, str]:
    """The one thing that is named."""
    named = [
        (scope, name)
        for scope, name in (
            (FreezeScope.AGENT, agent),
            (FreezeScope.TOOL, tool),
            (FreezeScope.ALL, "all" if everything else ""),
        )
        if name
    ] or [(FreezeScope.TENANT, tenant)]
    [(scope, name), *others] = named
    if others or not name or (everything and tenant):
        fail(
            "name one thing: --agent NAME, --tool NAME (each with --tenant NAME if need be), --tenant NAME or --all"
        )
    return scope, name if scope in (FreezeScope.AGENT, FreezeScope.TOOL) else ""


def _show(freeze: Freeze, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(freeze))
        return
    state = "frozen" if freeze.end_time is None else "no longer frozen"
    shown = {
        state: _covered(freeze),
        "since": f"{freeze.start_time:%Y-%m-%d %H:%M:%S} UTC",
        "comment": freeze.comment,
        "record": str(freeze.log_index),
    }
    print_fields({name: value for name, value in shown.items() if value})


def _covered(freeze: Freeze) -> str:
    match freeze.scope:
        case FreezeScope.ALL:
            return "everything of every tenant"
        case FreezeScope.TENANT:
            return f"tenant {freeze.tenant}"
        case _:
            return f"{freeze.scope} {freeze.name} of tenant {freeze.tenant}"


def _row(freeze: Freeze) -> tuple[object, ...]:
    return (
        freeze.log_index,
        freeze.start_time.isoformat(timespec="seconds"),
        freeze.scope,
        freeze.tenant,
        freeze.name,
        freeze.comment,
    )


def _as_json(freeze: Freeze) -> dict[str, Any]:
    return asdict(freeze) | {
        "start_time": freeze.start_time.isoformat(),
        "end_time": None if freeze.end_time is None else freeze.end_time.isoformat(),
    }
