"""interlock keys: the keys that sign execution tokens."""

from typing import Annotated

import typer

from interlock.adapters.signing_key import KeyInfo
from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config, settings_of
from interlock.cli.output import print_json, print_line, print_table
from interlock.compose import keys

application = typer.Typer(help="List and rotate the keys that sign execution tokens.", no_args_is_help=True)


@application.command("list")
def list_(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the keys: which one signs, which one is next, and which ones gateways still verify with."""
    rows = [_fields(key) for key in keys.list_keys(settings_of(config))]
    if as_json:
        print_json(rows)
    else:
        columns = ("kid", "state", "created", "not_before", "retired")
        print_table(columns, ([row[column] or "" for column in columns] for row in rows))


@application.command()
def rotate(
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once", help="Sign with the new key now: tokens are refused until gateways have fetched it."
        ),
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make the next key. It is published now and signs five minutes later; the old one stays published."""
    key = keys.rotate_keys(settings_of(config), at_once=at_once)
    print_line(f"key {key.kid} signs from {key.not_before.isoformat()}")


def _fields(key: KeyInfo) -> dict[str, object]:
    return {
        "kid": key.kid,
        "state": key.state.value,
        "created": key.created.isoformat(),
        "not_before": key.not_before.isoformat(),
        "retired": key.retired.isoformat() if key.retired else None,
    }
