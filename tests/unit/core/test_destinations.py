"""Where arguments lead: told for each argument that the catalog marks, in one form, and no secret with it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core import http_call
from interlock.core.catalog import ArgumentRole
from interlock.core.destinations import (
    Destination,
    destinations_of,
    digest_of_destinations,
    disclosed,
)
from interlock.core.web_address import AddressError
from tests.fakes import no_files
from tests.tool_calls import a_tool

BASE = {"base": "https://api.example/v1"}


def of(arguments: dict[str, Any], **entry: Any) -> tuple[Destination, ...]:
    return destinations_of(a_tool(**entry), arguments, no_files)


def url(canonical: str, host: str, *, path: str = "", problem: Any = "") -> Destination:
    return Destination(path=path, kind="url", canonical=canonical, host=host, problem=problem)


def test_each_url_of_a_role_is_told_with_its_place() -> None:
    """Arguments with the role `url` are told by their pointers, in their order; others are not."""
    found = of(
        {"pages": ["HTTP://One.example", "no address"], "note": "https://two.example/"},
        roles={"/pages/*": ArgumentRole.URL},
    )
    assert found == (
        url("http://one.example/", "one.example", path="/pages/0"),
        url("", "", path="/pages/1", problem="malformed"),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:8.8.8.8]", "10.0.0.1"])
def test_a_number_that_is_not_public_is_told_with_its_host(host: str) -> None:
    """A policy can allow an inner address by name, for it is told which one it is (case 45)."""
    [found] = of({"url": f"http://{host}/"}, http={})
    assert found.problem == "not_public"
    assert found.host


@pytest.mark.parametrize(
    ("arguments", "canonical"),
    [
        ({"path": "/items/../a%7eb"}, "https://api.example/v1/a~b"),
        ({"path": "/", "query": [["q", "a b"]]}, "https://api.example/v1/?q=a%20b"),
    ],
)
def test_a_call_leads_below_its_base(arguments: dict[str, Any], canonical: str) -> None:
    """A call as a whole has one destination, with no pointer."""
    assert of(arguments, http=BASE) == (url(canonical, "api.example"),)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": "/../../admin"},
        {"path": "/a", "url": "https://api.example/v1/a"},
        {"path": "/a", "headers": {"host": "evil.example"}},
        {"path": "/a", "body": {"base64": "?"}},
        {"path": "/a", "method": "TRACE"},
    ],
    ids=str,
)
def test_a_call_of_another_form_leads_nowhere(arguments: dict[str, Any]) -> None:
    """All of a call has to be of the form before a policy is told where it leads (case 45)."""
    assert of(arguments, http=BASE) == (url("", "", problem="malformed"),)


@pytest.mark.parametrize(
    ("pointer", "shown"),
    [
        ("/query", "https://api.example/"),
        ("/query/0/1", "https://api.example/"),
        ("/path", "https://api.example/"),
        ("/body", "https://api.example/v1/a?key=s3cret"),
    ],
)
def test_what_is_sensitive_is_not_shown_where_a_call_leads(pointer: str, shown: str) -> None:
    """Of an address that holds a sensitive argument only the origin is disclosed, and its digest is whole (case 63)."""
    arguments = {"path": "/a", "query": [["key", "s3cret"]]}
    tool = a_tool(http=BASE, sensitive=(pointer,))
    found = destinations_of(tool, arguments, no_files)
    [told] = disclosed(tool, found)
    assert (told.canonical, told.host) == (shown, "api.example")
    other = destinations_of(tool, arguments | {"query": [["key", "0ther"]]}, no_files)
    assert digest_of_destinations(found) != digest_of_destinations(other)


def test_a_sensitive_url_shows_its_origin() -> None:
    """A webhook's address is a secret, and its host is what a policy needs (case 63)."""
    tool = a_tool(roles={"/hook": ArgumentRole.URL}, sensitive=("/hook",))
    found = destinations_of(tool, {"hook": "https://hooks.example/s3cret?a=s3cret"}, no_files)
    assert [told.canonical for told in disclosed(tool, found)] == ["https://hooks.example/"]
    assert disclosed(None, found) == list(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries(
    {"path": st.just("/a") | JSON},
    optional={
        "method": st.sampled_from(["GET", "PUT"]) | JSON,
        "query": st.lists(st.lists(st.text(max_size=4), min_size=2, max_size=2), max_size=2) | JSON,
        "headers": st.dictionaries(st.sampled_from(["x-trace", "X-Trace", "host"]), JSON, max_size=2) | JSON,
        "body": JSON,
    },
)


@given(CALLS)
def test_any_arguments_are_a_call_or_refused(arguments: dict[str, Any]) -> None:
    """Whatever the arguments, reading them raises nothing but its own error, and stays below the base (case 45)."""
    entry = a_tool(http=BASE | {"headers": ["x-trace"]}).entry.http
    assert entry
    try:
        asked = http_call.read(entry, arguments)
    except AddressError:
        return
    assert str(asked.address).startswith("https://api.example/v1/")
    assert asked.headers.keys() <= {"x-trace"}
