"""A gRPC method around a servicer's method: strict bytes in, the caller known, time bounded, one error form."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Never, Protocol, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_status import rpc_status

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.flows.authenticate import require
from interlock.ports import Meter
from interlock.rpc.status import CODES, to_status

logger = structlog.get_logger()

Context = grpc.aio.ServicerContext[bytes, bytes]
Authenticate = Callable[[str | None], Awaitable[Caller]]
Run = Callable[[Any, "Call"], Awaitable[Message]]
"""A servicer's method: its first parameter is a message, or an AsyncIterator of them where the client streams."""

Method = TypeVar("Method", bound=Callable[..., Awaitable[Message]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds that a call may take: where the caller set no deadline, and at most."""

    default: float = 5.0
    longest: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a servicer knows of a call beside its message. `caller` is None where no credential is asked for."""

    caller: Caller | None
    limit_seconds: float


def caller_of(call: Call, *kinds: CallerKind) -> Caller:
    """The caller, who must be of one of these kinds. Raises InterlockError: CALLER_NOT_PERMITTED."""
    if call.caller is None:
        raise InterlockError(reason=ErrorReason.CREDENTIAL_MISSING, message="a bearer credential is needed")
    require(call.caller, *kinds)
    return call.caller


def checks_its_items(method: Method) -> Method:
    """Marks a servicer's method that refuses unknown fields item by item, so that one spoils no other."""
    method.checks_its_items = True  # type: ignore[attr-defined]
    return method


class Servicer(Protocol):
    """What answers the methods of `service`: each in snake case, as `async (message, call) -> message`.

    Where the client streams, it gets an AsyncIterator of messages, each parsed when it is asked for.
    """

    service: ServiceDescriptor


def service_handler(
    servicer: Servicer, *, meter: Meter, deadlines: Deadlines, authenticate: Authenticate | None
) -> tuple[str, grpc.GenericRpcHandler]:
    """The service's full name, and a handler for all of its methods.

    grpcio's own deserializers would answer UNKNOWN to bad UTF-8 and let unknown fields pass (case 33).
    """
    endpoint = _Endpoint(meter=meter, deadlines=deadlines, authenticate=authenticate)
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method.name: endpoint.handler(method, getattr(servicer, _snake_case(method.name)))
        for method in servicer.service.methods
    }
    name = servicer.service.full_name
    return name, grpc.method_handlers_generic_handler(name, methods)


def refuse_unknown_fields(message: Message) -> None:
    """Raises InterlockError where the message, or one within it, has fields that this version does not know."""
    if _has_unknown_fields(message):
        raise _malformed("the message has fields that this version does not know")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoint:
    """What is around every method."""

    meter: Meter
    deadlines: Deadlines
    authenticate: Authenticate | None

    def handler(self, method: MethodDescriptor, run: Run) -> "grpc.RpcMethodHandler[bytes, bytes]":
        message_type = GetMessageClass(method.input_type)
        deep = not getattr(run, "checks_its_items", False)

        async def answer(data: bytes, context: Context) -> bytes:
            return await self._answer(
                method, context, lambda call: run(_parse(message_type, data, deep=deep), call)
            )

        async def answer_stream(_: object, context: Context) -> bytes:
            messages = _Messages(context, lambda data: _parse(message_type, data, deep=deep))
            return await self._answer(method, context, lambda call: run(messages, call))

        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(answer_stream)
        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answer(
        self, method: MethodDescriptor, context: Context, respond: Callable[[Call], Awaitable[Message]]
    ) -> bytes:
        started, code = time.monotonic(), "OK"
        try:
            limit = _limit(context, self.deadlines)
            async with asyncio.timeout(limit):
                caller = await self.authenticate(_authorization(context)) if self.authenticate else None
                response = await respond(Call(caller=caller, limit_seconds=limit))
            return response.SerializeToString()
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 - every error leaves in the one form
            told = _told(error, method.full_name)
            code = _code_name(told)
            self.meter.failed(told.reason.value)
            await _abort(context, told)
        finally:
            self.meter.answered(method.name, code, time.monotonic() - started)


class _Messages(AsyncIterator[Message]):
    """What a client streams, each message read and parsed when it is asked for.

    Read from the context: grpcio's own iterator complains when it is left before its end.
    """

    def __init__(self, context: Context, parse: Callable[[bytes], Message]) -> None:
        self._context = context
        self._parse = parse

    async def __anext__(self) -> Message:
        data: object = await self._context.read()
        if not isinstance(data, bytes):  # grpc.aio.EOF
            raise StopAsyncIteration
        return self._parse(data)


def _limit(context: Context, deadlines: Deadlines) -> float:
    remaining = context.time_remaining()
    if remaining is None or remaining < 0:
        return deadlines.default
    return min(remaining, deadlines.longest)


def _authorization(context: Context) -> str | None:
    values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return str(values[0]) if len(values) == 1 else None


def _parse(message_type: type[Message], data: bytes, *, deep: bool) -> Message:
    try:
        message = message_type.FromString(data)
    except DecodeError as error:
        raise _malformed("the bytes are not a message of this method, or a string is not UTF-8") from error
    if deep:
        refuse_unknown_fields(message)
    elif len(UnknownFieldSet(message)):
        raise _malformed("the message has fields that this version does not know")
    return message


def _has_unknown_fields(message: Message) -> bool:
    """Whether it shrinks when they are thrown away, here or at any depth."""
    size = message.ByteSize()
    message.DiscardUnknownFields()
    return message.ByteSize() != size


def _told(error: Exception, method: str) -> InterlockError:
    """What the caller hears. What broke inside stays inside, and in the service's log."""
    if isinstance(error, InterlockError):
        return error
    if isinstance(error, TimeoutError):
        return InterlockError(
            reason=ErrorReason.DEADLINE_EXCEEDED, message="the deadline passed before the answer"
        )
    logger.error("internal_error", method=method, error=type(error).__name__, exc_info=error)
    return InterlockError(
        reason=ErrorReason.INTERNAL, message="something broke inside; the service's log says what"
    )


async def _abort(context: Context, error: InterlockError) -> Never:
    await context.abort_with_status(rpc_status.to_status(to_status(error)))
    raise AssertionError("unreachable")


def _code_name(error: InterlockError) -> str:
    return next(code.name for code in grpc.StatusCode if code.value[0] == CODES[error.reason])


def _malformed(message: str) -> InterlockError:
    return InterlockError(reason=ErrorReason.MALFORMED_REQUEST, message=message)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
