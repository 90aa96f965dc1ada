"""What live sessions take in a store: all cells that their steps leave, of whatever kind.

Every step is played as the service plays it: counted, granted with the reservations that the stock policies ask
for, and settled; and what is over is forgotten on the way, as the service does.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from facts_state import OpenState, reservations_of
from population import MEASURING, STEP

from interlock.core import settling
from interlock.core.canonical import digest
from interlock.core.cells import Cells
from interlock.core.granting import Grant
from interlock.core.holding import Holder, reservation_keys
from interlock.core.observing import NO_PARENT, Observe, request_tag
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, RecordType
from interlock.core.reservation import Reservation
from interlock.flows.forget import AT_ONCE as FORGOTTEN_AT_ONCE

STEPS = 100
AT_ONCE = 500

Weigh = Callable[[], Awaitable[int]]
"""The bytes that the store takes now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What so many live sessions take, in bytes, beyond what the empty store takes."""

    sessions: int
    size: int

    @property
    def of_session(self) -> float:
        """Bytes for each of them."""
        return self.size / self.sessions


class Step:
    """A Change: one step of a session, from its proposal to its outcome, which comes at once."""

    def __init__(self, proposal: Proposal, reservations: Sequence[Reservation], *, at: datetime) -> None:
        self._proposal = proposal
        self._reservations = reservations
        self._at = at
        self._observe = Observe(proposal, NO_PARENT, at=at, measuring=MEASURING)
        self._holder = Holder(
            tenant=proposal.caller.tenant,
            agent=proposal.caller.name,
            user="",
            session_id=proposal.session_id,
            tool=proposal.tool_name,
            decision_id=proposal.request_id,
        )

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells of what is counted, and of what is reserved."""
        return (*self._observe.keys, *reservation_keys(self._reservations, self._holder))

    def run(self, cells: Cells) -> None:
        """Count, grant and settle."""
        observed = self._observe.run(cells)
        ends = self._at + STEP
        granted = Grant(
            reservations=self._reservations,
            holder=self._holder,
            to_mark=observed.to_mark,
            at=self._at,
            token_ends=ends,
            ends=ends,
        )
        draft = self._draft()
        granted.run(draft, cells)
        assert not granted.lacking
        settle = settling.Settle(
            self._decided(), self._outcome(), first=True, at=self._at, measuring=MEASURING
        )
        settle.run(draft, cells)

    def _draft(self) -> Draft:
        return Draft(
            type=RecordType.DECISION,
            tenant=self._proposal.caller.tenant,
            once="",
            decision_id=self._proposal.request_id,
            timestamp=self._at,
            fields={},
        )

    def _decided(self) -> settling.Decided:
        proposal = self._proposal
        return settling.Decided(
            tenant=proposal.caller.tenant,
            agent=proposal.caller.name,
            user="",
            session_id=proposal.session_id,
            decision_id=proposal.request_id,
            request=request_tag(proposal.request_id, proposal.payload_digest),
            tool=proposal.tool_name,
            trusted=True,
            step=1,
            arguments_digest=proposal.arguments_digest,
            operation="",
            reservations=tuple(self._reservations),
        )

    def _outcome(self) -> Outcome:
        name = self._proposal.request_id
        return Outcome(
            execution_id=name,
            decision_id=name,
            token_id=name,
            kind=OutcomeKind.SUCCEEDED,
            result_digest=digest(name.encode()),
            refusal="",
            start_time=self._at,
            end_time=self._at,
        )


async def weigh_sessions(
    opened: OpenState, weigh: Weigh, counts: Sequence[int], *, steps: int = STEPS
) -> list[Weight]:
    """Play sessions until there are as many as each of the rising counts says, and weigh them then."""
    empty, now = await weigh(), datetime.now(UTC)
    reservations = await reservations_of(opened)
    weights: list[Weight] = []
    played = 0
    for count in counts:
        for start in range(played, count, AT_ONCE):
            await _play(opened, range(start, min(start + AT_ONCE, count)), reservations, steps, now)
        played = count
        weights.append(Weight(sessions=count, size=await weigh() - empty))
    return weights


async def _play(
    opened: OpenState, sessions: Sequence[int], reservations: Sequence[Reservation], steps: int, now: datetime
) -> None:
    """All steps of these sessions, which go on at the same time; the last of them is now."""
    for step in range(steps):
        at = now - (steps - step) * STEP
        changes = [
            Step(opened.population.proposal(session, step), reservations, at=at) for session in sessions
        ]
        await opened.store.state.apply(changes, durable=False)
        while await opened.store.state.prune(at, limit=FORGOTTEN_AT_ONCE):
            pass
