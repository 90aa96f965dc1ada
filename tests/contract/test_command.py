"""Commands in the real sandbox of bubblewrap: what they get, what they cannot, and that nothing is left of them."""

import asyncio
import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.command import Commands
from interlock.adapters.sandbox import KEPT_OF_TOO_MUCH_BYTES, Sandbox
from interlock.adapters.sandbox_place import SandboxError, locate_sandbox, try_sandbox
from interlock.core.destinations import Destination, DestinationProblem
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.obligation_kinds import Sandbox as SandboxObligation
from interlock.ports import ToolOutcomeUnknown, ToolResult
from tests.open_folders import open_folder
from tests.tool_calls import a_call, a_tool
from tests.waiting import until

WORDS = {"type": "object", "properties": {"words": {"type": "array"}, "text": {"type": "string"}}}
HANGS_WITH = "sleep 1000; : "


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the sandboxed user can reach."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def mark() -> str:
    """What stands in the command line of a process and of no other on this machine."""
    return f"mark-{uuid.uuid4()}"


def processes_with(mark: str) -> list[int]:
    """The processes that have it in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # it has ended
            continue
        if mark.encode() in line:
            found.append(int(path.parent.name))
    return found


def a_command(*argv: str, roots: dict[str, str] | None = None, **entry: Any) -> Any:
    command = {"argv": argv, "roots": tuple(roots or {}), **entry}
    return a_tool("commands", "run", roots=roots, arguments=WORDS, command=command)


async def run(tool: Any, arguments: dict[str, Any] | None = None, /, **call: Any) -> ToolResult:
    commands = Commands(locate_sandbox(), {"commands": {"GREETING": "hello"}})
    prepared = await commands.prepare(a_call(tool, arguments or {}, **call))
    try:
        return await prepared.run()
    finally:
        await prepared.close()


async def shell(script: str, /, *, call: dict[str, Any] | None = None, **command: Any) -> ToolResult:
    """Run a fixed script of the catalog's."""
    return await run(a_command("sh", "-c", script, **command), **(call or {}))


SHELL_TEXT = ["echo x | node", "; id", "$(id)", "`id`", "<<EOF\nid\nEOF", "&& id", "*", "~", "'\"\\", "%s\n"]


@pytest.mark.parametrize("text", SHELL_TEXT)
async def test_what_a_shell_would_run_reaches_the_command_as_text(text: str) -> None:
    """`;`, `$()`, a pipe and a here-document are the words of one argument, and nothing else (case 48)."""
    result = await run(a_command("printf", "--", "%s|", "{words}"), {"words": [text, "second"]})
    assert result.value == {"exit_status": 0, "stdout": f"{text}|second|", "stderr": ""}
    assert not result.failed


async def test_the_answer_tells_how_the_command_ended() -> None:
    """Status and both outputs are told, and a status other than 0 is a failure."""
    result = await shell("echo out; echo err >&2; exit 3")
    assert result.value == {"exit_status": 3, "stdout": "out\n", "stderr": "err\n"}
    assert result.failed


async def test_a_signal_is_told_as_a_shell_tells_it() -> None:
    """A command that a signal ends has the status 128 and its number."""
    assert (await shell("kill -TERM $$")).value["exit_status"] == 128 + signal.SIGTERM


async def test_a_program_that_is_not_there_has_failed() -> None:
    """It ends with 127, as a shell has it, and the answer says so."""
    result = await run(a_command("no-such-program"))
    assert result.failed
    assert result.value["exit_status"] == 127


async def test_bytes_that_are_no_text_come_as_base64() -> None:
    """An output that is no UTF-8 is told in base64."""
    assert (await shell(r"printf '\377\000'")).value["stdout_base64"] == "/wA="


async def test_stdin_is_an_argument() -> None:
    """What the entry names is read from stdin, and stands in no command line (case 63)."""
    tool = a_command(
        "sh", "-c", "cat; cat /proc/*/cmdline | tr '\\0' ' ' | grep -c '[t]iger-shark'", stdin="text"
    )
    assert (await run(tool, {"text": "tiger-shark\n"})).value["stdout"] == "tiger-shark\n0\n"


async def test_the_environment_is_made_of_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the gateway's own variables nothing is there; the token's id is, as the idempotency key (case 61)."""
    monkeypatch.setenv("INTERLOCK_CREDENTIAL", "ilk_secret")
    stdout = (await shell("env | sort")).value["stdout"]
    assert stdout.splitlines() == [
        "GREETING=hello",
        "HOME=/tmp",
        "INTERLOCK_IDEMPOTENCY_KEY=token-1",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "PWD=/tmp",
    ]


async def test_nothing_of_the_gateway_can_be_read(tmp_path: Path, folder: Path) -> None:
    """Neither the gateway's files nor those of this machine's users are there, also through /proc (case 61)."""
    (tmp_path / "credential").write_text("ilk_secret")
    (folder / "credential").write_text("ilk_secret")
    hidden = [
        str(tmp_path),
        str(folder),
        "/etc/shadow",
        "/root",
        "/home",
        "/var",
        "/sys",
        f"/proc/{os.getpid()}",
    ]
    result = await shell(
        f"ls -d {' '.join(hidden)}; ls -d /proc/1/root/root /proc/1/root/{folder}; id -u; ls /etc/passwd"
    )
    assert result.value["stdout"].splitlines() == ["1000", "/etc/passwd"]


async def test_nothing_is_inherited_from_the_gateway(tmp_path: Path) -> None:
    """Of the gateway's open files a command has only its own three (case 61)."""
    with (tmp_path / "open").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)
        result = await shell("ls /proc/$$/fd")
    assert result.value["stdout"].split() == ["0", "1", "2"]


async def test_nothing_but_its_own_can_be_written() -> None:
    """Everything is read-only but /tmp, which is the command's own and limited."""
    script = (
        "for at in / /usr /etc /dev /proc/sys/kernel/hostname; do touch $at/x 2>/dev/null && echo $at; done; "
    )
    result = await shell(script + "touch /tmp/x && df --output=size -B1 /tmp | tail -1")
    assert int(result.value["stdout"]) <= 64 * 2**20


async def test_it_has_no_privilege_and_gets_none() -> None:
    """No capability is left to it, and it can make no namespace in which it would have some."""
    result = await shell(
        "grep -E 'Cap(Prm|Eff|Bnd)|NoNewPrivs' /proc/self/status; unshare -U true || echo none"
    )
    assert result.value["stdout"].split() == [
        *("CapPrm:", "0" * 16, "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"),
        "none",
    ]


async def test_roots_are_at_their_own_paths(folder: Path) -> None:
    """A command sees the roots of its entry, read-only but for those that it may write to."""
    for name in ("data", "work", "other"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
        (folder / name / "file").write_text(name)
    roots = {name: str(folder / name) for name in ("data", "work")}
    script = f"cd {folder}; ls; cat data/file; echo new > work/new; echo new > data/new"
    result = await shell(script, roots=roots, writable=("work",))
    assert result.value["stdout"] == "data\nwork\ndata"
    assert (folder / "work" / "new").read_text() == "new\n"
    assert not (folder / "data" / "new").exists()


NETWORK = {
    "not granted": (False, None, False),
    "granted": (True, None, True),
    "taken away": (True, SandboxObligation(type="sandbox", network=False), False),
    "never widened": (False, SandboxObligation(type="sandbox", network=True), False),
    "left": (True, SandboxObligation(type="sandbox", network=True), True),
}


@pytest.mark.parametrize("name", NETWORK)
async def test_there_is_a_network_only_where_entry_and_obligation_give_it(name: str) -> None:
    """Without both, not even this machine's loopback answers (case 61)."""
    granted, obligation, reached = NETWORK[name]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached"
        result = await run(a_command("bash", "-c", script, network=granted), sandbox=obligation)
    assert (result.value["stdout"] == "reached\n") == reached


async def test_an_obligation_takes_writing_away(folder: Path) -> None:
    """What the obligation does not name is read-only, though the entry lets the command write."""
    obligation = SandboxObligation(type="sandbox")
    result = await shell(
        f"touch {folder}/new", roots={"work": str(folder)}, writable=("work",), call={"sandbox": obligation}
    )
    assert result.failed
    assert not (folder / "new").exists()


async def test_an_obligation_never_lets_a_command_write(folder: Path) -> None:
    """One that names a root beyond the entry's is refused, for it cannot be met as it is stated."""
    obligation = SandboxObligation(type="sandbox", writable=("work",))
    with pytest.raises(InterlockError) as caught:
        await shell("true", roots={"work": str(folder)}, call={"sandbox": obligation})
    assert caught.value.reason is ErrorReason.OBLIGATION_UNSUPPORTED


async def test_a_fork_bomb_is_bounded_and_gone(mark: str) -> None:
    """It gets no more processes than its entry says, and at the time limit all of them are killed."""
    bomb = f": {mark}; bomb() {{ bomb | bomb & }}; bomb; while :; do :; done"
    with pytest.raises(ToolOutcomeUnknown):
        await shell(bomb, processes=16, call={"limit_seconds": 1.0})
    assert processes_with(mark) == []
    counted = await shell("for i in $(seq 100); do echo; sleep 1000 & done", processes=16)
    assert counted.value["stdout"].count("\n") <= 16
    assert counted.failed


async def test_a_memory_hog_dies_of_its_limit() -> None:
    """A command that takes more memory than its entry says is refused it, and ends."""
    result = await shell("head -c 1G /dev/zero | tail >/dev/null", memory_bytes=128 * 2**20)
    assert "memory exhausted" in result.value["stderr"]


async def test_processor_time_and_files_are_limited(folder: Path) -> None:
    """A command that computes without end is killed, and a file grows to its limit and no further."""
    busy = await shell("while :; do :; done", cpu_seconds=1)
    assert busy.value["exit_status"] == 128 + signal.SIGKILL
    written = await shell("head -c 1M /dev/zero > /tmp/file; stat -c %s /tmp/file", file_bytes=4_096)
    assert written.value["stdout"] == "4096\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_an_endless_output_ends_the_command(stream: str, mark: str) -> None:
    """At the limit it is killed; the answer has the beginning, says that it is cut, and is a failure."""
    redirect = ">&2" if stream == "stderr" else ""
    result = await shell(f": {mark}; yes {redirect}", call={"max_result_bytes": 1_000_000})
    assert result.failed
    assert result.value[f"{stream}_truncated"] is True
    assert len(result.value[stream]) == KEPT_OF_TOO_MUCH_BYTES
    assert processes_with(mark) == []


async def test_a_command_that_hangs_is_killed_and_its_outcome_is_unknown(mark: str) -> None:
    """At its time limit it is killed with all that it started: what it did until then, nobody knows (invariant 8)."""
    with pytest.raises(ToolOutcomeUnknown):
        await shell(f"setsid sh -c '{HANGS_WITH}{mark}' & trap '' TERM; wait", call={"limit_seconds": 0.5})
    assert processes_with(mark) == []


async def test_a_child_does_not_outlive_its_parent(mark: str) -> None:
    """What a command leaves running, also in a session of its own, is gone when it has ended."""
    result = await shell(f"setsid sh -c '{HANGS_WITH}{mark}' >/dev/null 2>&1 & echo started")
    assert result.value["stdout"] == "started\n"
    assert processes_with(mark) == []


async def test_a_command_ends_with_a_call_that_is_cancelled(mark: str) -> None:
    """Nothing goes on behind the back of a gateway that gave a call up."""
    running = asyncio.create_task(shell(f"{HANGS_WITH}{mark}"))
    await until(lambda: len(processes_with(mark)) > 1, poll_seconds=0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert processes_with(mark) == []


async def test_a_command_ends_with_its_gateway(mark: str) -> None:
    """When the gateway is killed with SIGKILL, the kernel ends its commands (invariant 8)."""
    program = (
        "import asyncio; from tests.contract.test_command import shell;"
        f"asyncio.run(shell({HANGS_WITH + mark!r}))"
    )
    gateway = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    await until(lambda: any(process != gateway.pid for process in _asleep(mark)), poll_seconds=0.01)
    gateway.kill()
    await gateway.wait()
    await until(lambda: not processes_with(mark), poll_seconds=0.01)


def _asleep(mark: str) -> list[int]:
    """Processes whose parent is the marked shell: its sleep has begun."""
    marked = set(processes_with(mark))
    return [process for process in marked if _name(process) == "sh"]


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


async def test_many_commands_run_at_once() -> None:
    """Each has its own outputs and its own processes, however many run."""
    results = await asyncio.gather(*(shell(f"echo {number}; ps -e | wc -l") for number in range(16)))
    assert [result.value["stdout"].splitlines()[0] for result in results] == [str(n) for n in range(16)]


async def test_a_folder_that_is_gone_runs_nothing(tmp_path: Path) -> None:
    """Where a root cannot be bound any more, nothing runs and the call has failed."""
    result = await shell("echo ran", roots={"data": str(tmp_path / "gone")})
    assert result.failed
    assert result.value == {"error": "no sandbox could be made, so nothing ran"}


async def test_without_bubblewrap_there_are_no_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says what to install, and no command ever runs outside a sandbox."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        locate_sandbox()


BROKEN = {
    "No permissions to create new namespace": "No permissions to create new namespace",
    "Unknown option --disable-userns": "version 0.8.0 or newer",
}


@pytest.mark.parametrize("says", BROKEN)
async def test_a_bubblewrap_that_can_make_nothing_is_told(folder: Path, says: str) -> None:
    """What it says of itself is in the error, and what to do about it where that is known."""
    broken = folder / "bwrap"
    broken.write_text(f"#!/bin/sh\necho 'bwrap: {says}' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxError, match=BROKEN[says]):
        await try_sandbox(Sandbox(bwrap=str(broken), prlimit="/usr/bin/prlimit"))


async def test_a_bubblewrap_that_has_gone_runs_nothing(folder: Path) -> None:
    """Where the program is not there any more, nothing ran, and the call has failed."""
    commands = Commands(Sandbox(bwrap=str(folder / "bwrap"), prlimit="/usr/bin/prlimit"), {"commands": {}})
    prepared = await commands.prepare(a_call(a_command("true"), {}))
    assert (await prepared.run()).value == {"error": "no sandbox could be made, so nothing ran"}


async def test_a_call_of_no_command_is_refused() -> None:
    """A tool that is no command, or of a server that is none of ours, is not run."""
    commands = Commands(locate_sandbox(), {"commands": {}})
    assert await commands.ready("commands")
    assert not await commands.ready("others")
    for tool in (a_tool("commands"), a_tool("others", command={"argv": ("true",)})):
        with pytest.raises(InterlockError) as caught:
            await commands.prepare(a_call(tool, {}))
        assert caught.value.reason is ErrorReason.TOOL_UNAVAILABLE


async def test_a_folder_that_a_command_may_not_see_is_no_place_for_its_arguments(folder: Path) -> None:
    """A path under a root that the entry does not name, or with a problem, is refused whatever was decided."""
    (folder / "file").touch()
    cases: list[tuple[dict[str, Any], DestinationProblem]] = [
        ({"roots": ()}, ""),
        ({"roots": ("data",)}, "outside_roots"),
    ]
    for entry, problem in cases:
        tool = a_tool(
            "commands",
            "run",
            roots={"data": str(folder)},
            arguments=WORDS,
            command={"argv": ("cat", "{text}"), **entry},
        )
        led = Destination(path="/text", kind="path", canonical=f"{folder}/file", root="data", problem=problem)
        with pytest.raises(InterlockError) as caught:
            await run(tool, {"text": "file"}, destinations=(led,))
        assert caught.value.reason is ErrorReason.DESTINATION_CHANGED


async def test_what_can_be_no_word_is_refused_at_the_gateway_too() -> None:
    """The gateway looks again at what the decision service denies (case 48)."""
    with pytest.raises(InterlockError) as caught:
        await run(a_command("grep", "{text}"), {"text": "--file=/etc/passwd"})
    assert caught.value.reason is ErrorReason.MALFORMED_ARGUMENTS
    assert "passwd" not in str(caught.value)
