"""The key pair that signs bundles, on a real disk."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interlock.adapters.policy_signing_key import PolicySigningKeyError, open_signing_key


def test_key_pair_is_made_at_first_use_and_kept(tmp_path: Path) -> None:
    """The second use finds the key of the first."""
    first = open_signing_key(tmp_path / "policy")
    private, public = first.private.read_bytes(), first.public.read_bytes()
    second = open_signing_key(tmp_path / "policy")
    assert (second.private.read_bytes(), second.public.read_bytes()) == (private, public)


def test_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The private file has mode 0600, in a folder of mode 0700."""
    key = open_signing_key(tmp_path / "policy")
    assert stat.S_IMODE(key.private.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.private.parent.stat().st_mode) == 0o700


def test_public_file_holds_the_public_key_alone(tmp_path: Path) -> None:
    """What is handed to verifiers is a public key on P-521."""
    key = open_signing_key(tmp_path / "policy")
    public = serialization.load_pem_public_key(key.public.read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP521R1)
    assert b"PRIVATE" not in key.public.read_bytes()


def test_private_key_open_to_others_is_refused(tmp_path: Path) -> None:
    """A key that others could read may no longer be the service's alone."""
    open_signing_key(tmp_path / "policy").private.chmod(0o640)
    with pytest.raises(PolicySigningKeyError, match="expected mode 0600, got 0640"):
        open_signing_key(tmp_path / "policy")


def test_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    """A folder that others may enter is no place for a key."""
    (tmp_path / "policy").mkdir(mode=0o755)
    with pytest.raises(PolicySigningKeyError, match="open to others"):
        open_signing_key(tmp_path / "policy")


def test_missing_public_key_is_made_anew(tmp_path: Path) -> None:
    """The public key follows from the private one."""
    key = open_signing_key(tmp_path / "policy")
    public = key.public.read_bytes()
    key.public.unlink()
    assert open_signing_key(tmp_path / "policy").public.read_bytes() == public


def test_missing_private_key_is_not_silently_replaced(tmp_path: Path) -> None:
    """A new key would leave the holders of the public key unable to verify, and not say why."""
    open_signing_key(tmp_path / "policy").private.unlink()
    with pytest.raises(PolicySigningKeyError, match="is missing; restore it"):
        open_signing_key(tmp_path / "policy")


def test_public_key_of_another_pair_is_refused(tmp_path: Path) -> None:
    """Bundles signed with one key and verified with another would all be refused later on."""
    key, other = open_signing_key(tmp_path / "policy"), open_signing_key(tmp_path / "other")
    key.public.write_bytes(other.public.read_bytes())
    with pytest.raises(PolicySigningKeyError, match="belongs to another private key"):
        open_signing_key(tmp_path / "policy")


def test_corrupt_private_key_is_told_without_its_bytes(tmp_path: Path) -> None:
    """An error names the file, and nothing of what is in it."""
    open_signing_key(tmp_path / "policy").private.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n")
    with pytest.raises(PolicySigningKeyError, match="is corrupt") as caught:
        open_signing_key(tmp_path / "policy")
    assert "c2VjcmV0" not in str(caught.value)


def test_key_on_another_curve_is_refused(tmp_path: Path) -> None:
    """Only the one kind of key that the verifier's algorithm names is used (RFC 8725 3.1)."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    open_signing_key(tmp_path / "policy").private.write_bytes(pem)
    with pytest.raises(PolicySigningKeyError, match="no key on P-521"):
        open_signing_key(tmp_path / "policy")
