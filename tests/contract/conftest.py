"""What several contract tests run on: a scripted service with each client, and the policies that ship at work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interlock.adapters.policy_bundle import build_bundle, open_signing_key
from interlock.client import AsyncInterlock, Interlock
from tests.contract.scripted_services import CREDENTIAL, Asker, Client, Server
from tests.contract.sidecars import Running, options_for, running


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A service whose answers a test scripts."""
    listening = Server()
    await listening.start()
    yield listening
    await listening.listener.stop(None)


@pytest.fixture(params=[Interlock, AsyncInterlock])
def kind(request: pytest.FixtureRequest) -> type[Client]:
    """Each of the two clients."""
    chosen: type[Client] = request.param
    return chosen


@pytest.fixture
async def ask(kind: type[Client], server: Server) -> AsyncIterator[Asker]:
    """A client of the scripted service, which is its gateway too."""
    asker = Asker(kind(server.address, credential=CREDENTIAL, gateway=server.address, session_id="s-1"))
    yield asker
    await asker("close")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shipped(
    opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """The policies that ship, at work."""
    folder = tmp_path_factory.mktemp("shipped")
    key = open_signing_key(folder / "keys")
    bundle = build_bundle(opa, policies, folder / "bundle.tar.gz", key)
    async with running(options_for(opa, bundle.path, key.public), bundle.revision) as parts:
        yield parts
