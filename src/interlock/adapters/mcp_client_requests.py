"""What servers may ask of the client: nothing, unless somebody is there to answer for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp.client.session import ClientRequestContext
from mcp.types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsResult,
)

Sampling = Callable[
    [str, CreateMessageRequestParams],
    Awaitable[CreateMessageResult | CreateMessageResultWithTools | ErrorData],
]
Elicitation = Callable[[str, ElicitRequestParams], Awaitable[ElicitResult | ErrorData]]
Roots = Callable[[str], Awaitable[ListRootsResult | ErrorData]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequests:
    """Who answers what a server asks; each hears the server's name first.

    What is None is not announced to servers, and refused with a JSON-RPC error where one asks all the same.
    """

    sampling: Sampling | None = None
    elicitation: Elicitation | None = None
    roots: Roots | None = None

    def callbacks(self, server: str) -> dict[str, Any]:
        """The arguments of the SDK's session with this server that these are."""
        callbacks: dict[str, Any] = {}
        if (sampling := self.sampling) is not None:
            callbacks["sampling_callback"] = _with_params(sampling, server)
        if (elicitation := self.elicitation) is not None:
            callbacks["elicitation_callback"] = _with_params(elicitation, server)
        if (roots := self.roots) is not None:
            callbacks["list_roots_callback"] = _without_params(roots, server)
        return callbacks


def _with_params(answer: Callable[[str, Any], Awaitable[Any]], server: str) -> Callable[..., Awaitable[Any]]:
    async def called(context: ClientRequestContext, params: Any) -> Any:  # noqa: ARG001 - as the SDK calls it
        return await answer(server, params)

    return called


def _without_params(answer: Callable[[str], Awaitable[Any]], server: str) -> Callable[..., Awaitable[Any]]:
    async def called(context: ClientRequestContext) -> Any:  # noqa: ARG001 - as the SDK calls it
        return await answer(server)

    return called
