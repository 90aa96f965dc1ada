"""The gateway as a web server in front of web services: a request with its execution token is the call.

The service's status, body and some headers come back as they are, and what the gateway says of its own is a problem
(RFC 9457). Both bear `Interlock-Outcome`, and `Interlock-Execution-Id` where there was an execution.
"""

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web

from interlock.core import http_call
from interlock.core.canonical import canonicalize
from interlock.core.catalog import Catalog
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call, ExecutionResult
from interlock.core.outcome import OutcomeKind
from interlock.core.strict_json import MAX_BYTES
from interlock.core.web_address import AddressError
from interlock.flows.execute import Executor
from interlock.ports import Meter
from interlock.rpc.forward_arguments import arguments_of, http_tool, split_target
from interlock.rpc.problem import EXECUTION_ID, OUTCOME, problem, problem_of

logger = structlog.get_logger()

READ_SECONDS = 30.0
"""What a request's body may take to come."""

TRUNCATED = "Interlock-Truncated"

_BAD_GATEWAY = 502


def forward_application(
    executor: Executor, catalog: Catalog, meter: Meter, *, limit_seconds: float
) -> web.Application:
    """The application. Every path is a tool's; a call ends within `limit_seconds`, or its caller hears no more."""
    forward = _Forward(executor, catalog, meter, limit_seconds)
    application = web.Application(client_max_size=MAX_BYTES)
    # Any character, line ends too: what the router does not find, it would answer by itself.
    application.router.add_route("*", r"/{call:[\s\S]*}", forward.answer)
    return application


class _Forward:
    def __init__(self, executor: Executor, catalog: Catalog, meter: Meter, limit_seconds: float) -> None:
        self._executor = executor
        self._catalog = catalog
        self._meter = meter
        self._limit_seconds = limit_seconds

    async def answer(self, request: web.Request) -> web.Response:
        """Execute the call that the request is."""
        try:
            async with asyncio.timeout(self._limit_seconds):
                done = await self._executor.execute(await self._call(request))
            self._meter.executed(done.kind.value)
            return _told(done)
        except Exception as error:  # noqa: BLE001 - every error leaves in the one form
            told = _as_error(error)
            self._meter.failed(told.reason.value)
            return problem_of(told)

    async def _call(self, request: web.Request) -> Call:
        token = _bearer(request)
        name, rest = split_target(request.raw_path)
        entry = http_tool(self._catalog, name).entry.http
        assert entry is not None
        arguments = arguments_of(
            entry,
            method=request.method,
            rest=rest,
            headers=request.headers.items(),
            body=await _body(request),
            content_type=request.headers.get("Content-Type", ""),
        )
        try:
            http_call.read(entry, arguments)
        except AddressError as error:
            raise InterlockError(reason=ErrorReason.MALFORMED_REQUEST, message=str(error)) from error
        return Call(execution_token=token, tool=name, arguments_json=canonicalize(arguments))


def _bearer(request: web.Request) -> str:
    """The execution token (RFC 6750 2.1)."""
    values = request.headers.getall("Authorization", [])
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise InterlockError(
            reason=ErrorReason.CREDENTIAL_MISSING,
            message="an execution token is needed, in one `Authorization: Bearer` header",
        )
    return token.strip(" ")


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise InterlockError(
            reason=ErrorReason.MALFORMED_REQUEST, message=f"the body has more than {MAX_BYTES} bytes"
        ) from error


def _as_error(error: Exception) -> InterlockError:
    """What the caller hears. What broke inside stays inside, and in the gateway's log."""
    if isinstance(error, InterlockError):
        return error
    if isinstance(error, TimeoutError):
        return InterlockError(
            reason=ErrorReason.DEADLINE_EXCEEDED, message="the deadline passed before the answer"
        )
    logger.error("internal_error", method="forward", error=type(error).__name__, exc_info=error)
    return InterlockError(
        reason=ErrorReason.INTERNAL, message="something broke inside; the gateway's log says what"
    )


def _told(done: ExecutionResult) -> web.Response:
    headers = {EXECUTION_ID: done.execution_id, OUTCOME: done.kind.value}
    if done.kind is OutcomeKind.UNKNOWN:
        detail = "the request was sent and no whole answer came; it may have had its effect"
        return problem(_BAD_GATEWAY, "OUTCOME_UNKNOWN", detail, headers)
    value = orjson.loads(done.result_json)
    if isinstance(value, dict) and isinstance(value.get("status"), int):
        return _as_the_service(value, headers)  # unless an obligation made something else of it
    if done.kind is OutcomeKind.FAILED:
        return problem(_BAD_GATEWAY, "CALL_FAILED", "the call failed", headers, result=value)
    return web.json_response(value, headers=headers)


def _as_the_service(value: Mapping[str, Any], headers: dict[str, str]) -> web.Response:
    """The answer as the service gave it. JSON is in its canonical form, and text in UTF-8."""
    told = value.get("headers")
    said = {name: text for name, text in told.items() if _is_sendable(text)} if isinstance(told, dict) else {}
    said.pop("date", None)
    if value.get("truncated"):
        headers[TRUNCATED] = "true"
    form, body = value.get("body_form"), value.get("body")
    if form == "text" and said.get("content-type", "").startswith("text/"):
        said["content-type"] = f"{said['content-type'].partition(';')[0]}; charset=utf-8"
    return web.Response(status=value["status"], body=_octets(form, body), headers={**said, **headers})


def _octets(form: Any, body: Any) -> bytes | None:
    if form == "none" or body is None:
        return None
    if form == "base64" and isinstance(body, str):
        with contextlib.suppress(binascii.Error):  # it was redacted then
            return base64.b64decode(body, validate=True)
    if form != "json" and isinstance(body, str):
        return body.encode()
    return canonicalize(body)


def _is_sendable(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and text.isprintable()
