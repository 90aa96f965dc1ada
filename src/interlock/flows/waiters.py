"""Who waits in this process for what becomes of approvals, and what wakes them: nothing is polled for each of them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeVar

from interlock.core import record as records
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.record import RecordType
from interlock.ports import RecordReader

Key = TypeVar("Key")

EVERY_SECONDS = 0.2
"""How often the end of the log is looked at for what other replicas have changed, while somebody waits."""

AT_ONCE = 1_000
RETRY_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MostWaiting:
    """How many calls may wait at a time: of one agent, and of one tenant."""

    agent: int = 500
    tenant: int = 10_000


class Waiter:
    """One call that waits for one approval. `turn` is held by one of those that wait for the same at a time."""

    def __init__(self, turn: asyncio.Lock) -> None:
        self.turn = turn
        self._woken = asyncio.Event()
        self._ended = False

    async def woken(self, *, until: float) -> bool:
        """Return at the next change of its approval; False where none came `until` then, a time of the event loop."""
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return not self._ended

    def wake(self) -> None:
        """Its approval may have changed."""
        self._woken.set()

    def end(self) -> None:
        """Nothing that comes is waited for any more."""
        self._ended = True
        self._woken.set()


@dataclass(frozen=True, slots=True)
class _Room:
    """Those that wait for one approval."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiters: set[Waiter] = field(default_factory=set)


class Waiters:
    """All calls of this process that wait.

    A change that this process makes wakes them at once (`wake`). For those of other replicas, one task looks at where
    the log ends, for all of them together, and only while somebody waits.
    """

    def __init__(self, reader: RecordReader, most: MostWaiting | None = None) -> None:
        self._reader = reader
        self._most = most or MostWaiting()
        self._rooms: dict[str, _Room] = {}
        self._agents: Counter[tuple[str, str]] = Counter()
        self._tenants: Counter[str] = Counter()
        self._watching: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def count(self) -> int:
        """How many calls wait now."""
        return self._tenants.total()

    @contextlib.asynccontextmanager
    async def waiting(self, caller: Caller, approval_id: str) -> AsyncIterator[Waiter]:
        """A place to wait in: no change of the approval after its beginning is missed.

        Raises InterlockError: OVERLOADED where too many wait; DECISION_LOG_UNAVAILABLE.
        """
        self._check_room(caller)
        seen = 0 if self._watching else (await self._reader.head()).size
        waiter = self._enter(caller, approval_id, seen)
        try:
            yield waiter
        finally:
            self._leave(caller, approval_id, waiter)

    def wake(self, approval_id: str) -> None:
        """This approval has changed."""
        if room := self._rooms.get(approval_id):
            for waiter in room.waiters:
                waiter.wake()

    def end(self) -> None:
        """Let nobody wait any more: all are answered now, with the decision as it stands."""
        self._ended = True
        for room in self._rooms.values():
            for waiter in room.waiters:
                waiter.end()

    def _check_room(self, caller: Caller) -> None:
        if (
            self._agents[caller.tenant, caller.name] >= self._most.agent
            or self._tenants[caller.tenant] >= self._most.tenant
        ):
            raise InterlockError(
                reason=ErrorReason.OVERLOADED,
                message="too many calls of this agent or its tenant wait for approvals",
                retry_after=RETRY_AFTER_SECONDS,
            )

    def _enter(self, caller: Caller, approval_id: str, seen: int) -> Waiter:
        self._check_room(caller)  # once more: others may have come while the log was asked
        room = self._rooms.setdefault(approval_id, _Room())
        waiter = Waiter(room.turn)
        room.waiters.add(waiter)
        self._agents[caller.tenant, caller.name] += 1
        self._tenants[caller.tenant] += 1
        if self._ended:
            waiter.end()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(seen))
        return waiter

    def _leave(self, caller: Caller, approval_id: str, waiter: Waiter) -> None:
        room = self._rooms[approval_id]
        room.waiters.discard(waiter)
        if not room.waiters:
            del self._rooms[approval_id]
        _take_one(self._agents, (caller.tenant, caller.name))
        _take_one(self._tenants, caller.tenant)
        if not self._rooms and self._watching:
            self._watching.cancel()
            self._watching = None

    async def _watch(self, seen: int) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            with contextlib.suppress(InterlockError):  # a store that is away is looked at the next time
                seen = await self._look(seen)

    async def _look(self, seen: int) -> int:
        """Wake those whose approvals have changed since the log ended at `seen`; where it ends now."""
        size = (await self._reader.head()).size
        while seen < size:
            page = await self._reader.list_records(
                tenants=sorted(self._tenants),
                type=RecordType.APPROVAL,
                decision_id="",
                start=seen,
                limit=AT_ONCE,
            )
            for each in page:
                self.wake(records.fields(each).get("approval_id", ""))
            seen = page[-1].log_index + 1 if len(page) == AT_ONCE else size
        return seen


def _take_one(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
