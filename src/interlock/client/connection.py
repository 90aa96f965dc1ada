"""How the services are reached: a credential or a token never crosses a network in clear."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

LARGEST_ANSWER_BYTES = 64 * 1024 * 1024

_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:]+)\]|(?P<host>[A-Za-z0-9.-]+)):[0-9]{1,5}")
_CREDENTIAL = re.compile(r"[\x21-\x7e]+")

_OPTIONS: tuple[tuple[str, int], ...] = (
    # A service that restarts is found again within an ordinary deadline.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", LARGEST_ANSWER_BYTES),
)
# A proxy named in the environment would be asked to forward even what is meant for this machine.
_OPTIONS_IN_CLEAR = (*_OPTIONS, ("grpc.enable_http_proxy", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a channel leads to. Without `credentials` nothing is encrypted, and it leads to this machine."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: tuple[tuple[str, int], ...]


def target(address: str, roots: grpc.ChannelCredentials | None) -> Target:
    """The target at this address. Raises ValueError where it is in clear and not a loopback address."""
    if roots is not None:
        return Target(address=address, credentials=roots, options=_OPTIONS)
    if not _is_loopback(address):
        raise ValueError(
            f"`{address}` is not a loopback address such as `127.0.0.1:7410`, and credentials and tokens never "
            "cross a network in clear: give the `ca_file` of the service's TLS certificate"
        )
    return Target(address=address, credentials=None, options=_OPTIONS_IN_CLEAR)


def trust(ca_file: Path) -> grpc.ChannelCredentials:
    """TLS with only the certificates of this PEM file trusted. Raises OSError, and ValueError if there are none."""
    certificates = ca_file.read_bytes()
    if b"-----BEGIN CERTIFICATE-----" not in certificates:
        raise ValueError(f"`{ca_file}` holds no certificate in PEM form")
    return grpc.ssl_channel_credentials(root_certificates=certificates)


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    """The credential as metadata of a call (RFC 6750 2.1). Raises ValueError where it cannot be one."""
    if not _CREDENTIAL.fullmatch(credential):
        raise ValueError("`credential` is empty or has spaces, line breaks or other characters that none has")
    return (("authorization", f"Bearer {credential}"),)


def _is_loopback(address: str) -> bool:
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        return False
    if match["host"] == "localhost":  # RFC 6761 6.3
        return True
    try:
        return ipaddress.ip_address(match["ipv6"] or match["host"]).is_loopback
    except ValueError:
        return False
