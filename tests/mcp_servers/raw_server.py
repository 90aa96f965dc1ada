"""An MCP server over stdio without any SDK, so that it can send what no SDK would.

The file of the first argument gets a line for each call and each cancellation; the second names a JSON file, the
`result` of each `tools/list` as it is at that moment.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MUCH = 100 * 2**20
INITIALIZED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {"listChanged": True}},
    "serverInfo": {"name": "raw", "version": "1"},
}


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def send(**message: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0"} | message))


def answer(request: dict[str, Any], text: str) -> None:
    send(id=request["id"], result={"content": [{"type": "text", "text": text}]})


def echo(request: dict[str, Any]) -> None:
    answer(request, json.dumps(request["params"]))


def twice(request: dict[str, Any]) -> None:
    answer(request, "first")
    answer(request, "second")


def huge(request: dict[str, Any]) -> None:
    """100 MB, the id first, as most write it."""
    answer(request, "x" * MUCH)


def huge_from_javascript(request: dict[str, Any]) -> None:
    """100 MB, the id last, as JavaScript's SDK writes it."""
    result = {"content": [{"type": "text", "text": "x" * MUCH}]}
    write(json.dumps({"result": result, "jsonrpc": "2.0", "id": request["id"]}))


def endless(request: dict[str, Any]) -> None:
    while True:
        sys.stdout.write("x" * 2**20)


def nonsense(request: dict[str, Any]) -> None:
    """What is no JSON, no JSON-RPC, and an answer to what nobody asked; then the answer."""
    write('{"jsonrpc": "2.0", "id":\n[]\n{"a": 1}\n\udcff')
    send(id=10_000, result={"content": []})
    send(id="x", error={"code": 1, "message": "x"})
    answer(request, "sense")


def announce(request: dict[str, Any]) -> None:
    send(method="notifications/tools/list_changed")
    answer(request, "announced")


account = announce
"""By a name that the policies of the tests know."""


def ask(request: dict[str, Any]) -> None:
    """Ask the client for what the arguments say, and answer with its answer."""
    send(id="asked", method=request["params"]["arguments"]["method"], params={})
    answer(request, json.dumps(json.loads(sys.stdin.readline())))


def hang(request: dict[str, Any]) -> None:
    """Never answer."""


TOOLS: dict[str, Callable[[dict[str, Any]], None]] = {
    tool.__name__: tool
    for tool in (echo, twice, huge, huge_from_javascript, endless, nonsense, announce, ask, hang)
} | {"account": account}


def main(journal: str, listing: str) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("method"):
            case "initialize":
                send(id=message["id"], result=INITIALIZED)
            case "tools/list":
                send(id=message["id"], result=json.loads(Path(listing).read_text()))
            case "tools/call":
                name = message["params"]["name"]
                with Path(journal).open("a") as noted:
                    noted.write(f"{name}\n")
                TOOLS[name](message)
            case "notifications/cancelled":
                with Path(journal).open("a") as noted:
                    noted.write("cancelled\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    main(*sys.argv[1:])
