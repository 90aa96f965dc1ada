"""interlock executions: what a gateway did, and what it does not know that it did."""

from typing import Annotated

import typer

from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config, settings_of
from interlock.cli.output import print_json, print_table
from interlock.compose.executions import list_executions
from interlock.core.execution import Execution
from interlock.core.outcome import OutcomeKind

application = typer.Typer(help="What this machine's gateway did.", no_args_is_help=True)


@application.callback()
def group() -> None:
    """What this machine's gateway did."""


@application.command("list")
def list_(
    outcome: Annotated[OutcomeKind | None, typer.Option(help="Only executions that ended so.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List executions, newest first. One of outcome `unknown` may have run, and never runs again by itself."""
    rows = [_fields(execution) for execution in list_executions(settings_of(config), outcome, limit)]
    if as_json:
        print_json(rows)
    else:
        columns = ("execution_id", "tool", "outcome", "refusal", "start_time", "decision_id", "delivery")
        print_table(columns, ([row[column] or "" for column in columns] for row in rows))


def _fields(execution: Execution) -> dict[str, object]:
    return {
        "execution_id": execution.execution_id,
        "decision_id": execution.decision_id,
        "token_id": execution.token_id,
        "tool": execution.tool,
        "outcome": execution.kind.value if execution.kind else "running",
        "refusal": execution.refusal,
        "result_digest": execution.result_digest,
        "start_time": execution.start_time.isoformat(),
        "end_time": execution.end_time.isoformat() if execution.end_time else None,
        "delivery": execution.delivery,
    }
