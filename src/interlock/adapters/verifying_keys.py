"""Public keys that execution tokens are verified with, from a JWKS (RFC 7517) in a file or at a URL."""

import asyncio
import base64
import contextlib
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

import aiohttp
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from interlock.core.errors import InterlockError
from interlock.core.strict_json import parse_object
from interlock.core.token import KeyId

MAX_DOCUMENT_BYTES = 65_536
REFRESH_SECONDS = 60.0
UNKNOWN_KEY_SECONDS = 5.0
"""At most so often an unknown `kid` makes a refresh, however many tokens bring one (case 40)."""

FETCH_SECONDS = 5.0
"""Limit of one fetch, from connecting to the last byte."""

log = structlog.get_logger()


class KeySetError(ValueError):
    """A JWKS that cannot be used, or cannot be had; the message says why."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class _Jwk(_Closed):
    """A public Ed25519 key (RFC 8037 2). Another kind of key, or a private one, has no place in the set."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    kid: KeyId
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class _Jwks(_Closed):
    keys: Annotated[tuple[_Jwk, ...], Field(min_length=1, max_length=64, strict=False)]


@dataclass(frozen=True, slots=True)
class FixedVerifyingKeys:
    """`core.token.VerifyingKeys` over keys that do not change: a map by `kid` (RFC 8725 3.10, case 35)."""

    keys: Mapping[str, Ed25519PublicKey]

    @classmethod
    def from_jwks(cls, document: bytes) -> Self:
        """The keys of a JWKS document.

        Raises KeySetError: no strict JSON, more than 64 KiB, any key that is no public Ed25519 key for EdDSA
        signatures, an unknown member, a `kid` twice, or no key at all.
        """
        if len(document) > MAX_DOCUMENT_BYTES:
            raise KeySetError(f"expected at most {MAX_DOCUMENT_BYTES} bytes, got {len(document)}")
        keys = _parse(document).keys
        if len({key.kid for key in keys}) != len(keys):
            raise KeySetError("a `kid` is there twice, expected each once")
        return cls(MappingProxyType({key.kid: _public_key(key) for key in keys}))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The keys of the JWKS in a file. Raises KeySetError."""
        try:
            return cls.from_jwks(path.read_bytes())
        except OSError as error:
            raise KeySetError(f"`{path}` cannot be read: {error.strerror}") from error
        except KeySetError as error:
            raise KeySetError(f"`{path}` is no key set to use: {error}") from error

    def verify(self, kid: str, signing_input: bytes, signature: bytes) -> bool | None:
        """Whether the signature is of the key `kid`; None where there is no such key."""
        key = self.keys.get(kid)
        if key is None:
            return None
        try:
            key.verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    @property
    def ready(self) -> bool:
        """Whether there is a key to verify with."""
        return bool(self.keys)

    async def ensure(self, kid: str) -> None:
        """Nothing to do: these keys do not change."""


class RemoteVerifyingKeys:
    """`core.token.VerifyingKeys` from a JWKS at a URL, refreshed while `running()`.

    `verify` never waits: call `await ensure(kid)` before it, which refreshes once for a key that is not known
    yet, at most every UNKNOWN_KEY_SECONDS. A refresh that fails leaves the keys as they were; before the
    first that succeeds there are none, and every token is refused. The URL is https, or http to this machine.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        refresh_seconds: float = REFRESH_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises KeySetError for a URL whose answer anybody on the network could forge."""
        self._url = _checked(url)
        self._tls = tls
        self._refresh_seconds = refresh_seconds
        self._fetch_seconds = fetch_seconds
        self._monotonic = monotonic
        self._fixed = FixedVerifyingKeys(MappingProxyType({}))
        self._one_at_a_time = asyncio.Lock()
        self._asked_for_unknown: float | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a key to verify with."""
        return bool(self._fixed.keys)

    def verify(self, kid: str, signing_input: bytes, signature: bytes) -> bool | None:
        """Whether the signature is of the key `kid`; None where there is no such key."""
        return self._fixed.verify(kid, signing_input, signature)

    async def ensure(self, kid: str) -> None:
        """Look for a key that is not known yet. Returns also when it is not found. Never raises."""
        if kid in self._fixed.keys:
            return
        async with self._one_at_a_time:
            if kid not in self._fixed.keys and self._may_ask():
                self._asked_for_unknown = self._monotonic()
                await self._try_refresh()

    async def refresh(self) -> None:
        """Fetch the set and put it in the place of the one before. Raises KeySetError, and keeps that."""
        document = await _fetch(self._url, self._tls, self._fetch_seconds)
        self._fixed = FixedVerifyingKeys.from_jwks(document)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Refresh now, and then every `refresh_seconds` until the end of the block."""
        await self._try_refresh()
        task = asyncio.create_task(self._refresh_for_ever())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds if self.ready else UNKNOWN_KEY_SECONDS)
            async with self._one_at_a_time:
                await self._try_refresh()

    async def _try_refresh(self) -> None:
        try:
            await self.refresh()
        except KeySetError as error:
            log.warning("verifying_keys.refresh_failed", cause=str(error), keys_kept=len(self._fixed.keys))

    def _may_ask(self) -> bool:
        asked = self._asked_for_unknown
        return asked is None or self._monotonic() - asked >= UNKNOWN_KEY_SECONDS


def _parse(document: bytes) -> _Jwks:
    try:
        return _Jwks.model_validate(parse_object(document, field="jwks"))
    except InterlockError as error:
        raise KeySetError(error.message) from error
    except ValidationError as error:
        places = sorted(
            {"/" + "/".join(map(str, found["loc"])) for found in error.errors(include_input=False)}
        )
        raise KeySetError(f"the set is wrong at {', '.join(places)[:256]}") from error


def _public_key(key: _Jwk) -> Ed25519PublicKey:
    data = base64.urlsafe_b64decode(key.x + "=")
    if base64.urlsafe_b64encode(data).rstrip(b"=") != key.x.encode():  # spare bits, as in a token (case 36)
        raise KeySetError(f"`x` of key `{key.kid}` is not base64url in its one form")
    return Ed25519PublicKey.from_public_bytes(data)


def _checked(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError as error:
        raise KeySetError("the URL of the key set is no URL") from error
    if url.user or url.password or not url.host:
        raise KeySetError("the URL of the key set needs a host, and no user or password in it")
    if url.scheme == "https" or (url.scheme == "http" and _is_this_machine(url.host)):
        return url
    raise KeySetError(f"`{url}`: expected https, or http to this machine, for whoever forges it makes tokens")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _fetch(url: URL, tls: ssl.SSLContext | None, limit_seconds: float) -> bytes:
    """The body of a 200 answer; no redirect is followed (case 46), nothing is decompressed (case 32)."""
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=limit_seconds),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.get(url, allow_redirects=False, ssl=tls or True) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise KeySetError(f"`{url}` answered {response.status}, expected 200")
            return await _read_body(response)
    except TimeoutError as error:
        raise KeySetError(f"`{url}` did not answer within {limit_seconds:g} seconds") from error
    except (aiohttp.ClientError, OSError) as error:
        raise KeySetError(f"`{url}` cannot be reached: {type(error).__name__}") from error


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise KeySetError(f"expected at most {MAX_DOCUMENT_BYTES} bytes, got more")
    return body
