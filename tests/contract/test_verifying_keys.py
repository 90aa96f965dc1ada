"""Public keys from a JWKS document, a file, and a real HTTP server on this machine."""

import asyncio
import base64
import contextlib
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.adapters.verifying_keys import FixedVerifyingKeys, KeySetError, RemoteVerifyingKeys
from interlock.core.token import VerifyingKeys

WYCHEPROOF = Path(__file__).parents[1] / "data" / "wycheproof"
KEYS = {f"key-{number}": Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(1, 4)}


def jwk(name: str, **changes: Any) -> dict[str, Any]:
    x = base64.urlsafe_b64encode(KEYS[name].public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": name, "alg": "EdDSA", "use": "sig"} | changes


def jwks(*kids: str) -> bytes:
    return json.dumps({"keys": [jwk(kid) for kid in kids]}).encode()


def knows(keys: VerifyingKeys, kid: str) -> bool:
    return keys.verify(kid, b"data", KEYS[kid].sign(b"data")) is True


# A document


def test_verifies_with_the_key_of_the_name() -> None:
    """A signature verifies under its own key, not under another, and an unknown name has no key (case 35)."""
    keys, signature = FixedVerifyingKeys.from_jwks(jwks("key-1", "key-2")), KEYS["key-1"].sign(b"data")
    assert keys.verify("key-1", b"data", signature) is True
    assert keys.verify("key-1", b"other", signature) is False
    assert keys.verify("key-2", b"data", signature) is False
    assert keys.verify("key-3", b"data", signature) is None
    assert keys.verify("", b"data", signature) is None


@pytest.mark.parametrize("line", (WYCHEPROOF / "ed25519_test.jsonl").read_text().splitlines())
def test_agrees_with_every_ed25519_vector_of_wycheproof(line: str) -> None:
    """Each valid signature of Wycheproof is accepted and each invalid one refused (RFC 8032)."""
    vector = json.loads(line)
    members = vector["key"]["publicKeyJwk"] | {"kid": "key-1", "alg": "EdDSA", "use": "sig"}
    keys = FixedVerifyingKeys.from_jwks(json.dumps({"keys": [members]}).encode())
    verified = keys.verify("key-1", bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"]))
    assert verified is (vector["result"] == "valid")


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "RSA"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"crv": "X25519"},
        {"crv": "Ed448"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": None},
        {"use": "enc"},
        {"kid": "../key"},
        {"kid": "KEY-1"},
        {"kid": "k" * 65},
        {"kid": 1},
        {"x": "A" * 42},
        {"x": "A" * 43 + "="},
        {"x": "+" * 43},
        {"x": "A" * 42 + "B"},
        {"d": "A" * 43},
        {"x5u": "https://attacker.example"},
        {"key_ops": ["verify"]},
    ],
    ids=json.dumps,
)
def test_refuses_every_other_kind_of_key(changes: dict[str, Any]) -> None:
    """One key that is no public Ed25519 key for signatures spoils the set (RFC 8725 3.1, case 34)."""
    document = json.dumps({"keys": [jwk("key-1"), jwk("key-2", **changes)]}).encode()
    with pytest.raises(KeySetError) as caught:
        FixedVerifyingKeys.from_jwks(document)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("name", ["kty", "crv", "x", "kid", "alg", "use"])
def test_refuses_a_key_without_a_member(name: str) -> None:
    """Each member of a key is there."""
    members = {key: value for key, value in jwk("key-1").items() if key != name}
    with pytest.raises(KeySetError, match=f"/keys/0/{name}"):
        FixedVerifyingKeys.from_jwks(json.dumps({"keys": [members]}).encode())


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"", "not one JSON value"),
        (b"[]", "expected an object"),
        (b"{}", "/keys"),
        (b'{"keys":[]}', "/keys"),
        (b'{"keys":{}}', "/keys"),
        (b'{"keys":null}', "/keys"),
        (jwks("key-1") + jwks("key-1"), "not one JSON value"),
        (jwks("key-1")[:-1] + b',"keys":[]}', "repeats a key"),
        (jwks("key-1")[:-1] + b',"note":1}', "/note"),
        (jwks("key-1", "key-1"), "`kid` is there twice"),
        (jwks("key-1").ljust(65_537), "at most 65536 bytes"),
        (jwks(*["key-1"] * 65), "/keys"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_refuses_a_document_that_is_no_key_set(document: bytes, problem: str) -> None:
    """A set is one strict JSON object of at least one key, each of its own name; empty never means yes."""
    with pytest.raises(KeySetError, match=problem):
        FixedVerifyingKeys.from_jwks(document)


def test_reads_a_file(tmp_path: Path) -> None:
    """Keys can be given as a file; errors name it."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks("key-1"))
    assert knows(FixedVerifyingKeys.from_file(path), "key-1")
    path.write_bytes(b"{}")
    with pytest.raises(KeySetError, match=r"jwks\.json` is no key set to use"):
        FixedVerifyingKeys.from_file(path)
    with pytest.raises(KeySetError, match="cannot be read"):
        FixedVerifyingKeys.from_file(tmp_path / "none.json")


async def test_fixed_keys_need_no_waiting() -> None:
    """Fixed and remote keys are used alike: `ensure`, then `verify`."""
    keys = FixedVerifyingKeys.from_jwks(jwks("key-1"))
    await keys.ensure("key-2")
    assert not knows(keys, "key-2")


# A server


class Issuer:
    """A JWKS server on a port of its own, whose answer a test sets."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
        self.publish("key-1")

    def publish(self, *kids: str) -> None:
        self.say(web.Response, body=jwks(*kids), content_type="application/jwk-set+json")

    def say(self, response: Callable[..., web.StreamResponse], **arguments: Any) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return response(**arguments)

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        return await self.answer(request)


class FakeSeconds:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@contextlib.asynccontextmanager
async def serving(issuer: Issuer, port: int = 0) -> AsyncIterator[Issuer]:
    application = web.Application()
    application.router.add_get("/{anything:.*}", issuer.handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/.well-known/jwks.json"
    try:
        yield issuer
    finally:
        await runner.cleanup()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with serving(Issuer()) as started:
        yield started


@pytest.fixture
def seconds() -> FakeSeconds:
    return FakeSeconds()


async def test_fetches_at_the_start_and_then_again(issuer: Issuer) -> None:
    """Keys are there when the block begins, and a set that changes is taken up by itself, whole."""
    asked, asked_again = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        (asked_again if asked.is_set() else asked).set()
        return web.Response(body=jwks("key-2"))

    async with RemoteVerifyingKeys(issuer.url, refresh_seconds=0.01).running() as keys:
        assert keys.ready
        assert knows(keys, "key-1")
        issuer.answer = answer
        await asked_again.wait()
        assert knows(keys, "key-2")
        assert keys.verify("key-1", b"data", bytes(64)) is None


async def test_stops_with_the_block(issuer: Issuer) -> None:
    """Nothing goes on fetching after the end of the block."""
    before = asyncio.all_tasks()
    keys = RemoteVerifyingKeys(issuer.url)
    async with keys.running():
        assert refreshing(asyncio.all_tasks() - before)
    assert not refreshing(asyncio.all_tasks() - before)


def refreshing(tasks: set[asyncio.Task[Any]]) -> bool:
    return any("_refresh_for_ever" in repr(task) for task in tasks)


async def test_an_unknown_key_makes_one_refresh(issuer: Issuer, seconds: FakeSeconds) -> None:
    """A key published since the last refresh is found when its first token comes (case 40)."""
    keys = RemoteVerifyingKeys(issuer.url, monotonic=seconds)
    await keys.refresh()
    issuer.publish("key-1", "key-2")
    assert not knows(keys, "key-2")
    await keys.ensure("key-2")
    assert knows(keys, "key-2")
    assert issuer.requests == 2


async def test_a_known_key_makes_none(issuer: Issuer, seconds: FakeSeconds) -> None:
    """Tokens of known keys never wait for the issuer, even while it hangs on behalf of an unknown one."""
    keys = RemoteVerifyingKeys(issuer.url, monotonic=seconds)
    await keys.refresh()
    asked, release = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        asked.set()
        await release.wait()
        return web.Response(body=jwks("key-1"))

    issuer.answer = hang
    unknown = asyncio.create_task(keys.ensure("key-2"))
    await asked.wait()
    await keys.ensure("key-1")
    assert not unknown.done()
    release.set()
    await unknown
    assert issuer.requests == 2


async def test_unknown_keys_are_asked_for_at_most_every_5_seconds(
    issuer: Issuer, seconds: FakeSeconds
) -> None:
    """However many tokens bring whatever names, there is one refresh in 5 seconds, then denial (case 40)."""
    keys = RemoteVerifyingKeys(issuer.url, monotonic=seconds)
    await keys.refresh()
    await asyncio.gather(*(keys.ensure(f"key-{number}") for number in range(2, 52)))
    seconds.seconds += 4.9
    await keys.ensure("key-2")
    assert issuer.requests == 2
    seconds.seconds += 0.1
    await asyncio.gather(*(keys.ensure("key-2") for _ in range(50)))
    assert issuer.requests == 3
    assert keys.verify("key-2", b"data", bytes(64)) is None


async def test_a_failed_refresh_of_an_unknown_key_counts(issuer: Issuer, seconds: FakeSeconds) -> None:
    """An issuer that fails is not asked more often than one that answers (case 57)."""
    issuer.say(web.Response, status=500)
    keys = RemoteVerifyingKeys(issuer.url, monotonic=seconds)
    for _ in range(10):
        await keys.ensure("key-1")
    assert issuer.requests == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"status": 500, "body": jwks("key-2")}, "answered 500"),
        ({"status": 204}, "answered 204"),
        ({"status": 404}, "answered 404"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "answered 302"),
        ({"body": b""}, "not one JSON value"),
        ({"body": b'{"keys":[]}'}, "/keys"),
        ({"body": b"<html>"}, "not one JSON value"),
        ({"body": jwks("key-2").ljust(65_537)}, "at most 65536 bytes"),
        ({"body": gzip.compress(bytes(10**7)), "headers": {"Content-Encoding": "gzip"}}, "not UTF-8"),
    ],
    ids=["500", "204", "404", "redirect", "empty", "no keys", "html", "large", "gzip bomb"],
)
async def test_a_bad_answer_leaves_the_keys_as_they_were(
    issuer: Issuer, arguments: dict[str, Any], problem: str
) -> None:
    """Whatever is not a good set in a 200 answer changes nothing, and no redirect is followed (cases 32, 46)."""
    keys = RemoteVerifyingKeys(issuer.url)
    await keys.refresh()
    issuer.say(web.Response, **arguments)
    with pytest.raises(KeySetError, match=problem):
        await keys.refresh()
    assert knows(keys, "key-1")
    assert issuer.requests == 2


async def test_a_truncated_answer_leaves_the_keys_as_they_were(issuer: Issuer) -> None:
    """An answer that breaks off is no answer."""
    keys = RemoteVerifyingKeys(issuer.url)
    await keys.refresh()

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(jwks("key-2")[:50])
        assert request.transport is not None
        request.transport.abort()
        return response

    issuer.answer = break_off
    with pytest.raises(KeySetError, match="cannot be reached"):
        await keys.refresh()
    assert knows(keys, "key-1")


async def test_an_endless_answer_is_cut(issuer: Issuer) -> None:
    """A body without end is given up at 64 KiB."""

    async def drone(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 4096)
        return response

    issuer.answer = drone
    with pytest.raises(KeySetError, match="at most 65536 bytes, got more"):
        await RemoteVerifyingKeys(issuer.url).refresh()


async def test_an_answer_that_does_not_come_is_given_up(issuer: Issuer) -> None:
    """A fetch has a limit over all of it, and the error says so."""
    given_up = asyncio.Event()

    async def wait(_: web.Request) -> web.StreamResponse:
        await given_up.wait()
        return web.Response()

    issuer.answer = wait
    with pytest.raises(KeySetError, match=r"did not answer within 0\.1 seconds"):
        await RemoteVerifyingKeys(issuer.url, fetch_seconds=0.1).refresh()
    given_up.set()


async def test_starts_without_the_issuer_and_recovers(seconds: FakeSeconds) -> None:
    """A gateway may start first: it refuses every token, and finds the keys once the issuer is there."""
    issuer = Issuer()
    async with serving(issuer):
        port = int(issuer.url.split(":")[2].split("/")[0])
    async with RemoteVerifyingKeys(issuer.url, monotonic=seconds).running() as keys:
        assert not keys.ready
        assert keys.verify("key-1", b"data", bytes(64)) is None
        async with serving(issuer, port):
            await keys.ensure("key-1")
            assert knows(keys, "key-1")


@pytest.mark.parametrize(
    "url",
    [
        "http://interlock.example/.well-known/jwks.json",
        "http://192.0.2.1/jwks.json",
        "http://127.0.0.1.attacker.example/jwks.json",
        "http://127.1/jwks.json",
        "file:///etc/jwks.json",
        "/jwks.json",
        "",
        "https:///jwks.json",
        "https://user:password@interlock.example/jwks.json",
        "http://[::1",
    ],
)
def test_refuses_a_url_that_others_could_answer(url: str) -> None:
    """Keys come over TLS, or from this machine: who forges the set makes tokens (RFC 8725 3.10, case 62)."""
    with pytest.raises(KeySetError) as caught:
        RemoteVerifyingKeys(url)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://interlock.example/jwks.json", "http://localhost:8080/jwks.json", "http://[::1]:8080/jwks.json"],
)
def test_takes_a_url_that_only_the_issuer_can_answer(url: str) -> None:
    """The URL is https to anywhere, or http to this machine."""
    assert not RemoteVerifyingKeys(url, tls=ssl.create_default_context()).ready
