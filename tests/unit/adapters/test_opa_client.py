"""Addresses of an OPA."""

from pathlib import Path

import pytest

from interlock.adapters.opa_client import OpaAddress, OpaClient

TOKEN = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://opa", "http://opa/v1/data/a/b"),
        ("http://opa/", "http://opa/v1/data/a/b"),
        ("https://opa.example:8181", "https://opa.example:8181/v1/data/a/b"),
        ("https://proxy.example/opa", "https://proxy.example/opa/v1/data/a/b"),
        ("https://proxy.example/opa/", "https://proxy.example/opa/v1/data/a/b"),
        ("http://[::1]:8181", "http://[::1]:8181/v1/data/a/b"),
    ],
)
def test_queries_go_below_the_url(url: str, expected: str) -> None:
    """Scheme, host, port and path of the address are kept; a query names its bundle and hides no error."""
    query = OpaClient(OpaAddress(url=url)).query_url("a/b")
    assert str(query) == f"{expected}?provenance=true&strict-builtin-errors=true"


@pytest.mark.parametrize(
    "url",
    [
        "opa.example:8181",
        "opa.example",
        "/opa",
        "http://",
        "ftp://opa.example",
        "unix:///opa.sock",
        f"https://user:{TOKEN}@opa.example",
        f"https://{TOKEN}@opa.example",
        f"https://opa.example?token={TOKEN}",
        f"https://opa.example#{TOKEN}",
        "http://opa.example:port",
        "http://opa.example:99999",
        "http://[::1",
    ],
)
def test_what_is_no_place_is_refused(url: str) -> None:
    """A URL that names no place, or more than a place, is refused at the start, without repeating a secret."""
    with pytest.raises(ValueError, match="expected a url of opa") as caught:
        OpaAddress(url=url)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "token", [f"{TOKEN} ", f"{TOKEN}\n", f"{TOKEN}\r\nHost: other", f"{TOKEN}\u00e9", "\x00", "="]
)
def test_a_token_that_could_be_no_token_is_refused(token: str) -> None:
    """A token that would break or change the header is refused, without repeating it (RFC 6750 2.1)."""
    with pytest.raises(ValueError, match="RFC 6750") as caught:
        OpaAddress(url="https://opa.example", bearer_token=token)
    assert TOKEN not in str(caught.value)


def test_an_address_does_not_show_its_token() -> None:
    """Where an address is printed, its token is not (case 63)."""
    assert TOKEN not in repr(OpaAddress(url="https://opa.example", bearer_token=TOKEN))


@pytest.mark.parametrize(("socket", "url"), [(None, ""), (Path("opa.sock"), "http://opa.example")])
def test_an_address_is_one_place(socket: Path | None, url: str) -> None:
    """An address is a socket or a URL."""
    with pytest.raises(ValueError, match="not both"):
        OpaAddress(socket=socket, url=url)
