"""Keyed digests: equality stays provable to whoever holds the key, and the value does not leak (case 63)."""

import base64
import hmac

MINIMUM_KEY_BYTES = 32


class KeyedDigest:
    """HMAC-SHA-256 (RFC 2104) for one purpose.

    Each `label` derives a key of its own, so that digests of two purposes never compare equal. Raises
    ValueError for a key of less than 32 bytes or an empty label.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes, label: str) -> None:
        if len(key) < MINIMUM_KEY_BYTES:
            raise ValueError(f"expected a key of at least {MINIMUM_KEY_BYTES} bytes, got {len(key)}")
        if not label:
            raise ValueError("expected a label that names the purpose, got an empty one")
        self._key = hmac.digest(key, label.encode(), "sha256")

    def __call__(self, data: bytes) -> str:
        """`hmac-sha256:` and the digest of `data` in base64url without padding."""
        mac = hmac.digest(self._key, data, "sha256")
        return "hmac-sha256:" + base64.urlsafe_b64encode(mac).rstrip(b"=").decode("ascii")
