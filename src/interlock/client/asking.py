"""How the parts of a client that have methods of their own ask the service: as the client itself does."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import Message

Answered = TypeVar("Answered", bound=Message)
Value = TypeVar("Value")


class Ask(Protocol):
    """Makes a call with the client's credential, again while the service is away, and reads its answer.

    `timeout` is in seconds, None for the client's own. Raises InterlockCallError.
    """

    def __call__(
        self,
        call: Callable[..., Answered],
        request: Message,
        read: Callable[[Answered], Value],
        timeout: float | None,
        /,
    ) -> Value:
        """What was read."""


class AskAsync(Protocol):
    """As Ask, for one event loop."""

    async def __call__(
        self,
        call: Callable[..., Awaitable[Answered]],
        request: Message,
        read: Callable[[Answered], Value],
        timeout: float | None,  # noqa: ASYNC109 - a call's timeout is its deadline, which travels to the service
        /,
    ) -> Value:
        """What was read."""
