"""What changes standing approvals in the store: given with an approval, used by a grant, taken back by a person.

Only appends change these cells, and appends follow one another on every store: of two grants that want the last call,
the second sees that nothing remains.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from interlock.core.cells import CellKind, Cells, Entry, cell_key
from interlock.core.errors import ErrorReason, InterlockError, invalid_field
from interlock.core.record import Draft, rfc3339
from interlock.core.reservation import SHORTFALL_CODES, Shortfall
from interlock.core.standing import MOST_STANDING, StandingApproval, StandingCell, StandingMatch, standing_key

USED_UP = "approvals.standing_used_up"
"""Code of the reason for what can no longer be used."""

_NEWEST_FIRST = 2**63 - 1
_EIGHT = 8
_LEEWAY = timedelta(minutes=5)


def place_key(tenant: str, standing_id: str) -> bytes:
    """The cell that says whose calls, of which tool, a standing approval is for."""
    return cell_key(CellKind.STANDING, tenant, "named", standing_id, "place")


def standing_list(tenant: str, agent: str = "") -> bytes:
    """The list of a tenant's standing approvals, or of those for one agent, the newest first."""
    return cell_key(CellKind.STANDING, tenant, "list", *([agent] if agent else []))


def list_place(standing: StandingApproval) -> bytes:
    """Where it stands in the lists."""
    return (_NEWEST_FIRST - standing.log_index).to_bytes(_EIGHT, "big") + standing.standing_id.encode()


def listed_id(place: bytes) -> str:
    """The name of the standing approval that stands there."""
    return place[_EIGHT:].decode()


def stated(standing: StandingApproval | None) -> dict[str, Any]:
    """What an approve's record says of the standing approval that was given with it; nothing for none."""
    return {} if standing is None else {"standing": {"change": "standing_given", **terms_stated(standing)}}


def terms_stated(standing: StandingApproval) -> dict[str, Any]:
    """A standing approval as it stands on record."""
    return {
        "standing_id": standing.standing_id,
        "agent": standing.agent,
        "user": standing.user,
        "tool": standing.tool,
        "catalog_digest": standing.catalog_digest,
        "session_id": standing.session_id,
        "arguments_schema": orjson.loads(standing.arguments_schema_json),
        "codes": list(standing.codes),
        "remaining": standing.remaining,
        "count": standing.count,
        "expire_time": rfc3339(standing.expire_time),
        "approvers": list(standing.approvers),
    }


@dataclass(frozen=True, slots=True)
class GiveStanding:
    """What is done in the transaction of the approve that gives it.

    Raises InterlockError: INVALID_FIELD where too many hold already for the agent and the tool.
    """

    standing: StandingApproval

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of the agent and the tool, and the one that leads there."""
        standing = self.standing
        return (_key(standing), place_key(standing.tenant, standing.standing_id))

    def run(self, cells: Cells, at: datetime, log_index: int) -> None:
        """Put it with those that still hold, and into the lists."""
        given = replace(self.standing, log_index=log_index)
        lasting = [each for each in cells.open(_key(given), StandingCell).standing if each.lasts(at)]
        if len(lasting) >= MOST_STANDING:
            raise invalid_field(
                "standing",
                f"is one too many: {MOST_STANDING} hold already for this agent and tool; revoke one first",
            )
        _keep((*lasting, given), given, cells)
        ends = given.expire_time + _LEEWAY
        cells.put(
            place_key(given.tenant, given.standing_id),
            orjson.dumps([given.agent, given.tool]),
            expire_time=ends,
        )
        for entry in _entries(given):
            cells.enlist(entry, expire_time=ends)


@dataclass(frozen=True, slots=True)
class RevokeStanding:
    """The DraftChange of a record that takes one back. Raises InterlockError: APPROVAL_NOT_FOUND where it is over."""

    standing: StandingApproval
    at: datetime

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of the agent and the tool."""
        return (_key(self.standing),)

    def run(self, draft: Draft, cells: Cells, _log_index: int) -> Draft:
        """Take it back; the record tells how many calls were left."""
        found = cells.open(_key(self.standing), StandingCell).find(self.standing.standing_id)
        if found is None or not found.lasts(self.at):
            raise standing_not_found()
        _put(replace(found, remaining=0), cells, self.at)
        return replace(draft, fields={**draft.fields, "standing": terms_stated(found)})


@dataclass(frozen=True, slots=True, kw_only=True)
class UseStanding:
    """The Evidence of an allow that reserves calls of standing approvals: they hold for it, and are used up with it.

    A hard rule, whatever the policy says: the call is looked at again, in the transaction that grants (case 51).
    """

    match: StandingMatch
    user: str
    standing_ids: tuple[str, ...]

    @property
    def keys(self) -> Iterable[bytes]:
        """The cell of the agent and the tool."""
        return self.match.keys

    def lacking(self, cells: Cells, at: datetime) -> tuple[Shortfall, ...]:
        """Those that do not hold; empty where all do."""
        held = cells.open(self.match.key, StandingCell)
        return tuple(
            Shortfall(code=USED_UP, message=SHORTFALL_CODES[USED_UP], metadata={"standing_id": name})
            for name in self.standing_ids
            if (found := held.find(name)) is None or not self.match.satisfies(found, at, user=self.user)
        )

    def use(self, decision_id: str, cells: Cells, at: datetime) -> None:
        """Use up one call of each for this decision, which nothing gives back; none was lacking."""
        del decision_id  # its record has the reservation
        for name in self.standing_ids:
            found = cells.open(self.match.key, StandingCell).find(name)
            assert found is not None
            _put(replace(found, remaining=found.remaining - 1), cells, at)


def standing_not_found() -> InterlockError:
    """Error for one that there is not, is not any more, or is another tenant's (case 54)."""
    return InterlockError(
        reason=ErrorReason.APPROVAL_NOT_FOUND, message="there is no standing approval of this name"
    )


def _put(changed: StandingApproval, cells: Cells, at: datetime) -> None:
    """Let it be so; one that does not last is forgotten."""
    held = cells.open(_key(changed), StandingCell).standing
    kept = [changed if each.standing_id == changed.standing_id else each for each in held]
    _keep([each for each in kept if each.lasts(at)], changed, cells)
    if not changed.lasts(at):
        for entry in _entries(changed):
            cells.delist(entry)


def _keep(standing: Iterable[StandingApproval], changed: StandingApproval, cells: Cells) -> None:
    kept = tuple(standing)
    ends = max([changed.expire_time, *(each.expire_time for each in kept)])
    cells.keep(_key(changed), StandingCell(kept), expire_time=ends + _LEEWAY)


def _key(standing: StandingApproval) -> bytes:
    return standing_key(standing.tenant, standing.agent, standing.tool)


def _entries(standing: StandingApproval) -> list[Entry]:
    place, key = list_place(standing), _key(standing)
    return [
        Entry(standing_list(standing.tenant), place, key),
        Entry(standing_list(standing.tenant, standing.agent), place, key),
    ]
