"""An OPA that misbehaves on the wire: raw HTTP over a unix socket, in named ways.

What is wrong with the whole engine is in BROKEN_ENGINES, with one proposal in FAILING_INPUTS (how it fails)
and BROKEN_RESULTS (what the policy gives for it), with the answer for a batch in BROKEN_BATCHES.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from tests.waiting import until

REVISION = "the-active-revision"
BAD = "bad"
"""The goal of the input that something is wrong with."""

SECRET = "hunter2"
"""A value of an argument, which no error may repeat."""

GOOD = b'{"verdict":"allow","reasons":[{"code":"test.fine","message":"fine"}],"obligations":[],"reservations":[]}'
GOOD_TERMS = (
    b'{"priority":50,"expire_seconds":3600,"use_seconds":900,"most_pending":{"agent":20,"tenant":1000,"agent_an_hour":200},'
    b'"roles":["approver"],"quorum":1,"permitted":true,"sufficient":true,"reasons":[]}'
)
PROVENANCE = orjson.dumps({"version": "1.22.2", "bundles": {"bundle.tar.gz": {"revision": REVISION}}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request, and the way to answer it. `good` is the good result for each of its inputs."""

    batch: bool
    good: bytes
    inputs: Sequence[Mapping[str, Any]]
    writer: asyncio.StreamWriter

    @property
    def has_bad(self) -> bool:
        return any(map(is_bad, self.inputs))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, body: bytes, status: str = "200 OK", headers: str = "") -> None:
        await self.send(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def give(self, results: Sequence[bytes]) -> None:
        """Answer as OPA does: one result, or an array of them for a batch."""
        result = b"[" + b",".join(results) + b"]" if self.batch else b"".join(results)
        await self.respond(envelope(result))


Behaviour = Callable[[Query], Awaitable[None]]


def is_bad(document: Mapping[str, Any]) -> bool:
    proposal = document.get("proposal", document)
    return bool(proposal.get("context", {}).get("goal") == BAD)


def envelope(result: bytes) -> bytes:
    return b'{"provenance":' + PROVENANCE + b',"result":' + result + b"}"


async def good(query: Query) -> None:
    """The OPA as it should be; everything is allowed."""
    await query.give([query.good for _ in query.inputs])


@dataclass(slots=True)
class MisbehavingOpa:
    """A server on the unix socket at `path`, which answers each request with `behave`."""

    path: Path
    behave: Behaviour = good
    queries: list[Query] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self.path, limit=2**26)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            while not writer.is_closing():
                query = await _read_query(reader, writer)
                self.queries.append(query)
                await self._until_gone(query, reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            self.open_connections -= 1
            writer.close()

    async def _until_gone(self, query: Query, reader: asyncio.StreamReader) -> None:
        """Answer, but no longer than the client listens: it sends nothing more before it has its answer."""
        answering = asyncio.ensure_future(self.behave(query))
        listening = asyncio.ensure_future(until(reader.at_eof, poll_seconds=0.005))
        try:
            await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionError
            answering.result()
        finally:
            answering.cancel()
            listening.cancel()
            await asyncio.gather(answering, listening, return_exceptions=True)


async def _read_query(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Query:
    head = await reader.readuntil(b"\r\n\r\n")
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    document = orjson.loads(await reader.readexactly(int(length.partition(b":")[2])))["input"]
    batch = b"/batch?" in head
    good = GOOD_TERMS if b"/v1/data/interlock/approval/" in head else GOOD
    return Query(batch=batch, good=good, inputs=document["batch"] if batch else [document], writer=writer)


# What is wrong with the whole engine -----------------------------------------------------------------------


async def _never(query: Query) -> None:
    await asyncio.Event().wait()


async def _drip(query: Query) -> None:
    await query.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await query.send(b" ")
        await asyncio.sleep(0.01)


async def _drip_headers(query: Query) -> None:
    await query.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await query.send(b"X-Drip: drop\r\n")
        await asyncio.sleep(0.02)


async def _close(query: Query) -> None:
    query.writer.close()


async def _reset(query: Query) -> None:
    query.writer.transport.abort()


def _sends(data: bytes) -> Behaviour:
    """Sends these very bytes and closes."""

    async def behave(query: Query) -> None:
        await query.send(data)
        query.writer.close()

    return behave


def _responds(body: bytes, status: str = "200 OK", headers: str = "") -> Behaviour:
    async def behave(query: Query) -> None:
        await query.respond(body, status, headers)

    return behave


def _json(**members: Any) -> Behaviour:
    """Answers status 200 with these members, and with a good result under the right provenance but for them."""

    async def behave(query: Query) -> None:
        result = [orjson.loads(query.good)] * len(query.inputs) if query.batch else orjson.loads(query.good)
        answer = {"provenance": orjson.loads(PROVENANCE), "result": result} | members
        await query.respond(
            orjson.dumps({name: value for name, value in answer.items() if value is not None})
        )

    return behave


def _wraps(before: bytes, after: bytes, headers: str = "") -> Behaviour:
    """A good answer between other bytes."""

    async def behave(query: Query) -> None:
        results = b"[" + b",".join([query.good] * len(query.inputs)) + b"]" if query.batch else query.good
        await query.respond(before + envelope(results) + after, headers=headers)

    return behave


async def _gzipped(query: Query) -> None:
    results = b"[" + b",".join([query.good] * len(query.inputs)) + b"]" if query.batch else query.good
    await query.respond(gzip.compress(envelope(results)), headers="Content-Encoding: gzip\r\n")


async def _endless(query: Query) -> None:
    """More and more, as fast as it is taken."""
    await query.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await query.send(b"100000\r\n" + b" " * 0x100000 + b"\r\n")


async def _provenance_twice(query: Query) -> None:
    results = b"[" + b",".join([query.good] * len(query.inputs)) + b"]" if query.batch else query.good
    other = b'{"provenance":{"bundles":{"other":{"revision":"other"}}},"provenance":' + PROVENANCE
    await query.respond(other + b',"result":' + results + b"}")


def _bundles(*revisions: object) -> dict[str, Any]:
    return {
        "bundles": {f"bundle-{number}": {"revision": revision} for number, revision in enumerate(revisions)}
    }


def _failure(code: str, *, error: str = "") -> bytes:
    """A failure as OPA tells it, with what rules gave in its message."""
    errors = [{"code": error, "message": f"rules gave {SECRET}"}] if error else []
    return orjson.dumps(
        {"code": code, "message": f"about {SECRET}", "errors": errors}, option=orjson.OPT_INDENT_2
    )


_HTML = b"<html><body>Welcome! allow</body></html>"
_DEEP = b"[" * 100_000 + b"]" * 100_000

UNREACHABLE_ENGINES: dict[str, Behaviour] = {
    "closes": _close,
    "resets the connection": _reset,
    "closes within the header": _sends(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "closes within the body": _sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + envelope(GOOD)),
    "closes within a chunk": _sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{}"),
    "speaks no HTTP": _sends(b"220 mail.example ESMTP\r\n"),
    "sends a length that is none": _sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
    "sends two lengths": _sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}."),
    "sends an endless header": _sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    "wants a credential": _responds(_failure("unauthorized"), "401 Unauthorized"),
    "forbids": _responds(_HTML, "403 Forbidden"),
    "finds nothing there": _responds(b"404 page not found", "404 Not Found"),
    "has too much to do": _responds(b"", "429 Too Many Requests"),
    "fails in plain text": _responds(b"oops", "500 Internal Server Error"),
    "fails in JSON that is not OPA's": _responds(
        b'{"errors":[1,{"code":["eval"]}]}', "500 Internal Server Error"
    ),
    "fails in a JSON array": _responds(b"[]", "500 Internal Server Error"),
    "is behind a broken proxy": _responds(_HTML, "502 Bad Gateway"),
    "is away": _responds(b"", "503 Service Unavailable", "Retry-After: 1\r\n"),
    "redirects": _responds(b"", "302 Found", "Location: /v1/data/interlock/decision/result\r\n"),
    "redirects with the query": _responds(
        envelope(GOOD), "307 Temporary Redirect", "Location: /elsewhere\r\n"
    ),
    "has no content": _sends(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "has made something": _responds(envelope(GOOD), "201 Created"),
    "has a part": _responds(envelope(GOOD), "206 Partial Content"),
    "finds the query bad in HTML": _responds(_HTML, "400 Bad Request"),
}

LATE_ENGINES: dict[str, Behaviour] = {
    "never answers": _never,
    "drips its body": _drip,
    "drips its header": _drip_headers,
}

OTHER_REVISIONS: dict[str, Behaviour] = {
    "empty object": _responds(b"{}"),
    "null result and nothing more": _responds(b'{"result":null}'),
    "good result and nothing more": _json(provenance=None),
    "provenance null": _wraps(b'{"a":', b',"provenance":null,"result":true}'),
    "provenance without bundles": _json(provenance={"version": "1.22.2"}),
    "provenance is text": _json(provenance=REVISION),
    "bundles is a list": _json(provenance={"bundles": [{"revision": REVISION}]}),
    "no bundle": _json(provenance=_bundles()),
    "bundle is text": _json(provenance={"bundles": {"bundle": REVISION}}),
    "revision of the whole": _json(provenance={"revision": REVISION}),
    "two bundles": _json(provenance=_bundles(REVISION, "other")),
    "the right bundle twice": _json(provenance=_bundles(REVISION, REVISION)),
    "another revision": _json(provenance=_bundles("other")),
    "the revision in capitals": _json(provenance=_bundles(REVISION.upper())),
    "an empty revision": _json(provenance=_bundles("")),
    "a list of revisions": _json(provenance=_bundles([REVISION])),
    "no revision": _json(provenance=_bundles(None)),
}

MALFORMED_ANSWERS: dict[str, Behaviour] = {
    "HTML": _responds(_HTML, headers="Content-Type: text/html\r\n"),
    "plain text": _responds(b"allow"),
    "nothing": _responds(b""),
    "JSON text": _responds(b'"allow"'),
    "JSON true": _responds(b"true"),
    "JSON null": _responds(b"null"),
    "JSON array": _wraps(b"[", b"]"),
    "bytes after the value": _wraps(b"", b" trailing"),
    "a second value": _wraps(b"", b'{"result":{}}'),
    "a byte order mark": _wraps(b"\xef\xbb\xbf", b""),
    "not UTF-8": _wraps(b'{"\xff":', b"}"),
    "gzip": _gzipped,
    "without end": _endless,
    "10 MB": _wraps(b"", b" " * 10_000_000),
    "100,000 brackets": _responds(_DEEP),
    "brackets that do not close": _responds(b"[" * 100_000),
    "provenance twice": _provenance_twice,
    "a warning": _json(
        warning={"code": "api_usage_warning", "message": "'input' key missing from the request"}
    ),
    "an empty warning": _json(warning={}),
}

# What is wrong with one proposal ---------------------------------------------------------------------------


def fails(how: Behaviour) -> Behaviour:
    """Good answers, but where a bad input is in the query, for it or for its whole batch."""

    async def behave(query: Query) -> None:
        await (how(query) if query.has_bad else good(query))

    return behave


def gives(result: bytes) -> Behaviour:
    """Good results, and this one for a bad input."""

    async def behave(query: Query) -> None:
        await query.give([result if is_bad(document) else query.good for document in query.inputs])

    return behave


async def _undefined(query: Query) -> None:
    """As OPA does: no result, and in a batch one element less."""
    if query.batch:
        await query.give([query.good for document in query.inputs if not is_bad(document)])
    else:
        await query.respond(b'{"provenance":' + PROVENANCE + b"}")


_500 = "500 Internal Server Error"

FAILING_INPUTS: dict[str, tuple[Behaviour, str]] = {
    "conflict": (_responds(_failure("internal_error", error="eval_conflict_error"), _500), "POLICY_CONFLICT"),
    "builtin error": (
        _responds(_failure("internal_error", error="eval_builtin_error"), _500),
        "POLICY_EVALUATION_FAILED",
    ),
    "other evaluation error": (
        _responds(_failure("internal_error", error="eval_type_error"), _500),
        "POLICY_EVALUATION_FAILED",
    ),
    "internal error": (_responds(_failure("internal_error"), _500), "POLICY_EVALUATION_FAILED"),
    "input refused": (
        _responds(_failure("invalid_parameter"), "400 Bad Request"),
        "POLICY_EVALUATION_FAILED",
    ),
    "input too large": (_responds(_HTML, "413 Content Too Large"), "POLICY_EVALUATION_FAILED"),
    "undefined": (_undefined, "POLICY_UNDEFINED"),
    "no end": (_never, "POLICY_ENGINE_TIMEOUT"),
}


def _result(**members: Any) -> bytes:
    """The good result with these members; without those that are None."""
    result = orjson.loads(GOOD) | members
    return orjson.dumps({name: value for name, value in result.items() if value is not None})


def _reason(**members: Any) -> bytes:
    """A good result whose one reason has these members."""
    return _result(reasons=[{"code": "test.fine", "message": "fine"} | members])


def _metadata(value: bytes) -> bytes:
    """A good result with this JSON, or what looks like it, in the metadata of its reason."""
    return _reason(metadata={"value": "HERE"}).replace(b'"HERE"', value)


BROKEN_RESULTS: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "text": b'"allow"',
    "number": b"1",
    "array": b"[]",
    "array of a good one": b"[" + GOOD + b"]",
    "empty object": b"{}",
    "verdict Allow": _result(verdict="Allow"),
    "verdict ALLOW": _result(verdict="ALLOW"),
    "verdict permit": _result(verdict="permit"),
    "verdict maybe": _result(verdict="maybe"),
    "verdict with a space": _result(verdict="allow "),
    "verdict empty": _result(verdict=""),
    "verdict true": _result(verdict=True),
    "verdict 1": _result(verdict=1),
    "verdict in an array": _result(verdict=["allow"]),
    "verdict null": GOOD.replace(b'"allow"', b"null"),
    "two verdicts": _result(verdict=["allow", "deny"]),
    "no verdict": _result(verdict=None),
    "no reasons": _result(reasons=None),
    "no obligations": _result(obligations=None),
    "no reservations": _result(reservations=None),
    "extra key": _result(allow=True),
    "verdict twice": GOOD.replace(b"{", b'{"verdict":"deny",', 1),
    "allow without a reason": _result(reasons=[]),
    "reasons is an object": _result(reasons={"code": "test.fine"}),
    "reasons is text": _result(reasons="fine"),
    "reason is text": _result(reasons=["test.fine"]),
    "reason is null": GOOD.replace(b'{"code":"test.fine","message":"fine"}', b"null"),
    "reason code without a topic": _reason(code="fine"),
    "reason code in capitals": _reason(code="Test.Fine"),
    "reason code with a line after it": _reason(code="test.fine\n"),
    "reason code is a number": _reason(code=1),
    "reason without text": _reason(message=""),
    "reason with a path that is none": _reason(path="arguments"),
    "reason with metadata in an array": _reason(metadata=[]),
    "reason with an extra key": _reason(severity="low"),
    "obligation without a type": _result(obligations=[{"seconds": 1}]),
    "obligation is text": _result(obligations=["timeout"]),
    "obligations is an object": _result(obligations={"type": "timeout"}),
    "a reservation": _result(reservations=[{"budget": "daily", "amount": 1}]),
    "a reservation without its limit": _result(
        reservations=[{"type": "concurrency", "scope": "tenant", "name": "mail"}]
    ),
    "two reservations for one resource": _result(reservations=[{"type": "lease", "resource": "orders"}] * 2),
    "17 reservations": _result(
        reservations=[{"type": "lease", "resource": f"resource-{number}"} for number in range(17)]
    ),
    "reservations is an object": _result(reservations={}),
    "NaN": _metadata(b"NaN"),
    "infinity": _metadata(b"1e400"),
    "an integer that is not exact": _metadata(b"9007199254740993"),
    "a lone surrogate": _metadata(b'"\\ud800"'),
    "not UTF-8": _metadata(b'"\xff"'),
    "nested 300 deep": _metadata(b"[" * 300 + b"]" * 300),
    "nested 100,000 deep": _metadata(_DEEP),
    "500,000 broken reasons": _result(reasons=[0] * 500_000),
    "100,000 extra keys": _result(**{f"key_{number}": 0 for number in range(100_000)}),
}


def _terms(**members: Any) -> bytes:
    """The good terms with these members; without those that are `...`."""
    terms = orjson.loads(GOOD_TERMS) | members
    return orjson.dumps({name: value for name, value in terms.items() if value is not ...})


_TERMS = tuple(orjson.loads(GOOD_TERMS))

BROKEN_TERMS: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "an array of good ones": b"[" + GOOD_TERMS + b"]",
    "empty object": b"{}",
    "what is given for a decision": GOOD,
    "extra key": _terms(approved=True),
    "permitted twice": GOOD_TERMS.replace(b"{", b'{"permitted":false,', 1),
    **{f"no {name}": _terms(**{name: ...}) for name in _TERMS},
    **{f"{name} null": _terms(**{name: None}) for name in _TERMS},
    "permitted 1": _terms(permitted=1),
    "permitted in text": _terms(permitted="true"),
    "sufficient 1": _terms(sufficient=1),
    "sufficient in text": _terms(sufficient="true"),
    "not permitted without a reason": _terms(permitted=False),
    "priority 101": _terms(priority=101),
    "priority below 0": _terms(priority=-1),
    "priority in text": _terms(priority="50"),
    "priority with a point": _terms(priority=0.5),
    "quorum of nobody": _terms(quorum=0),
    "quorum of 17": _terms(quorum=17),
    "quorum true": _terms(quorum=True),
    "never expires": _terms(expire_seconds=2_592_001),
    "expires at once": _terms(expire_seconds=0),
    "used for ever": _terms(use_seconds=86_401),
    "none may wait": _terms(most_pending={"agent": 0, "tenant": 1, "agent_an_hour": 1}),
    "any number may wait": _terms(most_pending={"agent": 20}),
    "most pending by user": _terms(
        most_pending={"agent": 20, "tenant": 1000, "agent_an_hour": 200, "user": 1}
    ),
    "roles in text": _terms(roles="approver"),
    "a role is no name": _terms(roles=["Approver!"]),
    "65 roles": _terms(roles=[f"role-{number}" for number in range(65)]),
    "reasons in text": _terms(permitted=False, reasons="no"),
    "a reason without a topic": _terms(permitted=False, reasons=[{"code": "no", "message": "no"}]),
}

# What is wrong with the answer for a batch only ------------------------------------------------------------


def for_a_batch(how: Behaviour) -> Behaviour:
    """Good answers for one input alone."""

    async def behave(query: Query) -> None:
        await (how(query) if query.batch else good(query))

    return behave


async def _one_too_many(query: Query) -> None:
    await query.give([query.good] * (len(query.inputs) + 1))


async def _one_too_few(query: Query) -> None:
    await query.give([query.good] * (len(query.inputs) - 1))


BROKEN_BATCHES: dict[str, Behaviour] = {
    "one result too many": _one_too_many,
    "one result too few": _one_too_few,
    "no result": _json(result=[]),
    "not a list": _json(result=orjson.loads(GOOD)),
    "text": _json(result="all allowed"),
    "null": _responds(envelope(b"null")),
    "undefined": _json(result=None),
    "too slow": _never,
    "too large for a proxy": _responds(_HTML, "413 Content Too Large"),
    "conflict": _responds(_failure("internal_error", error="eval_conflict_error"), _500),
    "HTML": _responds(_HTML),
}
