"""The key that signs policy bundles: ECDSA on P-521 (ES512), the strongest that OPA verifies."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interlock.adapters.private_folder import PrivateFolder, PrivateFolderError, open_folder

SIGNING_ALGORITHM = "ES512"
"""JWS `alg` (RFC 7518 3.4). OPA 1.22.2 verifies RS, PS, ES and HS; it refuses EdDSA for bundles."""

PRIVATE_FILE = "bundle-signing-key.pem"
PUBLIC_FILE = "bundle-verification-key.pem"


class PolicySigningKeyError(ValueError):
    """A key pair that cannot be used; the message says what to do, and holds nothing of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySigningKey:
    """Files of a key pair: PKCS #8 PEM (mode 0600), and SubjectPublicKeyInfo PEM that OPA verifies with."""

    private: Path
    public: Path


def open_signing_key(folder: Path) -> PolicySigningKey:
    """The key pair in `folder`, made at first use.

    Raises PolicySigningKeyError: the folder or the private key is open to others, or a file is corrupt or
    belongs to another pair.
    """
    try:
        place = open_folder(folder, create=True)
        with place.locked():
            _complete(place)
    except PrivateFolderError as error:
        raise PolicySigningKeyError(str(error)) from error
    return PolicySigningKey(private=folder / PRIVATE_FILE, public=folder / PUBLIC_FILE)


def _complete(place: PrivateFolder) -> None:
    private, public = place.read(PRIVATE_FILE), place.read(PUBLIC_FILE)
    if private is None and public is not None:
        # A fresh key here would leave every holder of the public key unable to verify, and not say why.
        raise PolicySigningKeyError(
            f"`{place.path / PRIVATE_FILE}` is missing; restore it, or remove `{PUBLIC_FILE}` for a new pair"
        )
    if private is None:
        private = _generate()
        place.write(PRIVATE_FILE, private)
    expected = _public_of(private, place.path / PRIVATE_FILE)
    if public is None:
        place.write(PUBLIC_FILE, expected)
    elif public != expected:
        raise PolicySigningKeyError(
            f"`{place.path / PUBLIC_FILE}` belongs to another private key; remove it to have it made anew"
        )


def _generate() -> bytes:
    return ec.generate_private_key(ec.SECP521R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_of(private: bytes, path: Path) -> bytes:
    try:
        key = serialization.load_pem_private_key(private, password=None)
    except (ValueError, TypeError):
        # What the library says of a key's bytes goes into no message.
        raise PolicySigningKeyError(f"`{path}` is corrupt; restore it from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP521R1):
        raise PolicySigningKeyError(f"`{path}` is no key on P-521; restore it from a backup")
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
