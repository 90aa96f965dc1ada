"""The tables of the decision service's store on PostgreSQL, and how an older database becomes a newer one."""

import contextlib
from collections.abc import AsyncIterator

from interlock.adapters.postgres import SCHEMA, Connection, connect
from interlock.adapters.postgres_address import PostgresAddress
from interlock.adapters.store_errors import StoreUnusable

ONE_AT_A_TIME = 0x494C4B31  # "ILK1"
"""Key of the advisory lock that a migration holds: of several services that start at once, one does it."""

MIGRATIONS = (
    # Ids are text that is compared byte by byte, whatever the database's collation is (case 55).
    # The head is one row: who holds its lock appends, and only the trigger of `records` moves it on.
    """
    CREATE TABLE records (
        log_index bigint PRIMARY KEY,
        type text COLLATE "C" NOT NULL,
        tenant text COLLATE "C" NOT NULL,
        once text COLLATE "C" NOT NULL,
        decision_id text COLLATE "C" NOT NULL,
        session text COLLATE "C" NOT NULL,
        timestamp bigint NOT NULL,  -- microseconds since the epoch
        content bytea NOT NULL,
        leaf_hash bytea NOT NULL,
        chain_hash bytea NOT NULL
    );
    CREATE UNIQUE INDEX records_once ON records (once) WHERE once <> '';
    CREATE INDEX records_of_decision ON records (decision_id, log_index) WHERE decision_id <> '';
    CREATE INDEX records_of_tenant ON records (tenant, type, log_index);
    CREATE INDEX records_of_session ON records (tenant, session, log_index) WHERE session <> '';

    CREATE TABLE log_head (
        one smallint PRIMARY KEY CHECK (one = 1),
        size bigint NOT NULL,
        chain_hash bytea NOT NULL
    ) WITH (fillfactor = 10);
    INSERT INTO log_head VALUES (1, 0, decode(repeat('00', 32), 'hex'));

    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the decision log is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END $$;
    CREATE FUNCTION move_head() RETURNS trigger LANGUAGE plpgsql SET search_path = interlock, pg_temp AS $$
    DECLARE
        first bigint := (SELECT min(log_index) FROM added);
        last bigint := (SELECT max(log_index) FROM added);
    BEGIN
        IF first IS NULL THEN
            RETURN NULL;
        END IF;
        UPDATE log_head SET size = last + 1, chain_hash = (SELECT a.chain_hash FROM added a WHERE log_index = last)
            WHERE size = first AND last - first + 1 = (SELECT count(*) FROM added);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the decision log is append-only' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END $$;

    CREATE TRIGGER records_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON records
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER records_follow_the_last AFTER INSERT ON records
        REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION move_head();
    CREATE TRIGGER head_stays BEFORE INSERT OR DELETE OR TRUNCATE ON log_head
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER head_moves_with_records BEFORE UPDATE ON log_head
        FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change();

    CREATE TABLE credentials (
        credential_id text COLLATE "C" PRIMARY KEY,
        kind text COLLATE "C" NOT NULL,
        tenant text COLLATE "C" NOT NULL CHECK (tenant ~ '^[a-z0-9-]+$'),
        name text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z0-9-]+$'),
        roles text COLLATE "C" NOT NULL,  -- JSON array of strings
        secret_hash bytea NOT NULL,
        create_time bigint NOT NULL,
        revoke_time bigint
    );
    CREATE TABLE policy_pin (
        one smallint PRIMARY KEY CHECK (one = 1),
        revision text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL  -- of the newest bundle that was ever active
    );
    """,
    # Room on each page lets a cell that is written again stay there, where its indexes find it as before.
    """
    CREATE TABLE cells (
        key bytea PRIMARY KEY,
        data bytea NOT NULL,  -- empty for a cell that was held and holds nothing
        expire_time bigint NOT NULL  -- microseconds since the epoch
    ) WITH (fillfactor = 70);
    CREATE INDEX cells_to_forget ON cells (expire_time);
    """,
)

_VERSION = "SELECT version FROM schema_version"
# Read as rows: what `to_regclass` finds missing it goes on to find missing until the transaction ends.
_IS_THERE = """
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = $1 AND relname = 'schema_version'
"""
_OTHER_COLLATION = """
    SELECT attrelid::regclass::text || '.' || attname AS name, collname AS collation
    FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r')
        AND attnum > 0 AND NOT attisdropped AND collname <> 'C'
    ORDER BY 1
"""


@contextlib.asynccontextmanager
async def connect_to_store(address: PostgresAddress, *, read_only: bool = False) -> AsyncIterator[Connection]:
    """A connection to a store whose tables are made or migrated, unless `read_only`, and checked.

    Raises StoreUnusable: tables of a newer version, or of an older one that may not be migrated; ids whose
    collation could take two for one; else as `connect`.
    """
    async with connect(address) as connection:
        try:
            await _open_schema(connection, read_only=read_only)
        except StoreUnusable as error:
            raise StoreUnusable(f"`{address}` {error}") from error
        yield connection


async def _open_schema(connection: Connection, *, read_only: bool) -> None:
    version = await _version(connection)
    if read_only and version < len(MIGRATIONS):
        raise StoreUnusable(
            f"is of an older version: {version}, expected {len(MIGRATIONS)}; start the service once"
        )
    if version < len(MIGRATIONS):
        await _migrate(connection)
    elif version > len(MIGRATIONS):
        raise _too_new(version)
    await _check_collations(connection)


async def _version(connection: Connection) -> int:
    """0 where there are no tables."""
    if await connection.fetchval(_IS_THERE, SCHEMA):
        return int(await connection.fetchval(_VERSION))
    return 0


async def _migrate(connection: Connection) -> None:
    """All that is missing in one transaction, so that it is there whole or not at all."""
    await connection.execute("BEGIN")
    # Whoever waited here sees what the one before it has done.
    await connection.fetchval("SELECT pg_advisory_xact_lock($1)", ONE_AT_A_TIME)
    version = await _version(connection)
    if version > len(MIGRATIONS):
        raise _too_new(version)
    if version == 0:
        # Who may not make a schema may have been given one; `IF NOT EXISTS` wants the right all the same.
        if not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", SCHEMA):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        await connection.execute(
            "CREATE TABLE schema_version (one smallint PRIMARY KEY CHECK (one = 1), version integer NOT NULL);"
            "INSERT INTO schema_version VALUES (1, 0)"
        )
    for script in MIGRATIONS[version:]:
        await connection.execute(script)
    await connection.execute("UPDATE schema_version SET version = $1", len(MIGRATIONS))
    await connection.execute("COMMIT")


async def _check_collations(connection: Connection) -> None:
    found = await connection.fetchrow(_OTHER_COLLATION, SCHEMA)
    if found is not None:
        raise StoreUnusable(
            f"compares `{found['name']}` by the collation `{found['collation']}`, expected `C` (case 55); "
            "restore the store from a copy"
        )


def _too_new(version: int) -> StoreUnusable:
    return StoreUnusable(f"is of a newer version: {version}, expected at most {len(MIGRATIONS)}")
