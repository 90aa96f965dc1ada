"""Freezes: nothing that one covers is allowed while it lasts, and nothing that was allowed before it is done."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interlock.core.token import Claims


class FreezeScope(StrEnum):
    """What a freeze covers: all tenants, one, or within one an agent or a tool."""

    ALL = "all"
    TENANT = "tenant"
    AGENT = "agent"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeTarget:
    """What a freeze is about. `tenant` is empty for `all`; `name` is the agent's or the tool's, else empty."""

    scope: FreezeScope
    tenant: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One freeze. Its record's `log_index` names it, and is later than that of all that was allowed before.

    `tenant` is empty for `all`; `name` is the agent's or the tool's. `end_time` is None while it lasts.
    """

    log_index: int
    scope: FreezeScope
    tenant: str
    name: str
    comment: str
    start_time: datetime
    end_time: datetime | None = None

    @property
    def target(self) -> FreezeTarget:
        """What it is about."""
        return FreezeTarget(scope=self.scope, tenant=self.tenant, name=self.name)

    @property
    def lasts(self) -> bool:
        """Whether nobody has ended it."""
        return self.end_time is None

    def stops(self, claims: Claims) -> bool:
        """Whether the token was issued before the freeze and is covered by it, also after its end (case 12)."""
        return claims.log_index < self.log_index and self.covers(
            tenant=claims.tenant, agent=claims.act.sub, tool=claims.tool
        )

    def covers(self, *, tenant: str, agent: str, tool: str) -> bool:
        """Whether the freeze is about this."""
        match self.scope:
            case FreezeScope.ALL:
                return True
            case FreezeScope.TENANT:
                return self.tenant == tenant
            case FreezeScope.AGENT:
                return (self.tenant, self.name) == (tenant, agent)
            case FreezeScope.TOOL:
                return (self.tenant, self.name) == (tenant, tool)
