"""The sidecar as real processes: private, supervised, and gone when we are."""

import asyncio
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from interlock.adapters import exec_with_parent, opa_sidecar
from interlock.adapters.opa_binary import run_opa
from interlock.adapters.opa_sidecar import OpaSidecar, SidecarError, SidecarOptions
from interlock.adapters.policy_bundle import open_signing_key
from interlock.core.decision import Evaluated
from interlock.core.errors import ErrorReason, InterlockError
from tests.contract.processes import environment, is_alive, listening_ports
from tests.contract.sidecars import Running, running, sign_unchecked
from tests.policy_inputs import an_input
from tests.waiting import PATIENCE_SECONDS, until

ALLOW_ALL = """
package interlock.decision

result := {
    "verdict": "allow",
    "reasons": [{"code": "test.fine", "message": "fine"}],
    "obligations": [],
    "reservations": [],
}

batch := [result | some proposed in input.batch]
"""

Events = list[MutableMapping[str, Any]]


@pytest.fixture(scope="module")
def options(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> SidecarOptions:
    """What a sidecar that allows everything runs."""
    return sign_unchecked(opa, tmp_path_factory.mktemp("policy"), {"decision.rego": ALLOW_ALL})


@pytest.fixture
def own_options(options: SidecarOptions, tmp_path: Path) -> SidecarOptions:
    """The same, with a bundle file that the test may break."""
    bundle = tmp_path / "bundle.tar.gz"
    shutil.copyfile(options.bundle, bundle)
    return replace(options, bundle=bundle)


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """What is logged."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
async def parts(own_options: SidecarOptions) -> AsyncIterator[Running]:
    async with running(own_options) as parts:
        yield parts


async def told(parts: Running) -> str:
    """The verdict or the reason of the error that a proposal gets now."""
    [answer] = await parts.engine.evaluate([an_input()], limit_seconds=PATIENCE_SECONDS)
    return answer.answer.verdict if isinstance(answer, Evaluated) else answer.reason


async def kill(parts: Running) -> int:
    """Kill OPA and return, once that is seen, the process id that it had."""
    process_id = parts.sidecar.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGKILL)
    await until(lambda: parts.sidecar.process_id is None)
    return process_id


async def not_at_once() -> bool:
    """What a sidecar that is never ready tells."""
    return False


def named(events: Events, name: str) -> Events:
    return [event for event in events if event["event"] == name]


async def failure_of(options: SidecarOptions) -> str:
    """How the start of this sidecar fails."""
    sidecar = OpaSidecar(options)
    try:
        with pytest.raises(SidecarError) as caught:
            await sidecar.start(not_at_once)
    finally:
        await sidecar.stop()
    return str(caught.value)


async def test_only_this_user_can_speak_to_opa(parts: Running) -> None:
    """The socket has mode 0600, in a folder of mode 0700, and there is no other way in."""
    path = parts.sidecar.address.socket
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert parts.sidecar.process_id is not None
    assert listening_ports(parts.sidecar.process_id) == []


async def test_nothing_of_our_environment_reaches_opa(
    own_options: SidecarOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret in our environment is none of the policies' business, and sets none of OPA's flags (case 63)."""
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("OPA_LOG_LEVEL", "debug")
    async with running(own_options) as parts:
        assert parts.sidecar.process_id is not None
        assert environment(parts.sidecar.process_id).keys() == {"HOME", "GOMEMLIMIT", "GOGC"}


async def test_opa_is_bounded_in_memory(parts: Running) -> None:
    """A policy that runs away ends OPA before it ends the machine (case 13)."""
    assert parts.sidecar.process_id is not None
    soft_and_hard = resource.prlimit(parts.sidecar.process_id, resource.RLIMIT_AS)
    assert soft_and_hard == (opa_sidecar.ADDRESS_SPACE_BYTES, opa_sidecar.ADDRESS_SPACE_BYTES)


async def test_a_killed_opa_comes_back_by_itself(parts: Running) -> None:
    """While OPA is away everything is an error; then it answers again, with no help (cases 1, 57)."""
    assert await told(parts) == "allow"
    process_id = await kill(parts)
    assert await told(parts) == ErrorReason.POLICY_ENGINE_UNAVAILABLE
    assert not await parts.engine.ready()
    await until(parts.engine.ready, poll_seconds=0.02)
    assert await told(parts) == "allow"
    assert parts.sidecar.restarts == 1
    assert parts.sidecar.process_id not in {None, process_id}


async def test_a_batch_in_flight_when_opa_dies_is_errors(parts: Running) -> None:
    """No proposal of a batch that OPA did not answer is allowed, and none is lost (case 1)."""
    process_id = parts.sidecar.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)
    evaluation = asyncio.ensure_future(
        parts.engine.evaluate([an_input()] * 3, limit_seconds=PATIENCE_SECONDS)
    )
    await asyncio.sleep(0)
    await kill(parts)
    answers = await evaluation
    assert [answer.reason for answer in answers if isinstance(answer, InterlockError)] == [
        ErrorReason.POLICY_ENGINE_UNAVAILABLE
    ] * 3


async def test_an_opa_that_keeps_dying_is_started_ever_more_slowly(
    parts: Running, own_options: SidecarOptions, events: Events
) -> None:
    """Each start that fails doubles the wait, jittered; a bundle that is whole again ends it (cases 11, 57)."""
    whole = own_options.bundle.read_bytes()
    own_options.bundle.write_bytes(whole[: len(whole) // 2])
    await kill(parts)
    await until(lambda: len(named(events, "opa_died")) == 4, poll_seconds=0.02)
    own_options.bundle.write_bytes(whole)
    delays = [event["restart_in_seconds"] for event in named(events, "opa_died")]
    for delay, middle in zip(delays, [0.1, 0.2, 0.4, 0.8], strict=True):
        assert middle * 0.5 - 0.001 <= delay <= middle * 1.5 + 0.001
    assert any("bundle" in event["text"] for event in named(events, "opa_says"))
    await until(parts.engine.ready, poll_seconds=0.02)
    assert await told(parts) == "allow"


async def test_a_system_without_a_process_to_spare_is_tried_again(
    parts: Running, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where OPA cannot even be started, the supervisor goes on trying (case 57)."""
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nonexistent/python")
        await kill(parts)
        await until(lambda: len(named(events, "opa_not_restarted")) == 2, poll_seconds=0.02)
    await until(parts.engine.ready, poll_seconds=0.02)
    assert parts.sidecar.restarts == 1


async def test_a_bundle_of_another_signer_is_refused(options: SidecarOptions, tmp_path: Path) -> None:
    """OPA does not start on a bundle that our key did not sign, and we tell what it said (case 11)."""
    other = open_signing_key(tmp_path / "other-keys")
    said = await failure_of(replace(options, verification_key=other.public))
    assert said.startswith("opa ended at once: ")
    assert "verif" in said


async def test_a_tampered_bundle_is_refused(own_options: SidecarOptions) -> None:
    """OPA does not start on a bundle that was changed after it was signed (case 11)."""
    bundle = bytearray(own_options.bundle.read_bytes())
    bundle[len(bundle) // 2] ^= 1
    own_options.bundle.write_bytes(bundle)
    assert (await failure_of(own_options)).startswith("opa ended at once: ")


async def test_an_unsigned_bundle_is_refused(opa: Path, options: SidecarOptions, tmp_path: Path) -> None:
    """OPA does not start on a bundle without a signature (case 11)."""
    (tmp_path / "decision.rego").write_text(ALLOW_ALL)
    bundle = tmp_path / "unsigned.tar.gz"
    assert run_opa(opa, "build", "--bundle", ".", f"--output={bundle}", folder=tmp_path).succeeded
    assert ".signatures.json" in await failure_of(replace(options, bundle=bundle))


async def test_a_missing_bundle_is_told(options: SidecarOptions, tmp_path: Path) -> None:
    """Who forgot the bundle reads which file is not there."""
    assert "none.tar.gz" in await failure_of(replace(options, bundle=tmp_path / "none.tar.gz"))


def _missing(path: Path) -> str:
    return f"there is no file `{path}`"


def _a_folder(path: Path) -> str:
    path.mkdir()
    return f"there is no file `{path}`"


def _not_executable(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    return f"`{path}` is not executable"


def _no_program(path: Path) -> str:
    path.write_bytes(b"\x7fELF but no more")
    path.chmod(0o755)
    return f"`{path}` cannot be run: Exec format error"


def _ends_in_silence(path: Path) -> str:
    path.write_text("#!/bin/sh\nexit 7\n")
    path.chmod(0o755)
    return "it said nothing, with exit code 7"


def _says_too_much(path: Path) -> str:
    path.write_text("#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x >&2\necho the end >&2\nexit 1\n")
    path.chmod(0o755)
    return "xxx" + "the end"


@pytest.mark.parametrize(
    "make", [_missing, _a_folder, _not_executable, _no_program, _ends_in_silence, _says_too_much]
)
async def test_an_opa_that_is_none_is_told(
    options: SidecarOptions, tmp_path: Path, make: Callable[[Path], str]
) -> None:
    """Whatever stands where OPA should, the error is ours and says what it is."""
    expected = make(tmp_path / "opa")
    said = await failure_of(replace(options, opa=tmp_path / "opa"))
    assert expected in said
    assert len(said) < 3_000


async def test_relative_paths_are_those_of_the_service(
    own_options: SidecarOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle and a key may be named from where the service runs."""
    monkeypatch.chdir(tmp_path)
    relative = replace(
        own_options,
        bundle=own_options.bundle.relative_to(tmp_path),
        verification_key=".." / own_options.verification_key.relative_to(tmp_path.parent),
    )
    async with running(relative) as parts:
        assert await told(parts) == "allow"


async def test_an_opa_that_does_not_get_ready_in_time_is_told(options: SidecarOptions) -> None:
    """A start ends at its limit where another revision answers (case 10)."""
    limited = replace(options, start_limit_seconds=0.5)
    with pytest.raises(SidecarError, match=r"expected bundle revision did not answer within 0\.5 s"):
        async with running(limited, "another-revision"):
            pass


async def test_stopping_leaves_nothing(options: SidecarOptions) -> None:
    """After `stop` there is no process and no folder; a second one changes nothing."""
    async with running(options) as parts:
        process_id, path = parts.sidecar.process_id, parts.sidecar.address.socket
        assert process_id is not None
        assert path is not None
    assert not is_alive(process_id)
    assert not path.parent.exists()
    await parts.sidecar.stop()


async def test_stopping_ends_an_opa_that_does_not_listen(
    options: SidecarOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OPA that takes no notice of SIGTERM is killed."""
    monkeypatch.setattr(opa_sidecar, "STOP_LIMIT_SECONDS", 0.1)
    async with running(options) as parts:
        process_id = parts.sidecar.process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGSTOP)
    assert not is_alive(process_id)


async def test_stopping_while_opa_is_away_starts_no_other(options: SidecarOptions, events: Events) -> None:
    """`stop` also ends the waiting for the next start."""
    async with running(options) as parts:
        await kill(parts)
        await until(lambda: bool(named(events, "opa_died")))
    assert parts.sidecar.process_id is None
    assert parts.sidecar.restarts == 0


async def test_a_start_that_fails_leaves_nothing_after_stop(options: SidecarOptions) -> None:
    """An OPA that never became ready is ended too."""
    sidecar = OpaSidecar(replace(options, start_limit_seconds=0.1))
    with pytest.raises(SidecarError):
        await sidecar.start(not_at_once)
    process_id, path = sidecar.process_id, sidecar.address.socket
    await sidecar.stop()
    assert path is not None
    assert not path.parent.exists()
    assert process_id is None or not is_alive(process_id)


_PARENT = """
import asyncio, sys
from pathlib import Path
import uvloop
from interlock.adapters.opa import OpaEngine
from interlock.adapters.opa_sidecar import OpaSidecar, SidecarOptions

async def main(opa, bundle, key, algorithm, revision):
    sidecar = OpaSidecar(
        SidecarOptions(opa=Path(opa), bundle=Path(bundle), verification_key=Path(key), signing_algorithm=algorithm)
    )
    async with OpaEngine(sidecar.address, expected_revision=lambda: revision, limit_seconds=10) as engine:
        await sidecar.start(engine.ready)
        print(sidecar.process_id, sidecar.address.socket.parent, flush=True)
        await asyncio.Event().wait()

uvloop.run(main(*sys.argv[1:]))
"""


async def test_opa_ends_with_its_parent(options: SidecarOptions) -> None:
    """Where the service is killed by SIGKILL, its OPA does not live on; on uvloop as on asyncio's loop."""
    arguments = [options.opa, options.bundle, options.verification_key, options.signing_algorithm]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, *map(str, arguments), "revision-of-a-test", stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        process_id, folder = (await parent.stdout.readline()).decode().split()
        assert is_alive(int(process_id))
    finally:
        parent.kill()
        await parent.communicate()
    await until(lambda: not is_alive(int(process_id)), poll_seconds=0.02)
    shutil.rmtree(folder)


def test_a_child_whose_parent_has_just_gone_does_not_begin(tmp_path: Path) -> None:
    """Where the parent ends before the kernel knows of the tie, the program is not even started."""
    mark = tmp_path / "began"
    script = exec_with_parent.__file__
    no_parent = "999999999"
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, no_parent, str(2**33), "/usr/bin/touch", mark],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, mark.exists()) == (1, False)
    assert "the parent ended" in done.stderr


def test_what_is_not_linux_still_becomes_the_program(tmp_path: Path) -> None:
    """Elsewhere there is no such tie to ask for, and OPA runs without."""
    mark = tmp_path / "began"
    script = exec_with_parent.__file__
    program = "import runpy, sys; sys.platform = 'darwin'; del sys.argv[0]; runpy.run_path(sys.argv[0], {}, '__main__')"
    subprocess.run([sys.executable, "-c", program, script, "1", "1", "/usr/bin/touch", mark], check=True)
    assert mark.exists()
