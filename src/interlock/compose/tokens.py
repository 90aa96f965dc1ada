"""Looking at an execution token, and verifying it as a gateway would."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from interlock.adapters.clock import SystemClock
from interlock.adapters.verifying_keys import FixedVerifyingKeys, RemoteVerifyingKeys
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.places import gateway_of
from interlock.compose.settings import Settings, SettingsError
from interlock.core import token


def inspect_token(text: str) -> dict[str, Any]:
    """Header, payload and times of a token that is NOT verified. Raises InterlockError."""
    header, payload = token.inspect(text)
    times = {name: _moment(payload.get(name)) for name in ("iat", "nbf", "exp") if name in payload}
    return {"verified": False, "header": header, "payload": payload, "times": times}


def verify_token(text: str, settings: Settings) -> Mapping[str, Any]:
    """The claims, where the gateway of these settings would take the token now. Raises InterlockError."""
    gateway = gateway_of(settings)
    keys = asyncio.run(_keys(gateway))
    claims = token.verify(text, keys, expected_by(settings, gateway), reference_time=SystemClock().now())
    return claims.model_dump(mode="json")


def expected_by(settings: Settings, gateway: GatewaySettings) -> token.ExpectedBy:
    """What a gateway of these settings demands of a token."""
    return token.ExpectedBy(
        audience=gateway.name,
        tenant=gateway.tenant,
        environment=settings.environment,
        issuer=gateway.issuer,
        leeway=timedelta(seconds=gateway.leeway_seconds),
    )


def remote_keys(gateway: GatewaySettings) -> RemoteVerifyingKeys:
    """The keys that the decision service publishes. Raises KeySetError, SettingsError."""
    return RemoteVerifyingKeys(gateway.jwks_url, tls=_trust(gateway.decision_service_ca))


def _trust(ca_file: Path | None) -> ssl.SSLContext | None:
    """Trust in this CA alone where one is named; None for those that the system trusts."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(f"`{ca_file}` cannot be used as a CA certificate: {error.strerror}") from error


async def _keys(gateway: GatewaySettings) -> token.VerifyingKeys:
    if gateway.jwks_file is not None:
        return FixedVerifyingKeys.from_file(gateway.jwks_file)
    keys = remote_keys(gateway)
    await keys.refresh()
    return keys


def _moment(seconds: object) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if isinstance(seconds, int) else "not a time"
