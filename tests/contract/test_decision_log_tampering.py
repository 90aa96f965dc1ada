"""What someone who can write the store's file cannot do unseen (case 20)."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from interlock.adapters import store_sqlite
from interlock.adapters.record_rows import Flaw
from interlock.adapters.store_errors import StoreUnusable
from interlock.adapters.store_sqlite import (
    APPLICATION_ID,
    MIGRATIONS,
    append_all,
    find_flaws,
    find_fork,
    open_store,
    read_head,
)
from interlock.core.record import EMPTY, Head, RecordType, format_head, leaf_hash, link, parse_head
from tests.drafts import a_draft

SIZE = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with eight records."""
    path = tmp_path / "store.db"
    with contextlib.closing(open_store(path)) as store, store:
        append_all(store, [a_draft(number) for number in range(SIZE)])
    return path


@pytest.fixture
def intruder(path: Path) -> Iterator[apsw.Connection]:
    """A connection of someone who knows SQL, and takes the triggers away."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        ]
        for name in names:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection


def flaws(path: Path, *, last: int | None = None) -> list[Flaw]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    with contextlib.closing(connection):
        return list(find_flaws(connection, last=last))


def rehash(intruder: apsw.Connection, start: int) -> None:
    """Make leaf hashes and chain match again from `start` on, as one who knows how they are made can."""
    query = "SELECT log_index, content FROM records WHERE log_index >= ? ORDER BY log_index"
    before = intruder.execute("SELECT chain_hash FROM records WHERE log_index = ?", (start - 1,)).get
    chain = before or EMPTY.chain_hash
    for log_index, content in intruder.execute(query, (start,)).fetchall():
        assert isinstance(content, bytes)
        leaf = leaf_hash(content)
        chain = link(chain, leaf)
        intruder.execute(
            "UPDATE records SET leaf_hash = ?, chain_hash = ? WHERE log_index = ?", (leaf, chain, log_index)
        )


def swap(intruder: apsw.Connection, one: int, other: int) -> None:
    intruder.execute("UPDATE records SET log_index = -9 WHERE log_index = ?", (one,))
    intruder.execute("UPDATE records SET log_index = ? WHERE log_index = ?", (one, other))
    intruder.execute("UPDATE records SET log_index = ? WHERE log_index = -9", (other,))


def sql(statement: str) -> Callable[[apsw.Connection], None]:
    def run(intruder: apsw.Connection) -> None:
        intruder.execute(statement)

    return run


def copy_of_the_last(log_index: int, once: str) -> str:
    """What follows INSERT to put the last record somewhere else too."""
    columns = "type, tenant, {once}, decision_id, timestamp, content, leaf_hash, chain_hash, session"
    return f"INTO records SELECT {log_index}, {columns.format(once=once)} FROM records WHERE log_index = 7"


EDITED_CONTENT = "replace(CAST(content AS TEXT), 'decision-3', 'decision-9')"
NOT_THE_LEAF = "does not match its leaf hash"
NOT_THE_CHAIN = "does not match the chain of the records before it"
BOGUS = "has a type or a time that no record has"

TAMPERINGS = [
    pytest.param(
        sql(f"UPDATE records SET content = CAST({EDITED_CONTENT} AS BLOB) WHERE log_index = 3"),
        [(3, NOT_THE_LEAF)],
        id="content",
    ),
    pytest.param(
        sql("UPDATE records SET content = x'00' WHERE log_index = 3"),
        [(3, NOT_THE_LEAF)],
        id="content-no-json",
    ),
    pytest.param(
        sql("UPDATE records SET leaf_hash = zeroblob(32) WHERE log_index = 3"),
        [(3, NOT_THE_LEAF)],
        id="leaf-hash",
    ),
    pytest.param(
        sql("UPDATE records SET chain_hash = zeroblob(32) WHERE log_index = 3"),
        [(3, NOT_THE_CHAIN), (4, NOT_THE_CHAIN)],
        id="chain-hash",
    ),
    pytest.param(
        sql("UPDATE records SET chain_hash = x'' WHERE log_index = 7"),
        [(7, NOT_THE_CHAIN)],
        id="last-chain-hash",
    ),
    *[
        pytest.param(
            sql(f"UPDATE records SET {column} = {value} WHERE log_index = 3"),
            [(3, f"has another {column} in its columns than in its content")],
            id=column,
        )
        for column, value in [
            ("type", "'outcome'"),
            ("tenant", "'other'"),
            ("once", "'decision/acme/agent-1/request-99'"),
            ("decision_id", "'decision-9'"),
            ("timestamp", "timestamp + 1"),
        ]
    ],
    pytest.param(sql("UPDATE records SET type = 'x' WHERE log_index = 3"), [(3, BOGUS)], id="unknown-type"),
    pytest.param(
        sql(f"UPDATE records SET timestamp = {2**62} WHERE log_index = 3"), [(3, BOGUS)], id="endless-time"
    ),
    pytest.param(
        sql("DELETE FROM records WHERE log_index = 3"),
        [(4, "follows a gap, expected record 3")],
        id="deleted",
    ),
    pytest.param(
        sql("DELETE FROM records WHERE log_index = 0"),
        [(1, "follows a gap, expected record 0")],
        id="first-deleted",
    ),
    pytest.param(
        lambda intruder: swap(intruder, 3, 5),
        [(3, "has another log_index in its columns than in its content")],
        id="reordered",
    ),
    pytest.param(
        sql("INSERT " + copy_of_the_last(8, "once || '-x'")),
        [(8, "has another log_index, once in its columns than in its content")],
        id="copied-to-the-end",
    ),
    pytest.param(
        sql("INSERT " + copy_of_the_last(-1, "''")),
        [(-1, "follows a gap, expected record 0")],
        id="before-the-beginning",
    ),
]


@pytest.mark.parametrize(("tamper", "found"), TAMPERINGS)
def test_tampering_is_found_and_the_store_refused(
    path: Path,
    intruder: apsw.Connection,
    tamper: Callable[[apsw.Connection], None],
    found: list[tuple[int, str]],
) -> None:
    """The check names the record and what is wrong, and the service does not start on such a store (case 20)."""
    tamper(intruder)
    told = [(flaw.log_index, flaw.problem) for flaw in flaws(path)]
    assert told[: len(found)] == found
    index, problem = found[0]
    with pytest.raises(StoreUnusable) as raised:
        open_store(path)
    assert str(raised.value) == (
        f"`{path}`: record {index} {problem}; see `interlock log verify`, restore the store from a copy"
    )


def test_an_untouched_log_has_no_flaw(path: Path, intruder: apsw.Connection) -> None:
    """The check finds nothing where nothing was done, whatever part of the log it looks at."""
    assert [flaws(path, last=last) for last in (None, 0, 1, SIZE, 100)] == [[]] * 5


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_check_of_the_end_sees_no_more_than_the_end(
    path: Path, intruder: apsw.Connection, last: int
) -> None:
    """The check at start looks at the last records only; `interlock log verify` looks at all."""
    intruder.execute("UPDATE records SET leaf_hash = zeroblob(32) WHERE log_index = 4")
    assert flaws(path, last=last) == []
    assert [flaw.log_index for flaw in flaws(path)] == [4]
    intruder.execute("UPDATE records SET leaf_hash = zeroblob(32) WHERE log_index = ?", (SIZE - last,))
    assert [flaw.log_index for flaw in flaws(path, last=last)] == [SIZE - last]


def test_a_check_of_the_end_sees_that_the_beginning_is_gone(path: Path, intruder: apsw.Connection) -> None:
    """Records that stand before the checked part are missed, or seen to be none of the log's."""
    intruder.execute("DELETE FROM records WHERE log_index < 2")
    assert flaws(path, last=3) == [Flaw(log_index=2, problem="is the first, expected record 0")]
    intruder.execute("DELETE FROM records WHERE log_index < 5")
    assert [flaw.log_index for flaw in flaws(path, last=3)] == [5, 5]


def test_the_start_checks_only_so_many(
    path: Path, intruder: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long log starts as fast as a short one, and an old flaw is for `interlock log verify` to find."""
    intruder.execute("UPDATE records SET leaf_hash = zeroblob(32) WHERE log_index = 4")
    monkeypatch.setattr(store_sqlite, "CHECKED_AT_START", 3)
    open_store(path).close()
    monkeypatch.setattr(store_sqlite, "CHECKED_AT_START", 4)
    with pytest.raises(StoreUnusable):
        open_store(path)


def noted_head(path: Path) -> Head:
    with contextlib.closing(open_store(path, read_only=True)) as store:
        return read_head(store)


def test_a_log_goes_on_from_every_head_that_it_had(path: Path) -> None:
    """Heads noted while the log grew are all found in it later."""
    noted = [EMPTY, noted_head(path)]
    for number in (8, 9):
        with contextlib.closing(open_store(path)) as store, store:
            append_all(store, [a_draft(number)])
        noted.append(noted_head(path))
    with contextlib.closing(open_store(path)) as store:
        assert [find_fork(store, head) for head in noted] == [None] * 4


def test_a_cut_tail_shows_against_a_noted_head(path: Path, intruder: apsw.Connection) -> None:
    """A log whose end was cut off is whole in itself; the head noted before tells what is missing (case 20)."""
    noted = noted_head(path)
    intruder.execute("DELETE FROM records WHERE log_index >= 6")
    assert flaws(path) == []
    assert find_fork(intruder, noted) == Flaw(log_index=7, problem="is missing: expected 8 records, got 6")
    intruder.execute("DELETE FROM records")
    assert find_fork(intruder, noted) == Flaw(log_index=7, problem="is missing: expected 8 records, got 0")


def test_a_log_written_anew_shows_against_a_noted_head(path: Path, intruder: apsw.Connection) -> None:
    """A log whose hashes were all made to match again is whole in itself, and not the one noted (case 20)."""
    noted = noted_head(path)
    intruder.execute(
        "UPDATE records SET content = CAST(replace(CAST(content AS TEXT), '\"number\":3', '\"number\":9') AS BLOB) "
        "WHERE log_index = 3"
    )
    rehash(intruder, 3)
    assert flaws(path) == []
    assert find_fork(intruder, noted) == Flaw(
        log_index=7, problem="is not the one that the noted head ends with"
    )


def test_a_fork_that_grew_longer_shows_against_a_noted_head(path: Path, intruder: apsw.Connection) -> None:
    """More records than were noted do not hide that they follow another history (case 20)."""
    noted = noted_head(path)
    intruder.execute("DELETE FROM records WHERE log_index >= 5")
    append_all(intruder, [a_draft(number, type=RecordType.FAILURE) for number in range(20, 30)])
    assert flaws(path) == []
    assert find_fork(intruder, noted) == Flaw(
        log_index=7, problem="is not the one that the noted head ends with"
    )


def test_a_noted_head_is_read_as_it_was_written(path: Path) -> None:
    """`SIZE:HASH` names a head and nothing else does."""
    head = noted_head(path)
    assert parse_head(format_head(head)) == head
    assert format_head(EMPTY) == f"0:{'0' * 64}"
    size, _, hash_ = format_head(head).partition(":")
    wrong = ["", ":", size, f"{size}:", f"0{size}:{hash_}", f"-{size}:{hash_}", f"{size}:{hash_[:-1]}"]
    wrong += [f"{size}:{hash_.upper()}x", f"{size}:{hash_}\n", f" {size}:{hash_}", f"{'9' * 16}:{hash_}"]
    for text in wrong:
        with pytest.raises(ValueError, match="a head is `SIZE:HASH`"):
            parse_head(text)


WRITES = [
    "UPDATE records SET tenant = 'other' WHERE log_index = 3",
    "UPDATE records SET log_index = log_index + 1",
    "DELETE FROM records WHERE log_index = 7",
    "DELETE FROM records",
    "INSERT OR REPLACE INTO records SELECT * FROM records WHERE log_index = 7",
    "INSERT OR REPLACE " + copy_of_the_last(8, "once"),
    "INSERT OR IGNORE " + copy_of_the_last(7, "once"),
    "INSERT " + copy_of_the_last(9, "''"),
    "INSERT " + copy_of_the_last(-1, "''"),
    "INSERT " + copy_of_the_last(8, "once") + " ON CONFLICT DO UPDATE SET tenant = 'other'",
]


@pytest.mark.parametrize("statement", WRITES)
def test_the_log_takes_nothing_but_the_next_record(path: Path, statement: str) -> None:
    """The store itself refuses to change, remove, replace or insert in between, whoever writes."""
    with contextlib.closing(open_store(path)) as store:
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            store.execute(statement)
        assert list(find_flaws(store)) == []
        assert read_head(store).size == SIZE


def _other_program(path: Path) -> None:
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE songs (title); PRAGMA application_id = 7")


def _newer_version(path: Path) -> None:
    with contextlib.closing(open_store(path)) as store:
        store.pragma("user_version", len(MIGRATIONS) + 1)


def _no_database(path: Path) -> None:
    path.write_bytes(b"a log of another kind\n" * 1000)


def _half_a_page(path: Path) -> None:
    with contextlib.closing(open_store(path)) as store, store:
        append_all(store, [a_draft(number) for number in range(100)])
    path.write_bytes(path.read_bytes()[:-6000])


def test_a_record_that_cannot_be_read_is_a_flaw(path: Path) -> None:
    """A damaged page ends the check with the place that it reached, not with a crash (case 20)."""
    with contextlib.closing(open_store(path)) as store, store:
        append_all(store, [a_draft(number) for number in range(SIZE, 100)])
        pages = store.pragma("page_count")
        root = store.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'records'").get
    assert isinstance(pages, int)
    assert isinstance(root, int)
    damaged = bytearray(path.read_bytes())
    page_size = len(damaged) // pages
    damaged[(root - 1) * page_size : root * page_size] = b"\xff" * page_size
    path.write_bytes(damaged)
    [flaw] = flaws(path)
    assert flaw == Flaw(log_index=0, problem="cannot be read: database disk image is malformed")
    for read_only in (False, True):
        with pytest.raises(StoreUnusable, match=r"malformed|damaged"):
            open_store(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(
            _other_program,
            f"is of another program: application_id 7, expected {APPLICATION_ID}",
            id="program",
        ),
        pytest.param(_newer_version, f"is of a newer version: {len(MIGRATIONS) + 1}", id="version"),
        pytest.param(_no_database, "file is not a database", id="bytes"),
        pytest.param(_half_a_page, "(malformed|is damaged)", id="damage"),
    ],
)
def test_a_file_that_is_no_store_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], says: str, read_only: bool
) -> None:
    """The error names the file and what is wrong with it, and the file is as it was."""
    path = tmp_path / "other.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=f"`{path}`.*{says}"):
        open_store(path, read_only=read_only)
    assert path.read_bytes() == before
