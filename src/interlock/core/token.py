"""The execution token: JWS compact (RFC 7515) with Ed25519 (RFC 8037), written and read strictly.

Reading follows RFC 8725 (JWT best current practices): one algorithm, an explicit type, a key from a fixed
map by `kid`, exact claim types, one audience, and no header that could lead anywhere else.
"""

import base64
import binascii
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from interlock.core.canonical import canonicalize
from interlock.core.decision import Obligation
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.strict_json import parse_object

MAX_TOKEN_BYTES = 8_192
MAX_LIFE = timedelta(seconds=60)
TYPE = "exec+jwt"

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
KeyId = Identifier
Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Seconds = Annotated[int, Field(ge=0, le=2**53 - 1)]


class VerifyingKeys(Protocol):
    """Public keys, by `kid`."""

    def verify(self, kid: str, signing_input: bytes, signature: bytes) -> bool | None:
        """Whether the signature is of this key; None where no key `kid` is in its window of validity."""
        ...


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Header(_Closed):
    """Protected header. `crit`, `jku`, `jwk`, `x5u` and all others are refused (RFC 8725 3.10, case 35)."""

    alg: Literal["EdDSA"]
    kid: KeyId
    typ: Literal["exec+jwt"]


class Actor(_Closed):
    """Who acts (RFC 8693 4.1)."""

    sub: Identifier


class Lease(_Closed):
    """A resource that the call has for itself.

    `fence` grows with each holder of it, so that what guards the resource can refuse one that was overtaken.
    """

    resource: Annotated[str, Field(min_length=1, max_length=512)]
    fence: Seconds


class PlanStep(_Closed):
    """The step of a plan that the call is. `after` are the steps that must have succeeded at this gateway before.

    `decision_id` is the plan's, and `digest` covers all of its steps.
    """

    decision_id: Identifier
    digest: Digest
    step: Identifier
    after: Annotated[tuple[Identifier, ...], Field(strict=False, max_length=64)]


class Claims(_Closed):
    """What the token permits: one call of `tool` with arguments of `args_digest`, once, at gateway `aud`.

    `iat`, `nbf` and `exp` are seconds since the epoch; digests are SHA-256, base64url without padding. `leases`,
    `plan`, `destinations` (core.destinations), `approval_id` and `files` are left out where there are none, so that a
    gateway of before takes the token. `files` is the digest of the files that people approved (core.named_files).
    """

    iss: Annotated[str, Field(min_length=1, max_length=256)]
    aud: Identifier
    sub: Identifier
    act: Actor
    tenant: Identifier
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    jti: Identifier
    txn: Identifier
    decision_id: Identifier
    log_index: Seconds
    policy_rev: Annotated[str, Field(min_length=1, max_length=128)]
    tool: Annotated[str, Field(min_length=1, max_length=128)]
    catalog_digest: Digest
    args_digest: Digest
    obligations: Annotated[tuple[Obligation, ...], Field(strict=False)]
    env: Identifier
    leases: Annotated[tuple[Lease, ...], Field(strict=False, min_length=1)] | None = None
    plan: PlanStep | None = None
    destinations: Digest | None = None
    approval_id: Identifier | None = None
    files: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedBy:
    """What a gateway demands of a token. `leeway` is how far clocks may differ."""

    audience: str
    tenant: str
    environment: str
    issuer: str
    leeway: timedelta


@functools.lru_cache(maxsize=16)
def protected_header(kid: str) -> bytes:
    """`BASE64URL(header)` of every execution token that the key `kid` signs."""
    return _encode(canonicalize({"alg": "EdDSA", "kid": kid, "typ": TYPE}))


def signing_input(claims: Mapping[str, Any], kid: str) -> bytes:
    """`BASE64URL(header) . BASE64URL(payload)` (RFC 7515 5.1), the bytes that are signed.

    `claims` are the members of `Claims` as JSON values.
    """
    return protected_header(kid) + b"." + _encode(canonicalize(claims))


def compact(signed: bytes, signature: bytes) -> str:
    """The token as it travels (RFC 7515 7.1)."""
    return (signed + b"." + _encode(signature)).decode("ascii")


def verify(token: str, keys: VerifyingKeys, expected: ExpectedBy, *, reference_time: datetime) -> Claims:
    """The claims of a token that is good here and now.

    Raises InterlockError with a TOKEN_* reason. Of an unverified token at most the `kid` is in the error.
    """
    claims = authenticate(token, keys)  # 1 to 4
    check_place(claims, expected)  # 5
    check_time(claims, reference_time=reference_time, leeway=expected.leeway)  # 6
    return claims


def authenticate(token: str, keys: VerifyingKeys) -> Claims:
    """The claims of a token that one of `keys` signed, meant for another place or time perhaps.

    Raises InterlockError: TOKEN_MALFORMED, TOKEN_KEY_UNKNOWN or TOKEN_SIGNATURE_INVALID.
    """
    # 1. Size and shape: three parts of strict base64url.
    signed, header_bytes, payload, signature = _split(token)
    # 2. Header: exactly alg, kid, typ (RFC 8725 3.1, 3.11).
    header = _read_header(header_bytes)
    # 3. Signature, before a single claim is looked at (RFC 8725 3.3).
    _check_signature(keys, header.kid, signed, signature)
    # 4. Claims: exact types, none missing, none unknown, no duplicate (RFC 8725 3.9, case 37).
    return _read(Claims, payload)


def check_place(claims: Claims, expected: ExpectedBy) -> None:
    """5. For this gateway, tenant and environment, by this issuer (RFC 8725 3.8, 3.9; case 38).

    Raises InterlockError: TOKEN_NOT_FOR_THIS_GATEWAY.
    """
    stated = {"aud": claims.aud, "tenant": claims.tenant, "env": claims.env, "iss": claims.iss}
    wanted = {
        "aud": expected.audience,
        "tenant": expected.tenant,
        "env": expected.environment,
        "iss": expected.issuer,
    }
    for name, want in wanted.items():
        if stated[name] != want:
            raise InterlockError(
                reason=ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY,
                message=f"the token's `{name}` is not this gateway's, expected `{want}`",
            )


def check_time(claims: Claims, *, reference_time: datetime, leeway: timedelta) -> None:
    """6. Now: within its life, which is never long (case 22).

    Raises InterlockError: TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, or TOKEN_MALFORMED for times no issuer gives.
    """
    now = reference_time.timestamp()
    if not claims.iat <= claims.nbf < claims.exp or claims.exp - claims.iat > MAX_LIFE.total_seconds():
        raise _malformed("its times are out of order, or its life is longer than 60 seconds")
    if now >= claims.exp + leeway.total_seconds():
        raise InterlockError(
            reason=ErrorReason.TOKEN_EXPIRED, message="the token has expired; ask for a decision again"
        )
    if now < claims.nbf - leeway.total_seconds():
        raise InterlockError(
            reason=ErrorReason.TOKEN_NOT_YET_VALID, message="the token is not valid yet; check the clocks"
        )


def key_id(token: str) -> str:
    """The `kid` of a token that is NOT verified, to look for its key. Raises InterlockError TOKEN_MALFORMED."""
    _, header, _, _ = _split(token)
    return _read_header(header).kid


def inspect(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload of a token that is NOT verified, for a person to look at. Raises InterlockError."""
    _, header, payload, _ = _split(token)
    return _parse(header), _parse(payload)


def expire_time(claims: Claims) -> datetime:
    """When the token ends."""
    return datetime.fromtimestamp(claims.exp, UTC)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(part: bytes) -> bytes:
    """Strict base64url (RFC 7515 2): no padding, no other alphabet, no spare bits (case 36)."""
    try:
        data = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error as error:
        raise _malformed("a part is not base64url") from error
    if _encode(data) != part:
        raise _malformed("a part is not base64url in its one form")
    return data


def _split(token: str) -> tuple[bytes, bytes, bytes, bytes]:
    if not token.isascii():
        raise _malformed("it is not ASCII")
    if len(token) > MAX_TOKEN_BYTES:
        raise _malformed(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    signed, _, signature = token.encode("ascii").rpartition(b".")
    parts = signed.split(b".")
    if len(parts) != 2 or not all(parts) or not signature:  # noqa: PLR2004 - header and payload
        raise _malformed("it does not have three parts")
    return signed, _decode(parts[0]), _decode(parts[1]), _decode(signature)


_Model = TypeVar("_Model", bound=BaseModel)


def _read(model: type[_Model], data: bytes) -> _Model:
    value = _parse(data)
    # The parser gives 1 for `1.0` and `1e0`; a claim is an integer in the token too (case 37).
    if canonicalize(value) != data:
        raise _malformed(f"its {model.__name__.lower()} is not in canonical form (RFC 8785)")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        places = _places(model, error)
        # Its text holds names that the token brought along.
        raise _malformed(f"its {model.__name__.lower()} is wrong at {places}") from None


@functools.lru_cache(maxsize=16)
def _read_header(data: bytes) -> Header:
    """All tokens of one key have the same; one that is refused is not remembered."""
    return _read(Header, data)


def _places(model: type[BaseModel], error: ValidationError) -> str:
    """The fields that are wrong. A name that the token brought along is not repeated."""
    names = {str(problem["loc"][0]) for problem in error.errors(include_input=False)}
    own = model.model_fields.keys()
    return ", ".join(sorted({f"`{name}`" if name in own else "an unknown field" for name in names}))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        return parse_object(data, field="execution_token")
    except InterlockError:
        # Its pointer holds names that the token brought along.
        raise _malformed("a part is not one JSON object") from None


def _check_signature(keys: VerifyingKeys, kid: str, signed: bytes, signature: bytes) -> None:
    match keys.verify(kid, signed, signature):
        case True:
            return
        case None:
            raise InterlockError(
                reason=ErrorReason.TOKEN_KEY_UNKNOWN, message=f"no key `{kid}` is known here"
            )
        case _:
            raise InterlockError(
                reason=ErrorReason.TOKEN_SIGNATURE_INVALID, message="the token's signature does not verify"
            )


def _malformed(what: str) -> InterlockError:
    return InterlockError(
        reason=ErrorReason.TOKEN_MALFORMED, message=f"the token is not an execution token: {what}"
    )
