"""What servers ask of the client: passed to the one whose call they are working on, where the settings permit it."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    INVALID_REQUEST,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsRequest,
    ListRootsResult,
)
from pydantic import BaseModel, ValidationError

from interlock.adapters.mcp_client_requests import ClientRequests

Context = ServerRequestContext[Any, Any]


class ClientAsks:
    """Knows which clients' calls are at which server now."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Context]] = {}

    @contextlib.contextmanager
    def during(self, server: str, context: Context) -> Iterator[None]:
        """While the block runs, this client's call is at the server."""
        calls = self._calls.setdefault(server, [])
        calls.append(context)
        try:
            yield
        finally:
            calls.remove(context)
            if not calls:
                self._calls.pop(server, None)

    def permitted(self, kinds: Collection[str]) -> ClientRequests:
        """Who answers: the client, for these of `sampling`, `elicitation` and `roots`, and nobody for the others."""
        return ClientRequests(
            sampling=self._sample if "sampling" in kinds else None,
            elicitation=self._elicit if "elicitation" in kinds else None,
            roots=self._roots if "roots" in kinds else None,
        )

    async def _sample(self, server: str, params: CreateMessageRequestParams) -> Any:
        answer: type[BaseModel] = CreateMessageResultWithTools if params.tools else CreateMessageResult
        return await self._ask(server, "sampling", CreateMessageRequest(params=params), answer)

    async def _elicit(self, server: str, params: ElicitRequestParams) -> Any:
        return await self._ask(server, "elicitation", ElicitRequest(params=params), ElicitResult)

    async def _roots(self, server: str) -> Any:
        return await self._ask(server, "roots", ListRootsRequest(), ListRootsResult)

    async def _ask(self, server: str, capability: str, request: Any, answer: type[BaseModel]) -> Any:
        """The client's answer. Where it is not clear whom the server means, nobody is asked."""
        calls = self._calls.get(server, [])
        if len(calls) != 1:
            return _refused(f"{len(calls)} calls are at the server now, expected 1 to ask the client of")
        [context] = calls
        if getattr(context.session.client_capabilities, capability, None) is None:
            return _refused(f"the client does not do `{capability}`")
        try:
            return await context.session.send_request(
                request, answer, metadata=ServerMessageMetadata(related_request_id=context.request_id)
            )
        except MCPError as error:
            return error.error
        except ValidationError:
            return _refused("the client's answer is not one to this request")


def _refused(why: str) -> ErrorData:
    return ErrorData(code=INVALID_REQUEST, message=why)
