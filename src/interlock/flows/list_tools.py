"""The story of a list of tools: what an agent's roles could ever be allowed. It grants nothing."""

from dataclasses import dataclass

from interlock.core.catalog import Catalog
from interlock.core.identity import Caller
from interlock.core.offering import listing_input, tools_of
from interlock.core.session import Measuring
from interlock.ports import Clock, PolicyEngine

AT_ONCE = 256
"""Tools that the policy is asked about in one query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offering:
    """What listing needs of the world."""

    catalog: Catalog
    engine: PolicyEngine
    clock: Clock
    measuring: Measuring


async def list_tools(
    gateway: str, caller: Caller, offering: Offering, *, limit_seconds: float
) -> tuple[str, ...]:
    """Names of the tools that the policy shows to the caller, in alphabetical order: of `gateway`, of all for "".

    Raises InterlockError as ports.PolicyEngine.offered does: then nothing is shown.
    """
    tools, now = tools_of(offering.catalog, gateway), offering.clock.now()
    shown: list[str] = []
    for start in range(0, len(tools), AT_ONCE):
        some = tools[start : start + AT_ONCE]
        inputs = [listing_input(tool, caller, at=now, measuring=offering.measuring) for tool in some]
        answers = await offering.engine.offered(inputs, limit_seconds=limit_seconds)
        shown += [tool.name for tool, offered in zip(some, answers, strict=True) if offered]
    return tuple(shown)
