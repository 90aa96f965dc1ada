"""DecisionService over the flows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from interlock.core.decision import Decision, Verdict
from interlock.core.errors import InterlockError, invalid_field
from interlock.core.identity import Caller, CallerKind
from interlock.core.outcome import Outcome
from interlock.core.plan import PlanProposal, RawPlan
from interlock.core.proposal import Proposal, RawProposal
from interlock.core.record import Record
from interlock.flows.coalesce import Coalescer
from interlock.flows.list_tools import Offering, list_tools
from interlock.flows.sessions import Opening, Query, Sessions, get_session, record_steps, start_session
from interlock.ports import Meter
from interlock.rpc import session_wire, wire
from interlock.rpc.endpoint import Call, caller_of, checks_its_items, refuse_unknown_fields
from interlock.rpc.status import to_status
from interlock.v1 import decision_pb2
from interlock.v1 import decision_service_pb2 as pb

LARGEST_BATCH = 256


class DecisionServicer:
    """Decide, DecideBatch, what may follow an escalate, ReportOutcome, ListTools, and the calls of sessions."""

    service = pb.DESCRIPTOR.services_by_name["DecisionService"]

    def __init__(
        self,
        *,
        normalize: Callable[[RawProposal | RawPlan], Proposal | PlanProposal],
        coalescer: Coalescer[Proposal | PlanProposal, Decision],
        wait: Callable[[str, Caller, float], Awaitable[Decision]],
        withdraw: Callable[[str, Caller], Awaitable[str]],
        report: Callable[[Outcome, Caller], Awaitable[Record]],
        sessions: Sessions,
        offering: Offering,
        meter: Meter,
    ) -> None:
        """`normalize` knows the catalog, `coalescer` decides, `report` records an outcome, `offering` lists tools.

        `wait` takes a decision_id, whose it is and the seconds that it may take; `withdraw` gives the approval_id.
        """
        self._normalize = normalize
        self._coalescer = coalescer
        self._wait = wait
        self._withdraw = withdraw
        self._report = report
        self._sessions = sessions
        self._offering = offering
        self._meter = meter

    async def decide(self, request: pb.DecideRequest, call: Call) -> pb.DecideResponse:
        """One proposal."""
        caller = caller_of(call, CallerKind.AGENT)
        proposal = self._normalize(wire.raw_request(caller, request))
        [future] = self._coalescer.submit([proposal], limit_seconds=call.limit_seconds)
        return pb.DecideResponse(decision=self._told(await future))

    @checks_its_items
    async def decide_batch(self, request: pb.DecideBatchRequest, call: Call) -> pb.DecideBatchResponse:
        """Several proposals; each has a decision or a status of its own."""
        caller = caller_of(call, CallerKind.AGENT)
        if not 1 <= len(request.requests) <= LARGEST_BATCH:
            raise invalid_field(
                "requests", f"must have 1 to {LARGEST_BATCH} entries, got {len(request.requests)}"
            )
        read = [self._read(caller, item) for item in request.requests]
        good = [proposal for proposal in read if not isinstance(proposal, InterlockError)]
        futures = self._coalescer.submit(good, limit_seconds=call.limit_seconds)
        answers = iter(await asyncio.gather(*futures, return_exceptions=True))
        return pb.DecideBatchResponse(
            results=[
                self._result(item if isinstance(item, InterlockError) else next(answers)) for item in read
            ]
        )

    async def wait_decision(self, request: pb.WaitDecisionRequest, call: Call) -> pb.WaitDecisionResponse:
        """What an escalated decision has come to, once its approval has changed."""
        caller = caller_of(call, CallerKind.AGENT)
        decided = await self._wait(request.decision_id, caller, call.limit_seconds)
        # One that still waits was counted when it was escalated.
        waits = decided.verdict is Verdict.ESCALATE
        return pb.WaitDecisionResponse(decision=wire.decision(decided) if waits else self._told(decided))

    async def withdraw_decision(
        self, request: pb.WithdrawDecisionRequest, call: Call
    ) -> pb.WithdrawDecisionResponse:
        """An escalated proposal, taken back."""
        caller = caller_of(call, CallerKind.AGENT)
        withdrawn = await self._withdraw(request.decision_id, caller)
        return pb.WithdrawDecisionResponse(approval_id=withdrawn)

    async def report_outcome(self, request: pb.ReportOutcomeRequest, call: Call) -> pb.ReportOutcomeResponse:
        """What a gateway did."""
        caller = caller_of(call, CallerKind.GATEWAY)
        recorded = await self._report(wire.reported_outcome(request), caller)
        return pb.ReportOutcomeResponse(log_index=recorded.log_index)

    async def start_session(self, request: pb.StartSessionRequest, call: Call) -> pb.StartSessionResponse:
        """A session, before its first proposal."""
        caller = caller_of(call, CallerKind.USER, CallerKind.AGENT)
        opening = Opening(session_id=request.session_id, agent=request.agent, goal=request.goal)
        started = await start_session(opening, caller, self._sessions)
        return pb.StartSessionResponse(session=session_wire.session(started))

    async def get_session(self, request: pb.GetSessionRequest, call: Call) -> pb.GetSessionResponse:
        """A session, and a page of its timeline."""
        caller = caller_of(call, CallerKind.AGENT, CallerKind.USER, CallerKind.AUDITOR)
        query = Query(
            session_id=request.session_id,
            agent=request.agent,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        shown = await get_session(query, caller, self._sessions)
        return pb.GetSessionResponse(
            session=session_wire.session(shown.session),
            timeline=map(session_wire.timeline_entry, shown.timeline),
            next_page_token=shown.next_page_token,
        )

    async def record_steps(
        self, requests: AsyncIterator[pb.RecordStepsRequest], call: Call
    ) -> pb.RecordStepsResponse:
        """What an agent did besides proposing."""
        caller = caller_of(call, CallerKind.AGENT)
        async with aclosing(session_wire.step_batch(request) async for request in requests) as batches:
            told = await record_steps(batches, caller, self._sessions)
        return pb.RecordStepsResponse(recorded=told.recorded, last_number=told.last_number)

    async def list_tools(self, request: pb.ListToolsRequest, call: Call) -> pb.ListToolsResponse:
        """The tools that the agent's roles could ever be allowed."""
        caller = caller_of(call, CallerKind.AGENT)
        shown = await list_tools(request.gateway, caller, self._offering, limit_seconds=call.limit_seconds)
        return pb.ListToolsResponse(tools=shown)

    def _read(self, caller: Caller, request: pb.DecideRequest) -> Proposal | PlanProposal | InterlockError:
        try:
            refuse_unknown_fields(request)
            return self._normalize(wire.raw_request(caller, request))
        except InterlockError as error:
            return error

    def _result(self, answer: Decision | BaseException) -> pb.DecideResult:
        match answer:
            case Decision():
                return pb.DecideResult(decision=self._told(answer))
            case InterlockError():
                self._meter.failed(answer.reason.value)
                return pb.DecideResult(status=to_status(answer))
            case _:
                raise answer

    def _told(self, decided: Decision) -> decision_pb2.Decision:
        self._meter.decided(decided.verdict.value)
        return wire.decision(decided)
