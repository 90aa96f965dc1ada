"""Credentials in the store: only a hash is kept, and an end is an end within a second."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.adapters import credentials_sqlite
from interlock.adapters.credentials_sqlite import (
    REMEMBERED_SECONDS,
    SqliteCredentials,
    add_credential,
    list_credentials,
    revoke_credential,
)
from interlock.adapters.sqlite import SingleWriter
from interlock.adapters.store_sqlite import open_store
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind, Credential, credential_text, hash_secret
from interlock.flows.authenticate import authenticate
from interlock.ports import Credentials
from tests.drafts import LIMIT_SECONDS
from tests.fakes import NOON, MemoryCredentials
from tests.proposals import AGENT, GATEWAY

SECRET = "s3cret-" * 6 + "x"


class SettableSeconds:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def a_credential(caller: Caller = AGENT, **changes: Any) -> Credential:
    return replace(Credential(caller=caller, secret_hash=hash_secret(SECRET), create_time=NOON), **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def elsewhere(path: Path) -> Iterator[apsw.Connection]:
    """The store as another process has it, such as the command line."""
    with contextlib.closing(open_store(path)) as connection:
        yield connection


@pytest.fixture
def seconds() -> SettableSeconds:
    return SettableSeconds()


@pytest.fixture
async def credentials(
    path: Path, elsewhere: apsw.Connection, seconds: SettableSeconds
) -> AsyncIterator[SqliteCredentials]:
    writer = SingleWriter(open_store(path), limit_seconds=LIMIT_SECONDS)
    yield SqliteCredentials(writer, monotonic=seconds)
    await writer.close()


@pytest.mark.parametrize("kept_in", ["memory", "sqlite"])
@pytest.mark.parametrize("kind", CallerKind)
async def test_what_was_given_out_is_found(
    kept_in: str, kind: CallerKind, elsewhere: apsw.Connection, credentials: SqliteCredentials
) -> None:
    """A credential is found by its id as it was made, and no other id finds it."""
    given = a_credential(
        replace(AGENT, kind=kind, roles=("reader", "contributor")),
        create_time=NOON + timedelta(microseconds=7),
    )
    add_credential(elsewhere, given)
    found_in: Credentials = MemoryCredentials(given) if kept_in == "memory" else credentials
    assert await found_in.find(AGENT.credential_id) == given
    for other in ("f" * 16, "", AGENT.credential_id.upper(), AGENT.credential_id + " "):
        assert await found_in.find(other) is None


async def test_only_a_hash_of_the_secret_is_in_the_files(
    path: Path, elsewhere: apsw.Connection, credentials: SqliteCredentials
) -> None:
    """The bytes of the store hold the secret's hash, and the secret nowhere (case 63)."""
    add_credential(elsewhere, a_credential())
    authorization = f"Bearer {credential_text(AGENT.credential_id, SECRET)}"
    assert await authenticate(authorization, credentials) == AGENT
    files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert hash_secret(SECRET) in files
    assert SECRET.encode() not in files


async def test_a_revoked_credential_ends_within_a_second(
    elsewhere: apsw.Connection, credentials: SqliteCredentials, seconds: SettableSeconds
) -> None:
    """What another process revokes is refused here as soon as the remembered second is over."""
    add_credential(elsewhere, a_credential())
    authorization = f"Bearer {credential_text(AGENT.credential_id, SECRET)}"
    assert await authenticate(authorization, credentials) == AGENT
    assert revoke_credential(elsewhere, AGENT.credential_id, NOON + timedelta(seconds=1))
    seconds.at += REMEMBERED_SECONDS * 0.99
    assert await authenticate(authorization, credentials) == AGENT
    seconds.at += REMEMBERED_SECONDS * 0.02
    with pytest.raises(InterlockError) as raised:
        await authenticate(authorization, credentials)
    assert raised.value.reason is ErrorReason.CREDENTIAL_INVALID


async def test_remembering_does_not_renew_itself(
    elsewhere: apsw.Connection, credentials: SqliteCredentials, seconds: SettableSeconds
) -> None:
    """A credential in steady use is looked up again all the same."""
    add_credential(elsewhere, a_credential())
    await credentials.find(AGENT.credential_id)
    revoke_credential(elsewhere, AGENT.credential_id, NOON)
    for _ in range(4):
        seconds.at += REMEMBERED_SECONDS * 0.3
        found = await credentials.find(AGENT.credential_id)
    assert found == a_credential(revoke_time=NOON)


async def test_a_new_credential_is_good_at_once(
    elsewhere: apsw.Connection, credentials: SqliteCredentials
) -> None:
    """That an id was unknown is not remembered."""
    assert await credentials.find(AGENT.credential_id) is None
    add_credential(elsewhere, a_credential())
    assert await credentials.find(AGENT.credential_id) == a_credential()


async def test_what_is_remembered_is_bounded(
    elsewhere: apsw.Connection,
    credentials: SqliteCredentials,
    seconds: SettableSeconds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many credentials call, and however many ids are guessed, memory stays bounded."""
    monkeypatch.setattr(credentials_sqlite, "MOST_REMEMBERED", 3)
    for number in range(8):
        add_credential(elsewhere, a_credential(replace(AGENT, credential_id=f"{number:016}")))
    for number in range(16):
        await credentials.find(f"{number:016}")
        assert len(credentials._remembered) <= 3


async def test_a_store_that_does_not_answer_lets_nobody_in(
    credentials: SqliteCredentials, elsewhere: apsw.Connection
) -> None:
    """Where it cannot be known who calls, nobody does (invariant 1)."""
    add_credential(elsewhere, a_credential())
    await credentials._writer.close()
    with pytest.raises(InterlockError) as raised:
        await credentials.find(AGENT.credential_id)
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE


def test_a_revocation_stays_and_is_told_once(elsewhere: apsw.Connection) -> None:
    """There is one credential to end once; it stays listed with the time of its end."""
    add_credential(elsewhere, a_credential())
    assert revoke_credential(elsewhere, AGENT.credential_id, NOON)
    assert not revoke_credential(elsewhere, AGENT.credential_id, NOON + timedelta(days=1))
    assert not revoke_credential(elsewhere, "f" * 16, NOON)
    assert list_credentials(elsewhere) == [a_credential(revoke_time=NOON)]


def test_credentials_are_listed_oldest_first(elsewhere: apsw.Connection) -> None:
    """The list has every credential, revoked or not, in the order in which they were given."""
    later = a_credential(
        replace(GATEWAY, credential_id="0" * 16, roles=()), create_time=NOON + timedelta(seconds=1)
    )
    for credential in (later, a_credential()):
        add_credential(elsewhere, credential)
    assert list_credentials(elsewhere) == [a_credential(), later]


@pytest.mark.parametrize(
    "wrong", ["", "Acme", "acme ", "a/b", "a_b", "acm\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
@pytest.mark.parametrize("field", ["tenant", "name"])
def test_a_name_that_could_be_taken_for_another_is_not_kept(
    elsewhere: apsw.Connection, field: str, wrong: str
) -> None:
    """Tenants and names are [a-z0-9-] by the store's schema, and never empty (cases 54 and 55)."""
    changed: dict[str, Any] = {field: wrong}
    with pytest.raises(apsw.ConstraintError):
        add_credential(elsewhere, a_credential(replace(AGENT, **changed)))
    assert list_credentials(elsewhere) == []


def test_an_id_is_given_once(elsewhere: apsw.Connection) -> None:
    """A second credential of the same id is refused, and the first stays as it is."""
    add_credential(elsewhere, a_credential())
    with pytest.raises(apsw.ConstraintError):
        add_credential(elsewhere, a_credential(replace(AGENT, tenant="other")))
    assert list_credentials(elsewhere) == [a_credential()]
