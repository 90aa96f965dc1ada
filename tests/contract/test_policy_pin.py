"""Which policy bundle may be active, and that each change is on record with it."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.adapters import policy_pin_postgres, policy_pin_sqlite
from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.adapters.store_sqlite import SqliteDecisionLog
from interlock.core import record as records
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_pin import Activation, PolicyRollback
from interlock.core.record import RecordType
from tests.broken_disk import BrokenDisk
from tests.contract.postgres import PostgresServer
from tests.contract.stores import STORED, Place, open_postgres, open_sqlite
from tests.fakes import NOON

LABELS = {"service": "interlock", "env": "test"}


@dataclass(frozen=True, slots=True)
class Pin:
    """A store, and what is activated on it."""

    log: SqliteDecisionLog | PostgresDecisionLog
    run: Callable[[Activation], Awaitable[None]]

    async def activate(self, revision: str, sequence: int | None) -> None:
        await self.run(Activation(revision=revision, sequence=sequence, labels=LABELS, time=NOON))

    async def refused(self, revision: str, sequence: int) -> None:
        before = await self.activations()
        with pytest.raises(PolicyRollback, match=f"policy bundle `{revision}` is older.*build it again"):
            await self.activate(revision, sequence)
        assert await self.activations() == before

    async def activations(self) -> list[dict[str, Any]]:
        """What is on record."""
        found = await self.log.list_records(
            tenants=[""], type=RecordType.POLICY_ACTIVATION, decision_id="", start=0, limit=100
        )
        return [records.fields(record) for record in found]

    async def revisions(self) -> list[str]:
        return [stated["revision"] for stated in await self.activations()]


def pin_on(writer: SingleWriter) -> Pin:
    return Pin(SqliteDecisionLog(writer), functools.partial(policy_pin_sqlite.activate_policy, writer))


@contextlib.asynccontextmanager
async def open_pin(place: Place) -> AsyncIterator[Pin]:
    if place.kind == "sqlite":
        async with open_sqlite(place.path) as writer:
            yield pin_on(writer)
    else:
        async with open_postgres(place.address) as database:
            activate = functools.partial(policy_pin_postgres.activate_policy, database)
            yield Pin(PostgresDecisionLog(database), activate)


@pytest.fixture(params=STORED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "store.db", request)


@pytest.fixture
async def pin(place: Place) -> AsyncIterator[Pin]:
    async with open_pin(place) as pin:
        yield pin


async def test_an_activation_is_on_record(pin: Pin) -> None:
    """The record says which revision is active from when on, which one it replaces, and who says so."""
    await pin.activate("one", 10)
    await pin.activate("two", 11)
    first, second = await pin.activations()
    assert first == {
        "version": 1,
        "log_index": 0,
        "type": "policy_activation",
        "tenant": "",
        "once": "",
        "decision_id": "",
        "timestamp": "2026-03-01T12:00:00.000000Z",
        "labels": LABELS,
        "revision": "one",
        "sequence": 10,
        "replaces": "",
    }
    assert (second["revision"], second["sequence"], second["replaces"]) == ("two", 11, "one")


async def test_an_older_bundle_is_refused(pin: Pin) -> None:
    """A bundle that is older than one that was active does not become active again (case 11)."""
    await pin.activate("one", 10)
    await pin.activate("two", 20)
    await pin.refused("one", 10)
    await pin.refused("three", 19)
    assert await pin.revisions() == ["one", "two"]


async def test_an_older_bundle_is_refused_after_a_restart(place: Place) -> None:
    """What was active is remembered by the store, not by the process (case 11)."""
    async with open_pin(place) as pin:
        await pin.activate("two", 20)
    async with open_pin(place) as again:
        await again.refused("one", 10)


async def test_the_same_policy_built_anew_may_come_back(pin: Pin) -> None:
    """To go back to an earlier policy it is built again: its content is old, its bundle the newest (case 11)."""
    await pin.activate("one", 10)
    await pin.activate("two", 20)
    await pin.activate("one", 30)
    assert await pin.revisions() == ["one", "two", "one"]


@pytest.mark.parametrize("sequence", [10, 9, 11, None])
async def test_the_same_revision_again_adds_no_record(pin: Pin, sequence: int | None) -> None:
    """A restart with the policy that is active already is no activation."""
    await pin.activate("one", 10)
    await pin.activate("one", sequence)
    assert await pin.revisions() == ["one"]


async def test_the_same_revision_built_anew_makes_what_was_in_between_older(pin: Pin) -> None:
    """A bundle is older than the newest that ever was active, also where that only repeats the content (case 11)."""
    await pin.activate("one", 10)
    await pin.activate("one", 30)
    await pin.refused("two", 20)
    await pin.activate("one", 10)
    await pin.refused("two", 20)


async def test_a_policy_that_is_run_elsewhere_keeps_the_newest(pin: Pin) -> None:
    """An OPA whose bundle is never seen is on record too, and does not let an older bundle in afterwards."""
    await pin.activate("one", 20)
    await pin.activate("elsewhere", None)
    await pin.refused("two", 19)
    await pin.activate("two", 20)
    stated = await pin.activations()
    assert [(one["revision"], one["sequence"], one["replaces"]) for one in stated] == [
        ("one", 20, ""),
        ("elsewhere", None, "one"),
        ("two", 20, "elsewhere"),
    ]


async def test_services_that_start_at_once_activate_once(pin: Pin) -> None:
    """Of several services with one policy that start together, one puts it on record."""
    await asyncio.gather(*(pin.activate("one", 10) for _ in range(8)))
    assert await pin.revisions() == ["one"]


async def test_pin_and_record_are_one_transaction(tmp_path: Path) -> None:
    """Where the record cannot be written the policy is not active, and the next attempt records it (invariant 2)."""
    with BrokenDisk() as disk:
        async with open_sqlite(tmp_path / "store.db") as writer:
            pin = pin_on(writer)
            await pin.activate("one", 10)
            for broken in ("xWrite", "xSync"):
                disk.fails = broken
                with pytest.raises(InterlockError) as raised:
                    await pin.activate("two", 20)
                assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
                disk.fails = ""
                assert await pin.revisions() == ["one"]
                assert await writer.read(_pinned) == ("one", 10)
            await pin.activate("two", 20)
            assert await pin.revisions() == ["one", "two"]


def _pinned(store: apsw.Connection) -> Any:
    return store.execute("SELECT revision, sequence FROM policy_pin").fetchone()


async def test_a_record_that_fails_takes_the_pin_back(
    pin: Pin, place: Place, postgres: PostgresServer
) -> None:
    """Neither pin nor record is there without the other (invariant 2)."""
    await pin.activate("one", 10)
    refuse_records(place, postgres)
    with pytest.raises(InterlockError):
        await pin.activate("two", 20)
    # An older one than "two" would be refused, had that been pinned.
    with pytest.raises(InterlockError):
        await pin.activate("three", 15)
    await pin.activate("one", 10)
    assert await pin.revisions() == ["one"]


def refuse_records(place: Place, postgres: PostgresServer) -> None:
    """From now on no record can be inserted."""
    if place.kind == "sqlite":
        with contextlib.closing(apsw.Connection(str(place.path))) as other:
            other.execute(
                "CREATE TRIGGER no_records BEFORE INSERT ON records BEGIN SELECT raise(ABORT, 'no'); END"
            )
    else:
        postgres.sql(
            place.address.database,
            "CREATE TRIGGER no_records BEFORE INSERT ON interlock.records "
            "FOR EACH STATEMENT EXECUTE FUNCTION interlock.refuse_change()",
        )
