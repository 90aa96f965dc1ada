"""An OPA that runs elsewhere: by URL, with the bearer token that it wants, over TLS."""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interlock.adapters.opa import OpaAddress, OpaEngine
from interlock.core.decision import Evaluated
from interlock.core.errors import ErrorReason, InterlockError
from tests.contract.certificates import a_certificate_of
from tests.contract.processes import listening_ports
from tests.contract.sidecars import REVISION, sign_unchecked
from tests.policy_inputs import an_input
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "c29tZSB0b2tlbg=="
FILES = {
    ".manifest": '{"roots": ["interlock", "system"]}',
    "decision.rego": """
package interlock.decision

result := {
    "verdict": "allow",
    "reasons": [{"code": "test.fine", "message": "fine"}],
    "obligations": [],
    "reservations": [],
}

batch := [result | some proposed in input.batch]
""",
    "authz.rego": f"""
package system.authz

default allow := false

allow if input.identity == "{TOKEN}"
""",
}


@pytest.fixture(scope="module")
def policy(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags for a policy that allows everything, to whom bears TOKEN."""
    options = sign_unchecked(opa, tmp_path_factory.mktemp("elsewhere"), FILES)
    return [
        f"--verification-key={options.verification_key}",
        f"--signing-alg={options.signing_algorithm}",
        "--bundle",
        str(options.bundle),
    ]


@contextlib.asynccontextmanager
async def serving(opa: Path, *flags: str) -> AsyncIterator[int]:
    """The port of an OPA that somebody else runs."""
    process = await asyncio.create_subprocess_exec(
        opa,
        "run",
        "--server",
        "--addr=127.0.0.1:0",
        "--skip-version-check",
        *flags,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        await until(lambda: bool(_ports(process)), poll_seconds=0.02)
        yield _ports(process)[0]
    finally:
        process.kill()
        await process.wait()


def _ports(process: Process) -> list[int]:
    assert process.returncode is None, "opa ended"
    return listening_ports(process.pid)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(opa: Path, policy: list[str]) -> AsyncIterator[str]:
    """An OPA that answers nobody but the bearer of TOKEN."""
    async with serving(opa, "--authentication=token", "--authorization=basic", *policy) as port:
        yield f"http://127.0.0.1:{port}"


async def answer_from(address: OpaAddress, count: int = 1) -> Evaluated | InterlockError:
    """What each of so many inputs gets from there; the same."""
    async with OpaEngine(
        address, expected_revision=lambda: REVISION, limit_seconds=PATIENCE_SECONDS
    ) as engine:
        [answer, *others] = await engine.evaluate([an_input()] * count, limit_seconds=PATIENCE_SECONDS)
        assert all(other == answer for other in others)
        assert await engine.ready() == isinstance(answer, Evaluated)
    return answer


@pytest.mark.parametrize("count", [1, 3])
async def test_the_bearer_of_the_token_is_answered(url: str, count: int) -> None:
    """With the token that it wants, an OPA elsewhere decides as our own does."""
    answer = await answer_from(OpaAddress(url=url, bearer_token=TOKEN), count)
    assert isinstance(answer, Evaluated)
    assert answer.revision == REVISION


@pytest.mark.parametrize("token", ["d3Jvbmc=", ""])
async def test_another_is_refused_and_told_where_to_look(url: str, token: str) -> None:
    """With a wrong token or none there is no decision, and the error names the setting but not the token."""
    answer = await answer_from(OpaAddress(url=url, bearer_token=token), 3)
    assert isinstance(answer, InterlockError)
    assert answer.reason == ErrorReason.POLICY_ENGINE_UNAVAILABLE
    assert "`opa_token_file`" in answer.message
    assert not token or token not in str(answer)


async def test_a_server_is_believed_only_with_a_certificate(
    opa: Path, policy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS, only an OPA whose certificate the machine trusts can answer; another allows nothing."""
    certificate, key = a_certificate_of("127.0.0.1", tmp_path)
    flags = (f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}")
    async with serving(opa, *flags, *policy) as port:
        address = OpaAddress(url=f"https://127.0.0.1:{port}")
        refused = await answer_from(address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        believed = await answer_from(address)
    assert isinstance(refused, InterlockError)
    assert refused.reason == ErrorReason.POLICY_ENGINE_UNAVAILABLE
    assert isinstance(believed, Evaluated)


async def test_a_url_where_nobody_listens_is_an_engine_that_is_away() -> None:
    """Where there is no OPA, there is no decision (case 1)."""
    answer = await answer_from(OpaAddress(url="http://127.0.0.1:1"))
    assert isinstance(answer, InterlockError)
    assert answer.reason == ErrorReason.POLICY_ENGINE_UNAVAILABLE
