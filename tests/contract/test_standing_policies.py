"""Standing approvals under the policies that ship, on real OPA: what they let through, and what they do not."""

from dataclasses import dataclass, field, replace

import pytest

from interlock.adapters.clock import RandomIdentifiers
from interlock.core.approval import Resolution
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.proposal import Proposal
from interlock.flows.approving import Approving
from interlock.flows.decide import Decider, decide
from interlock.flows.standing import list_standing
from tests.approvals import ALICE, BOB, answer, approving, known
from tests.contract.sidecars import Running
from tests.deciders import a_decider
from tests.fakes import MemoryDecisionLog, OneKeyPair, SettableClock
from tests.proposals import a_proposal
from tests.standing import EVERY_ONE, IN_DOCS, terms
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENIOR = replace(ALICE, roles=("senior-approver",))


@dataclass
class Service:
    """A decision service with the policies that ship."""

    running: Running
    log: MemoryDecisionLog = field(default_factory=MemoryDecisionLog)
    clock: SettableClock = field(default_factory=SettableClock)
    keys: OneKeyPair = field(default_factory=OneKeyPair)

    @property
    def decider(self) -> Decider:
        return a_decider(
            log=self.log,
            state=self.log.state,
            engine=self.running.engine,
            signer=self.keys,
            clock=self.clock,
            identifiers=RandomIdentifiers(),
            credentials=known(SENIOR, BOB),
        )

    @property
    def parts(self) -> Approving:
        return approving(self.decider, self.log.state)

    async def decide(self, proposal: Proposal) -> Decision:
        [decision] = await decide([proposal], self.decider, limit_seconds=PATIENCE_SECONDS)
        assert isinstance(decision, Decision), decision
        return decision

    def committing(self, request_id: str, repo_path: str, message: str = "fix") -> Proposal:
        raw = a_proposal(request_id, "git_commit", arguments={"repo_path": repo_path, "message": message}).raw
        assert raw is not None
        made = self.decider.following.normalize(raw)
        assert isinstance(made, Proposal)
        return made


async def test_the_shipped_policies_weigh_what_people_approved_before(shipped: Running) -> None:
    """Case 51: a commit that needs a person passes within a standing approval, so often and no wider."""
    service = Service(shipped)
    first = await service.decide(service.committing("r-1", "docs/api"))
    assert first.verdict is Verdict.ESCALATE
    seen = service.committing("r-1", "docs/api").disclosed_arguments["message"]
    asked = terms(IN_DOCS | {"message": {"const": seen}}, count=1)
    with pytest.raises(InterlockError) as refused:
        await answer(service.parts, first.approval_id, Resolution.APPROVE, BOB, standing=asked)
    assert refused.value.reason is ErrorReason.APPROVER_NOT_PERMITTED
    resolved = await answer(service.parts, first.approval_id, Resolution.APPROVE, SENIOR, standing=asked)
    assert resolved.standing is not None
    assert set(resolved.standing.codes) == {reason.code for reason in first.reasons}

    outside = await service.decide(service.committing("r-2", "source"))
    assert outside.verdict is Verdict.ESCALATE
    other = await service.decide(service.committing("r-3", "docs/api", "another message"))
    assert other.verdict is Verdict.ESCALATE

    passed = await service.decide(service.committing("r-4", "docs/site"))
    assert (passed.verdict, bool(passed.execution_token)) == (Verdict.ALLOW, True), passed.reasons
    assert "approvals.standing" in {reason.code for reason in passed.reasons}
    assert (await list_standing(EVERY_ONE, BOB, service.parts))[0] == []
    again = await service.decide(service.committing("r-5", "docs/help"))
    assert again.verdict is Verdict.ESCALATE
