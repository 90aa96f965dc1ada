"""From what came over the wire to a proposal in its one form, or an error that says what to mend."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from interlock.core import json_pointer
from interlock.core.canonical import canonicalize, digest, digest_of
from interlock.core.catalog import Catalog, Tool, Violation
from interlock.core.destinations import Destination, ResolvePath, destinations_of
from interlock.core.errors import invalid_field
from interlock.core.field_checks import check_count, check_identifier, check_number, check_text
from interlock.core.plan_references import is_within
from interlock.core.plan_step import StepCall
from interlock.core.proposal import Context, Proposal, RawProposal
from interlock.core.strict_json import parse_object

Conceal = Callable[[bytes], str]
"""Keyed digest of a sensitive value's canonical form: equality stays provable, the value does not leak."""

CALL_FIELD = "proposal.tool_call"
ARGUMENTS_FIELD = f"{CALL_FIELD}.arguments_json"

_Found = TypeVar("_Found", Violation, Destination)

# Plain character classes of bounded length: linear in any engine (case 14).
_TOOL_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}\Z")
_OPERATION = re.compile(r"[A-Za-z0-9_./:-]{0,128}\Z")

MAX_GOAL_CHARACTERS = 8_192
MAX_SOURCES = 64
MAX_MEMORY_READS = 256


def normalize(raw: RawProposal, catalog: Catalog, conceal: Conceal, resolve: ResolvePath) -> Proposal:
    """The proposal in its one form.

    Raises InterlockError: INVALID_FIELD or MALFORMED_ARGUMENTS, with the field and the JSON Pointer. A
    well-formed call to an unknown tool, or one that fails the tool's schema, is no error: it is for the
    policy to deny.
    """
    check_call(raw.tool, field=CALL_FIELD)
    arguments = parse_object(raw.arguments_json, field=ARGUMENTS_FIELD)
    return proposal_of(raw, arguments, catalog, conceal, resolve)


def proposal_of(
    raw: RawProposal,
    arguments: Mapping[str, Any],
    catalog: Catalog,
    conceal: Conceal,
    resolve: ResolvePath,
    *,
    unfilled: Sequence[str] = (),
) -> Proposal:
    """The proposal of a call whose arguments were read. Raises InterlockError: INVALID_FIELD.

    `unfilled` are JSON Pointers to arguments that are not there yet: nothing is said of these.
    """
    _check_fields(raw)
    arguments_digest = digest(canonicalize(arguments))
    tool = catalog.find(raw.tool)
    violations = _outside(unfilled, tool.violations(arguments)) if tool else ()
    return Proposal(
        caller=raw.caller,
        request_id=raw.request_id,
        session_id=raw.session_id,
        parent_decision_id=raw.parent_decision_id,
        goal=raw.goal,
        context=raw.context,
        operation=raw.operation,
        tool_name=raw.tool,
        tool=tool,
        disclosed_arguments=disclose(arguments, tool, conceal, valid=not violations),
        arguments_digest=arguments_digest,
        violations=violations,
        payload_digest=_payload_digest(raw, arguments_digest),
        destinations=_outside(unfilled, destinations_of(tool, arguments, resolve)) if tool else (),
        step_call=StepCall(reference=raw.plan_step, arguments=arguments) if raw.plan_step else None,
        raw=raw,
    )


def check_call(tool: str, *, field: str) -> None:
    """The name of a tool, in a call at this field. Raises InterlockError: INVALID_FIELD."""
    if not _TOOL_NAME.match(tool):
        raise invalid_field(f"{field}.tool", "must be 1 to 128 characters of [A-Za-z0-9_./-]")


def _outside(unfilled: Sequence[str], found: Iterable[_Found]) -> tuple[_Found, ...]:
    return tuple(each for each in found if not is_within(each.path, unfilled))


def disclose(
    arguments: Mapping[str, Any], tool: Tool | None, conceal: Conceal, *, valid: bool
) -> Mapping[str, Any]:
    """The arguments with each sensitive value replaced by `{"concealed": keyed digest}` (case 63).

    The arguments of an unknown tool are concealed whole, for nobody said what is secret in them; so are those
    that fail the schema of a tool with secrets, for one may stand under a misspelt name.
    """
    if tool is None:
        return {"concealed": conceal(canonicalize(arguments))}
    if not tool.entry.sensitive:
        return arguments
    if not valid:
        return {"concealed": conceal(canonicalize(arguments))}
    for pointer in tool.entry.sensitive:
        arguments = json_pointer.replace_at(
            arguments, pointer, lambda value: {"concealed": conceal(canonicalize(value))}
        )
    return arguments


def _check_fields(raw: RawProposal) -> None:
    check_identifier("request_id", raw.request_id)
    check_identifier("proposal.session_id", raw.session_id)
    if raw.parent_decision_id:
        check_identifier("proposal.parent_decision_id", raw.parent_decision_id)
    if raw.plan_step:
        check_identifier("proposal.plan_step.decision_id", raw.plan_step.decision_id)
        check_identifier("proposal.plan_step.step_id", raw.plan_step.step_id)
    if not _OPERATION.match(raw.operation):
        raise invalid_field("proposal.operation", "must be at most 128 characters of [A-Za-z0-9_./:-]")
    check_text("proposal.goal", raw.goal, MAX_GOAL_CHARACTERS)
    _check_context(raw.context)


def _check_context(context: Context) -> None:
    check_count("proposal.context.sources", len(context.sources), MAX_SOURCES)
    check_count("proposal.context.memory_reads", len(context.memory_reads), MAX_MEMORY_READS)
    check_text("proposal.context.state_digest", context.state_digest, 128)
    for position, source in enumerate(context.sources):
        check_text(f"proposal.context.sources[{position}].kind", source.kind, 128)
        check_text(f"proposal.context.sources[{position}].reference", source.reference, 2_048)
    for position, read in enumerate(context.memory_reads):
        field = f"proposal.context.memory_reads[{position}]"
        check_text(f"{field}.key", read.key, 256)
        check_text(f"{field}.digest", read.digest, 128)
        check_number(f"{field}.version", read.version)


def _payload_digest(raw: RawProposal, arguments_digest: str) -> str:
    """Covers the proposal as it was understood, never the bytes of the message (case 33)."""
    context = raw.context
    return digest_of(
        [
            raw.session_id,
            raw.parent_decision_id,
            raw.goal,
            raw.tool,
            arguments_digest,
            [[source.kind, source.reference, source.trust] for source in context.sources],
            [[read.key, read.version, read.digest] for read in context.memory_reads],
            context.state_digest,
            # Only where there is one, so that the digests of before the field was there stay what they were.
            *([raw.operation] if raw.operation else []),
            *([["plan_step", raw.plan_step.decision_id, raw.plan_step.step_id]] if raw.plan_step else []),
        ]
    )
