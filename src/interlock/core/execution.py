"""One execution at a gateway: what is asked for, whether the token permits it, and what came of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.core.canonical import canonicalize, digest, parse_canonical
from interlock.core.catalog import Catalog, Tool
from interlock.core.destinations import Destination, ResolvePath, destinations_of, digest_of_destinations
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.named_files import digest_of_files
from interlock.core.obligations import Obliged, understand
from interlock.core.outcome import ObligationResult, OutcomeKind, Reconciliation
from interlock.core.strict_json import parse_object
from interlock.core.token import Claims

Progress = Callable[[float, float | None, str], Awaitable[None]]
"""Hears how far a running call is: what is done, of how much if that is known, and in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A token presented with the call that it stands for, as it came over the wire.

    `progress` hears how far it is, where somebody listens.
    """

    execution_token: str
    tool: str
    arguments_json: bytes
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """The call that a token permits. `arguments` is the very value whose digest was signed."""

    tool: Tool
    arguments: Mapping[str, Any]
    destinations: tuple[Destination, ...]
    obligations: Obliged


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """What the caller hears. `result_json` is canonical JSON in UTF-8, empty where there is no answer."""

    execution_id: str
    kind: OutcomeKind
    result_json: bytes
    obligation_results: tuple[ObligationResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """An execution or a refusal as the ledger keeps it, for a person to look at.

    `kind` is None while it runs. `delivery` is empty while it runs, then `waiting`, `delivered` or
    `undeliverable`. A refusal has no `tool`. `plan_decision_id` and `plan_step` are empty outside of plans.
    """

    execution_id: str
    token_id: str
    decision_id: str
    tool: str
    kind: OutcomeKind | None
    refusal: str
    result_digest: str
    start_time: datetime
    end_time: datetime | None
    delivery: str
    plan_decision_id: str = ""
    plan_step: str = ""
    reconciliation: Reconciliation | None = None


def permit(call: Call, claims: Claims, catalog: Catalog, resolve: ResolvePath) -> Permitted:
    """The call, if it is the one that `claims` stands for (invariant 3, case 26).

    Raises InterlockError: CALL_MISMATCH, MALFORMED_ARGUMENTS, CATALOG_MISMATCH, DESTINATION_CHANGED,
    OBLIGATION_UNSUPPORTED.
    """
    if call.tool != claims.tool:
        raise _mismatch("the tool is not the one that was decided")
    arguments, tool = _arguments(call, claims), _tool(claims, catalog)
    return Permitted(
        arguments=arguments,
        tool=tool,
        destinations=_destinations(tool, arguments, claims, resolve),
        obligations=understand(claims.obligations, tool),
    )


def check_files(found: Mapping[str, str], claims: Claims) -> None:
    """That the files of a call that people approved are as they approved them (case 51); `found` as of named_files.

    Raises InterlockError: FILE_CHANGED.
    """
    if claims.files is not None and digest_of_files(found) != claims.files:
        raise InterlockError(
            reason=ErrorReason.FILE_CHANGED,
            message="a file that an argument names is not the one that was approved, or this gateway cannot see it",
        )


def _arguments(call: Call, claims: Claims) -> dict[str, Any]:
    canonical = canonicalize(parse_object(call.arguments_json, field="arguments_json"))
    if digest(canonical) != claims.args_digest:
        raise _mismatch("the arguments are not those that were decided")
    return parse_canonical(canonical)


def _tool(claims: Claims, catalog: Catalog) -> Tool:
    tool = catalog.find(claims.tool)
    if tool is None or tool.digest != claims.catalog_digest:
        raise InterlockError(
            reason=ErrorReason.CATALOG_MISMATCH,
            message=f"the catalog entry of `{claims.tool}` is not the one that was decided on; "
            "give the decision service and the gateway the same catalog",
        )
    return tool


def _destinations(
    tool: Tool, arguments: Mapping[str, Any], claims: Claims, resolve: ResolvePath
) -> tuple[Destination, ...]:
    """Where the arguments lead, if that is where they led when the call was decided (case 47)."""
    found = destinations_of(tool, arguments, resolve)
    if digest_of_destinations(found) != (claims.destinations or ""):
        raise InterlockError(
            reason=ErrorReason.DESTINATION_CHANGED,
            message="an argument leads to another place than it did when the call was decided",
        )
    return found


def _mismatch(message: str) -> InterlockError:
    return InterlockError(reason=ErrorReason.CALL_MISMATCH, message=message)
