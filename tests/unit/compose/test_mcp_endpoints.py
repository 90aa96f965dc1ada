"""Where a gateway's MCP servers are, from its settings and from a client's file."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from interlock.adapters.mcp_endpoint import McpServer, RemoteMcpServer
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.mcp_endpoints import mcp_endpoints
from interlock.compose.settings import SettingsError


def gateway(**stated: Any) -> GatewaySettings:
    return GatewaySettings(
        name="gateway-1",
        tenant="acme",
        credential_file=Path("credential"),
        jwks_file=Path("jwks.json"),
        catalog=(Path("catalog.yaml"),),
        **stated,
    )


def test_servers_come_from_both_places(tmp_path: Path) -> None:
    """What the settings state and what a client's file has are one set of servers."""
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"My Notes": {"command": "notes"}}}))
    servers = {"issues": {"url": "https://issues.example/mcp", "headers": {"authorization": "x"}}}
    assert mcp_endpoints(gateway(servers=servers, mcp_servers=file)) == {
        "issues": RemoteMcpServer(url="https://issues.example/mcp", headers={"authorization": "x"}),
        "my-notes": McpServer(command="notes"),
    }


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://mcp.example/mcp", True),
        ("http://127.0.0.1:8000/mcp", True),
        ("http://localhost/mcp", True),
        ("http://[::1]:8000/mcp", True),
        ("http://mcp.example/mcp?key=secret", False),
        ("http://127.0.0.1.mcp.example/secret", False),
        ("http://127.0.0.1@mcp.example/secret", False),
        ("ftp://127.0.0.1/secret", False),
        ("secret", False),
        ("https:///secret", False),
    ],
)
def test_no_server_is_spoken_to_in_clear_over_a_network(url: str, taken: bool) -> None:
    """A server elsewhere is spoken to over https; an error names the server, and nothing of its URL (case 63)."""
    settings = gateway(servers={"odd": {"url": url}})
    if taken:
        assert mcp_endpoints(settings) == {"odd": RemoteMcpServer(url=url)}
        return
    with pytest.raises(SettingsError, match="`url` of server `odd` must be https") as refused:
        mcp_endpoints(settings)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "server",
    [
        {},
        {"command": "x", "url": "https://x.example"},
        {"url": "https://x.example", "env": {"A": "1"}},
        {"command": "x", "headers": {"a": "1"}},
    ],
    ids=["nothing", "both", "env-for-a-url", "headers-for-a-command"],
)
def test_a_server_is_in_one_place(server: dict[str, Any]) -> None:
    """A server has a command or a URL, and only what belongs to it."""
    with pytest.raises(ValidationError):
        gateway(servers={"odd": server})
