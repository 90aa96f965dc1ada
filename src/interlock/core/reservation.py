"""Reservations: what an allow takes of a budget, a rate, a number of places, a resource or a breaker.

The policy says how much and from what, with every limit in its terms; the service only counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from interlock.core.moments import seconds_of
from interlock.core.reason import Reason

MAX_RESERVATIONS = 16
"""The most that one answer may ask for."""

MAX_AMOUNT = 2**53 - 1
MAX_SECONDS = 366 * 24 * 3_600
"""A year: the longest window, period and open time."""

RETRY_AFTER = "retry_after_seconds"
"""Key of a reason's metadata: the seconds after which its cause has passed; absent where waiting does not help."""

SHORTFALL_CODES: Mapping[str, str] = {
    "quota.budget": "What the call would use, with what is used and held already, is more than a budget's limit",
    "quota.rate": "Calls come faster than a rate allows",
    "quota.concurrency": "As many calls as may run at the same time hold a place already",
    "lease.held": "Another call holds the lease of the resource",
    "obligations.unsupported": "The tool's gateway did not say that it can meet what the call is allowed under",
    "breakers.probing": "The tool's breaker lets no call but one probe at a time through, and this is not it",
    "approvals.standing_used_up": "The standing approval that the policy counted on is used up, over or taken back",
}
"""The reasons that the service gives where a reservation cannot be taken, and what each means."""

Scope = Literal["session", "agent", "user", "tenant"]
Unit = Literal["calls", "cost", "model_tokens", "compute_milliseconds"]
WindowKind = Literal["tumbling", "sliding", "whole"]

_Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
_Count = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
_Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
_Percent = Annotated[int, Field(ge=1, le=100)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]*$", max_length=128)]


class _Strict(BaseModel):
    """What crosses the boundary from the policy engine: exact types, no unknown key."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Budget(_Strict):
    """An amount of what may be used in a window: the tenth call of ten an hour.

    A `tumbling` window begins at whole multiples of its length since 1970 in UTC, so that a day is a day. A
    `sliding` one ends now. `whole` is the session's life, and has no seconds.
    """

    type: Literal["budget"]
    scope: Scope
    unit: Unit
    amount: _Amount
    limit: _Amount
    window: WindowKind
    window_seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)]
    name: _Name = ""

    @model_validator(mode="after")
    def _window_has_a_length(self) -> "Budget":
        if (self.window == "whole") != (self.window_seconds == 0):
            raise ValueError("a window has at least one second, and one that is whole has none")
        if self.window == "whole" and self.scope != "session":
            raise ValueError("a whole window is that of a session")
        return self

    @property
    def counter(self) -> str:
        """What, besides its scope and name, tells it from others."""
        return f"budget/{self.unit}/{self.window}/{self.window_seconds}"

    @property
    def identity(self) -> tuple[str, ...]:
        """What no two of one answer may have in common."""
        return (self.scope, self.name, self.counter)


class Rate(_Strict):
    """One call of so many a period, `burst` of them at once. It is not given back."""

    type: Literal["rate"]
    scope: Scope
    limit: _Count
    period_seconds: _Seconds
    burst: _Count
    name: _Name = ""

    @model_validator(mode="after")
    def _burst_comes_back(self) -> "Rate":
        if self.burst * self.period_seconds > self.limit * MAX_SECONDS:
            raise ValueError("a burst must have come back within a year")
        return self

    @property
    def counter(self) -> str:
        """What, besides its scope and name, tells it from others."""
        return self.type

    @property
    def identity(self) -> tuple[str, ...]:
        """What no two of one answer may have in common."""
        return (self.scope, self.name, self.type)


class Concurrency(_Strict):
    """One of so many places for calls that run at the same time."""

    type: Literal["concurrency"]
    scope: Scope
    limit: _Amount
    name: _Name = ""

    @property
    def counter(self) -> str:
        """What, besides its scope and name, tells it from others."""
        return self.type

    @property
    def identity(self) -> tuple[str, ...]:
        """What no two of one answer may have in common."""
        return (self.scope, self.name, self.type)


class Lease(_Strict):
    """Exclusive use of a resource of the tenant, until the call's outcome or the end of its hold.

    The fencing number that goes with it is the decision's `log_index`, which only grows and is in the token.
    """

    type: Literal["lease"]
    resource: Annotated[str, Field(min_length=1, max_length=512)]

    @property
    def identity(self) -> tuple[str, ...]:
        """What no two of one answer may have in common."""
        return (self.type, self.resource)


class Breaker(_Strict):
    """Terms on which the call's outcome counts in the breaker of its tool, and whether the call is a probe.

    `slow_milliseconds` 0: no call is slow. The percentages are of the calls in the window.
    """

    type: Literal["breaker"]
    probe: bool
    failure_percent: _Percent
    minimum_calls: _Count
    window_seconds: _Seconds
    slow_milliseconds: _Amount
    slow_percent: _Percent
    open_seconds: _Seconds

    @property
    def identity(self) -> tuple[str, ...]:
        """The same for all, since a tool has one breaker."""
        return (self.type,)


class Standing(_Strict):
    """One call of a standing approval, used up with this decision and never given back."""

    type: Literal["standing"]
    standing_id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]

    @property
    def identity(self) -> tuple[str, ...]:
        """What no two of one answer may have in common."""
        return (self.type, self.standing_id)


Counted = Budget | Rate | Concurrency
"""What is counted for a scope. `counter` names it within the cell of the scope and the name."""

Reservation = Annotated[Budget | Rate | Concurrency | Lease | Breaker | Standing, Field(discriminator="type")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """What a reservation lacked, so that its call is denied."""

    code: str
    message: str
    metadata: Mapping[str, JsonValue]

    def reason(self) -> Reason:
        """The shortfall as a reason of the decision."""
        return Reason(code=self.code, message=self.message, metadata=dict(self.metadata))


def waiting(microseconds: int | None) -> dict[str, JsonValue]:
    """Metadata that says how long to wait; empty where waiting does not help."""
    return {} if microseconds is None else {RETRY_AFTER: seconds_of(max(0, microseconds))}


def shortfall(code: str, message: str, wait: int | None, **metadata: JsonValue) -> Shortfall:
    """A shortfall that passes after so many microseconds, or does not."""
    return Shortfall(code=code, message=message, metadata={**metadata, **waiting(wait)})


def distinct(reservations: Iterable[Reservation]) -> bool:
    """Whether no two are for one cell, of which one could not be taken without the other."""
    identities = [reservation.identity for reservation in reservations]
    return len(set(identities)) == len(identities)
