"""The `interlock` command. Each verb is in the file of its name; a verb parses, prints, and calls compose or client."""

import logging
import sys

import typer

from interlock.cli import (
    approvals,
    call,
    catalog,
    credentials,
    doctor,
    executions,
    freeze,
    gateway,
    keys,
    log,
    policy,
    run,
    session,
    token,
)
from interlock.cli.output import say_why
from interlock.compose.service_log import configure_logging

application = typer.Typer(
    name="interlock",
    help="A policy-as-code control plane between AI agents and the infrastructure that they act on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
STOPPING = (freeze.freeze, freeze.unfreeze, freeze.freezes)
for verb in (run.up, run.serve, call.decide, call.execute, *STOPPING, doctor.doctor):
    application.command()(verb)
for group in (gateway, credentials, catalog, keys, token, log, session, executions, approvals, policy):
    application.add_typer(group.application, name=group.__name__.rpartition(".")[2])


def main() -> None:
    """Entry point of the command. An error that a person can mend is told in its own words, without a traceback."""
    configure_logging(logging.ERROR)
    try:
        application()
    except Exception as error:
        from interlock.compose.user_errors import USER_ERRORS  # noqa: PLC0415 - it loads every adapter

        if not isinstance(error, USER_ERRORS):
            raise
        say_why(error)
        sys.exit(1)
