"""Writes `docs/errors.md` from the comments of `proto/interlock/v1/error_reason.proto`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROTO = Path("proto/interlock/v1/error_reason.proto")
PAGE = Path("docs/errors.md")
PREFIX = "ERROR_REASON_"
NEVER_SENT = "UNSPECIFIED"

HEAD = """\
<!-- Generated from proto/interlock/v1/error_reason.proto by tools/generate_error_docs.py. Do not edit. -->

# Errors

An error is no answer: no decision was given, or an execution was not answered for. A deny and an escalate
are answers, and come with status OK; their codes are in [reason-codes.md](reason-codes.md).

Every error is a `google.rpc.Status` with these details:

| detail | when | what it holds |
| --- | --- | --- |
| `ErrorInfo` | always | `reason`, from the table below; `domain` is `interlock`; `metadata` for a program |
| `BadRequest` | a field is wrong | the field's path in the message; behind `#`, the JSON Pointer within its JSON |
| `RetryInfo` | waiting helps | how long to wait at least |

Try `Decide` again on `UNAVAILABLE`, or on `DEADLINE_EXCEEDED` with more time, and with the same `request_id`: a
decision that was made, and whose reply was late or lost, is then given again instead of being made twice.

Of `Execute`, the reasons below say that nothing ran, but for `TOKEN_ALREADY_REDEEMED` (it ran, or began to,
when the token was first presented), `DEADLINE_EXCEEDED` and `INTERNAL`. After these three, and after an error
without a reason, look for the outcome before you propose the call again: the tool may have run.

| reason | gRPC status | meaning | example |
| --- | --- | --- | --- |
"""

_VALUE = re.compile(r"(?P<comment>(?:^ *//.*\n)+) *(?P<name>[A-Z_]+) = \d+;", re.MULTILINE)
_STATUS = re.compile(r"(?P<meaning>.+) Status: (?P<status>[A-Z_]+)\. Example: (?P<example>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason: its name without prefix, its gRPC status code's name, and two texts for a person."""

    name: str
    status: str
    meaning: str
    example: str


def read_reasons(proto: str) -> Iterator[Reason]:
    """The reasons of the enum, in its order. Raises ValueError for a comment without status or example."""
    for value in _VALUE.finditer(proto):
        name = value["name"].removeprefix(PREFIX)
        if name == NEVER_SENT:
            continue
        comment = " ".join(line.strip().removeprefix("//") for line in value["comment"].splitlines())
        found = _STATUS.fullmatch(" ".join(comment.split()))
        if found is None:
            raise ValueError(f"the comment of `{name}` lacks `Status: CODE. Example: ...`")
        yield Reason(name=name, status=found["status"], meaning=found["meaning"], example=found["example"])


def render(proto: str) -> str:
    """The page in Markdown. Raises ValueError."""
    return HEAD + "".join(_row(reason) for reason in read_reasons(proto))


def main() -> None:
    """Write the page, in place of what was there."""
    root = Path(__file__).resolve().parent.parent
    page = render((root / PROTO).read_text(encoding="utf-8"))
    (root / PAGE).write_text(page, encoding="utf-8")


def _row(reason: Reason) -> str:
    cells = (f"`{reason.name}`", f"`{reason.status}`", reason.meaning, reason.example)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    main()
