"""The file in which MCP clients name their servers, as people move it over."""

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from interlock.adapters.mcp_endpoint import McpEndpoint, McpServer, RemoteMcpServer
from interlock.adapters.mcp_servers_file import McpServersFileError, read_mcp_servers


def read(folder: Path, servers: Any) -> dict[str, McpEndpoint]:
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return read_mcp_servers(path)


def test_a_block_of_a_client_is_taken_as_it_is(tmp_path: Path) -> None:
    """Processes and addresses are read, and names become identifiers."""
    servers = read(
        tmp_path,
        {
            "My Notes": {
                "command": "notes",
                "args": ["--root", "/notes"],
                "env": {"KEY": "${KEY}"},
                "cwd": "/",
            },
            "time": {"type": "stdio", "command": "mcp-server-time"},
            "GitHub": {"type": "http", "url": "https://mcp.example/", "headers": {"Authorization": "x"}},
            "other_one": {"transport": "streamable-http", "url": "https://other.example/mcp"},
            "plain": {"url": "https://plain.example/mcp"},
        },
    )
    assert servers == {
        "my-notes": McpServer(
            command="notes", args=("--root", "/notes"), env={"KEY": "${KEY}"}, cwd=Path("/")
        ),
        "time": McpServer(command="mcp-server-time"),
        "github": RemoteMcpServer(url="https://mcp.example/", headers={"Authorization": "x"}),
        "other-one": RemoteMcpServer(url="https://other.example/mcp"),
        "plain": RemoteMcpServer(url="https://plain.example/mcp"),
    }


def test_what_clients_note_beside_changes_nothing(tmp_path: Path) -> None:
    """A disabled server is left out, and approvals of a client's user approve nothing here, which is said."""
    with structlog.testing.capture_logs() as logged:
        servers = read(
            tmp_path,
            {
                "on": {"command": "on", "timeout": 60, "disabled": False, "autoApprove": ["pay"]},
                "off": {"command": "off", "disabled": True},
            },
        )
    assert list(servers) == ["on"]
    assert logged == [
        {
            "event": "mcp_client_approval_ignored",
            "log_level": "warning",
            "server": "on",
            "key": "autoApprove",
        }
    ]


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ([], "expected an object `mcpServers`"),
        ({"a b": {"command": "x"}, "A-B": {"command": "y"}}, "servers `a b` and `A-B` are both `a-b`"),
        ({"--": {"command": "x"}}, "server `--` needs a name of letters and digits"),
        ({"a": {"type": "sse", "url": "https://x.example"}}, "the transport `sse` is not spoken"),
        ({"a": {"type": "ws", "url": "https://x.example"}}, "`type`: got `ws`, expected `stdio` or `http`"),
        ({"a": {}}, "expected `command`, `args`, `env` and `cwd`, or `url` and `headers`"),
        ({"a": {"command": "x", "url": "https://x.example"}}, "expected `command`"),
        ({"a": {"type": "http", "command": "x"}}, "expected `command`"),
        ({"a": {"command": "x", "env": {"TOKEN": 5}}}, "server `a`: `env`"),
        ({"a": {"command": "x", "shell": "secret"}}, "server `a`: `shell`"),
        ({"a": "secret"}, "server `a`"),
    ],
    ids=[
        "no-object",
        "one-name",
        "no-name",
        "sse",
        "unknown-type",
        "nothing",
        "both",
        "no-url",
        "no-text",
        "unknown-key",
        "no-server",
    ],
)
def test_what_cannot_be_used_is_refused_with_why(tmp_path: Path, servers: Any, said: str) -> None:
    """A file that is not understood starts nothing, and no value of it is told (case 63)."""
    with pytest.raises(McpServersFileError, match=r"mcp\.json") as refused:
        read(tmp_path, servers)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_json_or_is_not_there_is_refused(tmp_path: Path) -> None:
    """The file is named, with what is wrong with it."""
    with pytest.raises(McpServersFileError, match=r"none\.json` cannot be read: No such file"):
        read_mcp_servers(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text('{"mcpServers": {"a": 1, "a": 2}}')
    with pytest.raises(McpServersFileError, match=r"broken\.json` is not the JSON of servers"):
        read_mcp_servers(tmp_path / "broken.json")


def test_no_secret_is_shown() -> None:
    """What a server is given of variables and headers is in no repr (case 63)."""
    shown = repr(McpServer(command="x", env={"TOKEN": "secret"}))
    shown += repr(RemoteMcpServer(url="https://x.example?key=secret", headers={"authorization": "secret"}))
    assert "secret" not in shown
