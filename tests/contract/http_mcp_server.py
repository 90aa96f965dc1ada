"""An MCP server over HTTP without any SDK, whose answers a test scripts, and which can go and come back."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

INITIALIZED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {"listChanged": True}},
    "serverInfo": {"name": "raw", "version": "1"},
}

Script = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request, which a script answers."""

    protocol_version = "HTTP/1.1"
    server: "HttpMcpServer"
    message: dict[str, Any]

    def do_GET(self) -> None:
        self.answer(405, b"")

    def do_DELETE(self) -> None:
        self.server.noted.append("DELETE")
        self.answer(200, b"")

    def do_POST(self) -> None:
        self.message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.heard.append(dict(self.headers))
        match self.message.get("method"):
            case "initialize":
                self.result(INITIALIZED, **{"mcp-session-id": self.server.session})
            case method if self.headers["mcp-session-id"] != self.server.session:
                self.answer(404, b"")
            case "tools/list":
                self.result(
                    {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in self.server.tools]}
                )
            case "tools/call":
                self.server.noted.append(self.message["params"]["name"])
                self.server.tools[self.message["params"]["name"]](self)
            case method:
                self.server.noted.append(str(method))
                self.answer(202, b"")

    def result(self, result: Mapping[str, Any], **headers: str) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": self.message["id"], "result": result}).encode()
        self.answer(200, body, "application/json", **headers)

    def answer(self, status: int, body: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, size: int, kind: str) -> None:
        """So many bytes in the place of an answer."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(
            b'data: {"jsonrpc":"2.0","id":1,"result":{"a":"' if kind != "application/json" else b'{"a":"'
        )
        self.server.noted.append(f"sent {self._write(size)}")
        self.close_connection = True

    def _write(self, size: int) -> int:
        sent = 0
        try:
            while sent < size:
                self.wfile.write(b"x" * 2**20)
                sent += 2**20
        except OSError:
            pass  # whom it is for reads no more
        return sent

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


class HttpMcpServer(ThreadingHTTPServer):
    """Use as a context manager. `noted` are the tools that were called, and what else came; `heard` the headers."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tools: Mapping[str, Script], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Exchange)
        self.tools = tools
        self.session = "session-1"
        self.noted: list[str] = []
        self.heard: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
