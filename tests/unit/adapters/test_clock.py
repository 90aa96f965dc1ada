"""Identifiers: names that nobody can guess, and that begin with their time."""

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.clock import RANDOM_BYTES, RandomIdentifiers, time_ordered_uuid

TIMES = st.integers(0, 2**48 - 1)
CHANCES = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
RANDOM_BITS = 8 * RANDOM_BYTES


def test_the_example_of_the_standard() -> None:
    """The value of RFC 9562, appendix A.6, is made of its parts."""
    random = bytes.fromhex("0cc3 18c4dc0c0c07398f")
    assert time_ordered_uuid(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(TIMES, CHANCES)
def test_an_identifier_is_a_uuid_of_version_7(milliseconds: int, random: bytes) -> None:
    """Whatever the time and the chance, version and variant are those of the standard, and the time stands first."""
    parsed = uuid.UUID(time_ordered_uuid(milliseconds, random))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> RANDOM_BITS == milliseconds


@given(TIMES, CHANCES, TIMES, CHANCES)
def test_a_later_identifier_sorts_after_an_earlier_one(
    one: int, chance: bytes, other: int, chances: bytes
) -> None:
    """The order of identifiers, as text, is that of their times."""
    if one != other:
        first, second = time_ordered_uuid(one, chance), time_ordered_uuid(other, chances)
        assert (first < second) == (one < other)


def test_each_of_the_74_random_bits_counts() -> None:
    """Only version and variant are fixed: every other bit of chance makes another identifier."""
    changed = [(1 << bit).to_bytes(RANDOM_BYTES) for bit in range(RANDOM_BITS)]
    identifiers = {time_ordered_uuid(0, random) for random in changed}
    assert len(identifiers - {time_ordered_uuid(0, bytes(RANDOM_BYTES))}) == 74


def test_identifiers_begin_with_their_time_and_differ() -> None:
    """Those of one millisecond differ all the same, and each has the port's form."""
    begin = time.time_ns() // 1_000_000
    identifiers = {RandomIdentifiers().new() for _ in range(10_000)}
    end = time.time_ns() // 1_000_000
    assert len(identifiers) == 10_000
    assert all(begin <= uuid.UUID(each).int >> RANDOM_BITS <= end for each in identifiers)
    assert all(set(each) <= set("0123456789abcdef-") and len(each) == 36 for each in identifiers)
