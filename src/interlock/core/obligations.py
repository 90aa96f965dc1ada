"""Obligations that this gateway can meet: a closed list, for one that is not known is never skipped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.core.decision import Obligation
from interlock.core.errors import ErrorReason, InterlockError

MAX_TIMEOUT_SECONDS = 600


class Timeout(BaseModel):
    """The tool gets so many seconds; past them the outcome is unknown."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    type: Literal["timeout"]
    seconds: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObligationResult:
    """That an obligation was met, and how, for a person."""

    type: str
    detail: str


def understand(obligations: Iterable[Obligation]) -> tuple[Timeout, ...]:
    """The obligations in the gateway's terms.

    Raises InterlockError OBLIGATION_UNSUPPORTED: an unknown type, an unknown parameter, a bad value.
    """
    return tuple(_understand(obligation) for obligation in obligations)


def time_limit(timeouts: Iterable[Timeout], *, longest: float) -> float:
    """Seconds that the tool gets: the least that a timeout demands, and never more than `longest`."""
    return min([longest, *(timeout.seconds for timeout in timeouts)])


def met(timeouts: Iterable[Timeout], *, limit: float) -> tuple[ObligationResult, ...]:
    """What to tell of timeouts that were kept to, by a limit of so many seconds."""
    return tuple(
        ObligationResult(type=timeout.type, detail=f"limited to {limit:g} s") for timeout in timeouts
    )


def _understand(obligation: Obligation) -> Timeout:
    try:
        return Timeout.model_validate(obligation.as_json())
    except ValidationError as error:
        raise InterlockError(
            reason=ErrorReason.OBLIGATION_UNSUPPORTED,
            message=f"this gateway cannot meet the obligation `{obligation.type}` as it is stated",
            metadata={"obligation": obligation.type},
        ) from error
