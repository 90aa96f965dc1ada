"""The clients that are connected to the MCP front: whose each is, and what of the servers' news it gets."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, get_args

import structlog
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_REQUEST,
    LoggingLevel,
    LoggingMessageNotification,
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    ServerNotification,
    ToolListChangedNotification,
)

from interlock.flows.front import Conversation
from interlock.ports import Identifiers

logger = structlog.get_logger()

Context = ServerRequestContext[Any, Any]

WITHOUT_SESSION = 1_000
"""Agents whose clients have no session of the protocol's (2026-07-28) that are remembered; the oldest are forgotten."""

NEWS = 1_000
"""Notifications of servers that wait to be told; of more, some are lost, as the protocol lets them be."""

TELLING_SECONDS = 10.0
"""What a client gets to take a notification: one that has stopped reading holds up nobody else."""

_KEY = "interlock"
_LONGEST_CREDENTIAL = 1_024
_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
_EVENTS = {
    ToolListChangedNotification: ToolsListChanged(),
    PromptListChangedNotification: PromptsListChanged(),
    ResourceListChangedNotification: ResourcesListChanged(),
}


@dataclass(slots=True, eq=False)
class FrontConnection:
    """One client.

    `level` is the least of the log messages that it asked for, None where it did not; `uris` are the resources that
    it subscribed to; `offered` are the tools that it was shown at the time `offered_at` of the event loop's clock.
    """

    conversation: Conversation
    link: Connection | None
    level: LoggingLevel | None = None
    uris: set[str] = field(default_factory=set)
    offered: frozenset[str] = frozenset()
    offered_at: float = float("-inf")

    def wants(self, notification: ServerNotification) -> bool:
        """Whether the client asked to hear of this."""
        match notification:
            case LoggingMessageNotification(params=params):
                return self.level is not None and _LEVELS.index(params.level) >= _LEVELS.index(self.level)
            case ResourceUpdatedNotification(params=params):
                return str(params.uri) in self.uris
            case ToolListChangedNotification() | PromptListChangedNotification():
                return True
            case ResourceListChangedNotification():
                return True
        return False


class Connections:
    """All clients. `credential` is the one of a client over stdio; over HTTP each request brings its own."""

    def __init__(self, *, credential: str, identifiers: Identifiers) -> None:
        self.bus = InMemorySubscriptionBus()
        self._credential = credential
        self._identifiers = identifiers
        self._only: FrontConnection | None = None
        self._open: set[FrontConnection] = set()
        self._without_session: OrderedDict[bytes, FrontConnection] = OrderedDict()
        self._news: asyncio.Queue[ServerNotification] = asyncio.Queue(NEWS)

    @property
    def open(self) -> tuple[FrontConnection, ...]:
        """Those that have a connection of their own, or had one lately."""
        return (*self._open, *self._without_session.values())

    @property
    def least_level(self) -> LoggingLevel | None:
        """The least level of log messages that any client asked for."""
        asked = [each.level for each in self._open if each.level is not None]
        return min(asked, key=_LEVELS.index) if asked else None

    def of(self, context: Context) -> FrontConnection:
        """The client that asks. Raises MCPError: no credential came with it."""
        # The SDK keeps what belongs to a connection there, and gives handlers no other way to it yet.
        link: Connection = context.session._connection  # noqa: SLF001
        if context.request is None:
            return self._over_stdio(link)
        credential = bearer_of(context.request.headers.getlist("authorization"))
        if credential is None:
            raise MCPError(code=INVALID_REQUEST, message="a bearer credential is needed, in `authorization`")
        return self._without(credential) if link.session_id is None else self._with_session(credential, link)

    def hear(self, _: str, notification: ServerNotification) -> None:
        """Have the clients told what a server said. Never waits."""
        try:
            self._news.put_nowait(notification)
        except asyncio.QueueFull:
            logger.warning("mcp_notification_lost", method=notification.method)

    async def tell(self) -> None:
        """Tell the clients of the servers' news, until cancelled."""
        while True:
            notification = await self._news.get()
            if (event := _event(notification)) is not None:
                await self.bus.publish(event)
            links = [each.link for each in self._open if each.link and each.wants(notification)]
            await asyncio.gather(*(_tell(link, notification) for link in links))

    def _over_stdio(self, link: Connection) -> FrontConnection:
        """The only client, of which the SDK may make a new connection with each request."""
        if self._only is None:
            self._only = self._new(self._credential, link)
            self._open.add(self._only)
        self._only.link = link
        return self._only

    def _with_session(self, credential: str, link: Connection) -> FrontConnection:
        """The client of a session, which belongs to the credential that began it; the SDK sees to that."""
        found: FrontConnection | None = link.state.get(_KEY)
        if found is None:
            found = link.state[_KEY] = self._new(credential, link)
            self._open.add(found)
            link.exit_stack.callback(self._open.discard, found)
        return found

    def _without(self, credential: str) -> FrontConnection:
        key = hashlib.sha256(credential.encode()).digest()
        found = self._without_session.get(key) or self._new(credential, None)
        self._without_session[key] = found
        self._without_session.move_to_end(key)
        if len(self._without_session) > WITHOUT_SESSION:
            self._without_session.popitem(last=False)
        return found

    def _new(self, credential: str, link: Connection | None) -> FrontConnection:
        conversation = Conversation(credential=credential, session_id=self._identifiers.new())
        return FrontConnection(conversation=conversation, link=link)


def bearer_of(values: list[str]) -> str | None:
    """The credential of the one `authorization` header (RFC 6750 2.1); None where there is not exactly one.

    Whether it is valid, only the decision service knows.
    """
    scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    good = scheme.lower() == "bearer" and 1 <= len(credential) <= _LONGEST_CREDENTIAL
    return credential if good and all("!" <= each <= "~" for each in credential) else None


def _event(notification: ServerNotification) -> Any:
    if isinstance(notification, ResourceUpdatedNotification):
        return ResourceUpdated(uri=str(notification.params.uri))
    return _EVENTS.get(type(notification))


async def _tell(link: Connection, notification: ServerNotification) -> None:
    said = notification.model_dump(by_alias=True, mode="json", exclude_none=True)
    try:
        async with asyncio.timeout(TELLING_SECONDS):
            await link.notify(said["method"], said.get("params"))
    except TimeoutError:
        logger.warning("mcp_notification_lost", method=notification.method)
