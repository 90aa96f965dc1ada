"""Parts that tests of several kinds share: the real OPA, a real PostgreSQL, and the project's folders."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from interlock.adapters.opa_binary import find_opa
from interlock.adapters.postgres_address import PostgresAddress
from tests.contract.postgres import PostgresServer

# A busy machine is no failure: no test asserts how long something takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return _ROOT


@pytest.fixture(scope="session")
def policies(project: Path) -> Path:
    """The policies that ship."""
    return project / "policies"


@pytest.fixture(scope="session")
def opa(project: Path) -> Path:
    """The real OPA. `tools/install-opa` builds one where there is none."""
    return find_opa(os.environ, shutil.which, project / ".tools")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL that most tests share; they break nothing in it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresAddress]:
    """A new, empty database."""
    name = postgres.new_database()
    yield postgres.address(name)
    postgres.drop(name)
