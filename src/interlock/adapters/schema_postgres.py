"""The tables of the decision service's store on PostgreSQL."""

from contextlib import AbstractAsyncContextManager

from interlock.adapters.layout_postgres import Layout, connect_to
from interlock.adapters.postgres import SCHEMA, Connection
from interlock.adapters.postgres_address import PostgresAddress

ONE_AT_A_TIME = 0x494C4B31  # "ILK1"
"""Key of the advisory lock that a migration holds."""

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
    """
    CREATE TABLE listings (
        list_key bytea NOT NULL,
        place bytea NOT NULL,
        key bytea NOT NULL,  -- of a cell
        expire_time bigint NOT NULL,  -- microseconds since the epoch
        PRIMARY KEY (list_key, place, key)
    );
    CREATE INDEX listings_to_forget ON listings (expire_time);
    """,
)


def connect_to_store(
    address: PostgresAddress, *, read_only: bool = False
) -> AbstractAsyncContextManager[Connection]:
    """A connection to a store whose tables are made or migrated, unless `read_only`, and checked.

    Raises as `connect_to`.
    """
    layout = Layout(
        schema=SCHEMA, migrations=MIGRATIONS, one_at_a_time=ONE_AT_A_TIME, start="start the service once"
    )
    return connect_to(address, layout, read_only=read_only)
