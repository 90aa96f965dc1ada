"""A gateway's flow with real commands and files: what is decided of a path is what a command gets (case 47)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from interlock.adapters.command import Commands
from interlock.adapters.file_digests import FileContents
from interlock.adapters.file_paths import resolve_path
from interlock.adapters.ledger_sqlite import SqliteLedger
from interlock.adapters.sandbox_place import locate_sandbox
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import Catalog
from interlock.core.destinations import destinations_of, digest_of_destinations
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call
from interlock.core.outcome import OutcomeKind
from interlock.flows.execute import Executor, Gateway
from tests.fakes import CountingIdentifiers, OneKeyPair, OpenFreezes, SettableClock
from tests.open_folders import open_folder
from tests.tokens import EXPECTED, a_token
from tests.tool_calls import a_call, a_tool


class Files:
    """A gateway with a command that shows a file, and the folder that it may look into."""

    def __init__(self, folder: Path, ledger: SqliteLedger) -> None:
        self.root = folder / "root"
        self.root.mkdir(mode=0o755)
        (self.root / "file").write_text("inside")
        (folder / "secret").write_text("outside")
        self.ledger = ledger
        self.tool = a_tool(
            "commands",
            "show",
            roots={"files": str(self.root)},
            roles={"/path": "path"},
            arguments={"type": "object", "properties": {"path": {"type": "string"}}},
            command={"argv": ("sh", "-c", 'echo "$1"; cat "$1"', "show", "{path}"), "roots": ("files",)},
        )
        self._keys = OneKeyPair()
        self._decisions = 0
        self.executor = Executor(
            Gateway(
                keys=self._keys,
                expected=EXPECTED,
                catalog=Catalog(tools={"show": self.tool}),
                ledger=ledger,
                tools=Commands(locate_sandbox(), {"commands": {}}),
                freezes=OpenFreezes(),
                resolve=resolve_path,
                files=FileContents(),
                clock=SettableClock(),
                identifiers=CountingIdentifiers("execution"),
                limit_seconds=30.0,
                delays=lambda failures: 0.0,
                after_outcome=lambda: None,
            )
        )

    def decided(self, path: str) -> Call:
        """The call with the token of an allow, of where the path leads at this moment."""
        self._decisions += 1
        arguments: dict[str, Any] = {"path": path}
        led = digest_of_destinations(destinations_of(self.tool, arguments, resolve_path))
        execution_token = a_token(
            self._keys, self.tool, digest_of(arguments), destinations=led, jti=f"token-{self._decisions}"
        )
        return Call(execution_token=execution_token, tool="show", arguments_json=canonicalize(arguments))

    async def shown(self, call: Call) -> list[str]:
        result = await self.executor.execute(call)
        assert result.kind is OutcomeKind.SUCCEEDED
        lines: list[str] = orjson.loads(result.result_json)["stdout"].splitlines()
        return lines

    async def refused(self, call: Call) -> ErrorReason:
        with pytest.raises(InterlockError) as caught:
            await self.executor.execute(call)
        return caught.value.reason


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the sandboxed user can reach."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
async def files(folder: Path, tmp_path: Path) -> AsyncIterator[Files]:
    """A gateway that shows files."""
    ledger = SqliteLedger(tmp_path / "ledger", limit_seconds=30.0)
    yield Files(folder, ledger)
    await ledger.close()


@pytest.mark.parametrize("path", ["file", "./file", "//file", "x/../file", "link"])
async def test_a_command_gets_the_canonical_path(files: Files, path: str) -> None:
    """However a path is written, the command gets the one that was decided (case 47)."""
    (files.root / "link").symlink_to("file")
    text = f"{files.root}{path}" if path.startswith("/") else path
    assert await files.shown(files.decided(text)) == [f"{files.root}/file", "inside"]


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "other"])
async def test_a_file_that_becomes_a_link_after_the_decision_is_refused(files: Files, target: str) -> None:
    """A link in place of the file leads elsewhere, within the root or out of it; nothing runs then (case 47)."""
    (files.root / "other").write_text("other")
    call = files.decided("file")
    (files.root / "file").unlink()
    (files.root / "file").symlink_to(target)
    assert await files.refused(call) is ErrorReason.DESTINATION_CHANGED
    [outcome] = await files.ledger.undelivered(10)
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, ErrorReason.DESTINATION_CHANGED)


async def test_a_link_that_is_turned_after_the_decision_is_refused(files: Files) -> None:
    """A link that led to one file when it was decided, and to another now, is refused (case 47)."""
    (files.root / "other").write_text("other")
    (files.root / "link").symlink_to("file")
    call = files.decided("link")
    (files.root / "link").unlink()
    (files.root / "link").symlink_to("other")
    assert await files.refused(call) is ErrorReason.DESTINATION_CHANGED


async def test_a_command_finds_nothing_outside_of_its_roots(files: Files) -> None:
    """Even a command that follows a link out finds nothing there: only its roots are mounted (case 61)."""
    link = files.root / "out"
    link.symlink_to(files.root.parent / "secret")
    tool = a_tool(
        "commands",
        roots={"files": str(files.root)},
        command={"argv": ("cat", str(link)), "roots": ("files",)},
    )
    prepared = await Commands(locate_sandbox(), {"commands": {}}).prepare(a_call(tool, {}))
    result = await prepared.run()
    assert result.value["stdout"] == ""
    assert "No such file" in result.value["stderr"]
