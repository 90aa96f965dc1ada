"""Agents that propose and gateways that report, on fakes whose clock stands still: what is measured of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

from interlock.core.canonical import canonicalize, digest
from interlock.core.catalog import ResultTrust, Tool
from interlock.core.decision import Decision, Evaluated
from interlock.core.errors import InterlockError
from interlock.core.facts import FactsInput
from interlock.core.outcome import MemoryWrite, Outcome, OutcomeKind, Usage
from interlock.core.plan import PlanProposal
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Record, fields
from interlock.flows.decide import Decider, decide
from interlock.flows.report_outcome import Reporting, report_outcome
from tests.deciders import a_decider
from tests.fakes import (
    CountingIdentifiers,
    MemoryDecisionLog,
    OneKeyPair,
    ScriptedEngine,
    SettableClock,
)
from tests.proposals import GATEWAY, MEASURING, a_proposal, always, an_answer

ALLOW = an_answer("allow", obligations=[{"type": "timeout", "seconds": 30}])
DENY = an_answer("deny")


def allowing(*reservations: dict[str, Any]) -> Evaluated:
    """An allow that asks for these."""
    return an_answer(
        "allow", obligations=[{"type": "timeout", "seconds": 30}], reservations=list(reservations)
    )


@dataclass
class SessionWorld:
    """All that proposing and reporting meet. `policy` answers."""

    policy: Callable[[PolicyInput], Evaluated | InterlockError] = field(default_factory=lambda: always(ALLOW))
    log: MemoryDecisionLog = field(default_factory=MemoryDecisionLog)
    keys: OneKeyPair = field(default_factory=OneKeyPair)
    clock: SettableClock = field(default_factory=SettableClock)
    identifiers: CountingIdentifiers = field(default_factory=CountingIdentifiers)
    requests: Any = field(default_factory=lambda: count(1))
    inputs: list[PolicyInput] = field(default_factory=list)

    @property
    def decider(self) -> Decider:
        """A decision service on this world."""
        return a_decider(
            log=self.log,
            state=self.log.state,
            engine=ScriptedEngine(self._answer),
            signer=self.keys,
            clock=self.clock,
            identifiers=self.identifiers,
        )

    @property
    def facts(self) -> FactsInput:
        """What was measured of the last proposal."""
        return self.inputs[-1]["facts"]

    def proposal(self, arguments: dict[str, Any] | None = None, **changes: Any) -> Proposal:
        """A proposal of a request of its own."""
        request_id = changes.pop("request_id", None) or f"request-{next(self.requests)}"
        return a_proposal(request_id, arguments=arguments, **changes)

    async def decide(self, *proposals: Proposal | PlanProposal) -> list[Decision | InterlockError]:
        """One batch."""
        return await decide(proposals, self.decider, limit_seconds=1.0)

    async def propose(self, arguments: dict[str, Any] | None = None, **changes: Any) -> Decision:
        """One proposal, decided."""
        [decision] = await self.decide(self.proposal(arguments, **changes))
        assert isinstance(decision, Decision)
        return decision

    async def report(
        self,
        decision: Decision,
        kind: OutcomeKind = OutcomeKind.SUCCEEDED,
        *,
        result: Any = "done",
        after: timedelta = timedelta(seconds=1),
        execution_id: str = "",
        refusal: str = "",
        usage: Usage | None = None,
        truncated: bool = False,
        memory_writes: Sequence[MemoryWrite] = (),
    ) -> Record:
        """What the gateway did with the decision's token, and what the tool answered."""
        data = b"" if result is None else canonicalize(result)
        start = self.clock.now()
        self.clock.move(after)
        outcome = Outcome(
            execution_id=execution_id or f"execution-of-{decision.decision_id}",
            decision_id=decision.decision_id,
            token_id=self.stated(decision)["token"]["jti"],
            kind=kind,
            result_digest=digest(data) if data else "",
            refusal=refusal,
            start_time=start,
            end_time=self.clock.now(),
            result=data,
            result_truncated=truncated,
            usage=usage,
            memory_writes=tuple(memory_writes),
        )
        reporting = Reporting(reader=self.log, log=self.log, clock=self.clock, measuring=MEASURING)
        return await report_outcome(outcome, GATEWAY, reporting)

    async def run(
        self, arguments: dict[str, Any] | None = None, *, result: Any = "done", **changes: Any
    ) -> Decision:
        """A proposal that is decided, and executed with this result where it is allowed."""
        decision = await self.propose(arguments, **changes)
        if decision.execution_token:
            await self.report(decision, result=result)
        return decision

    def stated(self, decision: Decision) -> dict[str, Any]:
        """What is on record of the decision."""
        return fields(self.log.records[decision.log_index])

    def _answer(self, document: PolicyInput) -> Evaluated | InterlockError:
        self.inputs.append(document)
        return self.policy(document)


def trusting(tool: Tool) -> Tool:
    """The same tool, whose results its catalog entry trusts."""
    entry = tool.entry.model_copy(update={"results": ResultTrust.TRUSTED})
    return replace(tool, entry=entry)
