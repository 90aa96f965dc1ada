"""What is kept sealed opens with the same key, under the same name, whole; or not at all (cases 20, 63)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.vault import SealingVault
from interlock.ports import Vault
from tests.fakes import OpenVault

SECRET = bytes(range(32))
VAULT = SealingVault(SECRET, "requests")


@pytest.mark.parametrize("vault", [VAULT, OpenVault()], ids=["sealing", "fake"])
@pytest.mark.parametrize("plain", [b"", b"x", b'{"password":"hunter2"}', bytes(100_000)], ids=len)
def test_what_was_sealed_opens_under_its_name(vault: Vault, plain: bytes) -> None:
    """Sealed bytes open to what they were, under the name that they were sealed under and under no other."""
    sealed = vault.seal(plain, "decision-1")
    assert vault.unseal(sealed, "decision-1") == plain
    with pytest.raises(ValueError, match="cannot be opened"):
        vault.unseal(sealed, "decision-2")


def test_a_replica_opens_what_another_sealed() -> None:
    """The same secret opens it in another process; each sealing looks different."""
    sealed = VAULT.seal(b"plain", "decision-1")
    assert SealingVault(SECRET, "requests").unseal(sealed, "decision-1") == b"plain"
    assert VAULT.seal(b"plain", "decision-1") != sealed


@pytest.mark.parametrize(
    "other",
    [SealingVault(bytes(32), "requests"), SealingVault(SECRET, "page-tokens")],
    ids=["key", "purpose"],
)
def test_another_key_opens_nothing(other: SealingVault) -> None:
    """Neither another secret nor a key of another purpose opens it (case 38)."""
    with pytest.raises(ValueError, match="cannot be opened"):
        other.unseal(VAULT.seal(b"plain", "decision-1"), "decision-1")


@given(data=st.data(), plain=st.binary(max_size=64))
def test_no_bit_may_differ(data: st.DataObject, plain: bytes) -> None:
    """A bit that was turned, or an end that was cut off, is seen, and what was sealed is in no error (case 20)."""
    sealed = VAULT.seal(plain, "decision-1")
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    turned = bytearray(sealed)
    turned[place // 8] ^= 1 << place % 8
    for bad in (bytes(turned), sealed[: place // 8], sealed + b"\0"):
        with pytest.raises(ValueError, match="cannot be opened with this service's key"):
            VAULT.unseal(bad, "decision-1")


def test_what_lies_in_the_store_shows_nothing() -> None:
    """Nothing of a secret stands in the sealed bytes (case 63)."""
    assert b"hunter2" not in VAULT.seal(b"hunter2 hunter2 hunter2", "decision-1")


def test_a_short_secret_is_refused() -> None:
    """A secret that could be guessed seals nothing."""
    with pytest.raises(ValueError, match="at least 32 bytes, got 31"):
        SealingVault(bytes(31), "requests")
