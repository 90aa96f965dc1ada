"""The calls about approvals that are timed, each in turns with the others."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import TypeVar

import grpc
from approvals_place import (
    LIMIT_SECONDS,
    ApprovalsPlace,
    Escalated,
    allowed_requests,
    checked,
    connected,
    escalated_requests,
)

from interlock.v1 import approval_service_pb2 as pb
from interlock.v1.approval_service_pb2_grpc import ApprovalServiceStub
from interlock.v1.decision_pb2 import Decision
from interlock.v1.decision_service_pb2 import WaitDecisionRequest
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub

PAGE = 100
BEGIN_SECONDS = 0.05
"""So long an agent that begins to wait is given until it does."""

SETTLE_SECONDS = 3.0
WAITS_ON_A_CONNECTION = 500

ALLOWED = "Decide, allowed"
ESCALATED = "Decide, escalated: it opens an approval"
FIRST_PAGE = f"ListApprovals, the first {PAGE} that wait"
NEXT_PAGE = f"ListApprovals, the next {PAGE}, page after page"
SHOWN = "GetApproval"
ANSWERED = "ResolveApproval, until the approver has the answer"
TOKEN = "ResolveApproval, until the agent that waits has its token"
ROWS = (ALLOWED, ESCALATED, FIRST_PAGE, NEXT_PAGE, SHOWN, ANSWERED, TOKEN)

Result = TypeVar("Result")
Times = Mapping[str, Sequence[float]]
"""Milliseconds of each call, by row."""


@dataclass(slots=True)
class Rounds:
    """An agent and an approver, each on a connection of its own, and the times of what they ask."""

    made: ApprovalsPlace
    agent: grpc.aio.Channel
    approver: grpc.aio.Channel
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    page_token: str = ""

    async def measure(self, rounds: int) -> Times:
        """Each call so often, in turns, so that a busy moment of the machine meets all of them alike."""
        decisions = DecisionServiceStub(self.agent)
        allowed, escalated = allowed_requests(self.made), escalated_requests(self.made)
        for _ in range(rounds):
            metadata, request = next(allowed)
            call = decisions.Decide(request, metadata=metadata, timeout=LIMIT_SECONDS)
            answer = await self._timed(ALLOWED, call)
            assert answer.decision.execution_token, answer
            metadata, request = next(escalated)
            call = decisions.Decide(request, metadata=metadata, timeout=LIMIT_SECONDS)
            answer = await self._timed(ESCALATED, call)
            await self._answer(checked(metadata, answer.decision))
            await self._list()
        return self.times

    async def _answer(self, escalated: Escalated) -> None:
        """An approver looks at the approval and answers it, while its agent waits for that."""
        people = ApprovalServiceStub(self.approver)
        waits = asyncio.create_task(self._wait(escalated))
        approval_id = escalated.decision.approval_id
        await asyncio.sleep(BEGIN_SECONDS)
        shown = await self._timed(
            SHOWN,
            people.GetApproval(
                pb.GetApprovalRequest(approval_id=approval_id),
                metadata=self.made.approver,
                timeout=LIMIT_SECONDS,
            ),
        )
        answer = pb.ResolveApprovalRequest(
            approval_id=approval_id,
            resolution=pb.RESOLUTION_APPROVE,
            version=shown.approval.version,
            binding_digest=shown.approval.binding_digest,
        )
        begun = time.perf_counter()
        await self._timed(
            ANSWERED,
            people.ResolveApproval(answer, metadata=self.made.approver, timeout=LIMIT_SECONDS),
        )
        decision, ended = await waits
        assert decision.execution_token, decision
        self.times[TOKEN].append((ended - begun) * 1e3)

    async def _wait(self, escalated: Escalated) -> tuple[Decision, float]:
        """What the decision has come to, and when that was known."""
        decision = await wait(self.agent, escalated)
        return decision, time.perf_counter()

    async def _list(self) -> None:
        """The first page, and the one after the last that was read, from the first on again at the end."""
        await self._timed(FIRST_PAGE, self._page(""))
        page = await self._timed(NEXT_PAGE, self._page(self.page_token))
        self.page_token = page.next_page_token

    async def _page(self, page_token: str) -> pb.ListApprovalsResponse:
        asked = pb.ListApprovalsRequest(
            state=pb.APPROVAL_STATE_PENDING, page_size=PAGE, page_token=page_token
        )
        people = ApprovalServiceStub(self.approver)
        return await people.ListApprovals(asked, metadata=self.made.approver, timeout=LIMIT_SECONDS)

    async def _timed(self, row: str, call: Awaitable[Result]) -> Result:
        """What the call gives, with its time in this row."""
        begun = time.perf_counter()
        result = await call
        self.times[row].append((time.perf_counter() - begun) * 1e3)
        return result


async def measure_rounds(made: ApprovalsPlace, rounds: int) -> Times:
    """The times of so many calls of each kind."""
    async with connected(made) as agent, connected(made) as approver:
        return await Rounds(made, agent, approver).measure(rounds)


async def wait(channel: grpc.aio.Channel, escalated: Escalated) -> Decision:
    """What the decision comes to, however long that takes."""
    decisions = DecisionServiceStub(channel)
    asked = WaitDecisionRequest(decision_id=escalated.decision.decision_id)
    while True:
        answer = await decisions.WaitDecision(asked, metadata=escalated.agent, timeout=LIMIT_SECONDS)
        if answer.decision.decision_id != escalated.decision.decision_id:
            return answer.decision


@asynccontextmanager
async def others_waiting(made: ApprovalsPlace, others: Sequence[Escalated]) -> AsyncIterator[None]:
    """While the block runs, agents wait for all of these."""
    async with AsyncExitStack() as stack:
        count = -(-len(others) // WAITS_ON_A_CONNECTION)
        channels = cycle([await stack.enter_async_context(connected(made)) for _ in range(count)])
        waits = [asyncio.create_task(wait(next(channels), each)) for each in others]
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            yield
            # Who was refused, or answered, did not wait.
            ended = [each for each in waits if each.done()]
            assert not ended, f"{len(ended)} of {len(waits)} waits have ended: {ended[0]!r:.300}"
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
