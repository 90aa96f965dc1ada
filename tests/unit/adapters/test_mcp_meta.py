"""What a tool says in `_meta`: taken where it is well-formed, else passed over whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.mcp_meta import MEMORY_WRITES, USAGE, Told, read
from interlock.core.outcome import MemoryWrite, Usage

NOTHING = Told(usage=None, memory_writes=(), ignored=())

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_what_a_tool_says_is_read() -> None:
    """Cost, model tokens and memory writes come as the tool said them; a digest may be missing."""
    meta = {
        USAGE: {"cost": 3, "model_tokens": 0},
        MEMORY_WRITES: [{"key": "plan", "version": 4, "digest": "d"}, {"key": "é", "version": 2**53 - 1}],
        "another": {"key": 1},
    }
    assert read(meta) == Told(
        usage=Usage(cost=3, model_tokens=0),
        memory_writes=(
            MemoryWrite(key="plan", version=4, digest="d"),
            MemoryWrite(key="é", version=2**53 - 1, digest=""),
        ),
        ignored=(),
    )


@pytest.mark.parametrize("meta", [None, {}, [], "interlock.usage", {"other": 1}])
def test_nothing_said_is_nothing_known(meta: Any) -> None:
    """Without our keys there is nothing to read, and nothing to warn of."""
    assert read(meta) == NOTHING


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {"cost": "3"},
        {"cost": 3.0},
        {"cost": True},
        {"cost": -1},
        {"cost": 2**53},
        {"cost": 3, "compute_milliseconds": 1},
        {"tokens": 3},
    ],
)
def test_a_malformed_usage_is_ignored(usage: Any) -> None:
    """A wrong type, a number out of bounds or an unknown key spoils the usage, and nothing else."""
    writes = [{"key": "plan", "version": 4}]
    told = read({USAGE: usage, MEMORY_WRITES: writes})
    assert (told.usage, told.ignored) == (None, (USAGE,))
    assert told.memory_writes == (MemoryWrite(key="plan", version=4, digest=""),)


@pytest.mark.parametrize(
    "writes",
    [
        None,
        {},
        "plan",
        [{"key": "plan"}],
        [{"key": "", "version": 1}],
        [{"key": "k" * 257, "version": 1}],
        [{"key": "nul \0", "version": 1}],
        [{"key": "plan", "version": -1}],
        [{"key": "plan", "version": 2**53}],
        [{"key": "plan", "version": 1, "digest": "d" * 129}],
        [{"key": "plan", "version": 1, "value": "x"}],
        [{"key": "plan", "version": 1}] * 257,
        [{"key": "plan", "version": 1}, 7],
    ],
)
def test_malformed_memory_writes_are_ignored(writes: Any) -> None:
    """One that is out of bounds spoils all memory writes, and nothing else."""
    told = read({USAGE: {"cost": 1}, MEMORY_WRITES: writes})
    assert (told.memory_writes, told.ignored) == ((), (MEMORY_WRITES,))
    assert told.usage == Usage(cost=1)


@given(st.dictionaries(st.sampled_from([USAGE, MEMORY_WRITES]), anything) | anything)
def test_nothing_that_a_tool_says_breaks_it(meta: Any) -> None:
    """Whatever JSON is there, it is read or ignored, never raised of."""
    told = read(meta)
    assert set(told.ignored) <= {USAGE, MEMORY_WRITES}
