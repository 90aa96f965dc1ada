"""What passes through the gateway undecided: resources, prompts, completion, subscriptions, the level of the log."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    Prompt,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel

from interlock.adapters.mcp_connections import Connections
from interlock.adapters.mcp_endpoint import McpServerError
from interlock.adapters.mcp_servers import McpServers
from interlock.adapters.mcp_upstream import McpUpstream

logger = structlog.get_logger()

Context = ServerRequestContext[Any, Any]
Reach = Callable[[Context], Awaitable[frozenset[str]]]
Entry = TypeVar("Entry", bound=BaseModel)

MAX_PAGES = 100
"""Of one server's list; of a longer one, the rest is left out."""

MAX_SUBSCRIPTIONS = 256
"""To resources, of one client (case 41)."""

BETWEEN = "__"
"""Stands between a server's name and a prompt's, where two servers have a prompt of one name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passthrough:
    """Finds the server that a request is for, among those that the client may reach, and hands on its answer."""

    upstreams: McpServers
    connections: Connections
    reach: Reach

    def register(self, server: Server[Any]) -> None:
        """Have the server answer all of this."""
        for method, params, handler in (
            ("resources/list", PaginatedRequestParams, self.list_resources),
            ("resources/templates/list", PaginatedRequestParams, self.list_templates),
            ("resources/read", ReadResourceRequestParams, self.read_resource),
            ("resources/subscribe", SubscribeRequestParams, self.subscribe),
            ("resources/unsubscribe", UnsubscribeRequestParams, self.unsubscribe),
            ("subscriptions/listen", SubscriptionsListenRequestParams, self._listening()),
            ("prompts/list", PaginatedRequestParams, self.list_prompts),
            ("prompts/get", GetPromptRequestParams, self.get_prompt),
            ("completion/complete", CompleteRequestParams, self.complete),
            ("logging/setLevel", SetLevelRequestParams, self.set_level),
        ):
            server.add_request_handler(method, params, told(handler))

    async def list_resources(self, context: Context, _: PaginatedRequestParams) -> ListResourcesResult:
        """Those of all servers, on one page."""
        found = [each for server in await self._reached(context) for each in await _resources(server)]
        return ListResourcesResult(resources=found)

    async def list_templates(
        self, context: Context, _: PaginatedRequestParams
    ) -> ListResourceTemplatesResult:
        """Those of all servers, on one page."""
        found = [each for server in await self._reached(context) for each in await _templates(server)]
        return ListResourceTemplatesResult(resource_templates=found)

    async def read_resource(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """From the server that lists it, or has a template for it."""
        server = await self._server_of(context, str(params.uri))
        return await server.read_resource(str(params.uri))

    async def subscribe(self, context: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Changes of the resource are told to this client from now on."""
        await self._subscribe(context, [str(params.uri)])
        return EmptyResult()

    async def unsubscribe(self, context: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """No longer; the server is told once no client is left that wants to hear of it."""
        uri = str(params.uri)
        self.connections.of(context).uris.discard(uri)
        if not any(uri in each.uris for each in self.connections.open):
            await (await self._server_of(context, uri)).unsubscribe_resource(uri)
        return EmptyResult()

    async def list_prompts(self, context: Context, _: PaginatedRequestParams) -> ListPromptsResult:
        """Those of all servers, on one page; where two have one of the same name, each with its server's name."""
        prompts = await self._prompts(context)
        return ListPromptsResult(
            prompts=[prompt.model_copy(update={"name": name}) for name, (_, prompt) in prompts.items()]
        )

    async def get_prompt(self, context: Context, params: GetPromptRequestParams) -> GetPromptResult:
        """From the server that has it."""
        server, prompt = await self._prompt(context, params.name)
        return await server.get_prompt(prompt.name, params.arguments)

    async def complete(self, context: Context, params: CompleteRequestParams) -> CompleteResult:
        """From the server that has the prompt or the template."""
        ref = params.ref
        if isinstance(ref, PromptReference):
            server, prompt = await self._prompt(context, ref.name)
            ref = ref.model_copy(update={"name": prompt.name})
        else:
            server = await self._server_of_template(context, ref.uri)
        return await server.complete(ref, params.argument, params.context)

    async def set_level(self, context: Context, params: SetLevelRequestParams) -> EmptyResult:
        """The client hears of log messages from this level on; servers send the least that anybody asked for."""
        reached = await self._reached(context)
        self.connections.of(context).level = params.level
        least = self.connections.least_level or params.level
        for server in reached:
            if server.capabilities.logging is not None:
                await server.set_logging_level(least)
        return EmptyResult()

    def _listening(self) -> Callable[..., Awaitable[SubscriptionsListenResult]]:
        handler = ListenHandler(self.connections.bus)

        async def listen(
            context: Context, params: SubscriptionsListenRequestParams
        ) -> SubscriptionsListenResult:
            await self.reach(context)
            await self._subscribe(context, params.notifications.resource_subscriptions or ())
            return await handler(context, params)

        return listen

    async def _subscribe(self, context: Context, uris: Iterable[str]) -> None:
        subscribed = self.connections.of(context).uris
        for uri in uris:
            if len(subscribed) >= MAX_SUBSCRIPTIONS:
                raise MCPError(code=INVALID_PARAMS, message="there are too many subscriptions")
            await (await self._server_of(context, uri)).subscribe_resource(uri)
            subscribed.add(uri)

    async def _reached(self, context: Context) -> list[McpUpstream]:
        names = await self.reach(context)
        servers = [self.upstreams.upstream(name) for name in self.upstreams.names if name in names]
        return [server for server in servers if server.ready]

    async def _server_of(self, context: Context, uri: str) -> McpUpstream:
        """Raises MCPError: no server that the client may reach lists it or has a template for it."""
        servers = [each for each in await self._reached(context) if each.capabilities.resources is not None]
        for server in servers:
            if any(str(resource.uri) == uri for resource in await _resources(server)):
                return server
        for server in servers:
            if any(_fits(template, uri) for template in await _templates(server)):
                return server
        raise MCPError(code=INVALID_PARAMS, message="no server has a resource of this URI")

    async def _server_of_template(self, context: Context, uri: str) -> McpUpstream:
        for server in await self._reached(context):
            if any(template.uri_template == uri for template in await _templates(server)):
                return server
        raise MCPError(code=INVALID_PARAMS, message="no server has this resource template")

    async def _prompt(self, context: Context, name: str) -> tuple[McpUpstream, Prompt]:
        found = (await self._prompts(context)).get(name)
        if found is None:
            raise MCPError(code=INVALID_PARAMS, message="no server has a prompt of this name")
        return found

    async def _prompts(self, context: Context) -> dict[str, tuple[McpUpstream, Prompt]]:
        """By the name under which clients see them."""
        listed = [
            (server, prompt) for server in await self._reached(context) for prompt in await _prompts(server)
        ]
        names = [prompt.name for _, prompt in listed]
        return {
            prompt.name if names.count(prompt.name) == 1 else f"{server.name}{BETWEEN}{prompt.name}": (
                server,
                prompt,
            )
            for server, prompt in listed
        }


def told(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The handler, of which a server that is away is an error of the protocol."""

    @functools.wraps(handler)
    async def handle(context: Context, params: Any) -> Any:
        try:
            return await handler(context, params)
        except McpServerError as error:
            raise MCPError(code=INTERNAL_ERROR, message=str(error)) from error

    return handle


async def _resources(server: McpUpstream) -> list[Resource]:
    if server.capabilities.resources is None:
        return []
    return await _all(_pages(server.list_resources, lambda page: page.resources), server)


async def _templates(server: McpUpstream) -> list[ResourceTemplate]:
    if server.capabilities.resources is None:
        return []
    return await _all(_pages(server.list_resource_templates, lambda page: page.resource_templates), server)


async def _prompts(server: McpUpstream) -> list[Prompt]:
    if server.capabilities.prompts is None:
        return []
    return await _all(_pages(server.list_prompts, lambda page: page.prompts), server)


async def _all(entries: AsyncIterator[Entry], server: McpUpstream) -> list[Entry]:
    """What the server lists; one that fails to is left out, so that it takes nothing from the others."""
    found: list[Entry] = []
    try:
        async with contextlib.aclosing(entries) as listed:  # type: ignore[type-var]
            async for entry in listed:
                found.append(entry)  # noqa: PERF401 - what came before a failure is kept
    except (McpServerError, MCPError):
        logger.warning("mcp_server_did_not_list", server=server.name)
    return found


async def _pages(
    list_page: Callable[[str | None], Awaitable[Any]], entries: Callable[[Any], Iterable[Entry]]
) -> AsyncIterator[Entry]:
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await list_page(cursor)
        for entry in entries(page):
            yield entry
        if (cursor := page.next_cursor) is None:
            return


def _fits(template: ResourceTemplate, uri: str) -> bool:
    try:
        return UriTemplate.parse(template.uri_template).match(uri) is not None
    except InvalidUriTemplate:
        return False
