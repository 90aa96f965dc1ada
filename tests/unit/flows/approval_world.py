"""A decision service on fakes, with people to ask."""

from collections.abc import Callable
from dataclasses import dataclass, field

from interlock.core import record as records
from interlock.core.announcing import Hearer
from interlock.core.decision import Decision, Evaluated
from interlock.core.errors import InterlockError
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import RecordType
from interlock.flows.approving import Approving
from interlock.flows.decide import Decider, decide
from tests.approvals import ALICE, BOB, LIMIT_SECONDS, approving, known
from tests.deciders import a_decider
from tests.fakes import (
    CountingIdentifiers,
    MemoryCredentials,
    MemoryDecisionLog,
    OneKeyPair,
    ScriptedEngine,
    SettableClock,
)
from tests.proposals import an_answer


def escalates_until_approved(document: PolicyInput) -> Evaluated:
    """As the stock policy: what people have approved is allowed, anything else that became of it denied."""
    match document["approval"]:
        case None:
            return an_answer("escalate")
        case {"state": "approved"}:
            return an_answer("allow")
        case _:
            return an_answer("deny")


@dataclass
class World:
    """A decision service with people to ask."""

    policy: Callable[[PolicyInput], Evaluated | InterlockError] = escalates_until_approved
    log: MemoryDecisionLog = field(default_factory=MemoryDecisionLog)
    clock: SettableClock = field(default_factory=SettableClock)
    credentials: MemoryCredentials = field(default_factory=lambda: known(ALICE, BOB))
    keys: OneKeyPair = field(default_factory=OneKeyPair)
    identifiers: CountingIdentifiers = field(default_factory=CountingIdentifiers)
    hearers: tuple[Hearer, ...] = ()

    def __post_init__(self) -> None:
        self.engine = ScriptedEngine(self._answer)

    @property
    def decider(self) -> Decider:
        """A decision service on what is kept: a new one each time, as after a restart."""
        return a_decider(
            log=self.log,
            state=self.log.state,
            engine=self.engine,
            signer=self.keys,
            clock=self.clock,
            identifiers=self.identifiers,
            credentials=self.credentials,
            hearers=self.hearers,
        )

    def _answer(self, document: PolicyInput) -> Evaluated | InterlockError:
        return self.policy(document)

    @property
    def parts(self) -> Approving:
        """What approvers' flows need."""
        return approving(self.decider, self.log.state)

    async def decide(self, proposal: Proposal) -> Decision:
        """The decision on one proposal."""
        [decision] = await decide([proposal], self.decider, limit_seconds=LIMIT_SECONDS)
        if isinstance(decision, InterlockError):
            raise decision
        return decision

    def changes(self) -> list[str]:
        """What happened to approvals, as the log has it."""
        return [
            records.fields(each)["change"] for each in self.log.records if each.type is RecordType.APPROVAL
        ]
