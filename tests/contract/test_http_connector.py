"""The connector to web services, on real servers of this machine: it sends what was decided, where it was decided."""

import asyncio
import gzip
import json
import ssl
import zlib
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from interlock.adapters.http_connector import HttpConnector, HttpServer, HttpServerError
from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.obligation_kinds import Sandbox
from interlock.core.public_address import IPAddress
from interlock.ports import ToolOutcomeUnknown, ToolResult
from tests.contract.certificates import a_certificate_of
from tests.contract.web_services import socket_service, web_service
from tests.tool_calls import a_call, a_tool

LOOPBACK = ip_network("127.0.0.0/8")
INWARDS = ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]


class ScriptedNames:
    """A resolver whose answers a test gives; the last one is given again. `asked` are the names."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[IPAddress]:
        self.asked.append(name)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(text) for text in answer]


async def nowhere(name: str) -> Sequence[IPAddress]:
    raise OSError(f"{name} is not looked up here")


def connector(resolve: Any = nowhere, **server: Any) -> HttpConnector:
    return HttpConnector({"web": HttpServer(**({"networks": (LOOPBACK,)} | server))}, resolve=resolve)


async def call(
    tools: HttpConnector, arguments: dict[str, Any], http: dict[str, Any] | None = None, **changes: Any
) -> ToolResult:
    prepared = await tools.prepare(a_call(a_tool("web", http=http or {}), arguments, **changes))
    try:
        return await prepared.run()
    finally:
        await prepared.close()


async def refused(tools: HttpConnector, arguments: dict[str, Any], **changes: Any) -> InterlockError:
    with pytest.raises(InterlockError) as error:
        await call(tools, arguments, **changes)
    return error.value


async def says_ok(request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


# What is sent


async def test_sends_exactly_what_was_decided() -> None:
    """Method, path, query, headers and body arrive as the arguments state them (invariant 3)."""
    async with web_service(says_ok) as service:
        result = await call(
            connector(),
            {
                "method": "POST",
                "path": "/items/a%20b",
                "query": [["q", "a&b=c d"], ["q", "é"]],
                "headers": {"X-Trace": "1"},
                "body": {"b": 1, "a": "é"},
            },
            {"base": f"http://127.0.0.1:{service.port}/v1", "headers": ["x-trace"]},
            idempotency_key="token-7",
        )
    assert service.lines == ["POST /v1/items/a%20b?q=a%26b%3Dc%20d&q=%C3%A9"]
    assert service.bodies == ['{"a":"é","b":1}'.encode()]
    headers = service.requests[0].headers
    assert headers["content-type"] == "application/json"
    assert headers["x-trace"] == "1"
    assert headers["idempotency-key"] == "token-7"
    assert headers["host"] == f"127.0.0.1:{service.port}"
    assert "authorization" not in headers
    assert result == ToolResult(
        failed=False,
        value={
            "status": 200,
            "headers": {
                "content-type": "application/json; charset=utf-8",
                "date": result.value["headers"]["date"],
            },
            "body": {"ok": True},
            "body_form": "json",
        },
    )


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ("text é", "text é".encode(), "text/plain; charset=utf-8"),
        ({"base64": "AP8="}, b"\x00\xff", "application/octet-stream"),
        ([1, 2.5, None], b"[1,2.5,null]", "application/json"),
        (None, b"null", "application/json"),
    ],
    ids=["text", "bytes", "json", "null"],
)
async def test_sends_each_form_of_body(body: Any, sent: bytes, content_type: str) -> None:
    """Text goes as it is, base64 as its bytes, and any other value as canonical JSON."""
    async with web_service(says_ok) as service:
        await call(
            connector(),
            {"url": f"http://127.0.0.1:{service.port}/", "method": "PUT", "body": body},
        )
    assert service.bodies == [sent]
    assert service.requests[0].headers["content-type"] == content_type


async def test_a_safe_method_has_no_key_and_no_body() -> None:
    """A GET carries neither an idempotency key nor a body."""
    async with web_service(says_ok) as service:
        await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    headers = service.requests[0].headers
    assert service.lines == ["GET /"]
    assert not {"idempotency-key", "content-length", "transfer-encoding", "cookie"} & {
        name.lower() for name in headers
    }


async def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies that the environment names are not used (case 45)."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with web_service(says_ok) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert result.value["status"] == 200


async def test_the_credential_is_the_gateways_alone() -> None:
    """The service gets the credential that the gateway holds, and no result, error or repr shows it (case 63)."""
    server = HttpServer(authorization="Bearer s3cret", networks=(LOOPBACK,))
    async with web_service(says_ok) as service:
        result = await call(
            HttpConnector({"web": server}),
            {"path": "/"},
            {"base": f"http://127.0.0.1:{service.port}"},
        )
    assert service.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(server) + repr(result)


@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"Host": "evil.example"}},
        {"headers": {"Authorization": "Bearer other"}},
        {"headers": {"x-other": "1"}},
        {"headers": {"x-trace": "1\r\nHost: evil.example"}},
        {"headers": {"x-trace": "é"}},
        {"headers": {"x-trace": ["1"]}},
        {"headers": {"x-trace": "1", "X-Trace": "2"}},
        {"method": "CONNECT"},
        {"method": "get"},
        {"method": "GET /admin HTTP/1.1\r\n"},
        {"body": {"base64": "not base64"}},
        {"body": {"base64": 1}},
        {"path": "no-slash"},
        {"path": "/a?b"},
        {"path": "/../admin"},
        {"path": "/%2e%2e/admin"},
        {"path": "//evil.example/"},
        {"path": "@evil.example/"},
        {"path": 1},
        {"query": "a=b"},
        {"query": [["a"]]},
        {"query": [["a", 1]]},
        {"url": "http://127.0.0.1/"},
        {"verify": False},
    ],
    ids=str,
)
async def test_what_is_not_of_the_form_is_not_sent(arguments: dict[str, Any]) -> None:
    """A call that says more, less or other than the form is refused before its token is used (invariant 3)."""
    async with web_service(says_ok) as service:
        error = await refused(
            connector(),
            {"path": "/"} | arguments,
            http={"base": f"http://127.0.0.1:{service.port}/v1", "headers": ["x-trace"]},
        )
    assert error.reason == ErrorReason.ADDRESS_REFUSED
    assert "evil" not in error.message
    assert service.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "authorization",
        "COOKIE",
        "Transfer-Encoding",
        "Idempotency-Key",
        "Proxy-Foo",
        "X-Forwarded-For",
    ],
)
def test_no_catalog_gives_the_gateways_headers_away(name: str) -> None:
    """An entry that lets callers set what frames a message, or says who calls, is no entry."""
    with pytest.raises(ValueError, match="for the gateway to set"):
        a_tool("web", http={"headers": [name]})


# Where it is sent


@pytest.mark.parametrize("address", INWARDS)
async def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """Neither a literal nor a name leads inwards unless the operator says so (case 45)."""
    host = f"[{address}]" if ":" in address else address
    tools = connector(ScriptedNames([address]), networks=())
    for url in (f"http://{host}/", "http://innocent.example/"):
        assert (await refused(tools, {"url": url})).reason == ErrorReason.ADDRESS_REFUSED


async def test_one_bad_address_of_a_name_refuses_it() -> None:
    """A name with a public and a private address is not tried at the public one (case 46)."""
    tools = connector(ScriptedNames(["93.184.216.34", "10.0.0.1"]), networks=())
    assert (await refused(tools, {"url": "http://mixed.example/"})).reason == ErrorReason.ADDRESS_REFUSED


@pytest.mark.parametrize(
    "networks", [["10.0.0.0/8"], ["127.0.0.0/8"], ["0.0.0.0/0"]], ids=["10", "127", "all-ipv4"]
)
async def test_networks_are_allowed_as_they_are_written(networks: list[str]) -> None:
    """A network of IPv4 lets no IPv6 form of its addresses in (case 45)."""
    tools = connector(ScriptedNames(["::ffff:127.0.0.1"]), networks=tuple(map(ip_network, networks)))
    assert (await refused(tools, {"url": "http://mapped.example/"})).reason == ErrorReason.ADDRESS_REFUSED


async def test_a_name_is_looked_up_once_and_connected_to_there() -> None:
    """A name whose address changes between look-ups is reached where it was checked (case 46)."""
    names = ScriptedNames(["127.0.0.1"], ["169.254.169.254"])
    async with web_service(says_ok) as service:
        tools = connector(names)
        prepared = await tools.prepare(
            a_call(a_tool("web", http={}), {"url": f"http://moving.example:{service.port}/"})
        )
        result = await prepared.run()
        await prepared.close()
        assert result.value["status"] == 200
        assert service.requests[0].headers["host"] == f"moving.example:{service.port}"
        assert names.asked == ["moving.example"]
        error = await refused(tools, {"url": f"http://moving.example:{service.port}/"})
    assert error.reason == ErrorReason.ADDRESS_REFUSED


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    """Of several checked addresses, one that refuses the connection is passed over."""
    async with web_service(says_ok) as service:
        result = await call(
            connector(ScriptedNames(["127.0.0.2", "127.0.0.1"])),
            {"url": f"http://two.example:{service.port}/"},
        )
    assert result.value["status"] == 200


async def test_a_name_that_is_not_found_leaves_the_token() -> None:
    """Where no address is found, the call is not made, and may be tried again."""
    error = await refused(connector(), {"url": "http://nowhere.example/"})
    assert error.reason == ErrorReason.TOOL_UNAVAILABLE
    assert error.retry_after


async def test_tls_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    """A certificate of another name is refused, though the address is the right one (case 46)."""
    certificate, key = a_certificate_of("127.0.0.1", tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with web_service(says_ok, context) as service:
        tools = connector(ScriptedNames(["127.0.0.1"]), ca=certificate)
        good = await call(tools, {"url": f"https://127.0.0.1:{service.port}/"})
        assert good.value["status"] == 200
        bad = await call(tools, {"url": f"https://other.example:{service.port}/"})
        assert bad.failed
        assert "certificate" in bad.value["error"]
        assert len(service.requests) == 1


def test_a_ca_that_cannot_be_read_is_told() -> None:
    """A missing CA file is told at the start, with its name."""
    with pytest.raises(HttpServerError, match=r"nothing\.pem"):
        connector(ca=Path("nothing.pem"))


# Redirects


def redirects_to(location: str, status: int = 302) -> Any:
    async def handle(request: web.Request) -> web.Response:
        if request.path != "/first":
            return await says_ok(request)
        return web.Response(status=status, headers={"Location": location})

    return handle


async def test_a_redirect_is_an_answer_unless_it_may_be_followed() -> None:
    """With no redirects configured, a 3xx is the answer (case 46)."""
    async with web_service(redirects_to("/second")) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/first"})
    assert service.lines == ["GET /first"]
    assert (result.value["status"], result.value["headers"]["location"]) == (302, "/second")
    assert not result.failed


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2852039166/",
        "//localhost/",
        "http://other.example/",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "/%2e%2e/",
    ],
)
async def test_a_redirect_elsewhere_is_never_followed(location: str) -> None:
    """A hop to another host, inwards or not, is left to a new decision (case 46)."""
    names = ScriptedNames(["127.0.0.1"])
    async with web_service(redirects_to(location)) as service:
        result = await call(
            connector(names, redirects=5), {"url": f"http://api.example:{service.port}/first"}
        )
    assert service.lines == ["GET /first"]
    assert result.value["status"] == 302
    assert result.value["redirect"].startswith("not followed: ")
    assert names.asked == ["api.example"]


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("GET", 302, "GET"),
        ("HEAD", 303, "HEAD"),
    ],
)
async def test_a_hop_keeps_what_http_says(method: str, status: int, then: str) -> None:
    """Method and body of a hop are those of RFC 9110 15.4, and its credential stays with its origin."""
    body = {} if method in ("GET", "HEAD") else {"body": "x"}
    async with web_service(redirects_to("/second", status)) as service:
        await call(
            connector(redirects=1, authorization="Bearer s3cret"),
            {"url": f"http://127.0.0.1:{service.port}/first", "method": method, **body},
        )
    assert service.lines == [f"{method} /first", f"{then} /second"]
    assert service.bodies[1] == (b"x" if then == method and body else b"")
    assert service.requests[1].headers["authorization"] == "Bearer s3cret"


async def test_redirects_end() -> None:
    """A loop of redirects ends at the configured number, with the last of them as the answer."""

    async def loop(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/again"})

    async with web_service(loop) as service:
        result = await call(connector(redirects=3), {"url": f"http://127.0.0.1:{service.port}/"})
    assert len(service.requests) == 4
    assert result.value["status"] == 302


async def test_a_hop_stays_below_the_base() -> None:
    """A redirect leads no tool out of its base."""
    async with web_service(redirects_to("/admin")) as service:
        result = await call(
            connector(redirects=3),
            {"path": "/first"},
            {"base": f"http://127.0.0.1:{service.port}/"},
        )
        assert result.value["status"] == 200
        result = await call(
            connector(redirects=3),
            {"path": "/../first"},
            {"base": f"http://127.0.0.1:{service.port}/"},
        )
    assert result.value["status"] == 200


# What is answered


def answers(body: bytes, content_type: str | None = None, status: int = 200, **headers: str) -> Any:
    async def handle(request: web.Request) -> web.Response:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            said["Content-Type"] = content_type
        return web.Response(status=status, body=body, headers=said)

    return handle


@pytest.mark.parametrize(
    ("body", "content_type", "form", "value"),
    [
        (b'{"a": 1}', "application/json", "json", {"a": 1}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", "json", {"a": 1}),
        (b'{"a": ', "application/json", "text", '{"a": '),
        ("é".encode(), "text/html", "text", "é"),
        (b"\xe9", "text/html; charset=ISO-8859-1", "text", "é"),
        (b"\xe9", "text/html", "base64", "6Q=="),
        (b"x", "image/png", "text", "x"),
        (b"\x89PNG", "image/png", "base64", "iVBORw=="),
        (b"a\x00b", "text/plain", "base64", "YQBi"),
        (b"\xe9", "application/xml; charset=ISO-8859-1", "base64", "6Q=="),
        (b"\xff", "text/plain; charset=utf-7", "base64", "/w=="),
        (b"", "text/plain", "none", None),
    ],
    ids=[
        "json",
        "problem",
        "broken-json",
        "text",
        "latin",
        "no-utf-8",
        "text-as-image",
        "image",
        "nul",
        "latin-xml",
        "other-charset",
        "none",
    ],
)
async def test_each_form_of_answer(body: bytes, content_type: str, form: str, value: Any) -> None:
    """An answer's body is JSON, text or base64, as its type and its bytes allow."""
    async with web_service(answers(body, content_type)) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert (result.value["body_form"], result.value["body"]) == (form, value)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_an_error_of_the_service_is_a_failed_call(status: int) -> None:
    """From 400 on, the service says that it did not do it."""
    async with web_service(answers(b"no", "text/plain", status)) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert result.failed
    assert (result.value["status"], result.value["body"]) == (status, "no")


async def test_only_some_headers_are_told() -> None:
    """A cookie of the service stays at the gateway (case 63)."""
    async with web_service(answers(b"", None, 200, Set_Cookie="session=1", ETag='"1"')) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert result.value["headers"]["etag"] == '"1"'
    assert "set-cookie" not in result.value["headers"]


@pytest.mark.parametrize(
    ("encode", "name"), [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (gzip.compress, "X-GZIP")]
)
async def test_decompresses_what_it_asks_for(encode: Any, name: str) -> None:
    """What is in gzip or deflate is undone."""
    async with web_service(answers(encode(b"text"), "text/plain", Content_Encoding=name)) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert result.value["body"] == "text"
    assert service.requests[0].headers["accept-encoding"] == "gzip, deflate"


async def test_another_encoding_stays_as_it_is() -> None:
    """What was not asked for is told undone, with the encoding's name."""
    async with web_service(answers(b"\x8b\x02", "text/plain", Content_Encoding="br")) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert (result.value["body_form"], result.value["headers"]["content-encoding"]) == ("base64", "br")


async def test_a_bomb_goes_off_no_further_than_the_cap() -> None:
    """A small answer that decompresses to very much is read to the cap, and is truncated (case 29)."""
    bomb = gzip.compress(b"0" * 200_000_000, 1)
    async with web_service(answers(bomb, "text/plain", Content_Encoding="gzip")) as service:
        result = await call(
            connector(), {"url": f"http://127.0.0.1:{service.port}/"}, max_result_bytes=100_000
        )
    assert result.value["truncated"] is True
    assert set(result.value["body"]) == {"0"}
    assert 99_000 < len(canonicalize(result.value)) <= 100_000


async def test_an_endless_answer_is_read_to_the_cap() -> None:
    """A body without an end is cut at the cap (case 29)."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with web_service(endless) as service:
        result = await call(
            connector(), {"url": f"http://127.0.0.1:{service.port}/"}, max_result_bytes=1_000_000
        )
    assert result.value["truncated"] is True
    assert 999_000 < len(canonicalize(result.value)) <= 1_000_000


@pytest.mark.parametrize("most", [1, 200, 300, 301, 302, 303, 400])
async def test_an_answer_fits_its_limit_as_json(most: int) -> None:
    """A text is cut at a whole character, and so that all of the answer is within the limit, escapes and all."""
    text = 'é"\n' * 200
    async with web_service(answers(text.encode(), "text/plain")) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"}, max_result_bytes=most)
    assert text.startswith(result.value["body"])
    assert result.value["truncated"] is True
    assert len(canonicalize(result.value)) <= most or result.value["body"] == ""


async def test_a_broken_encoding_is_no_whole_answer() -> None:
    """What says gzip and is none is told as truncated; the status stands."""
    async with web_service(answers(b"no gzip", "text/plain", Content_Encoding="gzip")) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert (result.value["status"], result.value["truncated"]) == (200, True)


# What breaks


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte of a header at a time, without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood_of_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Headers without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 1_000 + b"\r\n")
        await writer.drain()


async def no_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The connection ends when the request is there."""
    await reader.readuntil(b"\r\n\r\n")


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Something else than HTTP."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail ready\r\n")
    await writer.drain()


async def half_an_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that ends early."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()


@pytest.mark.parametrize("speak", [drip, flood_of_headers, no_answer, no_http, half_an_answer])
async def test_without_a_whole_answer_the_outcome_is_unknown(speak: Any) -> None:
    """Once a request is sent, whatever goes wrong leaves it unknown whether it ran (invariant 8)."""
    async with socket_service(speak) as port:
        with pytest.raises(ToolOutcomeUnknown) as error:
            await call(connector(), {"url": f"http://127.0.0.1:{port}/"}, limit_seconds=0.5)
    assert "127.0.0.1" not in str(error.value)


async def test_where_nothing_was_sent_the_call_failed() -> None:
    """A service that takes no connection did not run the call, and that is told as such."""
    async with socket_service(no_answer) as port:
        pass
    result = await call(connector(), {"url": f"http://127.0.0.1:{port}/"})
    assert result == ToolResult(
        failed=True, value={"error": "the service could not be connected to; nothing was sent"}
    )


async def test_a_sandbox_cannot_be_given() -> None:
    """An obligation that this connector cannot meet refuses the call (invariant 1)."""
    error = await refused(connector(), {"url": "http://127.0.0.1/"}, sandbox=Sandbox(type="sandbox"))
    assert error.reason == ErrorReason.OBLIGATION_UNSUPPORTED


async def test_a_service_that_is_not_set_up_is_not_there() -> None:
    """Only configured web services are ready."""
    tools = connector()
    assert await tools.ready("web")
    assert not await tools.ready("other")


async def test_json_of_any_size_below_the_cap_is_json() -> None:
    """A large JSON answer is not held to the limits of arguments."""
    rows = [{"id": number} for number in range(50_000)]
    async with web_service(answers(json.dumps(rows).encode(), "application/json")) as service:
        result = await call(connector(), {"url": f"http://127.0.0.1:{service.port}/"})
    assert result.value["body"] == rows
