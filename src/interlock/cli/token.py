"""interlock token: look at an execution token."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.options import DEFAULT_CONFIG, Config, read_secret, settings_of
from interlock.cli.output import fail, print_json
from interlock.compose import tokens
from interlock.compose.settings import SettingsError
from interlock.core.errors import InterlockError

application = typer.Typer(help="Look at an execution token, or verify it.", no_args_is_help=True)

TokenFile = Annotated[Path, typer.Argument(help="File with the token, or `-` for standard input.")]


@application.command()
def inspect(token_file: TokenFile = Path("-")) -> None:
    """Show what a token says, as JSON, WITHOUT verifying that anybody signed it."""
    try:
        print_json(tokens.inspect_token(read_secret(token_file, name="token", environment=None)))
    except InterlockError as error:
        fail(error)


@application.command()
def verify(token_file: TokenFile = Path("-"), config: Config = DEFAULT_CONFIG) -> None:
    """Verify a token as the gateway of these settings would now, and show its claims as JSON."""
    try:
        print_json(
            tokens.verify_token(read_secret(token_file, name="token", environment=None), settings_of(config))
        )
    except (InterlockError, SettingsError, ValueError) as error:
        fail(error)
