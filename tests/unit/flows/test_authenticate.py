"""Who calls: the credential says, and nothing else (invariant 6)."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import (
    Caller,
    CallerKind,
    Credential,
    credential_text,
    hash_secret,
    split_credential,
)
from interlock.flows.authenticate import authenticate, require
from tests.fakes import NOON, MemoryCredentials
from tests.proposals import AGENT

SECRET = "Ab_-" * 10 + "xyz"
OTHER_SECRET = SECRET[:-1] + "w"
TEXT = credential_text(AGENT.credential_id, SECRET)


def a_credential(**changes: Any) -> Credential:
    fields: dict[str, Any] = {"caller": AGENT, "secret_hash": hash_secret(SECRET), "create_time": NOON}
    return Credential(**(fields | changes))


async def refusal(authorization: str | None, *credentials: Credential) -> InterlockError:
    with pytest.raises(InterlockError) as raised:
        await authenticate(authorization, MemoryCredentials(*(credentials or (a_credential(),))))
    return raised.value


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER "])
async def test_the_credential_says_who_calls(scheme: str) -> None:
    """Kind, tenant, name and roles are the credential's; the scheme's case does not matter (RFC 9110 11.1)."""
    assert await authenticate(scheme + TEXT, MemoryCredentials(a_credential())) == AGENT


@pytest.mark.parametrize("authorization", [None, ""])
async def test_no_credential_is_missing(authorization: str | None) -> None:
    """A call without a credential is told that it needs one."""
    assert (await refusal(authorization)).reason is ErrorReason.CREDENTIAL_MISSING


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(f"Bearer {credential_text(AGENT.credential_id, OTHER_SECRET)}", id="wrong-secret"),
        pytest.param(f"Bearer {credential_text('f' * 16, SECRET)}", id="unknown-id"),
        pytest.param(f"Bearer {credential_text(AGENT.credential_id, SECRET[:-1])}", id="short-secret"),
        pytest.param(f"Bearer {TEXT}\n", id="line-end"),
        pytest.param(f"Bearer  {TEXT}", id="two-spaces"),
        pytest.param(f"Bearer {TEXT} ", id="trailing-space"),
        pytest.param(f"Bearer {TEXT}, Bearer {TEXT}", id="two-credentials"),
        pytest.param(f"Bearer {TEXT.upper()}", id="upper-case"),
        pytest.param(f"Bearer {AGENT.credential_id.upper()}", id="no-secret"),
        pytest.param("Bearer " + TEXT.replace("_0", "_\N{ARABIC-INDIC DIGIT ZERO}"), id="arabic-digit"),
        pytest.param(f"Digest {TEXT}", id="other-scheme"),
        pytest.param(f"Bearer\t{TEXT}", id="tab"),
        pytest.param(TEXT, id="no-scheme"),
        pytest.param("Bearer", id="scheme-only"),
        pytest.param("Bearer ", id="scheme-and-nothing"),
    ],
)
async def test_a_credential_that_is_not_exactly_right_is_refused(authorization: str) -> None:
    """Every wrong credential has one and the same answer, so that a guess learns nothing."""
    error, other = (
        await refusal(authorization),
        await refusal(f"Bearer {TEXT}", a_credential(secret_hash=b"")),
    )
    assert error.reason is ErrorReason.CREDENTIAL_INVALID
    assert (error.message, error.metadata) == (other.message, other.metadata)


async def test_a_revoked_credential_is_refused() -> None:
    """A credential ends at its revocation, with the same answer as one that never was."""
    error = await refusal(f"Bearer {TEXT}", a_credential(revoke_time=NOON + timedelta(days=1)))
    assert error.reason is ErrorReason.CREDENTIAL_INVALID


async def test_no_error_holds_what_was_sent() -> None:
    """Neither the id nor the secret of a refused credential is in the error (case 63)."""
    sent = credential_text("f" * 16, OTHER_SECRET)
    error = await refusal(f"Bearer {sent}")
    assert OTHER_SECRET not in repr(error)
    assert "f" * 16 not in repr(error)


@settings(deadline=None)
@given(st.text(max_size=100))
async def test_no_other_text_is_a_credential(text: str) -> None:
    """Text that was not made as a credential names nobody, and breaks nothing."""
    assert split_credential(text) is None
    assert (await refusal(f"Bearer {text}")).reason is ErrorReason.CREDENTIAL_INVALID


@pytest.mark.parametrize(("kind", "needed"), list(product(CallerKind, CallerKind)))
def test_the_kinds_are_disjoint(kind: CallerKind, needed: CallerKind) -> None:
    """No kind of caller may do what is another's, and each what is its own."""
    caller = Caller(kind=kind, tenant="acme", name="one", roles=(), credential_id="0" * 16)
    if kind is needed:
        require(caller, needed)
        return
    with pytest.raises(InterlockError) as raised:
        require(caller, needed)
    assert raised.value.reason is ErrorReason.CALLER_NOT_PERMITTED
