"""What of an `authorization` header is a credential that may travel on."""

import pytest

from interlock.adapters.mcp_connections import bearer_of


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER abc"])
def test_a_bearer_credential_is_read(value: str) -> None:
    """The scheme is read in any case (RFC 9110 11.1)."""
    assert bearer_of([value]) == "abc"


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Basic abc"],
        ["Bearer a b"],
        ["Bearer a\tb"],
        ["Bearer a\r\nx: y"],
        ["Bearer \u00e9"],
        ["Bearer " + "a" * 1_025],
        ["Bearer abc", "Bearer abd"],
    ],
)
def test_what_is_not_one_credential_is_none(values: list[str]) -> None:
    """Nothing that could not travel in a header again, and no second opinion on who calls (case 54)."""
    assert bearer_of(values) is None
