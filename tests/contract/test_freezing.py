"""Freezing, deciding and attending on each store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from interlock.core.decision import Decision
from interlock.core.errors import InterlockError
from interlock.core.freeze import Freeze, FreezeScope, FreezeTarget
from interlock.core.freezing import KEPT
from interlock.core.identity import Caller
from interlock.core.record import RecordType, fields
from interlock.core.tool_drifts import AT_MOST_EVERY
from interlock.flows import freeze as freezing
from interlock.flows.attend import Attending, attend
from interlock.flows.decide import decide
from interlock.flows.freeze import MOST_FREEZES, Freezing
from interlock.ports import ToolDrift
from tests.contract.stores import EVERY, STORED, AnyStore, Place
from tests.deciders import a_decider
from tests.fakes import CountingIdentifiers, OneKeyPair, ScriptedEngine, SettableClock
from tests.freezes import ALL, OPERATOR, OVERSEER, TARGETS, TENANT, THE_AGENT, THE_TOOL
from tests.proposals import AGENT, AUDITOR, CATALOG, GATEWAY, a_proposal, always, an_answer

ALLOW = an_answer("allow", obligations=[{"type": "timeout", "seconds": 30}])
DRIFT = ToolDrift(tool="git_log", pinned_digest="pinned", listed_digest="listed")


@dataclass(frozen=True, slots=True)
class Service:
    """The flows of a decision service on one store."""

    store: AnyStore
    clock: SettableClock = field(default_factory=SettableClock)
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(always(ALLOW)))
    identifiers: CountingIdentifiers = field(default_factory=CountingIdentifiers)
    keys: OneKeyPair = field(default_factory=OneKeyPair)

    @property
    def freezing(self) -> Freezing:
        return Freezing(state=self.store.state, log=self.store.log, clock=self.clock)

    async def freeze(self, target: FreezeTarget, caller: Caller = OVERSEER, comment: str = "why") -> Freeze:
        return await freezing.freeze(target, comment, caller, self.freezing)

    async def unfreeze(self, target: FreezeTarget, caller: Caller = OVERSEER) -> Freeze:
        return await freezing.unfreeze(target, "", caller, self.freezing)

    async def listed(self, caller: Caller = OVERSEER, tenant: str = AGENT.tenant) -> list[Freeze]:
        return await freezing.list_freezes(tenant, caller, self.freezing)

    async def attend(self, *drifted: ToolDrift, caller: Caller = GATEWAY) -> list[Freeze]:
        attending = Attending(state=self.store.state, log=self.store.log, clock=self.clock, catalog=CATALOG)
        return await attend(("timeout",), drifted, caller, attending)

    async def decide(self, request_id: str, **changes: Any) -> Decision:
        decider = a_decider(
            log=self.store.log,
            state=self.store.state,
            engine=self.engine,
            signer=self.keys,
            clock=self.clock,
            identifiers=self.identifiers,
        )
        [decision] = await decide([a_proposal(request_id, **changes)], decider, limit_seconds=30.0)
        assert isinstance(decision, Decision)
        return decision

    async def records(self, type: RecordType) -> list[dict[str, Any]]:
        found = await self.store.log.list_records(
            tenants=["", AGENT.tenant], type=type, decision_id="", start=0, limit=1_000
        )
        return [fields(record) for record in found]

    async def changes(self, type: RecordType) -> list[str]:
        return [f"{stated['change']} {stated['comment']}" for stated in await self.records(type)]


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "store.db", request)


@pytest.fixture
async def service(place: Place) -> AsyncIterator[Service]:
    async with place.open() as store:
        yield Service(store)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.scope)
async def test_what_is_frozen_is_a_fact_and_is_not_granted(service: Service, target: FreezeTarget) -> None:
    """The policy sees each freeze that covers the call, and an allow of it becomes a deny on record (invariant 4)."""
    frozen = await service.freeze(target, comment="it runs away")
    decision = await service.decide("request-1")
    told = service.engine.batches[-1][0]["facts"]["freezes"]
    assert told == [{"scope": target.scope, "log_index": frozen.log_index, "comment": "it runs away"}]
    assert (decision.verdict, codes(decision), decision.execution_token) == ("deny", ["freezes.active"], "")
    assert decision.log_index > frozen.log_index
    [stated] = await service.records(RecordType.DECISION)
    assert (stated["verdict"], stated["token"]) == ("deny", None)


async def test_a_freeze_that_comes_while_the_policy_is_asked_wins(service: Service) -> None:
    """Between what was measured and the record a freeze may begin; nothing is granted then (case 56, invariant 1)."""
    frozen: list[Freeze] = []
    evaluate = service.engine.evaluate

    async def freeze_first(*inputs: Any, **options: Any) -> Any:
        frozen.append(await service.freeze(THE_AGENT))
        return await evaluate(*inputs, **options)

    service.engine.evaluate = freeze_first  # type: ignore[method-assign]  # this moment and no other
    decision = await service.decide("request-1")
    assert service.engine.batches[-1][0]["facts"]["freezes"] == []
    assert (decision.verdict, codes(decision)) == ("deny", ["freezes.active"])
    assert decision.log_index > frozen[0].log_index


async def test_every_decision_is_before_the_freeze_or_denied(service: Service) -> None:
    """Of decisions that race a freeze, those with a token have a lower place in the log than it (case 12, case 56)."""
    proposals = [service.decide(f"request-{number}") for number in range(20)]
    frozen, decisions = await asyncio.gather(service.freeze(THE_TOOL), asyncio.gather(*proposals))
    for decision in decisions:
        assert (decision.log_index < frozen.log_index) == (decision.execution_token != "")


@pytest.mark.parametrize("target", [TENANT, THE_AGENT, THE_TOOL], ids=lambda target: target.scope)
async def test_others_are_not_frozen(service: Service, target: FreezeTarget) -> None:
    """A freeze neither denies nor is told to anybody whom it does not cover (case 54)."""
    await service.freeze(replace(target, tenant="globex"))
    await service.freeze(FreezeTarget(scope=FreezeScope.AGENT, tenant=AGENT.tenant, name="agent-2"))
    assert (await service.decide("request-1")).execution_token
    assert [each.name for each in await service.attend()] == ["agent-2"]
    assert [each.tenant for each in await service.attend(caller=replace(GATEWAY, tenant="globex"))] == [
        "globex"
    ]


async def test_a_freeze_stands_once(service: Service) -> None:
    """Freezing what is frozen gives the freeze that stands and no second record, also of many at once (case 56)."""
    first = await service.freeze(THE_AGENT)
    again = await asyncio.gather(*(service.freeze(THE_AGENT, comment=f"{number}") for number in range(5)))
    assert again == [first] * 5
    stood = await asyncio.gather(*(service.freeze(THE_TOOL) for _ in range(5)))
    assert len({each.log_index for each in stood}) == 1
    assert await service.changes(RecordType.FREEZE) == ["began why"] * 2
    assert await service.listed() == [first, stood[0]]


async def test_an_ended_freeze_denies_nothing_and_is_told_for_a_while(service: Service) -> None:
    """After its end new calls are allowed, while gateways still hear of it until no old token is good (case 12)."""
    frozen = await service.freeze(THE_AGENT)
    over = await service.unfreeze(THE_AGENT)
    assert over == replace(frozen, end_time=service.clock.now())
    assert (await service.decide("request-1")).execution_token
    assert (await service.listed(), await service.attend()) == ([], [over])
    service.clock.move(KEPT)
    assert await service.attend() == []
    anew = await service.freeze(THE_AGENT)
    assert anew.log_index > frozen.log_index
    assert await service.attend() == [anew]


async def test_only_what_is_frozen_can_be_let_go(service: Service) -> None:
    """Ending a freeze that is not there, or ended already, is an error; of many at once all get the one end."""
    await service.freeze(THE_AGENT)
    ends = await asyncio.gather(*(service.unfreeze(THE_AGENT) for _ in range(3)), return_exceptions=True)
    reasons = [each.reason for each in ends if isinstance(each, InterlockError)]
    assert len({each.log_index for each in ends if isinstance(each, Freeze)}) == 1
    assert set(reasons) <= {"FREEZE_NOT_FOUND"}
    assert await service.changes(RecordType.FREEZE) == ["began why", "ended "]
    for target in (THE_AGENT, THE_TOOL):
        with pytest.raises(InterlockError) as caught:
            await service.unfreeze(target)
        assert caught.value.reason == "FREEZE_NOT_FOUND"


async def test_a_record_says_who_froze_what(service: Service) -> None:
    """The record of a freeze belongs to the tenant that it is about, and names who froze it, and from where."""
    frozen = await service.freeze(THE_AGENT, comment="it runs away")
    await service.freeze(ALL)
    of_agent, of_all = await service.records(RecordType.FREEZE)
    assert (
        of_agent.items()
        >= {
            "log_index": frozen.log_index,
            "tenant": "acme",
            "change": "began",
            "comment": "it runs away",
            "scope": "agent",
            "frozen_tenant": "acme",
            "frozen_name": "agent-1",
            "requested_by": "operator/officer",
            "requested_in": "acme",
        }.items()
    )
    assert (of_all["tenant"], of_all["scope"]) == ("", "all")


@pytest.mark.parametrize("caller", [OPERATOR, AUDITOR], ids=lambda caller: caller.kind)
async def test_another_tenant_is_for_overseers(service: Service, caller: Caller) -> None:
    """Without its role no operator freezes, ends or lists what is not of the own tenant (case 54, invariant 6)."""
    elsewhere = replace(TENANT, tenant="globex")
    calls = [
        service.freeze(ALL, caller),
        service.unfreeze(elsewhere, caller),
        service.listed(caller, "globex"),
    ]
    for call in calls:
        with pytest.raises(InterlockError) as caught:
            await call
        assert caught.value.reason == "CALLER_NOT_PERMITTED"
    assert await service.records(RecordType.FREEZE) == []


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        (replace(ALL, tenant="acme"), "tenant"),
        (replace(ALL, name="x"), "name"),
        (replace(TENANT, tenant=""), "tenant"),
        (replace(TENANT, name="x"), "name"),
        (replace(THE_AGENT, name=""), "name"),
        (replace(THE_AGENT, name="Agent 1"), "name"),
        (replace(THE_TOOL, name=""), "name"),
        (replace(THE_TOOL, name="x" * 129), "name"),
        (replace(THE_TOOL, tenant="a/b"), "tenant"),
    ],
)
async def test_what_cannot_be_named_is_not_frozen(service: Service, target: FreezeTarget, wrong: str) -> None:
    """A target that can cover nothing, or not what was meant, is an error that names the field."""
    with pytest.raises(InterlockError) as caught:
        await service.freeze(target)
    assert [violation.field for violation in caught.value.violations] == [wrong]


@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_a_tenant_has_so_many_freezes_and_no_more(service: Service) -> None:
    """All of a tenant's freezes are looked at for each decision, so that there is a limit to them (case 57)."""
    for number in range(MOST_FREEZES):
        await service.freeze(replace(THE_TOOL, name=f"tool-{number}"))
    with pytest.raises(InterlockError) as caught:
        await service.freeze(replace(THE_TOOL, name="one-more"))
    assert caught.value.reason == "INVALID_FIELD"
    assert (await service.freeze(ALL)).lasts


async def test_a_tool_that_drifts_is_on_record_once(service: Service) -> None:
    """What a gateway finds goes on record when it is first told of, and when it is over (case 60)."""
    for _ in range(3):
        await service.attend(DRIFT)
    assert await service.changes(RecordType.TOOL_DRIFT) == ["drifted git_log"]
    service.clock.move(AT_MOST_EVERY)
    for _ in range(3):
        await service.attend()
    await asyncio.gather(*(service.attend(DRIFT) for _ in range(3)))
    assert await service.changes(RecordType.TOOL_DRIFT) == [
        "drifted git_log",
        "cleared git_log",
        "drifted git_log",
    ]
    [first, *_] = await service.records(RecordType.TOOL_DRIFT)
    assert (
        first.items()
        >= {
            "tenant": "acme",
            "drifted_tool": "git_log",
            "pinned_digest": "pinned",
            "listed_digest": "listed",
            "requested_by": "gateway/gateway-1",
        }.items()
    )


async def test_a_gateway_tells_only_of_its_own_tools(service: Service) -> None:
    """Of a tool that is not behind it, or that nobody knows, nothing goes on record (invariant 6)."""
    await service.attend(replace(DRIFT, tool="unknown"))
    await service.attend(DRIFT, caller=replace(GATEWAY, name="gateway-2"))
    assert await service.records(RecordType.TOOL_DRIFT) == []


@pytest.mark.parametrize("digest", ["a" * 65, "no digest", "ä"])
async def test_what_is_no_digest_is_refused(service: Service, digest: str) -> None:
    """What goes on record of a tool is bounded, and is what it says it is (case 57)."""
    with pytest.raises(InterlockError) as caught:
        await service.attend(replace(DRIFT, listed_digest=digest))
    assert caught.value.reason == "INVALID_FIELD"


@pytest.mark.parametrize("place", STORED, indirect=True)
async def test_another_service_on_the_store_knows_of_it(place: Place) -> None:
    """What was frozen is frozen for a service that starts later, or beside it (case 15)."""
    async with place.open() as store:
        frozen = await Service(store).freeze(THE_AGENT)
        if place.kind == "postgres":
            async with place.open() as beside:
                assert await Service(beside).attend() == [frozen]
    async with place.open() as store:
        later = Service(store)
        assert await later.attend() == [frozen]
        assert (await later.decide("request-1")).verdict == "deny"
