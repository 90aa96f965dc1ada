"""What OPA's REST API answered, read strictly: one clear result of the right revision, or an error."""

from typing import Any

import orjson
from pydantic import ValidationError

from interlock.core.approval_answer import ApprovalTerms
from interlock.core.decision import Evaluated, PolicyAnswer
from interlock.core.errors import ErrorReason, InterlockError

MAX_ANSWER_BYTES = 8 * 1024 * 1024
RETRY_AFTER_SECONDS = 1.0

_OK = 200
_BAD_REQUEST = 400
_TOO_LARGE = 413
_CREDENTIAL_REFUSED = {401, 403}
_ERROR_CODES = {
    "eval_conflict_error": ErrorReason.POLICY_CONFLICT,
    "eval_builtin_error": ErrorReason.POLICY_EVALUATION_FAILED,
}


def read_result(status: int, body: bytes, revision: str) -> object:
    """The query's result, given by the bundle of this revision. Raises InterlockError for anything else."""
    if status != _OK:
        raise _of_status(status, body)
    answer = _parse(body)
    _check_revision(answer.get("provenance"), revision)
    if "warning" in answer:  # such as a query whose input was not understood as one (case 6)
        raise malformed("the policy engine warns that it did not understand the query")
    if "result" not in answer:
        raise InterlockError(
            reason=ErrorReason.POLICY_UNDEFINED, message="the policy gives no result for this input"
        )
    return answer["result"]


def conclude(result: object, revision: str) -> Evaluated | InterlockError:
    """The policy's answer, or how it breaks its contract."""
    try:
        return Evaluated(answer=PolicyAnswer.model_validate(result), revision=revision)
    except ValidationError as error:
        return _out_of_contract(error)


def read_terms(result: object, _revision: str) -> ApprovalTerms | InterlockError:
    """What the policy says of an approval, or how it breaks its contract."""
    try:
        return ApprovalTerms.model_validate(result)
    except ValidationError as error:
        return _out_of_contract(error)


def _out_of_contract(error: ValidationError) -> InterlockError:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    places = sorted({".".join(map(str, problem["loc"][:3])) or "the whole" for problem in problems})
    return malformed(f"the policy's result breaks its contract at `{', '.join(places)[:256]}`")


def read_offered(result: object, count: int) -> list[bool]:
    """The answer of the entry point `offered`. Raises InterlockError: it has not `count` booleans."""
    if not isinstance(result, list) or len(result) != count:
        raise malformed("the policy does not say of each tool whether it is shown")
    if not all(isinstance(offered, bool) for offered in result):
        raise malformed("the policy shows a tool with something else than a boolean")
    return result


def malformed(message: str) -> InterlockError:
    """Error for an answer that is out of contract."""
    return InterlockError(reason=ErrorReason.POLICY_MALFORMED, message=message)


def unavailable(message: str) -> InterlockError:
    """Error for an engine that does not evaluate now, whatever it is asked."""
    return InterlockError(
        reason=ErrorReason.POLICY_ENGINE_UNAVAILABLE, message=message, retry_after=RETRY_AFTER_SECONDS
    )


def late() -> InterlockError:
    """Error for an answer that did not come within the limit."""
    return InterlockError(
        reason=ErrorReason.POLICY_ENGINE_TIMEOUT, message="the policy engine did not answer in time"
    )


def not_evaluated(message: str) -> InterlockError:
    """Error for an evaluation that this very input brings to an end."""
    return InterlockError(reason=ErrorReason.POLICY_EVALUATION_FAILED, message=message)


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_ANSWER_BYTES:
        raise malformed(f"the policy engine's answer is over {MAX_ANSWER_BYTES} bytes")
    try:
        answer = orjson.loads(body)
        again = orjson.dumps(answer)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise malformed("the policy engine's answer is not JSON") from error
    # Of the members of one name, the parser keeps the last. Where one was lost, there are now fewer names:
    # within a string a quotation mark is escaped, so `":` counts the same in both.
    if body.count(b'":') != again.count(b'":'):
        raise malformed("the policy engine's answer has a member twice")
    if not isinstance(answer, dict):
        raise malformed("the policy engine's answer is not a JSON object")
    return answer


def _check_revision(provenance: object, revision: str) -> None:
    match provenance:
        case {"bundles": {**bundles}} if len(bundles) == 1:
            bundle = next(iter(bundles.values()))
            if revision and isinstance(bundle, dict) and bundle.get("revision") == revision:
                return
    raise InterlockError(
        reason=ErrorReason.POLICY_NOT_READY,
        message="another policy revision than the active one answered",
        retry_after=RETRY_AFTER_SECONDS,
    )


def _of_status(status: int, body: bytes) -> InterlockError:
    answer = _parse_failure(body)
    for code in _codes(answer.get("errors")):
        if reason := _ERROR_CODES.get(code):
            return InterlockError(reason=reason, message=f"the policy engine answered `{code}`")
    if answer.get("code") == "internal_error":
        return not_evaluated("the evaluation ended in an error")
    # A proxy in front of an OPA has a limit of its own, which a batch may exceed where one input does not.
    if status == _TOO_LARGE or (status == _BAD_REQUEST and answer.get("code") == "invalid_parameter"):
        return not_evaluated(f"the policy engine refused the input with HTTP status {status}")
    if status in _CREDENTIAL_REFUSED:
        return unavailable(
            f"the policy engine refused us with HTTP status {status}; check the bearer token in `opa_token_file`"
        )
    return unavailable(f"the policy engine answered with HTTP status {status}")


def _parse_failure(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _codes(errors: object) -> list[str]:
    if not isinstance(errors, list):
        return []
    return [str(error.get("code")) for error in errors if isinstance(error, dict)]
