"""ports.WebhookSender over HTTP: each request is signed, and tells nobody else than its endpoint."""

import asyncio
import contextlib
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx2

from interlock.ports import Clock, NotDelivered

SEND_SECONDS = 10.0
"""For a whole request, from the name's look-up to the answer's status."""

CONNECTIONS = 8
"""To each endpoint."""

SIGNATURE_HEADER = "Interlock-Signature"
DELIVERY_HEADER = "Interlock-Delivery"

_TAKEN = range(200, 300)
_REDIRECTED = range(300, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a webhook is. The URL may be a secret itself, as Slack's are. No secrets: requests are not signed."""

    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)


def signature(secrets: Sequence[bytes], body: bytes, at: datetime) -> str:
    """`t=UNIX,v1=HEX`, a `v1` for each secret: HMAC-SHA-256 (RFC 2104) of `UNIX.body`."""
    time = str(int(at.timestamp()))
    signed = [hmac.new(secret, f"{time}.".encode() + body, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={time}", *[f"v1={each}" for each in signed]])


class HttpWebhooks:
    """ports.WebhookSender. Made by `http_webhooks`."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        clients: Mapping[str, httpx2.AsyncClient],
        clock: Clock,
        *,
        limit_seconds: float,
    ) -> None:
        self._endpoints = endpoints
        self._clients = clients
        self._clock = clock
        self._limit_seconds = limit_seconds

    async def send(self, webhook: str, delivery_id: str, body: bytes) -> None:
        """Post it. Only a status of 2xx is a yes; a redirect is none, and of an answer's body nothing is read."""
        endpoint = self._endpoints[webhook]
        headers = {"content-type": "application/json", DELIVERY_HEADER: delivery_id}
        if endpoint.secrets:
            headers[SIGNATURE_HEADER] = signature(endpoint.secrets, body, self._clock.now())
        try:
            async with (
                asyncio.timeout(self._limit_seconds),
                self._clients[webhook].stream(
                    "POST", endpoint.url, content=body, headers=headers
                ) as response,
            ):
                status = response.status_code
        except (httpx2.HTTPError, OSError) as error:  # TimeoutError is an OSError
            # Its text may hold the URL; its type says enough.
            raise NotDelivered(type(error).__name__) from None
        if status not in _TAKEN:
            raise NotDelivered(
                f"status {status}" + (", and no redirect is followed" if status in _REDIRECTED else "")
            )


@contextlib.asynccontextmanager
async def http_webhooks(
    endpoints: Mapping[str, Endpoint], clock: Clock, *, limit_seconds: float = SEND_SECONDS
) -> AsyncIterator[HttpWebhooks]:
    """Senders to these endpoints until the end of the block, each with connections of its own.

    Certificates are checked with the authorities of the system. Proxies of the environment are not used.
    """
    tls = ssl.create_default_context()
    async with contextlib.AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(_client(tls)) for name in endpoints}
        yield HttpWebhooks(endpoints, clients, clock, limit_seconds=limit_seconds)


def _client(tls: ssl.SSLContext) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        headers={"user-agent": "interlock", "accept": "*/*"},
        verify=tls,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # `send` sets the only one
        limits=httpx2.Limits(max_connections=CONNECTIONS),
    )
