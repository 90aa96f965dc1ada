"""interlock decide and execute: what an agent does, by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from interlock.cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_GATEWAY,
    Address,
    AsJson,
    CaFile,
    CredentialFile,
    read_secret,
    refuse_existing,
    write_secret,
)
from interlock.cli.output import fail, print_fields, print_json, print_line, say_why
from interlock.cli.plan import read_plan, split_reference, step_fields, step_lines
from interlock.cli.service_client import service_client, telling_why
from interlock.client import Decision, Execution, Interlock, Outcome, Verdict
from interlock.client.waiting import is_pending

STATUS = {Verdict.ALLOW: 0, Verdict.DENY: 10, Verdict.ESCALATE: 11}
"""Exit status of `decide`, so that a script can tell the verdicts apart."""

Tool = Annotated[str, typer.Argument(help="Name of the tool in the catalog.")]
Arguments = Annotated[
    str, typer.Argument(help="Arguments as a JSON object, or @FILE to read it from a file.")
]


def decide(
    tool: Annotated[
        str | None, typer.Argument(help="Name of the tool in the catalog; none with a plan.")
    ] = None,
    arguments: Arguments = "{}",
    plan: Annotated[
        Path | None, typer.Option(help="Propose the plan in this JSON file: a list of steps.")
    ] = None,
    plan_step: Annotated[
        str, typer.Option(help="The step of an allowed plan that the call is, DECISION_ID/STEP_ID.")
    ] = "",
    goal: Annotated[str, typer.Option(help="What it is for, in words.")] = "",
    session: Annotated[
        str | None, typer.Option(help="Session to propose it in; a new one unless given.")
    ] = None,
    operation: Annotated[
        str, typer.Option(help="Names what the call is an attempt at, the same in each attempt.")
    ] = "",
    request_id: Annotated[str | None, typer.Option(help="Name of the request, to ask for it again.")] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for people where it is escalated.", min=0.0)
    ] = 0.0,
    token_file: Annotated[
        Path | None, typer.Option(help="Write an allow's execution token to this new file (mode 0600).")
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Propose one call, or a plan.

    Ends with status 0 for an allow, 10 for a deny, 11 for an escalate, 1 for an error.
    """
    refuse_existing(token_file)
    if (plan is None) == (tool is None) or (plan and (token_file or plan_step or operation)):
        fail(
            "give either a tool with its arguments, or a plan, whose steps have tokens and operations of their own"
        )
    with service_client(
        address, credential_file=credential_file, ca_file=ca_file, session=session
    ) as interlock:
        if plan is not None:
            decision = interlock.decide_plan(read_plan(plan), goal=goal, request_id=request_id)
        elif plan_step:
            decision = interlock.decide_step(
                *split_reference(plan_step),
                str(tool),
                _arguments(arguments),
                goal=goal,
                operation=operation,
                request_id=request_id,
            )
        else:
            decision = interlock.decide(
                str(tool), _arguments(arguments), goal=goal, operation=operation, request_id=request_id
            )
        if wait and is_pending(decision):
            say_why(_how_to_answer(decision, wait))
            decision = interlock.wait_decision(decision, timeout=wait)
    if token_file and decision.allowed:
        write_secret(token_file, decision.execution_token)
    if as_json:
        print_json(_decision_fields(decision, with_token=token_file is None))
    else:
        _print_decision(decision)
    raise typer.Exit(STATUS[decision.verdict])


def _how_to_answer(decision: Decision, seconds: float) -> str:
    approval_id = decision.approval_id
    return (
        f"waits up to {seconds:g} s for approval {approval_id}; an approver looks at it with `interlock approvals show "
        f"{approval_id}`, and answers with `interlock approvals approve {approval_id}` or `deny`"
    )


def execute(
    tool: Tool,
    arguments: Arguments = "{}",
    token_file: Annotated[
        Path, typer.Option(help="File with the execution token, or `-` for standard input.")
    ] = Path("-"),
    gateway: Annotated[
        str, typer.Option(envvar="INTERLOCK_GATEWAY_ADDRESS", help="The gateway's host:port.")
    ] = DEFAULT_GATEWAY,
    ca_file: CaFile = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the tool.", min=0.1)] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Have a gateway make the call that an execution token permits. Ends with status 1 unless it succeeded."""
    token = read_secret(token_file, name="execution token", environment=None)
    with telling_why(), Interlock(credential=None, gateway=gateway, ca_file=ca_file) as interlock:
        execution = interlock.execute(token, tool, _arguments(arguments), timeout=timeout)
    fields = _execution_fields(execution)
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
    if execution.outcome is not Outcome.SUCCEEDED:
        raise typer.Exit(1)


def _arguments(text: str) -> Mapping[str, Any]:
    data = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the arguments are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TypeError("the arguments must be a JSON object")
    return value


def _decision_fields(decision: Decision, *, with_token: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "request_id": decision.request_id,
        "verdict": decision.verdict.value,
        "reasons": [
            {
                "code": reason.code,
                "message": reason.message,
                "path": reason.path,
                "metadata": dict(reason.metadata),
            }
            for reason in decision.reasons
        ],
        "obligations": [
            {"type": obligation.type, **obligation.parameters} for obligation in decision.obligations
        ],
        "policy_revision": decision.policy_revision,
        "arguments_digest": decision.arguments_digest,
        "log_index": decision.log_index,
    }
    if decision.state_digest:
        fields["state_digest"] = decision.state_digest
    if decision.approval_id:
        fields["approval_id"] = decision.approval_id
    if decision.edited_arguments is not None:
        fields["edited_arguments"] = decision.edited_arguments
    if decision.retry_after is not None:
        fields["retry_after"] = decision.retry_after
    if decision.token_expire_time:
        fields["token_expire_time"] = decision.token_expire_time.isoformat()
    if decision.steps:
        fields["steps"] = [step_fields(step, with_token=with_token) for step in decision.steps]
    if decision.execution_token and with_token:
        fields["execution_token"] = decision.execution_token
    return fields


def _print_decision(decision: Decision) -> None:
    print_line(
        f"{decision.verdict.value.upper()}  decision {decision.decision_id}, record {decision.log_index}"
    )
    for reason in decision.reasons:
        where = f" at {reason.path}" if reason.path else ""
        print_line(f"  {reason.code}{where}: {reason.message}")
        if detail := reason.metadata.get("message"):
            print_line(f"    {detail}")
    if decision.approval_id:
        print_line(f"  waits for approval {decision.approval_id}")
    if decision.edited_arguments is not None:
        edited = orjson.dumps(decision.edited_arguments).decode()
        print_line(f"  an approver changed the arguments; execute it with: {edited}")
    for line in step_lines(decision):
        print_line(line)
    if decision.retry_after is not None:
        print_line(f"  retry after {decision.retry_after:g} s")
    if decision.token_expire_time:
        print_line(f"  the execution token expires at {decision.token_expire_time.isoformat()}")


def _execution_fields(execution: Execution) -> dict[str, Any]:
    return {
        "execution_id": execution.execution_id,
        "outcome": execution.outcome.value,
        "result": execution.result,
        "obligations": {result.type: result.detail for result in execution.obligation_results},
    }
