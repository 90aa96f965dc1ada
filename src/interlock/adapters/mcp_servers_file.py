"""The file in which MCP clients name their servers, `mcpServers`: read, so that a user moves the block over.

{"mcpServers": {"My Notes": {"command": "notes-server", "args": ["--root", "/notes"], "env": {"TOKEN": "..."}},
                "issues": {"type": "http", "url": "https://issues.example/mcp", "headers": {"Authorization": "..."}}}}
"""

import re
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.adapters.mcp_endpoint import McpEndpoint, McpServer, RemoteMcpServer
from interlock.core.errors import InterlockError
from interlock.core.strict_json import parse_object

logger = structlog.get_logger()

_NO_IDENTIFIER = re.compile(r"[^a-z0-9-]+")
_MAX_NAME = 64

# What clients note beside a server and what is no matter of the gateway's.
_IGNORED = frozenset({"timeout", "description", "disabledTools", "gallery", "version", "icon", "tools"})
# Approvals: a client's user clicked them away there, which approves nothing here.
_APPROVALS = frozenset({"autoApprove", "alwaysAllow", "trust"})


class McpServersFileError(ValueError):
    """A file of servers that cannot be used; the message names the server and never a value."""


class _Server(BaseModel):
    """A server as clients state it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    type: str = ""
    transport: str = ""
    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    disabled: bool = False


def read_mcp_servers(path: Path) -> dict[str, McpEndpoint]:
    """The servers of the file by their names as identifiers: lower case, and `-` for all but letters and digits.

    `disabled` ones are left out. `${VARIABLE}` is left as it is, as most clients do. Raises McpServersFileError.
    """
    stated = _read(path).get("mcpServers")
    if not isinstance(stated, dict):
        raise McpServersFileError(f"`{path}`: expected an object `mcpServers`")
    endpoints: dict[str, McpEndpoint] = {}
    names: dict[str, str] = {}
    for name, value in stated.items():
        identifier = _identifier(path, name)
        if identifier in names:
            raise McpServersFileError(
                f"`{path}`: servers `{names[identifier]}` and `{name}` are both `{identifier}`; rename one of them"
            )
        names[identifier] = name
        server = _server(path, name, value)
        if not server.disabled:
            endpoints[identifier] = _endpoint(path, name, server)
    return endpoints


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise McpServersFileError(f"`{path}` cannot be read: {error.strerror}") from error
    try:
        return parse_object(data, field="mcp_servers")
    except InterlockError as error:
        raise McpServersFileError(f"`{path}` is not the JSON of servers: {error.message}") from error


def _identifier(path: Path, name: str) -> str:
    identifier = _NO_IDENTIFIER.sub("-", name.lower()).strip("-")
    if not identifier or len(identifier) > _MAX_NAME:
        raise McpServersFileError(
            f"`{path}`: server `{name[:_MAX_NAME]}` needs a name of letters and digits, {_MAX_NAME} at most"
        )
    return identifier


def _server(path: Path, name: str, value: Any) -> _Server:
    stated = dict(value) if isinstance(value, dict) else value
    if isinstance(stated, dict):
        for key in _APPROVALS & stated.keys():
            logger.warning("mcp_client_approval_ignored", server=name, key=key)
        stated = {key: stated[key] for key in stated if key not in _IGNORED | _APPROVALS}
    try:
        return _Server.model_validate(stated)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, problem["loc"][:1]))
        raise McpServersFileError(
            f"`{path}`: server `{name}`{f': `{place}`' if place else ''}: {problem['msg'].lower()}"
        ) from error


def _endpoint(path: Path, name: str, server: _Server) -> McpEndpoint:
    match _transport(server):
        case "stdio" if server.command and not (server.url or server.headers):
            cwd = Path(server.cwd) if server.cwd else None
            return McpServer(command=server.command, args=tuple(server.args), env=server.env, cwd=cwd)
        case "http" if server.url and not (server.command or server.args or server.env or server.cwd):
            return RemoteMcpServer(url=server.url, headers=server.headers)
        case "sse":
            raise McpServersFileError(
                f"`{path}`: server `{name}`: the transport `sse` is not spoken; give its streamable HTTP address "
                'with `"type": "http"`'
            )
        case "stdio" | "http":
            raise McpServersFileError(
                f"`{path}`: server `{name}`: expected `command`, `args`, `env` and `cwd`, or `url` and `headers`"
            )
        case other:
            raise McpServersFileError(
                f"`{path}`: server `{name}`: `type`: got `{other[:_MAX_NAME]}`, expected `stdio` or `http`"
            )


def _transport(server: _Server) -> str:
    stated = (server.type or server.transport).lower()
    if stated in {"streamable-http", "streamablehttp", "streamable_http"}:
        return "http"
    return stated or ("http" if server.url else "stdio")
