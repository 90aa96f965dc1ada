"""Where an MCP server is: a process that we start, or an address elsewhere; and why one cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from mcp.shared.exceptions import MCPError

MAX_MESSAGE_BYTES = 4 * 2**20
"""Of one message that a server sends; a longer one is passed over, and the call that it answers is unknown."""


class McpServerError(Exception):
    """A server that cannot be used now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """How to start a server. `env` is all that it gets of variables, beside those that `base_environment` names."""

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMcpServer:
    """A server elsewhere, over streamable HTTP. `headers` go with each request to it, and nowhere else."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


McpEndpoint = McpServer | RemoteMcpServer


def cause_of(error: BaseException) -> str:
    """Why, without anything of the messages: of errors that others wrote, only the kind is told."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case McpServerError():
            return str(error)
        case OSError(strerror=str() as strerror):
            return strerror
        case TimeoutError():
            return "it did not answer in time"
        case MCPError():
            return f"JSON-RPC error {error.error.code}"
        case httpx2.TransportError():
            return f"it cannot be reached: {type(error).__name__}"
        case _:
            return type(error).__name__
