"""interlock executions: what a gateway did, and what it does not know that it did."""

from typing import Annotated

import typer

from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config, settings_of
from interlock.cli.output import print_json, print_table
from interlock.compose.executions import list_executions, show_execution
from interlock.compose.executions import reconcile as record_finding
from interlock.core.execution import Execution
from interlock.core.outcome import Finding, OutcomeKind

Id = Annotated[str, typer.Argument(help="The execution, as `interlock executions list` names it.")]

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
        columns = (
            "execution_id",
            "tool",
            "outcome",
            "finding",
            "refusal",
            "start_time",
            "decision_id",
            "delivery",
        )
        print_table(columns, ([row[column] or "" for column in columns] for row in rows))


@application.command()
def show(execution_id: Id, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show one execution or refusal, with what a person found of it."""
    _print_one(show_execution(settings_of(config), execution_id), as_json=as_json)


@application.command()
def reconcile(
    execution_id: Id,
    outcome: Annotated[Finding, typer.Option(help="What was found at the tool's own side.")],
    comment: Annotated[str, typer.Option(help="How it was found.")],
    by: Annotated[str, typer.Option(help="Who found it; if not given, who runs this.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say what became of an execution of outcome `unknown`: once, on record, and nothing runs again for it.

    A running gateway reports it within seconds; a step of a plan found `succeeded` makes those after it due.
    """
    found = record_finding(settings_of(config), execution_id, outcome, comment=comment, found_by=by)
    _print_one(found, as_json=as_json)


def _print_one(execution: Execution, *, as_json: bool) -> None:
    fields = _fields(execution)
    if as_json:
        print_json(fields)
    else:
        print_table(("field", "value"), ([name, value] for name, value in fields.items() if value))


def _fields(execution: Execution) -> dict[str, str | None]:
    found = execution.reconciliation
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
        "plan_decision_id": execution.plan_decision_id,
        "plan_step": execution.plan_step,
        "finding": found.finding.value if found else "",
        "found_by": found.found_by if found else "",
        "find_time": found.time.isoformat() if found else None,
        "comment": found.comment if found else "",
    }
