"""Steps: what an agent says that it did besides proposing calls. Nothing of it is proven."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from interlock.core.field_checks import check_number, check_text

MAX_SUMMARY_CHARACTERS = 1_024
MAX_KEY_CHARACTERS = 256
MAX_DIGEST_CHARACTERS = 128
MAX_STATE_CHARACTERS = 128


class StepKind(StrEnum):
    """What was done. The values stand in stored timelines, and keep their meaning."""

    PLANNING = "planning"
    MEMORY_READ = "memory_read"
    MEMORY_WRITE = "memory_write"
    STATE_TRANSITION = "state_transition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `number` grows within a session, from 1, with gaps or without.

    Of planning there is a `summary`; of memory `key`, `version` and `digest`; of a state transition `name`,
    `from_state` and `to_state`. `cost` is in the units of the catalog's.
    """

    number: int
    kind: StepKind
    summary: str = ""
    key: str = ""
    version: int = 0
    digest: str = ""
    name: str = ""
    from_state: str = ""
    to_state: str = ""
    cost: int = 0
    model_tokens: int = 0


def check_step(step: Step, field: str) -> None:
    """Raises InterlockError: INVALID_FIELD, with the path below `field`, where something is out of bounds."""
    check_number(f"{field}.number", step.number, least=1)
    check_number(f"{field}.usage.cost", step.cost)
    check_number(f"{field}.usage.model_tokens", step.model_tokens)
    below = f"{field}.{step.kind.value}"
    match step.kind:
        case StepKind.PLANNING:
            check_text(f"{below}.summary", step.summary, MAX_SUMMARY_CHARACTERS)
        case StepKind.MEMORY_READ | StepKind.MEMORY_WRITE:
            check_memory_entry(below, step.key, step.version, step.digest)
        case StepKind.STATE_TRANSITION:
            check_text(f"{below}.name", step.name, MAX_STATE_CHARACTERS, least=1)
            check_text(f"{below}.from_state", step.from_state, MAX_STATE_CHARACTERS)
            check_text(f"{below}.to_state", step.to_state, MAX_STATE_CHARACTERS)
        case _:
            assert_never(step.kind)


def check_memory_entry(field: str, key: str, version: int, digest: str) -> None:
    """The rules of a memory entry, read or written. Raises InterlockError: INVALID_FIELD."""
    check_text(f"{field}.key", key, MAX_KEY_CHARACTERS, least=1)
    check_number(f"{field}.version", version)
    check_text(f"{field}.digest", digest, MAX_DIGEST_CHARACTERS)


def to_json(step: Step) -> list[Any]:
    """The step as a JSON list, as a timeline keeps it; the same step always gives the same list."""
    return [step.number, step.kind.value, step.cost, step.model_tokens, *_content(step)]


def from_json(stored: Sequence[Any]) -> Step:
    """The step that `to_json` wrote. Raises ValueError for another list."""
    number, kind, cost, model_tokens, *content = stored
    named = dict(zip(_NAMES[StepKind(kind)], content, strict=True))
    return Step(number=number, kind=StepKind(kind), cost=cost, model_tokens=model_tokens, **named)


_NAMES: dict[StepKind, tuple[str, ...]] = {
    StepKind.PLANNING: ("summary",),
    StepKind.MEMORY_READ: ("key", "version", "digest"),
    StepKind.MEMORY_WRITE: ("key", "version", "digest"),
    StepKind.STATE_TRANSITION: ("name", "from_state", "to_state"),
}


def _content(step: Step) -> list[Any]:
    return [getattr(step, name) for name in _NAMES[step.kind]]
