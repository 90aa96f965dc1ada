"""Worlds: one that most tests share, and new ones for tests that break things."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.client import Interlock
from tests.e2e.processes import run_interlock
from tests.e2e.world import GATEWAY, TENANT, World, to_toml
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="session")
def git_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tools of the real mcp-server-git, as `interlock catalog import` finds them."""
    folder = tmp_path_factory.mktemp("catalog")
    gateway = {
        "name": GATEWAY,
        "tenant": TENANT,
        "credential_file": "none",
        "jwks_file": "none",
        "catalog": ["none"],
        "servers": {"git": {"command": sys.executable, "args": ["-m", "mcp_server_git"]}},
    }
    (folder / "interlock.toml").write_text(to_toml({"environment": "dev", "gateway": gateway}))
    done = run_interlock("catalog", "import", "git", "--output", "git.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "git.yaml"


@pytest.fixture(scope="session")
def world(
    opa: Path, policies: Path, git_catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The world that most tests share; they break nothing in it."""
    folder = tmp_path_factory.mktemp("world")
    with World(folder, opa=opa, policies=policies, git_catalog=git_catalog) as shared:
        yield shared.start()


@pytest.fixture(scope="session")
def fragile_world(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Behind `breakable_world`."""
    with World(tmp_path_factory.mktemp("fragile"), opa=opa, policies=policies) as shared:
        shared.settings["service"]["log_limit_seconds"] = 1
        shared.settings["service"]["policy"]["evaluation_limit_seconds"] = PATIENCE_SECONDS
        shared.settings["gateway"]["longest_execution_seconds"] = 3
        yield shared.start()


@pytest.fixture
def breakable_world(fragile_world: World) -> World:
    """A world whose parts a test may break. What does not recover by itself starts again for the next test."""
    return fragile_world.mend()


@pytest.fixture
def own_world(opa: Path, policies: Path, tmp_path: Path) -> Iterator[World]:
    """A world for one test, in which nothing runs yet."""
    with World(tmp_path, opa=opa, policies=policies) as own:
        yield own


@pytest.fixture(scope="session")
def contributor(world: World) -> Interlock:
    """An agent that may read the repository, and propose to change it."""
    return world.agent("contributor")


@pytest.fixture(scope="session")
def tester(world: World) -> Interlock:
    """An agent that may call the tools of the server `odd`."""
    return world.agent("tester", name="tester")


@pytest.fixture(scope="session")
def auditor(world: World) -> Interlock:
    """An auditor of the same tenant."""
    return world.auditor()
