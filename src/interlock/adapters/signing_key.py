"""Ed25519 signing keys on disk: which one signs when, which ones are published, and how they are rotated.

A key is a file `<kid>.pem` (PKCS #8, mode 0600) in a folder of mode 0700; when each key begins and stops is
in `keys.json` there. That file alone says which keys exist: a key is on disk before it is named.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from interlock.adapters.private_folder import PrivateFolder, PrivateFolderError, open_folder
from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.token import MAX_LIFE, KeyId, protected_header

LEAD_SECONDS = 300
"""From a key's publication to its first use: gateways refresh far more often."""

SKEW = timedelta(minutes=5)
"""How far the clock of a verifier may be behind."""

PUBLISHED_AFTER_STOP = MAX_LIFE + SKEW
"""How long a key stays published after it stopped: until all that it signed has expired everywhere."""

_HANDOVER = timedelta(seconds=1)
"""A token whose header names a key that stopped this lately may still be signed with it."""

_RELOAD = timedelta(seconds=1)
_INDEX = "keys.json"
_SECRET_BYTES = 32
_NAME = re.compile(r"[a-z0-9-]{1,64}")

Now = Callable[[], datetime]


class SigningKeyError(ValueError):
    """Keys on disk that cannot be used; the message says what is wrong and what to do."""


class KeyState(StrEnum):
    """Where a key is in its life. Next, signing and published keys are in the JWKS."""

    NEXT = "next"
    SIGNING = "signing"
    PUBLISHED = "published"
    RETIRED = "retired"


class KeyEntry(BaseModel):
    """One key's line in `keys.json`: made at `created`, signs from `not_before` until `retired`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    kid: KeyId
    created: AwareDatetime
    not_before: AwareDatetime
    retired: AwareDatetime | None

    def state(self, now: datetime) -> KeyState:
        """The key's state at `now`."""
        if now < self.not_before:
            return KeyState.NEXT
        if self.retired is None or now < self.retired:
            return KeyState.SIGNING
        if now < self.retired + PUBLISHED_AFTER_STOP:
            return KeyState.PUBLISHED
        return KeyState.RETIRED


class _Index(BaseModel):
    """`keys.json`: keys in the order in which they begin, each stopping where the next one begins."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1] = 1
    keys: Annotated[tuple[KeyEntry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_key_signs_at_a_time(self) -> Self:
        begins = [entry.not_before for entry in self.keys]
        stops = [entry.retired for entry in self.keys]
        if stops != [*begins[1:], None] or begins != sorted(begins):
            raise ValueError("expected each key to stop where the next one begins")
        if len({entry.kid for entry in self.keys}) != len(self.keys):
            raise ValueError("expected each `kid` once")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """A key as a person sees it: its name, its state now, and its times."""

    kid: str
    state: KeyState
    created: datetime
    not_before: datetime
    retired: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key of the folder, with its private part. `header` begins every token that it signs."""

    entry: KeyEntry
    header: bytes
    private: Ed25519PrivateKey = field(repr=False)

    def may_sign(self, now: datetime) -> bool:
        """Whether `now` is in the key's window, or so little after that a token may be half made."""
        retired = self.entry.retired
        return self.entry.not_before <= now and (retired is None or now < retired + _HANDOVER)


class TokenSigner:
    """`ports.TokenSigner` over a folder of keys; made by `open_or_create`.

    The key is chosen by the time of signing (case 40). A rotation that another process makes is noticed
    within a second, by one stat(2). Keys that can no longer be read raise InterlockError INTERNAL: nothing
    is signed then.
    """

    def __init__(self, folder: PrivateFolder, clock_now: Now) -> None:
        self._folder = folder
        self._now = clock_now
        self._version: tuple[int, ...] = ()
        self._keys: tuple[SigningKey, ...] = ()
        self._checked: datetime | None = None

    @property
    def kid(self) -> str:
        """Name of the key that signs now."""
        return self._signing(self._now()).entry.kid

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature (64 bytes) of the signing input of an execution token.

        The key is the one that the token's header names, so that header and signature agree across a
        rotation. Other data, or a key out of its window, is refused with InterlockError INTERNAL: a signer
        of tokens signs nothing else (RFC 8725 3.11, 3.12).
        """
        now = self._now()
        for key in self._current(now):
            if data.startswith(key.header + b".") and key.may_sign(now):
                return key.private.sign(data)
        raise _cannot_sign("the data is no execution token of a key that signs now")

    def jwks(self) -> dict[str, Any]:
        """The public keys to publish now: next, signing and published (RFC 7517 5)."""
        now = self._now()
        return _jwks(self._current(now), now)

    def _signing(self, now: datetime) -> SigningKey:
        for key in self._current(now):
            if key.entry.state(now) is KeyState.SIGNING:
                return key
        raise _cannot_sign("no key has begun to sign; check the clock")

    def _current(self, now: datetime) -> tuple[SigningKey, ...]:
        if self._checked is None or not timedelta() <= now - self._checked < _RELOAD:
            self._reload_if_changed(now)
            self._checked = now
        return self._keys

    def _reload_if_changed(self, now: datetime) -> None:
        version = self._folder.version(_INDEX)
        if version == self._version and version:
            return
        try:
            self._keys = _load(self._folder, now)
        except SigningKeyError as error:
            raise _cannot_sign(str(error)) from error
        self._version = version


def open_or_create(folder: Path, clock_now: Now) -> TokenSigner:
    """The signer over `folder`, made with a first key where there is none.

    Raises SigningKeyError: folder or a key is open to others, a file is missing or corrupt, or no key is in
    its window.
    """
    place = _open(folder, create=True)
    now = clock_now()
    with place.locked():
        if _read_entries(place) is None:
            _write_entries(place, [_make_key(place, now, not_before=now)])
    if all(key.entry.state(now) is not KeyState.SIGNING for key in _load(place, now)):
        raise SigningKeyError(f"no key in `{folder}` has begun to sign; check the clock")
    return TokenSigner(place, clock_now)


def rotate(folder: Path, now: datetime, lead_seconds: float = LEAD_SECONDS) -> KeyInfo:
    """Make the next key; it is published at once, and signs `lead_seconds` from now, where the old one stops.

    With no lead the new key signs at once, which verifiers that have not refreshed refuse for a moment; a
    next key that waits is then dropped unused. Raises SigningKeyError as `open_or_create`, and where a next
    key waits already; ValueError for a negative lead.
    """
    if lead_seconds < 0:
        raise ValueError(f"expected a lead of 0 seconds or more, got {lead_seconds}")
    place = _open(folder, create=False)
    begin = now + timedelta(seconds=lead_seconds)
    with place.locked():
        entries = _existing(place)
        waiting = [entry for entry in entries if entry.state(now) is KeyState.NEXT]
        kept = entries[: len(entries) - len(waiting)]
        if not kept or (waiting and lead_seconds > 0):
            raise SigningKeyError(
                f"key `{waiting[0].kid}` waits already, and signs from {waiting[0].not_before}"
            )
        made = _make_key(place, now, not_before=begin)
        _write_entries(place, [*kept[:-1], kept[-1].model_copy(update={"retired": begin}), made])
        for entry in waiting:
            place.remove(_pem(entry.kid))
    return _info(made, now)


def list_keys(folder: Path, now: datetime) -> list[KeyInfo]:
    """Every key that there ever was, oldest first. Raises SigningKeyError."""
    return [_info(entry, now) for entry in _existing(_open(folder, create=False))]


def jwks(folder: Path, now: datetime) -> dict[str, Any]:
    """The public keys to publish at `now`, as `TokenSigner.jwks`. Raises SigningKeyError."""
    return _jwks(_load(_open(folder, create=False), now), now)


def secret_key(folder: Path, name: str) -> bytes:
    """32 random bytes for HMACs, made at first use and kept in `<name>.key` (mode 0600).

    Raises SigningKeyError: the file is open to others or has another length; ValueError: a bad `name`.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name of 1 to 64 characters of [a-z0-9-], got `{name}`")
    place, file = _open(folder, create=True), f"{name}.key"
    with place.locked():
        secret = _read(place, file)
        if secret is None:
            secret = os.urandom(_SECRET_BYTES)
            place.write(file, secret)
    if len(secret) != _SECRET_BYTES:
        raise SigningKeyError(
            f"`{folder / file}`: expected {_SECRET_BYTES} bytes, got {len(secret)}; restore it"
        )
    return secret


def _key_id(public: Ed25519PublicKey) -> str:
    """Name of a key: the first 128 bits of its JWK thumbprint (RFC 7638, RFC 8037 2), in hexadecimal."""
    return hashlib.sha256(canonicalize(_public_members(public))).hexdigest()[:32]


def _open(folder: Path, *, create: bool) -> PrivateFolder:
    try:
        return open_folder(folder, create=create)
    except PrivateFolderError as error:
        raise SigningKeyError(str(error)) from error


def _read(place: PrivateFolder, name: str) -> bytes | None:
    try:
        return place.read(name)
    except PrivateFolderError as error:
        raise SigningKeyError(str(error)) from error


def _read_entries(place: PrivateFolder) -> tuple[KeyEntry, ...] | None:
    data = _read(place, _INDEX)
    if data is None:
        return None
    try:
        return _Index.model_validate_json(data).keys
    except ValidationError as error:
        cause = error.errors(include_input=False)[0]["msg"]
        raise SigningKeyError(
            f"`{place.path / _INDEX}` is corrupt: {cause}; restore it from a backup"
        ) from error


def _existing(place: PrivateFolder) -> tuple[KeyEntry, ...]:
    entries = _read_entries(place)
    if entries is None:
        raise SigningKeyError(
            f"`{place.path}` holds no keys; start the decision service once to make the first"
        )
    return entries


def _write_entries(place: PrivateFolder, entries: Sequence[KeyEntry]) -> None:
    place.write(_INDEX, _Index(keys=tuple(entries)).model_dump_json(indent=1).encode())


def _load(place: PrivateFolder, now: datetime) -> tuple[SigningKey, ...]:
    """The keys that are of use. The file of a retired one is not missed."""
    entries = _existing(place)
    return tuple(_load_key(place, entry) for entry in entries if entry.state(now) is not KeyState.RETIRED)


def _load_key(place: PrivateFolder, entry: KeyEntry) -> SigningKey:
    path = place.path / _pem(entry.kid)
    data = _read(place, path.name)
    if data is None:
        raise SigningKeyError(f"`{path}` is missing; restore it from a backup")
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        # What the library says of a key's bytes goes into no message.
        raise SigningKeyError(f"`{path}` is corrupt; restore it from a backup") from None
    if not isinstance(private, Ed25519PrivateKey) or _key_id(private.public_key()) != entry.kid:
        raise SigningKeyError(f"`{path}` holds another key than its name says; restore it from a backup")
    return SigningKey(entry=entry, header=protected_header(entry.kid), private=private)


def _make_key(place: PrivateFolder, now: datetime, *, not_before: datetime) -> KeyEntry:
    private = Ed25519PrivateKey.generate()
    kid = _key_id(private.public_key())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place.write(_pem(kid), pem)
    return KeyEntry(kid=kid, created=now, not_before=not_before, retired=None)


def _pem(kid: str) -> str:
    return f"{kid}.pem"


def _info(entry: KeyEntry, now: datetime) -> KeyInfo:
    return KeyInfo(
        kid=entry.kid,
        state=entry.state(now),
        created=entry.created,
        not_before=entry.not_before,
        retired=entry.retired,
    )


def _jwks(keys: Sequence[SigningKey], now: datetime) -> dict[str, Any]:
    published = [key for key in keys if key.entry.state(now) is not KeyState.RETIRED]
    return {"keys": [_jwk(key) for key in published]}


def _jwk(key: SigningKey) -> dict[str, str]:
    """A public key as RFC 8037 2 writes it; the names beyond are those of RFC 7517 4."""
    return _public_members(key.private.public_key()) | {"kid": key.entry.kid, "alg": "EdDSA", "use": "sig"}


def _public_members(public: Ed25519PublicKey) -> dict[str, str]:
    x = base64.urlsafe_b64encode(public.public_bytes_raw()).rstrip(b"=").decode("ascii")
    return {"crv": "Ed25519", "kty": "OKP", "x": x}


def _cannot_sign(cause: str) -> InterlockError:
    return InterlockError(reason=ErrorReason.INTERNAL, message=f"no token can be signed: {cause}")
