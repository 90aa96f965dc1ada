"""Seals what must not lie open in the store, with AES-256-GCM (NIST SP 800-38D)."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12
_KEY_BYTES = 32


class SealingVault:
    """ports.Vault with a key of its own purpose, derived from a secret of at least 32 bytes (RFC 5869).

    Raises ValueError for a shorter secret.
    """

    __slots__ = ("_cipher",)

    def __init__(self, secret: bytes, label: str) -> None:
        if len(secret) < _KEY_BYTES:
            raise ValueError(f"expected a secret of at least {_KEY_BYTES} bytes, got {len(secret)}")
        key = HKDF(hashes.SHA256(), length=_KEY_BYTES, salt=None, info=label.encode()).derive(secret)
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, name: str) -> bytes:
        """A random nonce, and the sealed bytes, which open under this name only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, name.encode())

    def unseal(self, sealed: bytes, name: str) -> bytes:
        """What was sealed. Raises ValueError for what is not so, or was sealed otherwise."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise ValueError("what was kept cannot be opened with this service's key") from error
