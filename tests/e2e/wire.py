"""Calls with the very bytes that a test chooses: no stub of ours, and no client, tidies them up."""

from typing import TypeAlias

import grpc
import pytest

from interlock.client import InterlockCallError
from interlock.client.errors import from_rpc
from interlock.v1 import decision_service_pb2, proposal_pb2
from tests.waiting import PATIENCE_SECONDS

Metadata: TypeAlias = tuple[tuple[str, str], ...]


def bearer(credential: str) -> Metadata:
    return (("authorization", f"Bearer {credential}"),)


def send(
    channel: grpc.Channel,
    method: str,
    data: bytes,
    metadata: Metadata = (),
    compression: grpc.Compression | None = None,
) -> bytes:
    """The bytes that `Service/Method` answers. Raises grpc.RpcError."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/interlock.v1.{method}")
    return call(data, metadata=metadata, compression=compression, timeout=PATIENCE_SECONDS)


def refused(
    channel: grpc.Channel,
    method: str,
    data: bytes,
    metadata: Metadata = (),
    compression: grpc.Compression | None = None,
) -> InterlockCallError:
    """How `Service/Method` refuses these bytes."""
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, method, data, metadata, compression)
    return from_rpc(caught.value, method=method.partition("/")[2])


def a_request(
    arguments_json: bytes = b"{}", *, request_id: str, tool: str = "echo", session_id: str = "session-1"
) -> decision_service_pb2.DecideRequest:
    """A request to decide a call; all of it is good unless a test gives something else."""
    return decision_service_pb2.DecideRequest(
        request_id=request_id,
        proposal=proposal_pb2.Proposal(
            session_id=session_id,
            tool_call=proposal_pb2.ToolCall(tool=tool, arguments_json=arguments_json),
        ),
    )


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message (protobuf.dev, Encoding: tag 2)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
