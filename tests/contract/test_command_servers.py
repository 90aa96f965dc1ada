"""What a gateway looks at before it offers commands: a sandbox, its folders, and what is the gateway's alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.sandbox_place import SandboxError
from interlock.compose.commands import command_servers
from interlock.compose.gateway_settings import GatewaySettings
from interlock.core.catalog import Catalog, CatalogError
from tests.open_folders import open_folder
from tests.tool_calls import a_call, a_tool


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the sandboxed user can reach."""
    with open_folder() as folder:
        yield folder


def settings(private: Path, **commands: Any) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {
            "name": "gateway-1",
            "tenant": "acme",
            "data_dir": private / "data",
            "credential_file": private / "credential",
            "jwks_file": private / "jwks.json",
            "catalog": [private / "catalog.yaml"],
            "servers": {},
            "commands": commands,
        }
    )


def a_catalog(folder: Path) -> Catalog:
    command = {"argv": ("sh", "-c", 'ls "$0"; echo $GREETING', str(folder)), "roots": ("data",)}
    return Catalog(tools={"list": a_tool("tools", "list", roots={"data": str(folder)}, command=command)})


async def test_commands_run_with_their_servers_variables(tmp_path: Path, folder: Path) -> None:
    """Each server's commands get the variables of its settings."""
    (folder / "file").touch()
    catalog = a_catalog(folder)
    servers = await command_servers(settings(tmp_path, tools={"env": {"GREETING": "hello"}}), catalog)
    prepared = await servers["tools"].prepare(a_call(catalog.tools["list"], {}))
    assert (await prepared.run()).value["stdout"] == "file\nhello\n"


async def test_a_gateway_without_commands_needs_no_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bubblewrap is asked for only where it is needed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await command_servers(settings(tmp_path), Catalog(tools={})) == {}


async def test_a_gateway_with_commands_starts_only_with_a_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without bubblewrap it refuses, and says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        await command_servers(settings(tmp_path, tools={}), Catalog(tools={}))


async def test_a_folder_that_cannot_be_bound_is_told_with_its_tool(tmp_path: Path) -> None:
    """A root that is not there is found at the start, not when a token was redeemed for it."""
    with pytest.raises(SandboxError, match=r"tool `list`: .*Can't find source path"):
        await command_servers(settings(tmp_path, tools={}), a_catalog(tmp_path / "gone"))


@pytest.mark.parametrize("private", ["", "deeper", "link"])
async def test_no_command_sees_the_gateways_credential(folder: Path, private: str) -> None:
    """A root with the gateway's credential or ledger in it is refused, also through a link (case 61)."""
    (folder / "deeper").mkdir()
    (folder / "link").symlink_to(folder / "deeper")
    with pytest.raises(CatalogError, match="credential"):
        await command_servers(settings(folder / private, tools={}), a_catalog(folder))
