"""What goes beside an MCP call in `_meta`: a key to the tool, and back what the tool says of its own call.

"_meta": {"interlock.idempotency_key": "0198c2f0-..."}

The key is the `jti` of the call's execution token. No other call has it, so that a tool which sees a key again does
nothing again.

With the result comes what the tool used, and what memory it wrote:

"_meta": {
    "interlock.usage": {"cost": 3, "model_tokens": 1200},
    "interlock.memory_writes": [{"key": "plan", "version": 4, "digest": "..."}]
}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError

from interlock.core.errors import InterlockError
from interlock.core.field_checks import MAX_NUMBER
from interlock.core.outcome import MAX_MEMORY_WRITES, MemoryWrite, Usage
from interlock.core.steps import check_memory_entry

IDEMPOTENCY_KEY = "interlock.idempotency_key"
USAGE = "interlock.usage"
MEMORY_WRITES = "interlock.memory_writes"

Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Read = TypeVar("Read")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Usage(_Strict):
    """What the gateway cannot measure itself."""

    cost: Number | None = None
    model_tokens: Number | None = None


class _Write(_Strict):
    key: str
    version: Number
    digest: str = ""


_WRITES = TypeAdapter(Annotated[list[_Write], Field(max_length=MAX_MEMORY_WRITES), FailFast()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said well; `ignored` has the keys whose values were not of their form."""

    usage: Usage | None
    memory_writes: tuple[MemoryWrite, ...]
    ignored: tuple[str, ...]


def read(meta: Any) -> Told:
    """What a result's `_meta` says. What is not of its form is passed over whole; never raises."""
    said = meta if isinstance(meta, Mapping) else {}
    ignored: list[str] = []
    usage = _if_well_formed(_usage, USAGE, said, ignored)
    writes = _if_well_formed(_writes, MEMORY_WRITES, said, ignored)
    return Told(usage=usage, memory_writes=writes or (), ignored=tuple(ignored))


def _if_well_formed(
    parse: Callable[[Any], Read], key: str, said: Mapping[str, Any], ignored: list[str]
) -> Read | None:
    if key not in said:
        return None
    try:
        return parse(said[key])
    except (ValidationError, InterlockError, RecursionError):
        ignored.append(key)
        return None


def _usage(value: Any) -> Usage:
    stated = _Usage.model_validate(value)
    return Usage(cost=stated.cost, model_tokens=stated.model_tokens)


def _writes(value: Any) -> tuple[MemoryWrite, ...]:
    stated = _WRITES.validate_python(value)
    for each in stated:
        check_memory_entry(MEMORY_WRITES, each.key, each.version, each.digest)
    return tuple(MemoryWrite(key=each.key, version=each.version, digest=each.digest) for each in stated)
