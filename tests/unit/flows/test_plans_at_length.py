"""Plans at length: whatever happens in whatever order, a step runs once, in its turn, as it was planned (case 59)."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.core.decision import Decision, StepDecision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import Outcome, OutcomeKind
from interlock.core.token import expire_time
from interlock.ports import Redemption
from tests.fakes import MemoryLedger
from tests.plans import PlanWorld, a_step, refer

Result = TypeVar("Result")

LEEWAY = timedelta(seconds=5)
STEPS = {
    "fetch": (),
    "check": ("fetch",),
    "use": ("fetch", "check"),
    "again": ("use",),
    "last": ("check", "again"),
}
"""Each step, and what it comes after."""

REFERS = {"use": "fetch", "last": "use"}
"""Each step whose argument is a value from another's result."""

RAN = st.sampled_from([OutcomeKind.SUCCEEDED] * 4 + [OutcomeKind.FAILED, OutcomeKind.UNKNOWN])


@dataclass
class Run:
    """An execution that began; `kind` is how it ended, once it did."""

    step: str
    token: Decision | StepDecision
    redemption: Redemption
    kind: OutcomeKind
    reported: bool = False


class Plans(RuleBasedStateMachine):
    """An agent that presents any token and proposes anything, a gateway, and outcomes that come when they come."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = PlanWorld()
        self.ledger = MemoryLedger()
        self.tokens: list[tuple[str, Decision | StepDecision]] = []
        self.runs: list[Run] = []

    def teardown(self) -> None:
        self.runner.close()

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(coroutine)

    @initialize()
    def decide(self) -> None:
        steps = [a_step(step, after, arguments=planned(step)) for step, after in STEPS.items()]
        self.plan = self.wait(self.world.plan(*steps))
        assert self.plan.verdict is Verdict.ALLOW
        self.tokens = [(step.step_id, step) for step in self.plan.steps if step.execution_token]
        assert {step for step, _ in self.tokens} == STEPS.keys() - REFERS.keys()

    @rule(data=st.data(), kind=RAN)
    def present(self, data: st.DataObject, kind: OutcomeKind) -> None:
        """A token, also one that was presented before."""
        step, token = data.draw(st.sampled_from(self.tokens))
        claims = self.world.claims(token)
        if self.world.clock.now() >= expire_time(claims) + LEEWAY:
            return
        redemption = Redemption(
            token_id=claims.jti,
            execution_id=f"execution-{claims.jti}-{len(self.runs)}",
            decision_id=claims.decision_id,
            tool=claims.tool,
            expire_time=expire_time(claims),
            start_time=self.world.clock.now(),
            plan=claims.plan,
        )
        answer = self.redeem(redemption)
        if isinstance(answer, InterlockError):
            assert answer.reason is ErrorReason.STEP_NOT_DUE
            assert not self.succeeded >= {*STEPS[step]}
        elif answer is None:
            assert self.succeeded >= {*STEPS[step]}, "it ran before its turn"
            self.runs.append(Run(step, token, redemption, kind))
            self.wait(self.ledger.finish(outcome_of(self.runs[-1], self.world)))

    def redeem(self, redemption: Redemption) -> str | InterlockError | None:
        """What the ledger answers."""
        try:
            return self.wait(self.ledger.redeem(redemption))
        except InterlockError as refusal:
            return refusal

    @precondition(lambda self: any(not run.reported for run in self.runs))
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """An outcome reaches the decision service, in any order."""
        run = data.draw(st.sampled_from([run for run in self.runs if not run.reported]))
        run.reported = True
        self.wait(self.world.executed(run.token, run.kind, result={"value": f"of {run.step}"}))

    @rule(step=st.sampled_from(sorted(STEPS)), honest=st.booleans())
    def propose_again(self, step: str, honest: bool) -> None:
        """A step with the real values, or with others."""
        arguments = filled(step) if honest else {"repo_path": "another"}
        decision = self.wait(self.world.step(self.plan.decision_id, step, arguments))
        if decision.verdict is Verdict.ALLOW:
            reported = {run.step: run.kind for run in self.runs if run.reported}
            assert honest, "it drifted"
            assert step not in reported, "it ran already"
            assert all(reported.get(before) is OutcomeKind.SUCCEEDED for before in STEPS[step])
            self.tokens.append((step, decision))

    @rule(seconds=st.sampled_from([1, 20, 60, 200]))
    def pass_time(self, seconds: int) -> None:
        self.world.clock.move(timedelta(seconds=seconds))

    @invariant()
    def no_step_runs_twice(self) -> None:
        ran = [run.step for run in self.runs]
        assert len(ran) == len(set(ran))

    @property
    def succeeded(self) -> set[str]:
        """Steps that succeeded at the gateway."""
        return {run.step for run in self.runs if run.kind is OutcomeKind.SUCCEEDED}


def planned(step: str) -> dict[str, Any]:
    """The step's arguments in the plan."""
    return {"repo_path": refer(REFERS[step], "/value") if step in REFERS else step}


def filled(step: str) -> dict[str, Any]:
    """The step's arguments as they are to be."""
    return {"repo_path": f"of {REFERS[step]}" if step in REFERS else step}


def outcome_of(run: Run, world: PlanWorld) -> Outcome:
    """How the run ended, as the ledger keeps it."""
    return Outcome(
        execution_id=run.redemption.execution_id,
        decision_id=run.redemption.decision_id,
        token_id=run.redemption.token_id,
        kind=run.kind,
        result_digest="",
        refusal="",
        start_time=run.redemption.start_time,
        end_time=world.clock.now(),
    )


TestPlans = Plans.TestCase
TestPlans.__doc__ = """No step is redeemed before its predecessors succeeded, none runs twice, and none that drifted is
granted (case 59, invariant 8)."""
TestPlans.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
