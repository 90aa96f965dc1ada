"""The bare server: the engine of the real one, which answers every Decide with the bytes of one file.

    python bench/echo_server.py REPLY_FILE

It prints where it listens, and nothing of a request is looked at: no credential, no message, no decision.
"""

import sys
from pathlib import Path

import grpc
import uvloop

from interlock.compose.grpc_server import build_server
from interlock.compose.process import listen_for_signals
from interlock.rpc.health import Health

SERVICE = "interlock.v1.DecisionService"


async def serve(reply: bytes) -> None:
    """Answer until SIGTERM."""

    async def answer(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return reply

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Decide": grpc.unary_unary_rpc_method_handler(answer)
    }
    handler = grpc.method_handlers_generic_handler(SERVICE, methods)
    server, address = build_server(
        address="127.0.0.1:0", tls=None, handlers=[(SERVICE, handler)], health=Health([SERVICE], {})
    )
    await server.start()
    print(f"echo server: gRPC on {address}", flush=True)
    await listen_for_signals().wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]).read_bytes()))
