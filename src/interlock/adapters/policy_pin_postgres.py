"""The policy pin in the decision service's store on PostgreSQL."""

from interlock.adapters.postgres import Connection, Postgres
from interlock.adapters.store_errors import unavailable
from interlock.adapters.store_postgres import append_all, lock_head
from interlock.core.policy_pin import NO_POLICY, Activation, PolicyPin

_PIN = """
    INSERT INTO policy_pin VALUES (1, $1, $2)
    ON CONFLICT (one) DO UPDATE SET revision = excluded.revision, sequence = excluded.sequence
"""


async def activate_policy(database: Postgres, activation: Activation) -> None:
    """Pin the policy and put it on record, unless it is the active one. Raises PolicyRollback, InterlockError."""
    with unavailable():
        await database.write(lambda connection: _activate(connection, activation))


async def _activate(connection: Connection, activation: Activation) -> None:
    # Of services that start at once each sees what the one before it has pinned.
    await lock_head(connection)
    row = await connection.fetchrow("SELECT revision, sequence FROM policy_pin")
    before = PolicyPin(revision=row["revision"], sequence=row["sequence"]) if row else NO_POLICY
    pin = activation.follow(before)
    await connection.execute(_PIN, pin.revision, pin.sequence)
    await append_all(connection, activation.drafts(before))
