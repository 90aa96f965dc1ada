"""OPA's REST API over a unix socket or a URL, through opa-python-client."""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from opa_client.opa_async import AsyncOpaClient
from yarl import URL

from interlock.adapters.opa_answer import MAX_ANSWER_BYTES

CONNECTIONS = 16

# Provenance names the bundle that answered; strict builtin errors keep a failing deny rule from vanishing.
_OPTIONS = {"provenance": "true", "strict-builtin-errors": "true"}
# An answer is read as it is on the wire: nothing is unpacked.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaAddress:
    """Where an OPA listens: a unix socket of this machine, or a URL with the bearer token that it wants.

    Raises ValueError: neither or both are given, the URL is none of HTTP or holds more than a place, or the
    token has other characters than RFC 6750 allows.
    """

    socket: Path | None = None
    url: str = ""
    bearer_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if (self.socket is None) != bool(self.url):
            raise ValueError("expected a socket or a url of opa, and not both")
        if self.url and not _is_plain(self.url):
            raise ValueError(
                "expected a url of opa such as `https://opa.example:8181`, without user or query"
            )
        if self.bearer_token and not _BEARER_TOKEN.fullmatch(self.bearer_token):
            raise ValueError("the bearer token for opa has characters that none may have (RFC 6750 2.1)")

    @property
    def base(self) -> URL:
        """The URL below which the API is; over a unix socket, its host means nothing."""
        return URL(self.url or "http://opa")


class OpaClient(AsyncOpaClient):  # type: ignore[misc]  # the library ships no types
    """opa-python-client with what a decision needs: unix sockets, query options, bounded answers.

    The library's retries stay off: it would retry a conflict, and a late answer helps nobody.
    """

    _session: aiohttp.ClientSession
    _connector: aiohttp.BaseConnector

    def __init__(self, address: OpaAddress) -> None:
        base = address.base
        super().__init__(
            host=base.host or "",
            port=base.port or 0,
            ssl=base.scheme == "https",
            token=address.bearer_token or None,
            retries=0,
        )
        self._socket = address.socket
        self._api: URL = base / self.version
        # The library's own loses a path, and the brackets of an IPv6 address.
        self.root_url = str(self._api)

    async def _init_session(self) -> None:
        await super()._init_session()
        self._session.detach()
        if self._socket is not None:
            await self._connector.close()
            self._connector = aiohttp.UnixConnector(path=str(self._socket), limit=CONNECTIONS)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=self.headers,
            timeout=aiohttp.ClientTimeout(total=None),  # `query` sets the only one
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def query_url(self, path: str) -> URL:
        """Where the document at `path` is queried."""
        return self._api.joinpath("data", *path.split("/")).with_query(_OPTIONS)

    async def query(self, url: URL, body: bytes, *, ends: float) -> tuple[int, bytes]:
        """Status and body of the answer, the body cut off just past MAX_ANSWER_BYTES.

        `ends` is a time of the event loop's clock. Raises TimeoutError, aiohttp.ClientError, ValueError.
        """
        async with asyncio.timeout_at(ends):
            try:
                return await self._post(url, body)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # Most likely closed while idle. A query changes nothing, so it may be sent again
                # (RFC 9110 9.2.2), once and at once (case 1).
                return await self._post(url, body)

    async def _post(self, url: URL, body: bytes) -> tuple[int, bytes]:
        async with self._request("POST", url, data=body, headers=_HEADERS, allow_redirects=False) as response:
            return response.status, await _read(response)


def _is_plain(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    more = url.user or url.password or url.query_string or url.fragment
    return url.scheme in {"http", "https"} and bool(url.host) and not more


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return bytes(body)
