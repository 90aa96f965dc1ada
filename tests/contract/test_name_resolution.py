"""Names, as this machine resolves them."""

import pytest

from interlock.adapters.name_resolution import resolve_name


async def test_a_name_of_this_machine_leads_to_it() -> None:
    """`localhost` is looked up by the system, and all its addresses are told."""
    found = await resolve_name("localhost")
    assert found
    assert all(address.is_loopback for address in found)


async def test_a_name_that_cannot_be_one_is_an_error() -> None:
    """What no resolver takes is the error that callers expect, whatever Python makes of it."""
    with pytest.raises((OSError, UnicodeError)):
        await resolve_name("a" * 70 + ".example")
