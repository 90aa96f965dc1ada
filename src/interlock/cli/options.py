"""Options that several verbs share."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.output import fail
from interlock.compose.settings import Settings, load_settings

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="INTERLOCK_CONFIG", help="File of settings (TOML).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Address = Annotated[str, typer.Option(envvar="INTERLOCK_ADDRESS", help="The decision service's host:port.")]
CredentialFile = Annotated[
    Path | None,
    typer.Option("--credential-file", help="File with the credential; else INTERLOCK_CREDENTIAL is read."),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="CA certificate (PEM) that the server's is checked with.")
]

Store = Annotated[
    str,
    typer.Option(
        help="PostgreSQL for the decision log and all state, `postgresql://USER@HOST/DATABASE`, "
        "instead of the settings' `store`."
    ),
]

DEFAULT_CONFIG = Path("interlock.toml")
DEFAULT_ADDRESS = "127.0.0.1:7410"
DEFAULT_GATEWAY = "127.0.0.1:7420"


def settings_of(config: Path, *, store: str = "") -> Settings:
    """The settings, with another store where one is named. Raises SettingsError."""
    return load_settings(config, store=store)


def read_secret(file: Path | None, *, name: str, environment: str | None) -> str:
    """A secret from a file (`-` for standard input) or the environment: never from the command line (case 63)."""
    if file is None and environment:
        return environment
    if file is None:
        fail(f"no {name}: give a file with it, or `-` for standard input")
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"`{file}` cannot be read: {error}")
    return text.strip()


def refuse_existing(file: Path | None) -> None:
    """End where the file is there already, before anything is made that would be lost with it."""
    if file is not None and file.exists():
        fail(f"`{file}` is there already")


def write_secret(file: Path, text: str) -> None:
    """Write a secret to a new file that only this user can read."""
    try:
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(text + "\n")
    except OSError as error:
        fail(f"`{file}` cannot be written: {error.strerror}")
