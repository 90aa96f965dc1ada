"""Approvals at length: agents, approvers, policies, clocks and crashes in any order, on one log."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.core import record as records
from interlock.core import token
from interlock.core.approval import TRANSITIONS, Approval, ApprovalState, Event, Resolution
from interlock.core.approval_view import Resolved
from interlock.core.canonical import canonicalize
from interlock.core.decision import Decision, Evaluated, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, Record, RecordType
from interlock.core.token import Claims, expire_time
from interlock.flows.change_approval import look
from interlock.flows.withdraw import withdraw_decision
from interlock.ports import Redemption
from tests.approvals import ALICE, BOB, answer
from tests.fakes import MemoryDecisionLog, MemoryLedger
from tests.proposals import AGENT, a_proposal, an_answer
from tests.unit.flows.approval_world import World, escalates_until_approved

Result = TypeVar("Result")

REQUESTS = st.integers(min_value=0, max_value=3)
PEOPLE = st.sampled_from([ALICE, BOB])
CLOSED = {
    ErrorReason.APPROVAL_CLOSED,
    ErrorReason.APPROVAL_CHANGED,
    ErrorReason.INTERNAL,
    ErrorReason.DECISION_NOT_FOUND,
}
AWAY = ErrorReason.DECISION_LOG_UNAVAILABLE


class CrashingLog(MemoryDecisionLog):
    """A log whose next append fails: before it is stored, or after, when nobody hears of it."""

    crash = ""

    async def append(self, drafts: Sequence[Draft]) -> list[Record]:
        crash, self.crash = self.crash, ""
        self.full = crash == "before"
        try:
            stored = await super().append(drafts)
        finally:
            self.full = False
        if crash == "after":
            raise InterlockError(reason=AWAY, message="killed")
        return stored


class Approvals(RuleBasedStateMachine):
    """What an agent was given is checked as it comes; what the log says, after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ledger = MemoryLedger()
        self.decisions: dict[int, Decision] = {}
        self.tokens: dict[str, Claims] = {}
        self.runs: Counter[str] = Counter()
        self.mode = "asks"
        self.people = [ALICE, BOB]
        self.allowed: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        self.runner.close()

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(coroutine)

    def attempt(self, coroutine: Coroutine[Any, Any, Result], *expected: ErrorReason) -> Result | None:
        """What comes of it; None for an error that is expected here."""
        try:
            return self.wait(coroutine)
        except InterlockError as error:
            if error.reason not in expected:
                raise
            return None

    @initialize()
    def begin(self) -> None:
        self.log = CrashingLog()
        self.world = World(policy=self.policy, log=self.log)

    def policy(self, document: PolicyInput) -> Evaluated:
        """What it allows is noted: with the revision that allowed it, and the digest."""
        revision = self.world.engine.revision
        match self.mode:
            case "asks":
                said = escalates_until_approved(document)
            case "allows":
                said = an_answer("allow")
            case _:
                said = an_answer("deny")
        if said.answer.allows:
            self.allowed.add((revision, document["arguments_digest"]))
        return Evaluated(answer=said.answer, revision=revision)

    @rule(request=REQUESTS)
    def propose(self, request: int) -> None:
        """A request, new or again: two of the four are of the same call."""
        decision = self.attempt(self.world.decide(self.proposal(request)), AWAY)
        if decision is None:
            return
        before = self.decisions.get(request)
        if before is not None and before.verdict is not Verdict.ESCALATE:
            assert decision == before, "the same request gave another decision"
        self.decisions[request] = decision
        if decision.execution_token:
            self.check_token(decision)

    def proposal(self, request: int) -> Proposal:
        return a_proposal(f"r-{request}", arguments={"repo_path": f"/srv/{request % 2}"})

    def check_token(self, decision: Decision) -> None:
        """It is of an allow of the policy, and of bytes that a person approved wherever one was asked."""
        claims = token.authenticate(decision.execution_token, self.world.keys)
        assert decision.verdict is Verdict.ALLOW
        assert (claims.policy_rev, claims.args_digest) in self.allowed
        self.tokens[claims.jti] = claims

    @rule(request=REQUESTS, person=PEOPLE, stale=st.booleans(), resolution=st.sampled_from(Resolution))
    def resolve(self, request: int, person: Caller, stale: bool, resolution: Resolution) -> None:
        """Somebody answers what the request waits for, or waited for, in the newest version or an old one."""
        self.answer(request, person, resolution, version=1 if stale else None)

    @rule(request=REQUESTS, person=PEOPLE, path=st.sampled_from(["/srv/2", "/srv/3"]))
    def edit(self, request: int, person: Caller, path: str) -> None:
        """Somebody approves something else."""
        self.answer(request, person, Resolution.APPROVE, edited=canonicalize({"repo_path": path}))

    @rule(request=REQUESTS, person=PEOPLE)
    def propose_and_approve(self, request: int, person: Caller) -> None:
        """The way that it mostly goes, up to the token."""
        self.propose(request)
        self.answer(request, person, Resolution.APPROVE)

    @rule(request=REQUESTS, resolutions=st.lists(st.sampled_from(Resolution), min_size=2, max_size=3))
    def race(self, request: int, resolutions: list[Resolution]) -> None:
        """Everybody answers at once, and the agent asks again meanwhile (case 49)."""
        decision = self.decisions.get(request)
        if decision is None or not decision.approval_id:
            return
        answers = [
            self.given(decision, self.people[place % 2], resolution, 1)
            for place, resolution in enumerate(resolutions)
        ]
        self.attempt(self.at_once([*answers, self.world.decide(self.proposal(request))]))
        self.propose(request)

    async def at_once(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> None:
        for each in await asyncio.gather(*coroutines, return_exceptions=True):
            if isinstance(each, Exception):
                assert isinstance(each, InterlockError)
                assert each.reason in CLOSED | {AWAY}

    def answer(
        self,
        request: int,
        person: Caller,
        resolution: Resolution,
        version: int | None = None,
        edited: bytes = b"",
    ) -> None:
        decision = self.decisions.get(request)
        if decision is None or not decision.approval_id:
            return
        known = next(each for each in self.people if each.name == person.name)
        self.attempt(self.given(decision, known, resolution, version, edited), AWAY, *CLOSED)

    def given(
        self,
        decision: Decision,
        person: Caller,
        resolution: Resolution,
        version: int | None,
        edited: bytes = b"",
    ) -> Coroutine[Any, Any, Resolved]:
        return answer(
            self.world.parts,
            decision.approval_id,
            resolution,
            person,
            version=version,
            edited_arguments_json=edited,
        )

    @rule(request=REQUESTS)
    def withdraw(self, request: int) -> None:
        """The agent takes its proposal back."""
        decision, following = self.decisions.get(request), self.world.parts.following
        if decision is None:
            return
        taken = withdraw_decision(decision.decision_id, AGENT, following.changing, following.reader)
        self.attempt(taken, AWAY, *CLOSED)

    @rule(person=PEOPLE)
    def revoke(self, person: Caller) -> None:
        """Somebody's credential is revoked, and they get another: what they said with the old one counts no more."""
        place = [each.name for each in self.people].index(person.name)
        old = self.people[place]
        self.world.credentials.revoke(old.credential_id)
        self.people[place] = replace(old, credential_id=f"{int(old.credential_id, 16) + 1:016x}")
        self.world.credentials.add(self.people[place])

    @rule(mode=st.sampled_from(["asks", "asks", "allows", "denies"]))
    def change_policy(self, mode: str) -> None:
        """Another policy revision is active."""
        self.mode = mode
        number = int(self.world.engine.revision.rpartition("-")[2])
        self.world.engine.revision = f"revision-{number + 1}"

    @rule(minutes=st.sampled_from([1, 16, 61]))
    def pass_time(self, minutes: int) -> None:
        """It gets later."""
        self.world.clock.move(timedelta(minutes=minutes))

    @rule(when=st.sampled_from(["before", "after"]))
    def crash(self, when: str) -> None:
        """The next append is lost, or nobody hears that it was stored; each step works on a new service anyway."""
        self.log.crash = when

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def redeem(self, data: st.DataObject) -> None:
        """A token is presented, also once more."""
        claims = self.tokens[data.draw(st.sampled_from(sorted(self.tokens)))]
        if self.world.clock.now() >= expire_time(claims):
            return
        first = self.wait(
            self.ledger.redeem(
                Redemption(
                    token_id=claims.jti,
                    execution_id=f"execution-{claims.jti}-{self.runs[claims.jti]}",
                    decision_id=claims.decision_id,
                    tool=claims.tool,
                    expire_time=expire_time(claims),
                    start_time=self.world.clock.now(),
                )
            )
        )
        self.runs[claims.jti] += first is None

    @invariant()
    def nothing_runs_twice(self) -> None:
        assert all(count <= 1 for count in self.runs.values())

    @invariant()
    def tokens_are_of_what_people_approved(self) -> None:
        """A decision that used an approval is of the very bytes that were approved last, and not denied since."""
        for record in self.of_type(RecordType.DECISION):
            stated = records.fields(record)
            if stated["verdict"] != "allow" or "approval_id" not in (stated["token"] or {}):
                continue
            approval_id = stated["token"]["approval_id"]
            told = [
                records.fields(each)
                for each in self.log.records[: record.log_index]
                if each.type is RecordType.APPROVAL and records.fields(each)["approval_id"] == approval_id
            ]
            assert told[-1]["change"] == "approve"
            assert told[-1]["binding"]["arguments_digest"] == stated["input"]["arguments_digest"]
            assert told[-1]["binding"]["policy_revision"] == stated["bundles"]["interlock"]["revision"]
            assert told[-1]["requested_by"] in ("approver/alice", "approver/bob")

    @invariant()
    def an_approval_grants_once(self) -> None:
        granted = Counter(
            records.fields(each)["token"]["approval_id"]
            for each in self.of_type(RecordType.DECISION)
            if "approval_id" in (records.fields(each)["token"] or {})
        )
        assert all(count == 1 for count in granted.values())

    @invariant()
    def the_records_tell_every_step(self) -> None:
        """Each approval is what its records make of it: opened with a decision, changed by the table, one by one."""
        for opened in self.of_type(RecordType.DECISION):
            stated = records.fields(opened)
            if "approval" not in stated or stated["approval"]["joined"]:
                continue
            approval = self.wait(look(opened.tenant, stated["approval_id"], self.log.state))
            assert approval is not None
            self.check_steps(approval)

    def check_steps(self, approval: Approval) -> None:
        state, version = ApprovalState.PENDING, 1
        for each in self.of_type(RecordType.APPROVAL):
            stated = records.fields(each)
            if stated["approval_id"] != approval.approval_id:
                continue
            state = TRANSITIONS[state, Event(stated["change"])]
            version += 1
            assert (stated["state"], stated["approval_version"]) == (state, version)
        used = bool(approval.used_by)
        assert (approval.state, approval.version) == (state, version + used)
        if used:
            [record] = self.wait(self.log.decision_records([approval.used_by]))
            assert record is not None
            assert records.fields(record)["verdict"] == "allow"

    def of_type(self, type: RecordType) -> list[Record]:
        """Records of this type, oldest first."""
        return [record for record in getattr(self, "log", MemoryDecisionLog()).records if record.type is type]


TestApprovals = Approvals.TestCase
TestApprovals.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
