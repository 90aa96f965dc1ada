"""Tools and the servers that they are on: each has one of its kind, and no caller says where a credential goes."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from interlock.compose.catalog_places import check_names, check_place
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.grpc_server import ServerError
from interlock.compose.http_servers import http_connector
from interlock.compose.settings import SettingsError
from interlock.core.catalog import CatalogError
from tests.tool_calls import a_tool


def settings(**changes: Any) -> GatewaySettings:
    stated: dict[str, Any] = {
        "name": "gateway-1",
        "tenant": "acme",
        "credential_file": "none",
        "jwks_file": "none",
        "catalog": ["none"],
        "servers": {"files": {"command": "true"}},
        "http": {"web": {}, "billing": {"authorization_file": "billing.authorization"}},
        "commands": {"shell": {}},
    }
    return GatewaySettings(**(stated | changes))


@pytest.mark.parametrize(
    ("server", "entry"),
    [
        ("files", {}),
        ("web", {"http": {}}),
        ("billing", {"http": {"base": "https://billing.example"}}),
        ("billing", {"http": {"base": "http://127.0.0.1:8080"}}),
        ("shell", {"command": {"argv": ["true"]}}),
    ],
    ids=["mcp", "http", "credential", "credential-here", "command"],
)
def test_a_tool_on_a_server_of_its_kind_is_taken(server: str, entry: dict[str, Any]) -> None:
    """Each kind of tool has its kind of server."""
    check_place(a_tool(server, **entry), settings(), ["files"])


@pytest.mark.parametrize(
    ("server", "entry", "says"),
    [
        ("web", {}, r"`\[gateway.servers\]` and `mcp_servers` lack"),
        ("files", {"http": {}}, r"`\[gateway.http\]` lacks"),
        ("web", {"command": {"argv": ["true"]}}, r"`\[gateway.commands\]` lacks"),
        ("web", {"http": {}, "command": {"argv": ["true"]}}, "one of them"),
        ("billing", {"http": {}}, "has no `base`"),
        ("billing", {"http": {"base": "http://billing.example"}}, "must be https"),
    ],
    ids=["mcp", "http", "command", "two-kinds", "no-base", "in-clear"],
)
def test_a_tool_elsewhere_is_refused_at_the_start(server: str, entry: dict[str, Any], says: str) -> None:
    """A tool that could never be called, or that would give a credential away, is told before anything listens."""
    with pytest.raises(CatalogError, match=says):
        check_place(a_tool(server, **entry), settings(), ["files"])


@pytest.mark.parametrize("name", ["web", "shell"])
def test_no_two_servers_have_one_name(name: str) -> None:
    """A name is one server's, whether the settings or an MCP client's file has it."""
    with pytest.raises(SettingsError, match="rename one"):
        check_names(settings(), ["files", name])
    with pytest.raises(ValidationError, match="rename one"):
        settings(servers={name: {"command": "true"}})


def test_networks_are_networks() -> None:
    """A network with bits of a host set is a mistake, and is told as one."""
    with pytest.raises(ValidationError, match="has host bits set"):
        settings(http={"web": {"networks": ["10.0.0.1/8"]}})


@pytest.mark.parametrize("content", ["", "two\nlines", "Bearer \x00"])
def test_a_credential_is_one_line(tmp_path: Path, content: str) -> None:
    """A file that holds no header's value is told with its name, and without what it holds."""
    file = tmp_path / "billing.authorization"
    file.write_text(content)
    with pytest.raises(ServerError, match=r"billing\.authorization. holds no one line"):
        http_connector(settings(http={"billing": {"authorization_file": file}}))


def test_a_credential_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A missing file is told before anything listens."""
    with pytest.raises(ServerError, match="cannot be read"):
        http_connector(settings(http={"billing": {"authorization_file": tmp_path / "missing"}}))
