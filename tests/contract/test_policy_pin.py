"""Which policy bundle may be active, and that each change is on record with it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.adapters.policy_pin_sqlite import PolicyRollback, activate_policy
from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_sqlite import find_flaws, open_store, scan
from interlock.core import record as records
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.record import RecordType
from tests.broken_disk import BrokenDisk
from tests.drafts import LIMIT_SECONDS
from tests.fakes import NOON

LABELS = {"service": "interlock", "env": "test"}


class Pin:
    """A store, and what is activated on it."""

    def __init__(self, path: Path) -> None:
        self.writer = SingleWriter(open_store(path), limit_seconds=LIMIT_SECONDS)

    async def activate(self, revision: str, sequence: int | None) -> None:
        await activate_policy(self.writer, revision=revision, sequence=sequence, labels=LABELS, now=NOON)

    async def refused(self, revision: str, sequence: int) -> None:
        before = await self.activations()
        with pytest.raises(PolicyRollback, match=f"policy bundle `{revision}` is older.*build it again"):
            await self.activate(revision, sequence)
        assert await self.activations() == before

    async def activations(self) -> list[dict[str, Any]]:
        """What is on record."""
        return await self.writer.read(_activations)

    async def revisions(self) -> list[str]:
        return [stated["revision"] for stated in await self.activations()]


def _activations(store: apsw.Connection) -> list[dict[str, Any]]:
    assert list(find_flaws(store)) == []
    found = scan(store, type=RecordType.POLICY_ACTIVATION, decision_id="", tenant="", start=0, limit=None)
    return [records.fields(record) for record in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def pin(path: Path) -> AsyncIterator[Pin]:
    pin = Pin(path)
    yield pin
    await pin.writer.close()


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


async def test_an_older_bundle_is_refused_after_a_restart(path: Path, pin: Pin) -> None:
    """What was active is remembered by the store, not by the process (case 11)."""
    await pin.activate("two", 20)
    await pin.writer.close()
    again = Pin(path)
    await again.refused("one", 10)
    await again.writer.close()


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


async def test_pin_and_record_are_one_transaction(path: Path) -> None:
    """Where the record cannot be written the policy is not active, and the next attempt records it (invariant 2)."""
    with BrokenDisk() as disk:
        pin = Pin(path)
        await pin.activate("one", 10)
        for broken in ("xWrite", "xSync"):
            disk.fails = broken
            with pytest.raises(InterlockError) as raised:
                await pin.activate("two", 20)
            assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
            disk.fails = ""
            assert await pin.revisions() == ["one"]
            assert await pin.writer.read(_pinned) == ("one", 10)
        await pin.activate("two", 20)
        assert await pin.revisions() == ["one", "two"]
        await pin.writer.close()


def _pinned(store: apsw.Connection) -> Any:
    return store.execute("SELECT revision, sequence FROM policy_pin").fetchone()


async def test_a_record_that_fails_takes_the_pin_back(pin: Pin, path: Path) -> None:
    """Neither pin nor record is there without the other (invariant 2)."""
    await pin.activate("one", 10)
    with contextlib.closing(open_store(path)) as other:
        other.execute(
            "CREATE TRIGGER no_records BEFORE INSERT ON records BEGIN SELECT raise(ABORT, 'no'); END"
        )
    with pytest.raises(InterlockError):
        await pin.activate("two", 20)
    assert await pin.writer.read(_pinned) == ("one", 10)
