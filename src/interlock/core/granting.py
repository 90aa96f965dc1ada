"""What an allowed decision changes besides the log: it takes its reservations, and makes known what was new.

All of the reservations are taken or none; what is lacking turns the allow into a deny, in the same transaction
that puts it on record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from interlock.core import novelty
from interlock.core.cells import Cells
from interlock.core.decision import PolicyAnswer
from interlock.core.holding import Holder, reservation_keys, take
from interlock.core.record import Draft
from interlock.core.reservation import Reservation, Shortfall

LEEWAY = timedelta(seconds=60)
"""The most that a gateway's clock may differ: until then it may still redeem a token that has expired here."""

DELIVERY = timedelta(seconds=30)
"""How long an outcome may be under way before what it would settle is given back."""

_LONGEST_SECONDS = 600.0
"""The most that a gateway can be set to give a call that no timeout bounds, and that a timeout may be."""


class Condition(Protocol):
    """What must hold when an allow is granted, looked at in the transaction that grants it."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells that tell."""
        ...

    def lacking(self, cells: Cells, at: datetime) -> tuple[Shortfall, ...]:
        """Why it does not hold; empty where it does."""
        ...


class Evidence(Condition, Protocol):
    """A condition that is used up by what is granted with it."""

    def use(self, decision_id: str, cells: Cells, at: datetime) -> None:
        """Use it up for this decision; it was not lacking."""
        ...


@dataclass(slots=True, kw_only=True)
class Grant:
    """A DraftChange for a decision that the policy allows. `lacking` is what its last run found lacking.

    `uses` is one of the `conditions`: the approval that is used up, by the decision `used_by`. `standing` are the calls
    of standing approvals that are reserved.
    """

    conditions: Sequence[Condition] = ()
    uses: Evidence | None = None
    used_by: str = ""
    standing: Evidence | None = None
    reservations: Sequence[Reservation]
    holder: Holder
    to_mark: tuple[bytes, ...]
    at: datetime
    ends: datetime
    lacking: tuple[Shortfall, ...] = field(default=(), init=False)

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of what is taken, and of what becomes known."""
        told = (key for condition in self._conditions() for key in condition.keys)
        return (*told, *reservation_keys(self.reservations, self.holder), *self.to_mark)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """The draft, or the one that says what was lacking and grants nothing."""
        if self.take(cells):
            return replace(draft, fields=refused(draft.fields, self.lacking))
        return draft

    def take(self, cells: Cells) -> tuple[Shortfall, ...]:
        """Do it, or tell what was lacking, and nothing is changed then."""
        self.lacking = self._unmet(cells) or take(
            self.reservations, self.holder, cells, at=self.at, ends=self.ends
        )
        if not self.lacking:
            novelty.mark(self.to_mark, cells, self.at)
            if self.uses:
                self.uses.use(self.used_by, cells, self.at)
            if self.standing:
                self.standing.use(self.holder.decision_id, cells, self.at)
        return self.lacking

    def _unmet(self, cells: Cells) -> tuple[Shortfall, ...]:
        return tuple(lack for condition in self._conditions() for lack in condition.lacking(cells, self.at))

    def _conditions(self) -> tuple[Condition, ...]:
        return (*self.conditions, self.standing) if self.standing else tuple(self.conditions)


def refused(fields: Any, lacking: Iterable[Shortfall]) -> dict[str, Any]:
    """The fields of a decision whose reservations could not be taken: what the policy said stays in `result`."""
    reasons = [shortfall.reason().model_dump(mode="json") for shortfall in lacking]
    return {**fields, "verdict": "deny", "lacking": reasons, "token": None}


def final_answer(answer: PolicyAnswer, lacking: Iterable[Any]) -> PolicyAnswer:
    """What the caller hears: the policy's answer, or a deny that says what was lacking."""
    reasons = list(lacking)
    if not reasons:
        return answer
    return PolicyAnswer.model_validate(
        {"verdict": "deny", "reasons": reasons, "obligations": (), "reservations": ()}
    )


def hold_ends(token_ends: datetime, answer: PolicyAnswer) -> datetime:
    """Until when an outcome is waited for: the token's life, the longest run that is allowed, and some more.

    A call that no timeout bounds may run for as long as any gateway lets it.
    """
    seconds = [
        obligation.parameters.get("seconds", 0)
        for obligation in answer.obligations
        if obligation.type == "timeout"
    ]
    longest = max(
        (float(each) for each in seconds if isinstance(each, int | float)), default=_LONGEST_SECONDS
    )
    return token_ends + LEEWAY + timedelta(seconds=min(longest, _LONGEST_SECONDS)) + DELIVERY
