"""The gRPC server of both processes, built in one place so that its engine can be swapped."""

from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from interlock.compose.settings_parts import Tls
from interlock.rpc.health import Health

LARGEST_MESSAGE_BYTES = 8 * 1024 * 1024

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a replica
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
    # What one client can hold open or ask for at a time (case 41), and send as metadata (case 42).
    ("grpc.max_concurrent_streams", 1_000),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
)


class ServerError(Exception):
    """The server cannot listen; the message names the address or the file."""


def build_server(
    *, address: str, tls: Tls | None, handlers: Sequence[tuple[str, grpc.GenericRpcHandler]], health: Health
) -> tuple[grpc.aio.Server, str]:
    """A server that is not started yet, and the address that it listens on (port 0 asks for any free port).

    `handlers` come with the full names of their services. Raises ServerError.
    """
    server = grpc.aio.server(options=_OPTIONS)
    names = [name for name, _ in handlers]
    server.add_generic_rpc_handlers([handler for _, handler in handlers])
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection([*names, health_name, reflection.SERVICE_NAME], server)
    try:
        port = _listen(server, address, tls)
    except RuntimeError as error:
        raise ServerError(f"`{address}` cannot be listened on; is another process there?") from error
    return server, f"{address.rpartition(':')[0]}:{port}"


def _listen(server: grpc.aio.Server, address: str, tls: Tls | None) -> int:
    if tls is None:
        return server.add_insecure_port(address)
    pair = (_read(tls.private_key), _read(tls.certificate))
    return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ServerError(f"`{path}` cannot be read: {error.strerror}") from error
