"""From the terms that an approver asks for to a standing approval, or an error that says what is not narrow in them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from interlock.core import json_pointer
from interlock.core.approval import Answer, Approval
from interlock.core.approval_binding import Asked
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import Tool
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError, invalid_field
from interlock.core.plan import PlanProposal
from interlock.core.standing import StandingApproval, StandingTerms
from interlock.core.standing_schema import LooseSchemaError, check_schema, compiled
from interlock.core.strict_json import parse_object

MAX_SCHEMA_BYTES = 16_384
MAX_COUNT = 1_000
MAX_LIFE_SECONDS = 86_400

_SCHEMA = "standing.arguments_schema_json"


def standing_of(
    terms: StandingTerms,
    *,
    asked: Asked,
    approval: Approval,
    answers: Sequence[Answer],
    standing_id: str,
    at: datetime,
) -> StandingApproval:
    """The standing approval that people give with an approval of the proposal `asked`.

    `answers` are all that approve it, the one that asks for this included: each must have asked for the same, so that
    nobody's name stands for terms that others chose. Raises InterlockError: INVALID_FIELD.
    """
    if isinstance(asked, PlanProposal):
        raise invalid_field("standing", "goes with a single call, and this is a plan")
    schema = check_terms(terms, asked.tool, asked.disclosed_arguments)
    wanted = terms_digest(terms)
    if any(answer.standing != wanted for answer in answers):
        raise invalid_field(
            "standing", "is not what the approvers before asked for; all must ask for the same"
        )
    assert asked.tool is not None
    return StandingApproval(
        standing_id=standing_id,
        tenant=approval.tenant,
        agent=approval.agent,
        user=approval.user,
        tool=asked.tool.name,
        catalog_digest=asked.tool.digest,
        session_id=approval.session_id if terms.this_session else "",
        arguments_schema_json=schema,
        codes=tuple(sorted({reason.code for reason in approval.reasons})),
        remaining=terms.count,
        count=terms.count,
        expire_time=at + timedelta(seconds=terms.life_seconds),
        approvers=tuple(sorted({answer.approver for answer in answers})),
        approval_id=approval.approval_id,
        credential_ids=tuple(sorted({answer.credential_id for answer in answers})),
    )


def terms_digest(terms: StandingTerms) -> str:
    """What tells whether two approvers ask for the same: SHA-256, base64url.

    Raises InterlockError: INVALID_FIELD for a schema that is no JSON object.
    """
    return digest_of([_parsed(terms), terms.count, terms.life_seconds, terms.this_session])


def check_terms(terms: StandingTerms, tool: Tool | None, arguments: Mapping[str, Any]) -> bytes:
    """That they are narrow, and true of the approved `arguments` as they are disclosed; the schema's canonical form.

    A sensitive value is seen concealed, and nothing but a `const` of what is seen of it binds it: the schema goes on
    record. Raises InterlockError: INVALID_FIELD.
    """
    if tool is None:
        raise invalid_field("standing", "goes with a tool of the catalog, and this one is unknown")
    _check_number("standing.count", terms.count, MAX_COUNT)
    _check_number("standing.life_seconds", terms.life_seconds, MAX_LIFE_SECONDS)
    schema = _parsed(terms)
    canonical = canonicalize(schema)
    try:
        holds = compiled(canonical).is_valid
        check_schema(schema, tool.entry.sensitive)
    except LooseSchemaError as error:
        raise _invalid_schema(error.pointer, error.why) from None
    if not holds(arguments):
        raise invalid_field(_SCHEMA, "does not hold for the arguments that are to be approved")
    return canonical


def _check_number(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise invalid_field(name, f"must be from 1 to {most}, got {value}")


def _parsed(terms: StandingTerms) -> dict[str, Any]:
    size = len(terms.arguments_schema_json)
    if size > MAX_SCHEMA_BYTES:
        raise invalid_field(_SCHEMA, f"must have at most {MAX_SCHEMA_BYTES} bytes, got {size}")
    try:
        return parse_object(terms.arguments_schema_json, field=_SCHEMA)
    except InterlockError as error:
        [violation] = error.violations
        raise _invalid_schema(violation.pointer, violation.description) from None


def _invalid_schema(pointer: str, why: str) -> InterlockError:
    place = pointer[: json_pointer.MAX_LENGTH]
    return InterlockError(
        reason=ErrorReason.INVALID_FIELD,
        message=f"`{_SCHEMA}{f'#{place}' if place else ''}` {why}",
        violations=(FieldViolation(field=_SCHEMA, description=why, pointer=place),),
    )
