"""What of an MCP server passes through the gateway undecided: resources, prompts, completion, the level of its log."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from mcp.client.session import ClientSession
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    CompleteRequest,
    CompleteRequestParams,
    CompleteResult,
    CompletionArgument,
    CompletionContext,
    EmptyResult,
    GetPromptRequest,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsRequest,
    ListPromptsResult,
    ListResourcesRequest,
    ListResourcesResult,
    ListResourceTemplatesRequest,
    ListResourceTemplatesResult,
    LoggingLevel,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequest,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplateReference,
    ServerCapabilities,
    SetLevelRequest,
    SetLevelRequestParams,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel

from interlock.adapters.mcp_endpoint import McpServerError, cause_of
from interlock.adapters.mcp_supervised import SupervisedServer
from interlock.core.execution import Progress

LIMIT_SECONDS = 60.0
"""For one request that is passed through."""

Result = TypeVar("Result", bound=BaseModel)


class McpUpstream:
    """One server's resources and prompts, in the SDK's types.

    Each request raises MCPError, which is the server's own answer, or McpServerError where none came. Cancelled,
    it tells the server so.
    """

    def __init__(self, server: SupervisedServer) -> None:
        self._server = server

    @property
    def name(self) -> str:
        """As the settings call the server."""
        return self._server.name

    @property
    def ready(self) -> bool:
        """Whether it can be asked now."""
        return self._server.session is not None

    @property
    def capabilities(self) -> ServerCapabilities:
        """What the server says that it can do; nothing while it is not ready."""
        session = self._server.session
        return (session and session.server_capabilities) or ServerCapabilities()

    @property
    def instructions(self) -> str:
        """What the server says of its use, empty while it is not ready."""
        session = self._server.session
        return (session and session.instructions) or ""

    async def list_tools(self) -> list[dict[str, Any]]:
        """The server's tools as its `tools/list` tells them, all pages, as JSON."""
        return await self._server.list_tools()

    async def list_resources(self, cursor: str | None = None) -> ListResourcesResult:
        """One page of its resources."""
        return await self._ask(ListResourcesRequest(params=_page(cursor)), ListResourcesResult)

    async def list_resource_templates(self, cursor: str | None = None) -> ListResourceTemplatesResult:
        """One page of its resource templates."""
        return await self._ask(
            ListResourceTemplatesRequest(params=_page(cursor)), ListResourceTemplatesResult
        )

    async def read_resource(self, uri: str, *, progress: Progress | None = None) -> ReadResourceResult:
        """What is in a resource."""
        request = ReadResourceRequest(params=ReadResourceRequestParams(uri=uri))
        return await self._ask(request, ReadResourceResult, progress)

    async def subscribe_resource(self, uri: str) -> None:
        """Be told of changes of a resource, by the listeners' ResourceUpdatedNotification."""
        await self._ask(SubscribeRequest(params=SubscribeRequestParams(uri=uri)), EmptyResult)

    async def unsubscribe_resource(self, uri: str) -> None:
        """Be told of them no longer."""
        await self._ask(UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri)), EmptyResult)

    async def list_prompts(self, cursor: str | None = None) -> ListPromptsResult:
        """One page of its prompts."""
        return await self._ask(ListPromptsRequest(params=_page(cursor)), ListPromptsResult)

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None, *, progress: Progress | None = None
    ) -> GetPromptResult:
        """A prompt, filled in."""
        stated = dict(arguments) if arguments is not None else None
        request = GetPromptRequest(params=GetPromptRequestParams(name=name, arguments=stated))
        return await self._ask(request, GetPromptResult, progress)

    async def complete(
        self,
        ref: ResourceTemplateReference | PromptReference,
        argument: CompletionArgument,
        context: CompletionContext | None = None,
    ) -> CompleteResult:
        """Proposals for an argument of a prompt or of a resource template."""
        params = CompleteRequestParams(ref=ref, argument=argument, context=context)
        return await self._ask(CompleteRequest(params=params), CompleteResult)

    async def set_logging_level(self, level: LoggingLevel) -> None:
        """The least level of the log messages that it sends, by the listeners' LoggingMessageNotification."""
        await self._ask(SetLevelRequest(params=SetLevelRequestParams(level=level)), EmptyResult)

    async def _ask(self, request: Any, result: type[Result], progress: Progress | None = None) -> Result:
        session = self._session()
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                asked: Awaitable[Result] = session.send_request(
                    request, result, progress_callback=worded(progress)
                )
                return await asked
        except MCPError as error:
            if error.error.code != CONNECTION_CLOSED:
                raise
            raise self._lost(error) from error
        except Exception as error:
            raise self._lost(error) from error

    def _session(self) -> ClientSession:
        if self._server.session is None:
            raise McpServerError(f"server `{self.name}` is not ready: {self._server.cause}")
        return self._server.session

    def _lost(self, error: Exception) -> McpServerError:
        return McpServerError(f"server `{self.name}` gave no answer: {cause_of(error)}")


def worded(listening: Progress | None) -> ProgressFnT | None:
    """The same for the SDK, which gives None where there are no words."""
    if listening is None:
        return None

    async def told(progress: float, total: float | None, message: str | None) -> None:
        await listening(progress, total, message or "")

    return told


def _page(cursor: str | None) -> PaginatedRequestParams | None:
    return None if cursor is None else PaginatedRequestParams(cursor=cursor)
