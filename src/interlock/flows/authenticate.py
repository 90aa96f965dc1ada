"""Who calls: the bearer credential, and nothing else, says (invariant 6)."""

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind, split_credential, verified_caller
from interlock.ports import Credentials

_SCHEME = "bearer "


async def authenticate(authorization: str | None, credentials: Credentials) -> Caller:
    """The caller whom an `authorization` value names. Raises InterlockError: CREDENTIAL_*."""
    if not authorization:
        raise InterlockError(
            reason=ErrorReason.CREDENTIAL_MISSING, message="a bearer credential is needed, in `authorization`"
        )
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise _invalid()
    parts = split_credential(authorization[len(_SCHEME) :])
    if parts is None:
        raise _invalid()
    credential_id, secret = parts
    caller = verified_caller(await credentials.find(credential_id), secret)
    if caller is None:
        raise _invalid()
    return caller


def require(caller: Caller, *kinds: CallerKind) -> None:
    """Raises InterlockError: CALLER_NOT_PERMITTED, unless the caller is of one of these kinds."""
    if caller.kind not in kinds:
        wanted = " or ".join(f"`{kind}`" for kind in kinds)
        raise InterlockError(
            reason=ErrorReason.CALLER_NOT_PERMITTED,
            message=f"this is for callers of kind {wanted}, got `{caller.kind}`",
        )


def _invalid() -> InterlockError:
    """The same for every cause, so that a guess learns nothing."""
    return InterlockError(reason=ErrorReason.CREDENTIAL_INVALID, message="the credential is not valid")
