"""Standing approvals: people said yes to calls before they were proposed, within narrow terms.

One is a fact that the policy weighs, and no way to a token by itself. It holds for one agent behind which one user
stands, one tool as its catalog entry is, and arguments that its schema binds: never for a tool's name alone (case 51).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson

from interlock.core.argument_forms import leaves, role_at
from interlock.core.catalog import ArgumentRole
from interlock.core.cells import CellKind, Cells, common_cell_key
from interlock.core.facts import StandingInput
from interlock.core.holds import check_version
from interlock.core.moments import from_microseconds, to_microseconds
from interlock.core.proposal import Proposal
from interlock.core.standing_schema import compiled

MOST_STANDING = 16
"""Standing approvals that may hold at once for one agent and one tool: all of them are looked at for each proposal."""

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTerms:
    """How far a standing approval is to go, as an approver asks for it.

    `arguments_schema_json` is a JSON Schema that the arguments must satisfy; `count` calls within `life_seconds`, of
    the approval's own session only where `this_session`.
    """

    arguments_schema_json: bytes = field(repr=False)
    count: int
    life_seconds: int
    this_session: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingApproval:
    """A standing approval as it stands. `session_id` is empty for all sessions of the agent.

    `catalog_digest` is that of the tool's entry; of another it does not hold. `codes` are those of the reasons that it
    answers. `arguments_schema_json` is in canonical form. `credential_ids` are those that the approvers answered with,
    `log_index` is the place of the record that gave it.
    """

    standing_id: str
    tenant: str
    agent: str
    user: str
    tool: str
    catalog_digest: str
    session_id: str
    arguments_schema_json: bytes = field(repr=False)
    codes: tuple[str, ...]
    remaining: int
    count: int
    expire_time: datetime
    approvers: tuple[str, ...]
    approval_id: str
    credential_ids: tuple[str, ...] = ()
    log_index: int = 0

    def lasts(self, at: datetime) -> bool:
        """Whether calls are left, and time."""
        return self.remaining > 0 and at < self.expire_time


@dataclass(slots=True)
class StandingCell:
    """What a STANDING cell holds: the standing approvals for calls of a tool that an agent proposes, oldest first."""

    standing: tuple[StandingApproval, ...] = ()

    @classmethod
    def decode(cls, data: bytes) -> "StandingCell":
        """What `encode` wrote. Raises ValueError for what is of a newer version."""
        if not data:
            return cls()
        version, stated = orjson.loads(data)
        check_version(version, _VERSION)
        return cls(tuple(map(_standing, stated)))

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([_VERSION, list(map(_stated, self.standing))])

    def find(self, standing_id: str) -> StandingApproval | None:
        """That of this name."""
        return next((each for each in self.standing if each.standing_id == standing_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingQuery:
    """Which standing approvals, and which page of them: empty `agent` for all, `page_size` 0 for the default."""

    agent: str
    page_size: int
    page_token: str


def standing_key(tenant: str, agent: str, tool: str) -> bytes:
    """The cell of the standing approvals for calls of a tool that an agent proposes."""
    return common_cell_key(CellKind.STANDING, tenant, agent, tool)


class StandingMatch:
    """Which standing approvals a proposal satisfies.

    What is compared are the arguments as policies and people see them, with sensitive values concealed: so what is on
    record tells why it held, and an edited proposal is held to what is granted, not to what was sent.
    """

    def __init__(self, proposal: Proposal) -> None:
        self._proposal = proposal
        self.key = standing_key(proposal.caller.tenant, proposal.caller.name, proposal.tool_name)

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of the agent and the tool."""
        return (self.key,)

    def found(self, cells: Cells, at: datetime, *, user: str) -> tuple[StandingApproval, ...]:
        """Those that hold for it now; `user` is who stands behind its session."""
        if not cells.get(self.key):
            return ()
        held = cells.open(self.key, StandingCell).standing
        return tuple(each for each in held if self.satisfies(each, at, user=user))

    def satisfies(self, standing: StandingApproval, at: datetime, *, user: str) -> bool:
        """Whether it is one of the calls that this one is for, now."""
        proposal, tool = self._proposal, self._proposal.tool
        return (
            standing.lasts(at)
            and tool is not None
            and not proposal.violations
            and (standing.tenant, standing.agent) == (proposal.caller.tenant, proposal.caller.name)
            and (standing.tool, standing.catalog_digest) == (tool.name, tool.digest)
            and standing.user == user
            and standing.session_id in ("", proposal.session_id)
            and not self._is_open()
            and compiled(standing.arguments_schema_json).is_valid(proposal.disclosed_arguments)
        )

    def _is_open(self) -> bool:
        """Whether its arguments are not there yet, or lead elsewhere than they seem to."""
        proposal = self._proposal
        if proposal.plan is not None and proposal.plan.refers and not proposal.plan.filled:
            return True
        return any(each.problem for each in proposal.destinations) or _climbs(proposal)


def _climbs(proposal: Proposal) -> bool:
    """Whether a path goes up again: `reports/../secrets` begins as a pattern may ask, and leads out of it (case 47)."""
    roles = proposal.tool.entry.roles if proposal.tool else {}
    return any(
        isinstance(value, str) and ".." in value.split("/") and role_at(pointer, roles) is ArgumentRole.PATH
        for pointer, value in leaves(proposal.disclosed_arguments)
    )


def as_fact(standing: StandingApproval) -> StandingInput:
    """The standing approval as the policy sees it."""
    return {
        "standing_id": standing.standing_id,
        "approvers": list(standing.approvers),
        "codes": list(standing.codes),
        "remaining": standing.remaining,
        "expires_unix": int(standing.expire_time.timestamp()),
    }


def _stated(standing: StandingApproval) -> Mapping[str, Any]:
    return {
        **asdict(standing),
        "arguments_schema_json": standing.arguments_schema_json.decode(),
        "expire_time": to_microseconds(standing.expire_time),
    }


def _standing(stated: dict[str, Any]) -> StandingApproval:
    return StandingApproval(
        **{
            **stated,
            "arguments_schema_json": stated["arguments_schema_json"].encode(),
            "codes": tuple(stated["codes"]),
            "approvers": tuple(stated["approvers"]),
            "credential_ids": tuple(stated["credential_ids"]),
            "expire_time": from_microseconds(stated["expire_time"]),
        }
    )
