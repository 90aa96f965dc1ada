"""Why a call gave no answer, in words that tell a person what to do next."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "interlock"

_POLICY = "tell who keeps the policies (`interlock policy check` shows more); trying again does not help"
_PROPOSE_AGAIN = "propose the call again, and present its token as it was given"
_NOTHING_RAN = "nothing ran; the same token may be presented again until it expires"

NEXT_STEPS = {
    "MALFORMED_REQUEST": "upgrade the older one of client and service",
    "CREDENTIAL_MISSING": "get a credential with `interlock credentials create`",
    "CREDENTIAL_INVALID": "get a valid credential with `interlock credentials create`",
    "CALLER_NOT_PERMITTED": "use a credential of the kind that this call is for",
    "REQUEST_ID_REUSED": "give each proposal a request_id of its own, or leave it out",
    "OVERLOADED": "send fewer calls at a time",
    "POLICY_UNDEFINED": _POLICY,
    "POLICY_CONFLICT": _POLICY,
    "POLICY_EVALUATION_FAILED": _POLICY,
    "POLICY_MALFORMED": _POLICY,
    "RECORD_NOT_FOUND": "check the log_index, and that the credential is one of the record's tenant",
    "TOKEN_MALFORMED": _PROPOSE_AGAIN,
    "TOKEN_SIGNATURE_INVALID": _PROPOSE_AGAIN,
    "TOKEN_KEY_UNKNOWN": "check that the gateway trusts the keys of this decision service",
    "TOKEN_EXPIRED": "propose the call again, and execute it at once",
    "TOKEN_NOT_YET_VALID": "check the clocks of the decision service and the gateway",
    "TOKEN_NOT_FOR_THIS_GATEWAY": "present the token at the gateway that it was given for",
    "TOKEN_ALREADY_REDEEMED": "look that execution up; propose the call again only if it is to run once more",
    "CALL_MISMATCH": "execute exactly what was decided, or propose the changed call",
    "CATALOG_MISMATCH": "give the decision service and the gateway the same catalog",
    "OBLIGATION_UNSUPPORTED": "upgrade the gateway, or change the policy that asks for the obligation",
    "LEDGER_UNAVAILABLE": _NOTHING_RAN,
    "TOOL_UNAVAILABLE": _NOTHING_RAN,
    "SESSION_ALREADY_STARTED": "choose a new session_id, and start the session before anything is proposed in it",
    "SESSION_NOT_FOUND": "check session_id and agent, and that the credential may see that session",
    "STEP_NUMBER_WENT_BACK": "number steps from the session's last_step_number on, which GetSession gives",
    "TOKEN_FROZEN": "ask the operators why it is frozen (`interlock freezes`), and propose the call again afterwards",
    "FREEZES_UNKNOWN": _NOTHING_RAN,
    "TOOL_DRIFTED": "compare the tool with its catalog entry, and import it again (`interlock catalog import`)",
    "DESTINATION_CHANGED": "propose the call again, so that it is decided on where its arguments lead now",
    "ADDRESS_REFUSED": "name an address that the gateway may reach, or have an operator permit this one",
    "STEP_NOT_DUE": "execute the steps before it first; " + _NOTHING_RAN,
    "PLAN_NOT_FOUND": "name the decision_id of a plan of the same agent, and one of its steps",
    "FREEZE_NOT_FOUND": "list what is frozen with `interlock freezes`",
    "APPROVAL_NOT_FOUND": "list what waits with `interlock approvals list`",
    "APPROVAL_CHANGED": "look at the approval again, and answer what it is now",
    "APPROVER_NOT_PERMITTED": "leave the answer to somebody else whom the policy lets answer it",
    "APPROVAL_CLOSED": "the agent can propose the call anew",
    "FILE_CHANGED": "propose the call anew, so that a person sees the file as it is now",
}
"""By ErrorReason; those that are missing have nothing to add to their status code or their violations."""

_NEXT_STEPS_BY_CODE = {
    "UNAVAILABLE": "check that the service runs and that this is its address (`interlock doctor`), and try again",
    "DEADLINE_EXCEEDED": "try again with a longer timeout",
    "UNIMPLEMENTED": "check that this is the address of the right service, and not of an older version",
    "RESOURCE_EXHAUSTED": "ask for less at a time",
}
_LOOK_INTO_THE_LOG = "see the log of the service"

_OUTCOME_OPEN = frozenset({"", "INTERNAL", "DEADLINE_EXCEEDED"})
"""Reasons, or none, with which a gateway may end an execution that had begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing wrong with one field of a request.

    `field` is the path in the protobuf message; a JSON Pointer (RFC 6901) within the field's JSON stands
    behind `#`, such as `proposal.tool_call.arguments_json#/amount`.
    """

    field: str
    description: str


@dataclass(kw_only=True, eq=False)
class InterlockCallError(Exception):
    """A call gave no answer: no decision was made, or nothing is known of an execution.

    `method` is the RPC, `code` the name of its gRPC status, `reason` a name of `interlock.v1.ErrorReason`
    less its prefix (empty where the error did not come from Interlock itself), `message` for a person,
    `metadata` for a program. `retry_after` is in seconds, None where the service named no time.
    `decision_id` is that of the decision that was to be executed, where it is known.
    It never holds a credential, a token or an argument.
    """

    method: str
    code: str
    message: str
    reason: str = ""
    violations: tuple[Violation, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    decision_id: str = ""

    @property
    def may_have_run(self) -> bool:
        """Whether the tool may have run all the same: an execution's answer was lost, late or unclear."""
        return self.method == "Execute" and self.code != "UNIMPLEMENTED" and self.reason in _OUTCOME_OPEN

    def __str__(self) -> str:
        steps = "; ".join(self._next_steps())
        return _printable(f"{self.method} ended with {self.reason or self.code}: {self.message}; {steps}")

    def __reduce__(self) -> tuple[object, tuple[()]]:
        """Exceptions are pickled by their positional arguments, of which this one has none."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return functools.partial(type(self), **named), ()

    def diagnostics(self) -> str:
        """What happened, each violation, and what to do next, in lines for a person."""
        lines = [f"{self.method} ended with {self.code} {self.reason}".rstrip(), f"  {self.message}"]
        lines += [f"  at {each.field}: {each.description}" for each in self.violations]
        lines += [f"What to do: {step}" for step in self._next_steps()]
        return "\n".join(map(_printable, lines))

    def _next_steps(self) -> Iterator[str]:
        if self.may_have_run:
            which = f" of decision `{self.decision_id}`" if self.decision_id else ""
            yield f"the tool may have run: look for the outcome{which} in the decision log before proposing it again"
        elif self.violations:
            yield "correct " + ", ".join(f"`{each.field}`" for each in self.violations)
        else:
            yield NEXT_STEPS.get(self.reason) or _NEXT_STEPS_BY_CODE.get(self.code, _LOOK_INTO_THE_LOG)
        if self.retry_after is not None and not self.may_have_run:
            yield f"try again in {self.retry_after:g} s"


def method_of(request: Message) -> str:
    """The RPC that the request is for; each has a request type of its own, named after it."""
    return request.DESCRIPTOR.name.removesuffix("Request")


def from_rpc(error: grpc.RpcError, *, method: str) -> InterlockCallError:
    """The error of a call, with the details that came with it; what is wrong with those spoils nothing."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        status = None
    if status is None:
        status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    return from_status(status, method=method)


def from_status(status: status_pb2.Status, *, method: str) -> InterlockCallError:
    """The error that a google.rpc.Status tells."""
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, bad_request, retry):
            _unpack(detail, known)
    ours = info.domain == DOMAIN
    return InterlockCallError(
        method=method,
        code=_code_name(status.code),
        message=status.message or "no message",
        reason=info.reason if ours else "",
        violations=tuple(
            Violation(field=each.field, description=each.description) for each in bad_request.field_violations
        ),
        metadata=dict(info.metadata) if ours else {},
        retry_after=_seconds(retry),
    )


def not_understood(problem: object, *, method: str) -> InterlockCallError:
    """An answer came that is not a well-formed one, and so is none."""
    message = f"the answer is not one that this client understands: {problem}"
    return InterlockCallError(method=method, code="INTERNAL", message=message)


def _unpack(detail: any_pb2.Any, known: Message) -> None:
    try:
        detail.Unpack(known)
    except DecodeError:
        known.Clear()


def _seconds(retry: error_details_pb2.RetryInfo) -> float | None:
    return max(0.0, retry.retry_delay.ToNanoseconds() / 1e9) if retry.HasField("retry_delay") else None


def _code_name(number: int) -> str:
    names = {code.value[0]: code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
    return names.get(number, grpc.StatusCode.UNKNOWN.name)


def _printable(text: str) -> str:
    """No text of others moves a cursor, ends a line or turns the direction of a person's terminal (case 43)."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
