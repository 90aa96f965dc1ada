"""Values of freezes, for operators."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FreezeScope(StrEnum):
    """What a freeze covers. `unrecognized`: the service is newer than this client."""

    ALL = "all"
    TENANT = "tenant"
    AGENT = "agent"
    TOOL = "tool"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A freeze; times are in UTC. Its record's `log_index` names it: tokens of a lower one are refused.

    `tenant` is empty for all of them; `name` is the agent's or the tool's, else empty. `end_time` is None while it
    lasts.
    """

    log_index: int
    scope: FreezeScope
    tenant: str
    name: str
    comment: str
    start_time: datetime
    end_time: datetime | None = None
