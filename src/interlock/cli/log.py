"""interlock log: read and verify the decision log."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config, settings_of
from interlock.cli.output import fail, print_json, print_line, print_table
from interlock.compose import log_reading
from interlock.core.record import Head, Record, RecordType, fields, format_head, parse_head, proposed, told

application = typer.Typer(
    help="Read and verify the decision log of this machine's service.", no_args_is_help=True
)

Type = Annotated[RecordType | None, typer.Option(help="Only records of this type.")]
DecisionId = Annotated[str, typer.Option(help="Only records of this decision.")]
ApprovalId = Annotated[
    str,
    typer.Option(
        "--approval",
        help="Only what is of this approval: decisions that waited for it or weighed it, its changes, their outcomes.",
    ),
]
Tenant = Annotated[str, typer.Option(help="Only records of this tenant.")]
Start = Annotated[int, typer.Option(help="Only from this place on.", min=0)]


@application.command("list")
def list_(
    type: Type = None,
    decision_id: DecisionId = "",
    approval_id: ApprovalId = "",
    tenant: Tenant = "",
    start: Start = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List records, oldest first."""
    settings = settings_of(config)
    if approval_id:
        of_approval = log_reading.read_trail(settings, approval_id, tenant=tenant, start=start)
        found: Iterator[Record] = islice(_matching(of_approval, type, decision_id), limit)
    else:
        found = log_reading.read_records(
            settings, type=type, decision_id=decision_id, tenant=tenant, start=start, limit=limit
        )
    if as_json:
        print_json([fields(record) for record in found])
    else:
        columns = ("index", "time", "type", "tenant", "by", "tool", "what", "why")
        print_table(columns, (_summary(record) for record in found))


@application.command()
def show(log_index: Annotated[int, typer.Argument(min=0)], config: Config = DEFAULT_CONFIG) -> None:
    """Show one record whole, as JSON, with its hashes."""
    found = log_reading.read_records(
        settings_of(config), type=None, decision_id="", tenant="", start=log_index, limit=1
    )
    record = next(found, None)
    if record is None or record.log_index != log_index:
        fail(f"there is no record {log_index}")
    print_json(
        {"record": fields(record), "leaf_hash": record.leaf_hash.hex(), "chain_hash": record.chain_hash.hex()}
    )


@application.command()
def verify(
    expect: Annotated[
        str,
        typer.Option(help="A head noted earlier, `SIZE:HASH`: shows also that nothing was cut off since."),
    ] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Check every record's hash and the chain that binds them; ends with status 1 at any flaw.

    Note the head that it prints somewhere else: with it, `--expect` later finds a log that was cut short or
    written anew, which a log cannot show by itself.
    """
    found = log_reading.verify_log(settings_of(config), _head(expect))
    if as_json:
        flaws = [{"log_index": flaw.log_index, "problem": flaw.problem} for flaw in found.flaws]
        print_json({"verified": not flaws, "head": format_head(found.head), "flaws": flaws})
    else:
        for flaw in found.flaws:
            print_line(f"record {flaw.log_index} {flaw.problem}")
        print_line(
            f"{'FLAWED' if found.flaws else 'verified'}: {found.head.size} records, head {format_head(found.head)}"
        )
    if found.flaws:
        raise typer.Exit(1)


@application.command()
def export(
    type: Type = None,
    decision_id: DecisionId = "",
    tenant: Tenant = "",
    start: Start = 0,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write records as JSON lines: each line is the exact bytes that the record's leaf hash covers.

    Into a file or a pipe only: in those bytes is what agents wrote, and a terminal could act on it.
    """
    if sys.stdout.isatty():
        fail("`export` writes exact bytes, which a terminal could act on; send them to a file or a pipe")
    for record in log_reading.read_records(
        settings_of(config), type=type, decision_id=decision_id, tenant=tenant, start=start, limit=None
    ):
        sys.stdout.buffer.write(record.content + b"\n")


def _matching(records: Iterable[Record], type: RecordType | None, decision_id: str) -> Iterator[Record]:
    for record in records:
        if type in (None, record.type) and decision_id in ("", record.decision_id):
            yield record


def _head(text: str) -> Head | None:
    try:
        return parse_head(text) if text else None
    except ValueError as error:
        fail(error)


def _summary(record: Record) -> list[object]:
    stated = fields(record)
    tool = stated.get("tool", "") if record.type is RecordType.APPROVAL else proposed(stated)
    what, why = _what(record.type, stated)
    return [
        record.log_index,
        record.timestamp.isoformat(timespec="seconds"),
        record.type.value,
        record.tenant,
        stated.get("requested_by", ""),
        tool,
        what,
        why,
    ]


def _what(type: RecordType, stated: dict[str, Any]) -> tuple[str, str]:
    match type:
        case RecordType.DECISION:
            verdict, reasons = told(stated)
            return verdict, ", ".join(sorted({reason["code"] for reason in reasons}))
        case RecordType.FAILURE:
            return stated["error"]["code"], stated["error"]["message"]
        case RecordType.OUTCOME:
            return stated["outcome"], stated["refusal"]
        case RecordType.POLICY_ACTIVATION:
            return "active", json.dumps(stated["revision"])
        case RecordType.FREEZE:
            return f"{stated['change']}: {stated['scope']} {stated['frozen_name']}".rstrip(), stated[
                "comment"
            ]
        case RecordType.TOOL_DRIFT | RecordType.RECONCILIATION | RecordType.APPROVAL:
            return stated["change"], stated["comment"]
