"""Which policy bundle may be active: never one older than the newest that ever was (case 11)."""

from collections.abc import Mapping
from datetime import datetime

import apsw

from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_errors import unavailable
from interlock.adapters.store_sqlite import append_all
from interlock.core.record import Draft, RecordType


class PolicyRollback(Exception):
    """A bundle that is older than one that was active; build it anew to make it the newest."""


async def activate_policy(
    writer: SingleWriter, *, revision: str, sequence: int | None, labels: Mapping[str, str], now: datetime
) -> None:
    """Record that `revision` is the active one from now on, unless it already was.

    `sequence` is the time of the bundle's build in milliseconds, signed with the bundle; None for an OPA that
    is run elsewhere, whose bundle we never see. Raises PolicyRollback, InterlockError.
    """
    with unavailable():
        await writer.write(lambda db: _activate(db, revision, sequence, labels, now))


def _activate(
    connection: apsw.Connection, revision: str, sequence: int | None, labels: Mapping[str, str], now: datetime
) -> None:
    active, newest = connection.execute("SELECT revision, sequence FROM policy_pin").fetchone() or ("", 0)
    if revision != active and sequence is not None and sequence < newest:
        raise PolicyRollback(
            f"policy bundle `{revision}` is older than one that was active; build it again to go back to it"
        )
    # The same content built again is newer too: what was built in between is older than it.
    _pin(connection, revision, max(sequence or 0, newest))
    if revision != active:
        fields = {"labels": dict(labels), "revision": revision, "sequence": sequence, "replaces": active}
        append_all(connection, [_draft(fields, now)])


def _pin(connection: apsw.Connection, revision: str, sequence: int) -> None:
    connection.execute(
        "INSERT INTO policy_pin VALUES (1, :revision, :sequence) "
        "ON CONFLICT DO UPDATE SET revision = :revision, sequence = :sequence",
        {"revision": revision, "sequence": sequence},
    )


def _draft(fields: Mapping[str, object], now: datetime) -> Draft:
    return Draft(
        type=RecordType.POLICY_ACTIVATION, tenant="", once="", decision_id="", timestamp=now, fields=fields
    )
