"""What a gateway said that it can do decides what may be allowed there."""

from datetime import datetime, timedelta

import pytest
from pydantic import JsonValue

from interlock.core.cells import Cells
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.gateway_abilities import (
    KEPT,
    MAX_TYPES,
    AbilitiesCell,
    AbilitiesCondition,
    NoteAbilities,
    abilities_key,
    check_abilities,
)
from interlock.core.obligation_kinds import ABILITIES
from tests.fakes import NOON, MemorySessionState

KEY = abilities_key("acme", "gateway-1")


def note(*types: str, at: datetime = NOON, gateway: str = "gateway-1", tenant: str = "acme") -> NoteAbilities:
    return NoteAbilities(tenant=tenant, gateway=gateway, types=types, at=at)


def missing(state: MemorySessionState, *demanded: str) -> list[str]:
    """The types that the condition says are missing at gateway-1 of acme."""
    condition = AbilitiesCondition(tenant="acme", gateway="gateway-1", demanded=frozenset(demanded))
    lacking = condition.lacking(state.hold(condition.keys), NOON)
    assert all(shortfall.code == "obligations.unsupported" for shortfall in lacking)
    assert all(shortfall.metadata["gateway"] == "gateway-1" for shortfall in lacking)
    return [str(name) for shortfall in lacking for name in _names(shortfall.metadata["missing"])]


def _names(told: JsonValue) -> list[JsonValue]:
    assert isinstance(told, list)
    return told


async def test_a_gateway_never_heard_of_meets_a_timeout_only() -> None:
    """That is what gateways of before could do (case 64)."""
    state = MemorySessionState()
    assert missing(state) == []
    assert missing(state, "timeout") == []
    assert missing(state, "timeout", "sandbox", "dry_run") == ["dry_run", "sandbox"]


async def test_what_was_said_last_counts() -> None:
    """A gateway meets what it said, and no longer what it does not say any more."""
    state = MemorySessionState()
    await state.apply([note(*ABILITIES)], durable=False)
    assert missing(state, *ABILITIES) == []
    assert missing(state, "levitate") == ["levitate"]
    await state.apply([note("timeout")], durable=False)
    assert missing(state, *ABILITIES) == sorted(set(ABILITIES) - {"timeout"})


@pytest.mark.parametrize(
    "other",
    [note(*ABILITIES, gateway="gateway-2"), note(*ABILITIES, tenant="other")],
    ids=["gateway", "tenant"],
)
async def test_what_another_says_counts_for_itself(other: NoteAbilities) -> None:
    """No gateway speaks for another, and no tenant for another (case 54)."""
    state = MemorySessionState()
    await state.apply([other], durable=False)
    assert missing(state, "dry_run") == ["dry_run"]


def test_a_call_under_a_timeout_reads_no_cell() -> None:
    """What every gateway meets costs nothing to check."""
    condition = AbilitiesCondition(tenant="acme", gateway="gateway-1", demanded=frozenset({"timeout"}))
    assert list(condition.keys) == []
    assert condition.lacking(Cells({}), NOON) == ()


def test_attending_writes_only_what_changed() -> None:
    """Said again it is not written again, but once a day, for the cell must not be forgotten."""
    cells = Cells({KEY: b""})
    note("timeout", "dry_run", "dry_run").run(cells)
    [(data, expire_time)] = cells.changed().values()
    assert expire_time == NOON + KEPT
    assert AbilitiesCell.decode(data).types == ["dry_run", "timeout"]
    again = Cells({KEY: data})
    note("dry_run", "timeout", at=NOON + timedelta(hours=1)).run(again)
    assert again.changed() == {}
    note("dry_run", "timeout", at=NOON + timedelta(days=1)).run(again)
    assert list(again.changed()) == [KEY]


def test_a_cell_of_a_newer_release_is_not_misread() -> None:
    """What is not understood raises, and grants nothing."""
    with pytest.raises(ValueError, match="version 2"):
        AbilitiesCell.decode(b"[2,0,[]]")


@pytest.mark.parametrize(
    "types",
    [["Timeout"], ["time out"], [""], ["x" * 65], ["a\n"], ["timeout"] * (MAX_TYPES + 1)],
    ids=["case", "space", "empty", "long", "line", "many"],
)
def test_names_that_are_none_are_refused(types: list[str]) -> None:
    """A gateway cannot have anything kept that is no type's name."""
    with pytest.raises(InterlockError) as caught:
        check_abilities(types)
    assert caught.value.reason == ErrorReason.INVALID_FIELD
    check_abilities(ABILITIES)
