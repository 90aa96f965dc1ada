"""Example plans of the git tools, and a world in which agents propose them and gateways run their steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from interlock.core import record as records
from interlock.core.canonical import canonicalize, digest
from interlock.core.catalog import Catalog, CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.decision import Decision, StepDecision
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.outcome import Finding, Outcome, OutcomeKind, Reconciliation
from interlock.core.plan import PlanProposal, RawPlan, RawStep, normalize_plan, normalize_request
from interlock.core.plan_step import StepReference
from interlock.core.proposal import Context, Proposal, RawProposal
from interlock.core.record import Record
from interlock.core.token import Claims, authenticate
from interlock.flows.report_outcome import Reporting, report_outcome
from tests.fakes import no_files
from tests.proposals import AGENT, CATALOG, GATEWAY, MEASURING
from tests.unit.flows.session_world import SessionWorld

MAIL_GATEWAY = replace(GATEWAY, name="gateway-2")
TWO_GATEWAYS = Catalog(
    tools={
        **CATALOG.tools,
        **build_catalog(
            [
                CatalogFile(
                    gateway=MAIL_GATEWAY.name,
                    server="mail",
                    tools=(
                        ToolEntry(name="send_mail", arguments={"type": "object"}, effects=(Effect.WRITE,)),
                    ),
                )
            ]
        ).tools,
    }
)


def refer(step: str, pointer: str) -> dict[str, Any]:
    """A reference as it stands in arguments."""
    return {"$result": {"step": step, "pointer": pointer}}


def a_step(
    step_id: str,
    after: Iterable[str] = (),
    *,
    tool: str = "git_log",
    arguments: Mapping[str, Any] | None = None,
) -> RawStep:
    """A step that reads the history."""
    return RawStep(
        step_id=step_id,
        tool=tool,
        arguments_json=canonicalize({"repo_path": step_id} if arguments is None else dict(arguments)),
        after=tuple(after),
    )


def a_raw_plan(*steps: RawStep, request_id: str = "request-1", **changes: Any) -> RawPlan:
    """A plan as it comes over the wire."""
    stated: dict[str, Any] = {
        "caller": AGENT,
        "session_id": "session-1",
        "parent_decision_id": "",
        "goal": "read the history",
        "context": Context(),
    }
    return RawPlan(request_id=request_id, steps=steps, **(stated | changes))


def a_plan(*steps: RawStep, catalog: Catalog = TWO_GATEWAYS, **changes: Any) -> PlanProposal:
    """A plan as the ingress makes it."""
    return normalize_plan(a_raw_plan(*steps, **changes), catalog, conceal, no_files)


def conceal(value: bytes) -> str:
    """No secret is in these plans."""
    return f"concealed {len(value)} bytes"


@dataclass
class PlanWorld(SessionWorld):
    """Plans that are decided, and gateways that run their steps."""

    async def plan(self, *steps: RawStep, **changes: Any) -> Decision:
        """One plan, decided."""
        [decision] = await self.decide(a_plan(*steps, **changes))
        assert isinstance(decision, Decision)
        return decision

    async def step(
        self,
        decision_id: str,
        step_id: str,
        arguments: Mapping[str, Any],
        *,
        tool: str = "git_log",
        caller: Caller = AGENT,
        catalog: Catalog = TWO_GATEWAYS,
    ) -> Decision:
        """A step that is proposed again, decided. Raises InterlockError."""
        raw = RawProposal(
            caller=caller,
            request_id=f"request-again-{next(self.requests)}",
            session_id="session-1",
            parent_decision_id="",
            goal="read the history",
            tool=tool,
            arguments_json=canonicalize(dict(arguments)),
            context=Context(),
            plan_step=StepReference(decision_id=decision_id, step_id=step_id),
        )
        proposal = normalize_request(raw, catalog, conceal, no_files)
        assert isinstance(proposal, Proposal)
        [answer] = await self.decide(proposal)
        if isinstance(answer, InterlockError):
            raise answer
        return answer

    async def executed(
        self,
        step: Decision | StepDecision,
        kind: OutcomeKind = OutcomeKind.SUCCEEDED,
        *,
        result: Any = "done",
        gateway: Caller = GATEWAY,
        truncated: bool = False,
        refusal: ErrorReason | None = None,
        found: Finding | None = None,
    ) -> Record:
        """What a gateway reports of the step's token."""
        data = canonicalize(result) if kind is OutcomeKind.SUCCEEDED else b""
        claims = self.claims(step)
        outcome = Outcome(
            execution_id=f"execution-{next(self.requests)}",
            decision_id=claims.decision_id,
            token_id=claims.jti,
            kind=kind,
            result_digest=digest(data) if data else "",
            refusal=refusal.value if refusal else "",
            start_time=self.clock.now(),
            end_time=self.clock.now() + timedelta(seconds=1),
            result=data,
            result_truncated=truncated,
            reconciliation=None if found is None else self.finding(found),
        )
        reporting = Reporting(reader=self.log, log=self.log, clock=self.clock, measuring=MEASURING)
        return await report_outcome(outcome, gateway, reporting)

    def finding(self, found: Finding) -> Reconciliation:
        """What a person found."""
        return Reconciliation(finding=found, comment="looked into it", found_by="ada", time=self.clock.now())

    def claims(self, step: Decision | StepDecision) -> Claims:
        """What the step's token permits."""
        return authenticate(step.execution_token, self.keys)

    def on_record(self, decision_id: str) -> dict[str, Any]:
        """The fields of the record of a decision."""
        [found] = [
            each for each in map(records.fields, self.log.records) if each["decision_id"] == decision_id
        ]
        return found


def codes(decision: Decision | StepDecision) -> list[str]:
    """Codes of its reasons."""
    return [reason.code for reason in decision.reasons]
