"""Listing tools, on a policy of the test's own."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from interlock.core.catalog import CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_input import PolicyInput
from interlock.flows.list_tools import AT_ONCE, Offering, list_tools
from tests.fakes import ScriptedEngine, SettableClock
from tests.proposals import AGENT, CATALOG, MEASURING, always, an_answer

DENY = always(an_answer("deny"))


def offering(engine: ScriptedEngine, **changes: object) -> Offering:
    made = Offering(catalog=CATALOG, engine=engine, clock=SettableClock(), measuring=MEASURING)
    return replace(made, **changes)  # type: ignore[arg-type]


def reads(document: PolicyInput) -> bool:
    return document["tool"]["effects"] == ["read"]


async def test_what_the_policy_shows_is_listed() -> None:
    """A tool is listed where the policy shows it to the caller, and only there."""
    assert await listed(ScriptedEngine(DENY, shows=reads)) == ("git_log",)
    assert await listed(ScriptedEngine(DENY, shows=lambda document: True)) == ("git_commit", "git_log")
    assert await listed(ScriptedEngine(DENY)) == ()


async def listed(engine: ScriptedEngine, gateway: str = "") -> tuple[str, ...]:
    return await list_tools(gateway, AGENT, offering(engine), limit_seconds=1.0)


async def test_only_tools_of_the_named_gateway_are_asked_about() -> None:
    """A gateway that has no tools gets none, and one that has them gets its own."""
    engine = ScriptedEngine(DENY, shows=lambda document: True)
    assert await listed(engine, "elsewhere") == ()
    assert engine.batches == []
    assert await listed(engine, "gateway-1") == ("git_commit", "git_log")


async def test_the_policy_gets_total_inputs_with_the_callers_identity() -> None:
    """Rules see a whole input of a first call: no field is absent, and roles come from the credential (invariant 6)."""
    engine = ScriptedEngine(DENY)
    await listed(engine)
    [documents] = engine.batches
    for document in documents:
        TypeAdapter(PolicyInput).validate_python(document)
    assert [document["tool"]["name"] for document in documents] == ["git_commit", "git_log"]
    assert {tuple(document["subject"]["roles"]) for document in documents} == {AGENT.roles}
    assert {document["facts"]["loops"]["session"]["steps"] for document in documents} == {1}


async def test_a_policy_that_gives_no_answer_lists_nothing() -> None:
    """Where the policy fails for one tool, there is an error and no list (invariant 1)."""
    broken = InterlockError(reason=ErrorReason.POLICY_CONFLICT, message="two answers")
    engine = ScriptedEngine(
        DENY, shows=lambda document: broken if document["tool"]["name"] == "git_log" else True
    )
    with pytest.raises(InterlockError):
        await listed(engine)


async def test_a_large_catalog_is_asked_about_in_parts() -> None:
    """However many tools there are, each is asked about once and all are listed."""
    entries = tuple(
        ToolEntry(name=f"tool_{number:04}", arguments={"type": "object"}, effects=(Effect.READ,))
        for number in range(AT_ONCE + 1)
    )
    catalog = build_catalog([CatalogFile(gateway="gateway-1", server="git", tools=entries)])
    engine = ScriptedEngine(DENY, shows=lambda document: True)
    shown = await list_tools("", AGENT, offering(engine, catalog=catalog), limit_seconds=1.0)
    assert shown == tuple(entry.name for entry in entries)
    assert [len(batch) for batch in engine.batches] == [AT_ONCE, 1]
