"""Freezes as the store keeps them, and what they stop."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.freeze import Freeze, FreezeScope, FreezeTarget
from interlock.core.freezing import KEPT, Frozen
from tests.fakes import NOON
from tests.freezes import ALL, MOMENTS, TARGETS, TENANT, THE_AGENT, THE_TOOL, a_freeze, claims_of, ended

FREEZES = st.builds(
    Freeze,
    log_index=st.integers(0, 2**53 - 1),
    scope=st.sampled_from(FreezeScope),
    tenant=st.text(max_size=64),
    name=st.text(max_size=128),
    comment=st.text(max_size=1_024),
    start_time=MOMENTS,
    end_time=st.none() | MOMENTS,
)


@given(freezes=st.lists(FREEZES, max_size=8), changes=st.integers(0, 2**53 - 1))
def test_a_cell_keeps_what_is_frozen(freezes: list[Freeze], changes: int) -> None:
    """What was encoded is decoded the same, comment and times too."""
    again = Frozen.decode(Frozen(changes, freezes).encode())
    assert (again.changes, again.freezes) == (changes, freezes)


def test_a_cell_of_a_newer_version_is_not_read() -> None:
    """What a newer release wrote is no sign that nothing is frozen (invariant 1)."""
    with pytest.raises(ValueError, match="version 2"):
        Frozen.decode(b"[2,0,[]]")


def test_the_last_freeze_of_a_target_stands_for_all_of_them() -> None:
    """One freeze is kept for each target, and the last one stops all that an earlier one stopped."""
    frozen = Frozen()
    for index, target in enumerate((THE_AGENT, THE_TOOL, THE_AGENT)):
        frozen.put(a_freeze(target, log_index=index), NOON)
    assert [(each.target, each.log_index) for each in frozen.freezes] == [(THE_TOOL, 1), (THE_AGENT, 2)]
    assert frozen.changes == 3
    assert frozen.of(THE_AGENT) == a_freeze(THE_AGENT, log_index=2)
    assert frozen.of(TENANT) is None


def test_an_ended_freeze_is_told_of_until_no_token_of_before_is_good() -> None:
    """Gateways hear of a freeze that ended for five minutes more, and of one that lasts for ever (case 12)."""
    over = ended(a_freeze(THE_TOOL))
    assert over.end_time is not None
    frozen = Frozen(0, [a_freeze(THE_AGENT), over])
    assert frozen.told(over.end_time + KEPT - timedelta(microseconds=1)) == frozen.freezes
    assert frozen.told(over.end_time + KEPT) == [a_freeze(THE_AGENT)]


def test_what_is_no_longer_told_is_forgotten_at_the_next_change() -> None:
    """The cell does not grow with freezes of long ago."""
    over = ended(a_freeze(THE_TOOL))
    frozen = Frozen(0, [over])
    frozen.put(a_freeze(THE_AGENT), NOON + timedelta(days=1))
    assert frozen.freezes == [a_freeze(THE_AGENT)]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.scope)
def test_a_freeze_stops_tokens_of_before_it(target: FreezeTarget) -> None:
    """A token of a lower place in the log is stopped, also after the freeze; a later one is not (case 12)."""
    for freeze in (a_freeze(target, log_index=50), ended(a_freeze(target, log_index=50))):
        assert freeze.stops(claims_of(49))
        assert not freeze.stops(claims_of(51))


@pytest.mark.parametrize(
    "target",
    [
        FreezeTarget(scope=FreezeScope.TENANT, tenant="globex"),
        FreezeTarget(scope=FreezeScope.AGENT, tenant="acme", name="agent-2"),
        FreezeTarget(scope=FreezeScope.AGENT, tenant="globex", name="agent-1"),
        FreezeTarget(scope=FreezeScope.TOOL, tenant="acme", name="git_commit"),
        FreezeTarget(scope=FreezeScope.TOOL, tenant="globex", name="git_log"),
    ],
    ids=lambda target: f"{target.scope}-{target.tenant}-{target.name}",
)
def test_a_freeze_stops_nothing_else(target: FreezeTarget) -> None:
    """Another tenant's, agent's or tool's freeze stops no token (case 54)."""
    assert not a_freeze(target).stops(claims_of(1))
    assert a_freeze(ALL).stops(claims_of(1))
