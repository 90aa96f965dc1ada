"""Obligations that this gateway can meet: a closed list, for one that is not known is never skipped."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from interlock.core.decision import Obligation
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import ObligationResult

MAX_TIMEOUT_SECONDS = 600


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Timeout(_Closed):
    """The tool gets so many seconds; past them the outcome is unknown."""

    type: Literal["timeout"]
    seconds: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)]


class Sandbox(_Closed):
    """The call runs in a sandbox that gives it no more than this: the network, and the roots that it may write to."""

    type: Literal["sandbox"]
    network: bool = False
    writable: Annotated[tuple[str, ...], Field(strict=False)] = ()


Understood = Annotated[Timeout | Sandbox, Field(discriminator="type")]
_UNDERSTOOD: TypeAdapter[Understood] = TypeAdapter(Understood)


def understand(obligations: Iterable[Obligation]) -> tuple[Understood, ...]:
    """The obligations in the gateway's terms.

    Raises InterlockError OBLIGATION_UNSUPPORTED: an unknown type, an unknown parameter, a bad value.
    """
    return tuple(_understand(obligation) for obligation in obligations)


def time_limit(obligations: Iterable[Understood], *, longest: float) -> float:
    """Seconds that the tool gets: the least that a timeout demands, and never more than `longest`."""
    return min([longest, *(each.seconds for each in obligations if isinstance(each, Timeout))])


def sandbox_of(obligations: Iterable[Understood]) -> Sandbox | None:
    """What is demanded of the sandbox, None where none is."""
    return next((each for each in obligations if isinstance(each, Sandbox)), None)


def met(obligations: Iterable[Understood], *, limit: float) -> tuple[ObligationResult, ...]:
    """What to tell of obligations that were kept to, by a limit of so many seconds."""
    return tuple(
        ObligationResult(type=each.type, detail=f"limited to {limit:g} s")
        for each in obligations
        if isinstance(each, Timeout)
    )


def _understand(obligation: Obligation) -> Understood:
    try:
        return _UNDERSTOOD.validate_python(obligation.as_json())
    except ValidationError as error:
        raise InterlockError(
            reason=ErrorReason.OBLIGATION_UNSUPPORTED,
            message=f"this gateway cannot meet the obligation `{obligation.type}` as it is stated",
            metadata={"obligation": obligation.type},
        ) from error
