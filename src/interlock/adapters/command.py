"""ports.ToolRunner for tools that are commands: each call is one run in a sandbox of its own (cases 47, 48)."""

import base64
import os
from collections.abc import Mapping
from typing import Any

import structlog

from interlock.adapters.file_paths import LeadsElsewhere, open_beneath
from interlock.adapters.sandbox import Ended, NotStarted, Output, Sandbox, TimeLimitReached
from interlock.adapters.sandbox_options import Limits, SandboxedCommand
from interlock.core.catalog import Tool
from interlock.core.command_line import BadWord, stdin_of, words_of
from interlock.core.connector_entries import CommandEntry
from interlock.core.destinations import Destination
from interlock.core.errors import ErrorReason, InterlockError, tool_unavailable
from interlock.ports import ToolCall, ToolOutcomeUnknown, ToolResult

logger = structlog.get_logger()

IDEMPOTENCY_KEY = "INTERLOCK_IDEMPOTENCY_KEY"


class Commands:
    """Runs the commands of the catalog. `environments` are the variables that each server's commands get."""

    def __init__(self, sandbox: Sandbox, environments: Mapping[str, Mapping[str, str]]) -> None:
        self._sandbox = sandbox
        self._environments = environments

    async def ready(self, server: str) -> bool:
        """Whether commands of this server are set up; that a sandbox can be made was seen at the start."""
        return server in self._environments

    async def prepare(self, call: ToolCall) -> "_PreparedCommand":
        """As ports.ToolRunner; what is at a path is looked at once more, and nothing on the way may be a link.

        Raises also InterlockError MALFORMED_ARGUMENTS where an argument can be no word of the command.
        """
        entry, environment = call.tool.entry.command, self._environments.get(call.tool.server)
        if entry is None or environment is None:
            raise tool_unavailable(f"this gateway has no command for `{call.tool.name}`")
        paths = _paths(call, entry)
        return _PreparedCommand(self._sandbox, _sandboxed(call, entry, paths, environment), call.tool.name)


class _PreparedCommand:
    """ports.PreparedCall of a command."""

    def __init__(self, sandbox: Sandbox, command: SandboxedCommand, tool: str) -> None:
        self._sandbox = sandbox
        self._command = command
        self._tool = tool

    async def run(self) -> ToolResult:
        """Run it: `exit_status`, `stdout` and `stderr`, and whether these are cut; failed unless it ended with 0.

        Raises ToolOutcomeUnknown where it was killed at its time limit: what it did until then nobody knows.
        """
        try:
            ended = await self._sandbox.run(self._command)
        except TimeLimitReached as error:
            raise ToolOutcomeUnknown(f"the command of `{self._tool}` was killed at its time limit") from error
        except NotStarted as error:
            logger.error("sandbox_not_started", tool=self._tool, cause=str(error))
            return ToolResult(failed=True, value={"error": "no sandbox could be made, so nothing ran"})
        failed = ended.exit_status != 0 or ended.stdout.truncated or ended.stderr.truncated
        return ToolResult(failed=failed, value=_told(ended))

    def describe(self) -> Mapping[str, Any]:
        """As ports.Describable: the command's words, before it is wrapped in its sandbox."""
        return {"argv": list(self._command.words)}

    async def close(self) -> None:
        """Nothing is held."""


def _paths(call: ToolCall, entry: CommandEntry) -> dict[str, str]:
    """Canonical paths by the pointer of their argument, each of them looked at. Raises DESTINATION_CHANGED."""
    return {each.path: _path(each, call.tool, entry) for each in call.destinations if each.kind == "path"}


def _path(destination: Destination, tool: Tool, entry: CommandEntry) -> str:
    if destination.problem or destination.root not in entry.roots:
        raise _changed("a path leads out of the folders that the command sees")
    try:
        os.close(open_beneath(tool.roots[destination.root], destination.canonical))
    except LeadsElsewhere as error:
        raise _changed("what is at a path is not what it was when the call was decided") from error
    return destination.canonical


def _sandboxed(
    call: ToolCall, entry: CommandEntry, paths: Mapping[str, str], environment: Mapping[str, str]
) -> SandboxedCommand:
    roots = call.tool.roots
    writable = _writable(call, entry)
    try:
        words = words_of(entry, call.arguments, paths)
    except BadWord as error:
        raise InterlockError(reason=ErrorReason.MALFORMED_ARGUMENTS, message=str(error)) from error
    return SandboxedCommand(
        words=words,
        stdin=stdin_of(entry, call.arguments),
        environment={**environment, IDEMPOTENCY_KEY: call.idempotency_key},
        readable=tuple(roots[name] for name in entry.roots if name not in writable),
        writable=tuple(roots[name] for name in writable),
        network=entry.network and (call.sandbox is None or call.sandbox.network),
        limits=Limits(
            cpu_seconds=entry.cpu_seconds,
            memory_bytes=entry.memory_bytes,
            file_bytes=entry.file_bytes,
            processes=entry.processes,
            wall_seconds=call.limit_seconds,
            output_bytes=call.max_result_bytes,
        ),
    )


def _writable(call: ToolCall, entry: CommandEntry) -> tuple[str, ...]:
    """The roots that it may write to: an obligation narrows what the catalog gives, and never widens it."""
    if call.sandbox is None:
        return entry.writable
    if beyond := set(call.sandbox.writable) - set(entry.writable):
        raise InterlockError(
            reason=ErrorReason.OBLIGATION_UNSUPPORTED,
            message=f"the obligation `sandbox` lets `{call.tool.name}` write to `{min(beyond)}`, its entry does not",
            metadata={"obligation": "sandbox"},
        )
    return tuple(name for name in entry.writable if name in call.sandbox.writable)


def _told(ended: Ended) -> dict[str, Any]:
    told: dict[str, Any] = {"exit_status": ended.exit_status}
    for name, output in (("stdout", ended.stdout), ("stderr", ended.stderr)):
        told |= _text(name, output)
        if output.truncated:
            told[f"{name}_truncated"] = True
    return told


def _text(name: str, output: Output) -> dict[str, str]:
    """Text where it is UTF-8, also where it was cut within a character; else base64 (RFC 4648 4)."""
    data = output.data
    for end in range(len(data), max(len(data) - 4, -1) if output.truncated else len(data) - 1, -1):
        try:
            return {name: data[:end].decode()}
        except UnicodeDecodeError:
            continue
    return {f"{name}_base64": base64.b64encode(data).decode()}


def _changed(message: str) -> InterlockError:
    return InterlockError(reason=ErrorReason.DESTINATION_CHANGED, message=message)
