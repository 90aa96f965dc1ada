"""The MCP front over streamable HTTP: the official client, and requests that no good client makes."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from interlock.core.record import RecordType
from tests.e2e.mcp_fronts import HANDSHAKE, WITHOUT, connected, over_http, text_of
from tests.e2e.processes import Server, wait_until
from tests.e2e.world import World
from tests.waiting import until

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}


@pytest.fixture(scope="module")
def small_world(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with the server `odd` only, and no gateway but the front."""
    with World(tmp_path_factory.mktemp("small"), opa=opa, policies=policies) as small:
        small.start_service()
        yield small


@pytest.fixture(scope="module")
def front(small_world: World) -> Iterator[Server]:
    """The front that most tests share."""
    with over_http(small_world, "front") as server:
        yield server


@pytest.fixture(scope="module")
def credential(small_world: World) -> str:
    """An agent's that may call the tools of the server `odd`."""
    return small_world.credential("agent", "coder", "tester")


async def post(url: str, message: dict[str, Any], **headers: str) -> httpx2.Response:
    """One request as any program could make it."""
    stated = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx2.AsyncClient(timeout=60) as client:
        return await client.post(url, json=message, headers=stated | headers)


@pytest.mark.parametrize("mode", [HANDSHAKE, WITHOUT])
async def test_an_unchanged_client_calls_a_tool(front: Server, credential: str, mode: str) -> None:
    """The tools of the role are listed, and an allowed call comes back as its server answered."""
    async with connected(front.grpc, credential, mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("echo", {"text": "hello"})
    assert names == ["account", "echo", "fail", "hang"]
    assert not result.is_error
    assert result.structured_content == {"text": "hello"}


@pytest.mark.parametrize("mode", [HANDSHAKE, WITHOUT])
async def test_a_tools_own_error_is_handed_on(front: Server, credential: str, mode: str) -> None:
    """What the tool calls an error looks as its server made it."""
    async with connected(front.grpc, credential, mode) as client:
        result = await client.call_tool("fail", {})
    assert result.is_error
    assert text_of(result) == "no such file"


@pytest.mark.parametrize("mode", [HANDSHAKE, WITHOUT])
async def test_an_agent_sees_and_calls_only_its_own(small_world: World, front: Server, mode: str) -> None:
    """Roles come from the credential of the connection: what they do not grant is neither listed nor run (case 61)."""
    before = small_world.runs()
    async with connected(front.grpc, small_world.credential("agent", "other", "reader"), mode) as client:
        assert (await client.list_tools()).tools == []
        result = await client.call_tool("echo", {})
    assert result.is_error
    assert "permissions.tool_not_granted" in text_of(result)
    assert small_world.runs() == before


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}],
    ids=["none", "basic", "empty"],
)
async def test_no_credential_no_entry(front: Server, headers: dict[str, str]) -> None:
    """Without a bearer credential nothing is served, and the answer says what is wanted (case 61)."""
    answer = await post(front.grpc, INITIALIZE, **headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_credential_that_nobody_gave_lists_and_reads_nothing(
    small_world: World, front: Server
) -> None:
    """A made-up credential opens a connection and gets nothing through it (invariant 6, case 61)."""
    before = small_world.runs()
    made_up = "ilk_0123456789abcdef_" + "c" * 43
    async with connected(front.grpc, made_up) as client:
        result = await client.call_tool("echo", {})
        assert result.structured_content["error"] == "CREDENTIAL_INVALID"
        for ask in (client.list_tools, client.list_resources, client.list_prompts):
            with pytest.raises(Exception, match="credential is not valid"):
                await ask()
    assert small_world.runs() == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:7422"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_a_name_that_was_bound_anew_is_refused(
    front: Server, credential: str, headers: dict[str, str], status: int
) -> None:
    """A page of another origin, or under another name, gets nothing, even with a credential (DNS rebinding)."""
    answer = await post(front.grpc, INITIALIZE, Authorization=f"Bearer {credential}", **headers)
    assert answer.status_code == status


async def test_named_hosts_and_origins_are_taken(small_world: World, credential: str) -> None:
    """What `hosts` and `origins` name is let in, and nothing else is."""
    named = {"hosts": ["gateway.example"], "origins": ["https://console.example"]}
    with over_http(small_world, "named", **named) as server:
        headers = {"Host": "gateway.example", "Origin": "https://console.example"}
        good = await post(server.grpc, INITIALIZE, Authorization=f"Bearer {credential}", **headers)
        bad = await post(server.grpc, INITIALIZE, Authorization=f"Bearer {credential}", Host="other.example")
    assert (good.status_code, bad.status_code) == (200, 421)


async def test_a_session_belongs_to_the_credential_that_began_it(
    small_world: World, front: Server, credential: str
) -> None:
    """With another credential, a session's name opens nothing, and looks as one that is not there (case 54)."""
    begun = await post(front.grpc, INITIALIZE, Authorization=f"Bearer {credential}")
    session = begun.headers["mcp-session-id"]
    other = small_world.credential("agent", "other", "tester")
    foreign = await post(front.grpc, LIST, Authorization=f"Bearer {other}", **{"Mcp-Session-Id": session})
    without = await post(front.grpc, LIST, **{"Mcp-Session-Id": session})
    own = await post(front.grpc, LIST, Authorization=f"Bearer {credential}", **{"Mcp-Session-Id": session})
    assert (foreign.status_code, without.status_code) == (404, 401)
    assert own.status_code == 200
    assert "echo" in own.text


async def test_a_client_that_goes_away_leaves_an_outcome(
    small_world: World, front: Server, credential: str
) -> None:
    """What has begun is on record, though nobody listens any more (invariant 8)."""
    ran = len(small_world.runs())
    calling = asyncio.create_task(_call(front.grpc, credential, "hang", {}))
    await until(lambda: len(small_world.runs()) > ran, poll_seconds=0.02)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    [decision] = [
        record
        for record in small_world.records(RecordType.DECISION)
        if record["input"]["tool"]["name"] == "hang"
    ]
    wait_until(lambda: small_world.outcomes_of(decision["decision_id"]) == ["unknown"])
    assert len(small_world.runs()) == ran + 1


async def _call(url: str, credential: str, tool: str, arguments: dict[str, Any]) -> None:
    async with connected(url, credential) as client:
        await client.call_tool(tool, arguments)


def test_health_is_told_beside_the_front(front: Server) -> None:
    """Over HTTP, readiness and metrics are at `http_listen`."""
    ready = httpx2.get(f"http://{front.http}/readyz")
    assert ready.status_code == 200
    assert set(json.loads(ready.text)["checks"]) >= {"ledger", "keys", "tools"}
    assert "interlock_" in httpx2.get(f"http://{front.http}/metrics").text


async def test_without_a_decision_service_no_tool_is_reached(own_world: World) -> None:
    """The canary: no decision, no token, no call, and the model is told so (invariant 1, case 61)."""
    own_world.start_service()
    credential = own_world.credential("agent", "coder", "tester")
    with over_http(own_world, "front") as server:
        async with connected(server.grpc, credential) as client:
            assert not (await client.call_tool("echo", {})).is_error
            own_world.service.kill()
            before = own_world.runs()
            result = await client.call_tool("echo", {})
    assert result.is_error
    assert result.structured_content["may_have_run"] is False
    assert "did not run" in text_of(result)
    assert own_world.runs() == before == ["echo"]


def test_the_front_ends_in_good_order(small_world: World) -> None:
    """SIGTERM ends it with status 0."""
    with over_http(small_world, "ending") as server:
        assert server.end() == 0
