"""Decisions replay: what is on record is enough to find each verdict again, without the service."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.opa_binary import run_opa
from interlock.adapters.policy_bundle import PolicyBundle, build_bundle, open_signing_key
from interlock.core import record as records
from interlock.core.decision import Decision, PolicyAnswer, Verdict
from interlock.core.plan import PlanProposal
from interlock.core.plan_conclusion import combine, steps_of
from interlock.core.proposal import Proposal
from interlock.core.record import RecordType
from interlock.flows.decide import decide
from tests.contract.sidecars import options_for, running
from tests.deciders import a_decider
from tests.drafts import open_store_at
from tests.fakes import CountingIdentifiers, OneKeyPair, SettableClock
from tests.plans import a_plan, a_step
from tests.proposals import AGENT, a_proposal
from tests.waiting import PATIENCE_SECONDS

ROLES = [(), ("reader",), ("contributor",), ("operator",), ("reader", "unknown")]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("git_log", {"repo_path": "."}),
    ("git_log", {"repo_path": ".", "max_count": 1e2}),
    ("git_log", {"max_count": "many"}),
    ("git_commit", {"repo_path": ".", "message": "fix"}),
    ("git_push", {"repo_path": "."}),
]


@dataclass(frozen=True)
class Policy:
    bundle: PolicyBundle
    verification_key: Path


@pytest.fixture(scope="module")
def policy(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The policies that ship, built as the service builds them."""
    folder = tmp_path_factory.mktemp("policy")
    key = open_signing_key(folder)
    return Policy(
        bundle=build_bundle(opa, policies, folder / "bundle.tar.gz", key), verification_key=key.public
    )


async def test_every_verdict_is_found_again_from_its_record(
    opa: Path, policy: Policy, tmp_path: Path
) -> None:
    """OPA alone, given the recorded input and that revision, answers as on record (invariant 7)."""
    stated = await decided(opa, policy, tmp_path / "store.db", list(every_proposal()))
    assert {one["result"]["verdict"] for one in stated} == set(Verdict)
    for one in stated:
        assert one["bundles"] == {"interlock": {"revision": policy.bundle.revision}}
        assert replayed(opa, policy, one) == PolicyAnswer.model_validate(one["result"])


async def test_every_plans_verdict_is_found_again_from_its_records(
    opa: Path, policy: Policy, tmp_path: Path
) -> None:
    """OPA gives each step's answer again, and these give the plan's, as on record (invariant 7)."""
    plans: list[Proposal | PlanProposal] = [
        a_plan(
            *(a_step(f"s-{number}", tool=tool, arguments=arguments) for number, (tool, arguments) in calls),
            request_id=f"plan-{last}",
            caller=replace(AGENT, name=f"planner-{last}"),
        )
        for last in range(1, len(CALLS) + 1)
        if (calls := list(enumerate(CALLS))[:last])
    ]
    stated = await decided(opa, policy, tmp_path / "store.db", plans)
    wholes = [one for one in stated if steps_of(one)]
    assert len(wholes) == len(plans)
    assert {whole["result"]["verdict"] for whole in wholes} >= {Verdict.ALLOW, Verdict.DENY}
    by_id = {one["decision_id"]: one for one in stated}
    for whole in wholes:
        steps = {step["step"]: by_id[step["decision_id"]] for step in steps_of(whole)}
        answers = {name: replayed(opa, policy, step) for name, step in steps.items()}
        assert answers == {name: PolicyAnswer.model_validate(step["result"]) for name, step in steps.items()}
        assert combine(answers) == PolicyAnswer.model_validate(whole["result"])


def every_proposal() -> Sequence[Proposal]:
    callers = [replace(AGENT, name=f"agent-{number}", roles=roles) for number, roles in enumerate(ROLES)]
    return [
        a_proposal(f"request-{number}", tool, arguments, caller=caller)
        for caller in callers
        for number, (tool, arguments) in enumerate(CALLS)
    ]


async def decided(
    opa: Path, policy: Policy, path: Path, proposals: Sequence[Proposal | PlanProposal]
) -> list[dict[str, Any]]:
    """What is on record after the service decided all of these."""
    options = options_for(opa, policy.bundle.path, policy.verification_key)
    async with running(options, policy.bundle.revision) as parts, open_store_at(path) as store:
        log = store.log
        decider = a_decider(
            log=log,
            state=store.state,
            engine=parts.engine,
            signer=OneKeyPair(),
            clock=SettableClock(),
            identifiers=CountingIdentifiers(),
        )
        outcomes = await decide(proposals, decider, limit_seconds=PATIENCE_SECONDS)
        assert all(isinstance(outcome, Decision) for outcome in outcomes)
        found = await log.list_records(
            tenants=[AGENT.tenant], type=RecordType.DECISION, decision_id="", start=0, limit=1000
        )
    assert len(found) == sum(
        1 + len(each.steps) if isinstance(each, PlanProposal) else 1 for each in proposals
    )
    return [records.fields(record) for record in found]


def replayed(opa: Path, policy: Policy, stated: dict[str, Any]) -> PolicyAnswer:
    run = run_opa(
        opa,
        "eval",
        f"--bundle={policy.bundle.path}",
        "--stdin-input",
        "--strict-builtin-errors",
        "--format=raw",
        f"data.{stated['path'].replace('/', '.')}",
        given=json.dumps(stated["input"]).encode(),
    )
    assert run.succeeded, run.errors
    return PolicyAnswer.model_validate(json.loads(run.output))
