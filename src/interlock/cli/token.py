"""interlock token: look at an execution token."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.options import DEFAULT_CONFIG, Config, read_secret, settings_of
from interlock.cli.output import print_json
from interlock.compose import tokens

application = typer.Typer(help="Look at an execution token, or verify it.", no_args_is_help=True)

TokenFile = Annotated[Path, typer.Argument(help="File with the token, or `-` for standard input.")]


@application.command()
def inspect(token_file: TokenFile = Path("-")) -> None:
    """Show what a token says, as JSON, WITHOUT verifying that anybody signed it."""
    print_json(tokens.inspect_token(read_secret(token_file, name="token", environment=None)))


@application.command()
def verify(token_file: TokenFile = Path("-"), config: Config = DEFAULT_CONFIG) -> None:
    """Verify a token as the gateway of these settings would now, and show its claims as JSON."""
    text = read_secret(token_file, name="token", environment=None)
    print_json(tokens.verify_token(text, settings_of(config)))
