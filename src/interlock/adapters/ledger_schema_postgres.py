"""The tables of a gateway's ledger on PostgreSQL, which all replicas of that gateway share."""

import contextlib
from collections.abc import AsyncIterator

from interlock.adapters.layout_postgres import Layout, connect_to
from interlock.adapters.postgres import Connection
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnusable

SCHEMA = "interlock_ledger"
"""Not the decision service's, so that one database may hold both; a gateway trusts its keys, not its tables."""

_ONE_AT_A_TIME = 0x494C4C31  # "ILL1"

MIGRATIONS = (
    # As on SQLite; ids are compared byte by byte, whatever the database's collation is (case 55).
    # `replica` is the process that redeemed or refused; `given_up`: another one ended it, for that one was gone.
    """
    CREATE TABLE ledger (
        one smallint PRIMARY KEY CHECK (one = 1),
        gateway text COLLATE "C" NOT NULL
    );
    CREATE TABLE replicas (
        replica integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        start_time timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE executions (
        sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        execution_id text COLLATE "C" NOT NULL UNIQUE,
        token_id text COLLATE "C" NOT NULL,
        decision_id text COLLATE "C" NOT NULL,
        tool text COLLATE "C" NOT NULL,
        refusal text COLLATE "C" NOT NULL,
        expire_time bigint NOT NULL,  -- all times in microseconds since the epoch
        start_time bigint NOT NULL,
        end_time bigint,
        kind text COLLATE "C" NOT NULL,
        result_digest text COLLATE "C" NOT NULL,
        delivery text COLLATE "C" NOT NULL CHECK (delivery IN ('', 'waiting', 'delivered', 'undeliverable')),
        plan_decision_id text COLLATE "C" NOT NULL,
        plan_step text COLLATE "C" NOT NULL,
        replica integer NOT NULL,
        given_up boolean NOT NULL DEFAULT false,
        UNIQUE (token_id, refusal)
    );
    CREATE INDEX executions_waiting ON executions (sequence) WHERE delivery = 'waiting';
    CREATE INDEX executions_running ON executions (replica) WHERE kind = '';
    -- A step runs once, by whichever of its tokens.
    CREATE UNIQUE INDEX executions_of_plan ON executions (plan_decision_id, plan_step) WHERE plan_decision_id <> '';
    CREATE TABLE reports (
        execution_id text COLLATE "C" PRIMARY KEY REFERENCES executions (execution_id) ON DELETE CASCADE,
        result bytea NOT NULL,
        result_truncated boolean NOT NULL,
        usage text COLLATE "C" NOT NULL,  -- JSON object, or null
        memory_writes text COLLATE "C" NOT NULL,  -- JSON array of [key, version, digest]
        obligation_results text COLLATE "C" NOT NULL  -- JSON array of [type, detail]
    );
    CREATE TABLE reconciliations (
        execution_id text COLLATE "C" PRIMARY KEY REFERENCES executions (execution_id) ON DELETE CASCADE,
        finding text COLLATE "C" NOT NULL CHECK (finding IN ('succeeded', 'failed', 'not_run')),
        comment text COLLATE "C" NOT NULL,
        found_by text COLLATE "C" NOT NULL,
        find_time bigint NOT NULL,
        delivery text COLLATE "C" NOT NULL CHECK (delivery IN ('waiting', 'delivered', 'undeliverable'))
    );
    CREATE INDEX reconciliations_waiting ON reconciliations (execution_id) WHERE delivery = 'waiting';
    """,
)


@contextlib.asynccontextmanager
async def connect_to_ledger(
    address: PostgresAddress, gateway: str, *, read_only: bool = False
) -> AsyncIterator[Connection]:
    """A connection to the ledger of the gateway of this name; made or migrated unless `read_only`.

    Raises StoreUnusable where it is another gateway's, whose outcomes this one could never report; else as
    `connect_to`.
    """
    layout = Layout(
        schema=SCHEMA, migrations=MIGRATIONS, one_at_a_time=_ONE_AT_A_TIME, start="start the gateway once"
    )
    async with connect_to(address, layout, read_only=read_only) as connection:
        if not read_only:
            await connection.execute("INSERT INTO ledger VALUES (1, $1) ON CONFLICT DO NOTHING", gateway)
        owner = await connection.fetchval("SELECT gateway FROM ledger")
        if owner not in {gateway, None}:
            raise StoreUnusable(
                f"`{address}` is the ledger of the gateway `{owner}`, expected `{gateway}`; "
                "give each gateway a database of its own, and its replicas one name"
            )
        yield connection
