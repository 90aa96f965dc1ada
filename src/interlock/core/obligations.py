"""What the obligations of one call come to: what holds before it runs, what is done to its answer, what is told of it.

Of several of a type the stricter holds, or all of them together. `dry_run` beats all: nothing runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from interlock.core import obligation_kinds as kinds
from interlock.core import redaction, tool_result
from interlock.core.catalog import Tool
from interlock.core.decision import Obligation
from interlock.core.obligation_kinds import Sandbox, Understood, unsupported
from interlock.core.outcome import MemoryWrite, ObligationResult
from interlock.core.tool_result import EncodedResult

NOTHING_RAN = "nothing ran"
NO_ANSWER = "no answer came"


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """An answer as it may leave the gateway, and what became of each obligation, in their order."""

    encoded: EncodedResult
    memory_writes: tuple[MemoryWrite, ...]
    results: tuple[ObligationResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obliged:
    """What one call is allowed under: obligations that this gateway can meet with its tool, in the decision's order."""

    obligations: tuple[Understood, ...] = ()

    def time_limit(self, *, longest: float) -> float:
        """Seconds that the tool gets: the least that a timeout demands, and never more than `longest`."""
        return min([longest, *(each.seconds for each in self.obligations if isinstance(each, kinds.Timeout))])

    @property
    def max_result_bytes(self) -> int:
        """Of the answer's canonical JSON; what is longer is not returned."""
        demanded = [each.bytes for each in self.obligations if isinstance(each, kinds.MaxResultBytes)]
        return min([tool_result.MAX_RESULT_BYTES, *demanded])

    @property
    def sandbox(self) -> Sandbox | None:
        """What all that is demanded of the sandbox leaves; None where none is."""
        demanded = [each for each in self.obligations if isinstance(each, Sandbox)]
        if not demanded:
            return None
        common = set.intersection(*(set(each.writable) for each in demanded))
        return Sandbox(
            type="sandbox",
            network=all(each.network for each in demanded),
            writable=tuple(root for root in demanded[0].writable if root in common),
        )

    @property
    def is_dry(self) -> bool:
        """Whether nothing may run."""
        return any(isinstance(each, kinds.DryRun) for each in self.obligations)

    @property
    def clears(self) -> bool:
        """Whether something may have to be taken out of what the tool says."""
        return any(isinstance(each, kinds.DropFields | kinds.RedactResult) for each in self.obligations)

    def meet(self, value: Any, memory_writes: Sequence[MemoryWrite], *, limit: float) -> Met:
        """The answer `value` (JSON) of a call that had `limit` seconds: dropped, redacted, encoded and cut, in order.

        It takes up to seconds for an answer of megabytes that `clears`.
        """
        dropped = redaction.drop_at(value, self._dropped)
        pointed = redaction.redact_at(dropped.value, self._pointed)
        found = redaction.redact_found(pointed.value, self._patterns)
        encoded = tool_result.encode(found.value, max_bytes=self.max_result_bytes)
        told = _Told(
            limit=limit,
            dropped=_places(dropped.places, "dropped"),
            redacted=_places(pointed.places + found.places, "redacted"),
            size=self._size(encoded),
            ran=not self.is_dry,
        )
        return Met(
            encoded=encoded,
            memory_writes=tuple(map(self._clear_write, memory_writes)),
            results=self._results(told),
        )

    def unanswered(self, *, limit: float) -> tuple[ObligationResult, ...]:
        """What became of each obligation of a call that had `limit` seconds, and gave no answer."""
        return self._results(
            _Told(limit=limit, dropped=NO_ANSWER, redacted=NO_ANSWER, size=NO_ANSWER, ran=True)
        )

    @property
    def _dropped(self) -> Iterable[str]:
        drops = [each for each in self.obligations if isinstance(each, kinds.DropFields)]
        return dict.fromkeys(pointer for each in drops for pointer in each.pointers)

    @property
    def _redacts(self) -> list[kinds.RedactResult]:
        return [each for each in self.obligations if isinstance(each, kinds.RedactResult)]

    @property
    def _pointed(self) -> Iterable[str]:
        return dict.fromkeys(pointer for each in self._redacts for pointer in each.pointers)

    @property
    def _patterns(self) -> Sequence[kinds.PatternSet]:
        return list(dict.fromkeys(pattern for each in self._redacts for pattern in each.patterns))

    def _size(self, encoded: EncodedResult) -> str:
        most = self.max_result_bytes
        if encoded.omitted:
            return f"not returned: {encoded.size} bytes, and {most} are the most"
        return f"at most {most} bytes returned"

    def _clear_write(self, write: MemoryWrite) -> MemoryWrite:
        """Its key is the tool's words too."""
        cleared = redaction.redact_found(write.key, self._patterns)
        return replace(write, key=cleared.value) if cleared.places else write

    def _results(self, told: "_Told") -> tuple[ObligationResult, ...]:
        return tuple(
            ObligationResult(type=each.type, detail=_detail(each, self, told)) for each in self.obligations
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What there is to tell of the kinds: numbers and places, never a value."""

    limit: float
    dropped: str
    redacted: str
    size: str
    ran: bool


def understand(obligations: Iterable[Obligation], tool: Tool) -> Obliged:
    """The obligations of a call of the tool.

    Raises InterlockError OBLIGATION_UNSUPPORTED: an unknown type, an unknown parameter, a bad value, or one that
    nothing can meet with this tool.
    """
    understood = tuple(map(kinds.understand, obligations))
    for each in understood:
        _check(each, tool)
    return Obliged(obligations=understood)


def _check(obligation: Understood, tool: Tool) -> None:
    match obligation:
        case kinds.RequireIdempotencyKey() if not tool.entry.idempotent_by_key:
            raise unsupported(
                obligation.type, f"the catalog does not say that `{tool.name}` is idempotent by key"
            )
        case kinds.Sandbox() if tool.entry.command is None:
            raise unsupported(
                obligation.type, f"`{tool.name}` is no command, and runs in no sandbox of the gateway's"
            )


def _detail(obligation: Understood, obliged: Obliged, told: _Told) -> str:
    match obligation:
        case kinds.MaxResultBytes():
            return told.size
        case kinds.RedactResult():
            return told.redacted
        case kinds.DropFields():
            return told.dropped
        case _:
            return _kept_to(obligation, obliged, told) if told.ran else NOTHING_RAN


def _kept_to(
    obligation: kinds.Timeout | Sandbox | kinds.RequireIdempotencyKey | kinds.DryRun,
    obliged: Obliged,
    told: _Told,
) -> str:
    match obligation:
        case kinds.Timeout():
            return f"limited to {told.limit:g} s"
        case Sandbox():
            return _sandboxed(obliged.sandbox or obligation)
        case kinds.RequireIdempotencyKey():
            return "the key is the token's id"
        case kinds.DryRun():
            return NOTHING_RAN
    assert_never(obligation)


def _sandboxed(sandbox: Sandbox) -> str:
    network = "network as the catalog has it" if sandbox.network else "no network"
    written = ", ".join(f"`{root}`" for root in sandbox.writable) or "nothing"
    return f"in a sandbox: {network}, writing to {written}"


def _places(count: int, done: str) -> str:
    return f"{count} place {done}" if count == 1 else f"{count} places {done}"
