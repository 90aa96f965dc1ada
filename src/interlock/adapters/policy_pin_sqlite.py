"""The policy pin in the decision service's store on SQLite."""

import apsw

from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_errors import unavailable
from interlock.adapters.store_sqlite import append_all
from interlock.core.policy_pin import NO_POLICY, Activation, PolicyPin


async def activate_policy(writer: SingleWriter, activation: Activation) -> None:
    """Pin the policy and put it on record, unless it is the active one. Raises PolicyRollback, InterlockError."""
    with unavailable():
        await writer.write(lambda db: _activate(db, activation))


def _activate(connection: apsw.Connection, activation: Activation) -> None:
    row = connection.execute("SELECT revision, sequence FROM policy_pin").fetchone()
    before = PolicyPin(revision=row[0], sequence=row[1]) if row else NO_POLICY
    _pin(connection, activation.follow(before))
    append_all(connection, activation.drafts(before))


def _pin(connection: apsw.Connection, pin: PolicyPin) -> None:
    connection.execute(
        "INSERT INTO policy_pin VALUES (1, :revision, :sequence) "
        "ON CONFLICT DO UPDATE SET revision = :revision, sequence = :sequence",
        {"revision": pin.revision, "sequence": pin.sequence},
    )
