"""The gateway's HTTP forward, over real sockets to a real web service: a request with its token is the one call."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from interlock.adapters.http_connector import HttpConnector, HttpServer
from interlock.client import http_arguments
from interlock.core.canonical import digest_of
from interlock.core.catalog import Catalog, CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.connector_entries import HttpEntry
from interlock.core.destinations import destinations_of, digest_of_destinations
from interlock.core.errors import ErrorReason
from interlock.flows.execute import Executor, Gateway
from interlock.ports import ToolCall, ToolOutcomeUnknown, ToolResult, ToolRunner
from interlock.rpc.http_forward import forward_application
from interlock.rpc.problem import STATUSES
from tests.contract.web_services import WebService, web_service
from tests.fakes import (
    CountingIdentifiers,
    MemoryLedger,
    NoFiles,
    OneKeyPair,
    OpenFreezes,
    ScriptedTools,
    SettableClock,
    no_files,
)
from tests.tokens import BEGIN, EXPECTED, a_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, read from the socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"].startswith("application/problem+json")
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


class Meter:
    """ports.Meter that counts nothing."""

    def decided(self, verdict: str) -> None: ...
    def answered(self, method: str, code: str, seconds: float) -> None: ...
    def executed(self, outcome: str) -> None: ...
    def failed(self, reason: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class World:
    """A gateway whose ledger and keys are fakes, its forward on a real port, and the service behind it."""

    keys: OneKeyPair
    ledger: MemoryLedger
    catalog: Catalog
    service: WebService
    port: int

    def token(self, tool: str, arguments: Mapping[str, Any], **claims: Any) -> str:
        entry = self.catalog.tools[tool]
        led_to = digest_of_destinations(destinations_of(entry, arguments, no_files))
        return a_token(self.keys, entry, digest_of(arguments), **({"destinations": led_to} | claims))

    async def send(
        self, line: str, token: str | None, *headers: str, body: bytes = b"", method: str = "GET"
    ) -> Answer:
        """Send this target exactly as it is written."""
        said = [f"Content-Length: {len(body)}"] if body else []
        said += [f"Authorization: Bearer {token}"] if token else []
        head = "\r\n".join(
            [f"{method} {line} HTTP/1.1", "Host: gateway", *said, *headers, "Connection: close"]
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{head}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return _answer(answer)


def _answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(status=int(status.split()[1]), headers=headers, body=body)


async def echo(request: web.Request) -> web.Response:
    if request.path == "/v1/missing":
        return web.json_response({"error": "no"}, status=404, headers={"X-Private": "1", "ETag": '"1"'})
    if request.path == "/v1/text":
        return web.Response(body=b"\xe9", headers={"Content-Type": "text/plain; charset=iso-8859-1"})
    if request.path == "/v1/image":
        return web.Response(body=b"\x89PNG", headers={"Content-Type": "image/png"})
    if request.path == "/v1/empty":
        return web.Response(status=204)
    return web.json_response({"b": 1, "a": request.method})


def catalog_of(port: int) -> Catalog:
    def tool(name: str, **http: Any) -> ToolEntry:
        return ToolEntry(
            name=name, arguments={"type": "object"}, effects=(Effect.WRITE,), http=HttpEntry(**http)
        )

    tools = (
        tool("orders", base=f"http://127.0.0.1:{port}/v1", headers=["x-trace"]),
        tool("fetch"),
        ToolEntry(name="read_file", arguments={"type": "object"}, effects=(Effect.READ,)),
    )
    return build_catalog([CatalogFile(gateway="gateway-1", server="web", tools=tools)])


@contextlib.asynccontextmanager
async def a_world(tools: ToolRunner | None = None) -> AsyncIterator[World]:
    connector = HttpConnector({"web": HttpServer(networks=(ip_network("127.0.0.0/8"),))})
    keys, ledger = OneKeyPair(), MemoryLedger()
    async with web_service(echo) as service:
        catalog = catalog_of(service.port)
        gateway = Gateway(
            keys=keys,
            expected=EXPECTED,
            catalog=catalog,
            ledger=ledger,
            tools=tools or connector,
            freezes=OpenFreezes(),
            resolve=no_files,
            files=NoFiles(),
            clock=SettableClock(),
            identifiers=CountingIdentifiers("execution"),
            limit_seconds=30.0,
            delays=lambda failures: 0.0,
            after_outcome=lambda: None,
        )
        application = forward_application(Executor(gateway), catalog, Meter(), limit_seconds=30.0)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield World(
                keys=keys,
                ledger=ledger,
                catalog=catalog,
                service=service,
                port=runner.addresses[0][1],
            )
        finally:
            await runner.cleanup()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


async def test_a_request_with_its_token_is_the_call(world: World) -> None:
    """What is sent to the gateway is what was decided, and the service's answer comes back (invariant 3)."""
    arguments = http_arguments(
        "POST",
        "/items/a%20b",
        query=[("q", "a&b=c d"), ("q", "é")],
        headers={"X-Trace": "1"},
        body={"b": 1, "a": [True, None]},
    )
    answer = await world.send(
        "/orders/items/a%20b?q=a%26b%3Dc+d&q=%c3%a9",
        world.token("orders", arguments),
        "X-Trace: 1",
        "X-Other: 2",
        "Content-Type: application/json",
        method="POST",
        body=b'{"b": 1.0, "a": [true, null]}',
    )
    assert (answer.status, json.loads(answer.body)) == (200, {"a": "POST", "b": 1})
    assert answer.headers["interlock-outcome"] == "succeeded"
    assert answer.headers["interlock-execution-id"] == "execution-1"
    assert world.service.lines == ["POST /v1/items/a%20b?q=a%26b%3Dc%20d&q=%C3%A9"]
    assert world.service.bodies == [b'{"a":[true,null],"b":1}']
    sent = world.service.requests[0].headers
    assert sent["x-trace"] == "1"
    assert "x-other" not in sent
    assert "authorization" not in sent
    assert sent["idempotency-key"] == "token-1"


@pytest.mark.parametrize(
    ("content_type", "body", "stated"),
    [
        ("text/plain", "é".encode(), "é"),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
        ("application/json; charset=utf-8", b"null", None),
        ("", b"x", b"x"),
    ],
    ids=["text", "bytes", "null", "no-type"],
)
async def test_helper_and_forward_agree_on_a_body(
    world: World, content_type: str, body: bytes, stated: Any
) -> None:
    """The arguments that the client's helper makes are those that the forward makes (invariant 3)."""
    token = world.token("orders", http_arguments("PUT", "/", body=stated))
    said = [f"Content-Type: {content_type}"] if content_type else []
    answer = await world.send("/orders", token, *said, method="PUT", body=body)
    assert answer.status == 200
    assert world.service.bodies == [body]


async def test_a_tool_without_a_base_is_given_the_url(world: World) -> None:
    """Behind the tool's name stands the URL, as it was decided."""
    url = f"http://127.0.0.1:{world.service.port}/v1/a?b=c%20d"
    answer = await world.send(f"/fetch/{url}", world.token("fetch", http_arguments("GET", url=url)))
    assert answer.status == 200
    assert world.service.lines == ["GET /v1/a?b=c%20d"]


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        ("/missing", 404, "application/json", b'{"error":"no"}'),
        ("/text", 200, "text/plain; charset=utf-8", "é".encode()),
        ("/image", 200, "image/png", b"\x89PNG"),
        ("/empty", 204, None, b""),
    ],
)
async def test_the_services_answer_comes_back(
    world: World, path: str, status: int, content_type: str | None, body: bytes
) -> None:
    """Status, body and told headers are the service's."""
    answer = await world.send(f"/orders{path}", world.token("orders", http_arguments("GET", path)))
    assert (answer.status, answer.body) == (status, body)
    assert content_type is None or answer.headers["content-type"].startswith(content_type)
    assert answer.headers["interlock-outcome"] == ("failed" if status >= 400 else "succeeded")
    assert "x-private" not in answer.headers
    assert answer.headers.get("etag") == ('"1"' if path == "/missing" else None)


@pytest.mark.parametrize("headers", [(), ("Authorization: Basic YTpi",), ("Authorization: Bearer",)], ids=str)
async def test_without_a_token_nothing_is_done(world: World, headers: tuple[str, ...]) -> None:
    """A request without a token is told to bring one (invariant 1)."""
    answer = await world.send("/orders/items", None, *headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.problem["reason"] == ErrorReason.CREDENTIAL_MISSING
    assert world.service.requests == []


async def test_two_credentials_are_none(world: World) -> None:
    """Of two Authorization headers, nobody has to guess which one counts."""
    token = world.token("orders", http_arguments("GET", "/items"))
    answer = await world.send("/orders/items", token, f"Authorization: Bearer {token}")
    assert answer.status in (400, 401)
    assert world.service.requests == []


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": BEGIN - 10, "iat": BEGIN - 40, "nbf": BEGIN - 40}, ErrorReason.TOKEN_EXPIRED),
        ({"aud": "gateway-2"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY),
        ({"tenant": "other"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY),
        ({"env": "dev"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY),
    ],
    ids=["expired", "gateway", "tenant", "environment"],
)
async def test_a_token_that_is_not_good_here_is_refused(
    world: World, claims: dict[str, Any], reason: ErrorReason
) -> None:
    """An invalid token is a 401 with its reason, and shows no token (cases 26, 38)."""
    token = world.token("orders", http_arguments("GET", "/items"), **claims)
    answer = await world.send("/orders/items", token)
    assert (answer.status, answer.problem["reason"]) == (401, reason)
    assert answer.headers["interlock-outcome"] == "refused"
    assert token.encode() not in answer.body
    assert world.service.requests == []


@pytest.mark.parametrize(
    ("line", "headers", "method"),
    [
        ("/orders/items?q=2", (), "GET"),
        ("/orders/items?q=1&q=1", (), "GET"),
        ("/orders/items/?q=1", (), "GET"),
        ("/orders/Items?q=1", (), "GET"),
        ("/orders/items?q=1", ("X-Trace: 2",), "GET"),
        ("/orders/items?q=1", (), "DELETE"),
    ],
    ids=["value", "twice", "slash", "case", "header", "method"],
)
async def test_another_call_than_the_decided_one_is_refused(
    world: World, line: str, headers: tuple[str, ...], method: str
) -> None:
    """One byte of path, query, header or method makes another call (invariant 3)."""
    token = world.token("orders", http_arguments("GET", "/items", query=[("q", "1")]))
    answer = await world.send(line, token, *headers, method=method)
    assert (answer.status, answer.problem["reason"]) == (403, ErrorReason.CALL_MISMATCH)
    assert world.service.requests == []
    good = await world.send("/orders/items?q=1", token)
    assert good.status == 200


async def test_a_token_is_good_once(world: World) -> None:
    """A second presentation is a conflict that names the first execution (invariant 3)."""
    token = world.token("orders", http_arguments("GET", "/items"))
    assert (await world.send("/orders/items", token)).status == 200
    again = await world.send("/orders/items", token)
    assert (again.status, again.problem["reason"]) == (409, ErrorReason.TOKEN_ALREADY_REDEEMED)
    assert again.headers["interlock-execution-id"] == "execution-1"
    assert len(world.service.requests) == 1


@pytest.mark.parametrize(
    "line",
    [
        "/orders/%2e%2e/admin",
        "/orders/.%2e/admin",
        "/orders/..%2fadmin",
        "/orders/..%5cadmin",
        "/orders/../../admin",
        "/orders/../orders/../../admin",
        "/orders//admin",
        "/orders/\\admin",
        "/orders/%c0%ae%c0%ae/admin",
        "/orders/%252e%252e/admin",
        "/orders/..;/admin",
        "/orders/a%00b",
        "/orders/a%0d%0aHost:%20evil",
        "/orders/%zz",
        "/orders/?q=%zz",
        "/orders/?q=%ff",
        "/orders/?q=%00",
        "/orders/a#b",
        "/fetch/http://2852039166/",
        "/fetch/http://127.1/",
        "/fetch/http://user@127.0.0.1/",
        "/fetch/file:///etc/passwd",
        "/fetch",
        "/fetch/",
    ],
)
async def test_tricks_in_the_target_are_refused_and_not_mended(world: World, line: str) -> None:
    """What a library would normalise on its way is refused as it stands (case 45)."""
    answer = await world.send(line, world.token("orders", http_arguments("GET", "/admin")))
    assert answer.status == 400
    assert world.service.requests == []
    assert world.ledger.executions == []


@pytest.mark.parametrize(
    "line",
    [
        "/",
        "/unknown/x",
        "/read_file/x",
        "//orders/items",
        "/%6frders/items",
        "*",
        "http://evil.example/orders/items",
    ],
)
async def test_what_names_no_http_tool_is_refused(world: World, line: str) -> None:
    """Only tools of the catalog that are web services can be asked for."""
    answer = await world.send(line, world.token("orders", http_arguments("GET", "/items")))
    assert answer.status == 400
    assert world.service.requests == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"a": 1, "a": 2}'),
        ("application/json", b'{"a": NaN}'),
        ("application/json", b'{"a": 9007199254740993}'),
        ("application/json", b"{} {}"),
        ("application/json", b'"text"'),
        ("application/json", b'{"base64": "AA=="}'),
        ("text/plain", b"\xff"),
    ],
    ids=["duplicate", "nan", "large-integer", "two-values", "string", "base64-form", "no-utf-8"],
)
async def test_a_body_is_read_strictly(world: World, content_type: str, body: bytes) -> None:
    """A body that two readers may take for two is refused (case 33)."""
    token = world.token("orders", http_arguments("POST", "/items", body={"a": 1}))
    answer = await world.send(
        "/orders/items", token, f"Content-Type: {content_type}", method="POST", body=body
    )
    assert answer.status == 400
    assert world.service.requests == []


async def test_a_large_body_is_refused(world: World) -> None:
    """A body beyond the limit of arguments is not read on (case 29)."""
    token = world.token("orders", http_arguments("POST", "/items", body=b"x"))
    answer = await world.send("/orders/items", token, method="POST", body=b"x" * 300_000)
    assert (answer.status, answer.problem["reason"]) == (400, ErrorReason.MALFORMED_REQUEST)


async def test_where_it_may_be_tried_again_the_token_is_kept() -> None:
    """A server or a ledger that is away is a 503, and the same token works later."""
    tools = ScriptedTools(up=False)
    async with a_world(tools) as world:
        token = world.token("orders", http_arguments("GET", "/items"))
        away = await world.send("/orders/items", token)
        assert (away.status, away.problem["reason"]) == (503, ErrorReason.TOOL_UNAVAILABLE)
        assert away.headers["retry-after"] == "1"
        assert "interlock-outcome" not in away.headers
        tools.up, world.ledger.away = True, True
        assert (await world.send("/orders/items", token)).status == 503
        world.ledger.away = False
        assert (await world.send("/orders/items", token)).status == 200


async def test_an_unknown_outcome_is_told_as_such() -> None:
    """A service that was lost in the middle is a 502 that says that it may have run (invariant 8)."""

    async def lost(call: ToolCall) -> ToolResult:
        raise ToolOutcomeUnknown

    async with a_world(ScriptedTools(behave=lost)) as world:
        answer = await world.send("/orders/items", world.token("orders", http_arguments("GET", "/items")))
    assert (answer.status, answer.problem["reason"]) == (502, "OUTCOME_UNKNOWN")
    assert answer.headers["interlock-outcome"] == "unknown"
    assert answer.headers["interlock-execution-id"] == "execution-1"


async def test_a_call_that_was_not_sent_is_told_as_failed() -> None:
    """Where the service took no connection, the answer says that nothing was sent."""

    async def not_sent(call: ToolCall) -> ToolResult:
        return ToolResult(failed=True, value={"error": "nothing was sent"})

    async with a_world(ScriptedTools(behave=not_sent)) as world:
        answer = await world.send("/orders/items", world.token("orders", http_arguments("GET", "/items")))
    assert (answer.status, answer.problem["result"]) == (502, {"error": "nothing was sent"})
    assert answer.headers["interlock-outcome"] == "failed"


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"status": 200, "headers": {}, "body": "[redacted]", "body_form": "base64"}, b"[redacted]"),
        ({"status": 200, "headers": {}, "body": "[redacted]", "body_form": "json"}, b'"[redacted]"'),
        ({"status": 200, "headers": "[redacted]", "body": "x", "body_form": "text"}, b"x"),
        ({"status": "[redacted]", "body": 1}, b'{"status": "[redacted]", "body": 1}'),
        ({"omitted": "too large"}, b'{"omitted": "too large"}'),
    ],
    ids=["base64", "json", "headers", "status", "omitted"],
)
async def test_what_an_obligation_left_of_an_answer_comes_back(value: Any, body: bytes) -> None:
    """Whatever was redacted, the rest of the answer reaches its caller."""

    async def redacted(call: ToolCall) -> ToolResult:
        return ToolResult(failed=False, value=value)

    async with a_world(ScriptedTools(behave=redacted)) as world:
        answer = await world.send("/orders/items", world.token("orders", http_arguments("GET", "/items")))
    assert (answer.status, answer.headers["interlock-outcome"]) == (200, "succeeded")
    assert json.loads(answer.body) == json.loads(body) if body[:1] in b'{"' else answer.body == body


async def test_what_breaks_inside_stays_inside() -> None:
    """A defect is a 500 without a trace of it."""

    async def broken(call: ToolCall) -> ToolResult:
        raise RuntimeError("s3cret")

    async with a_world(ScriptedTools(behave=broken)) as world:
        answer = await world.send("/orders/items", world.token("orders", http_arguments("GET", "/items")))
    assert (answer.status, answer.problem["reason"]) == (500, ErrorReason.INTERNAL)
    assert b"s3cret" not in answer.body


def test_every_reason_of_the_flow_has_its_status() -> None:
    """No refusal that executing can give is told as a defect (invariant 10)."""
    of_the_flow = {
        reason
        for reason in ErrorReason
        if reason.name.startswith(("TOKEN_", "CALL_", "CATALOG_", "TOOL_", "LEDGER_", "FREEZES_", "ADDRESS_"))
    } | {ErrorReason.OBLIGATION_UNSUPPORTED, ErrorReason.DESTINATION_CHANGED, ErrorReason.STEP_NOT_DUE}
    assert of_the_flow <= STATUSES.keys()


def test_the_helper_refuses_what_it_cannot_say() -> None:
    """A call has a path or a URL, and a URL has its own query."""
    for path, url, query in (
        ("", "", ()),
        ("/a", "http://a.example/", ()),
        ("", "http://a.example/", [("a", "b")]),
    ):
        with pytest.raises(ValueError, match="`url`"):
            http_arguments("GET", path, url=url, query=query)
